package tracedb

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/compact"
)

// CompactionOptions say how blocks are merged.
type CompactionOptions struct {
	// Off leaves blocks as they are.
	Off bool
	// MinBlocks is how many blocks of an hour are merged at least (4).
	MinBlocks int
	// MaxBlockBytes bounds a merged block (1 GiB, and never more than an eighth of Retention.MaxSizeBytes).
	MaxBlockBytes int64
	// CPUPercentage is how much of one CPU merging takes at most (20).
	CPUPercentage int
}

// Defaults of CompactionOptions, and bounds that need no setting.
const (
	DefaultMinBlocks     = 4
	DefaultMaxBlockBytes = 1 << 30
	DefaultCPUPercentage = 20
	mergeFanIn           = 4 // blocks of a merge at most, in units of MinBlocks
	mergeMaxRows         = 20_000_000
	bytesPerTrace        = 2048 // of the memory of the store, for a trace of a merge
	mergeGrace           = 10 * time.Minute
)

func (o *CompactionOptions) setDefaults(maxSize int64) error {
	if o.MinBlocks == 0 {
		o.MinBlocks = DefaultMinBlocks
	}
	if o.MaxBlockBytes == 0 {
		o.MaxBlockBytes = DefaultMaxBlockBytes
	}
	if o.CPUPercentage == 0 {
		o.CPUPercentage = DefaultCPUPercentage
	}
	if maxSize > 0 {
		o.MaxBlockBytes = min(o.MaxBlockBytes, max(1, maxSize/8))
	}
	if o.MinBlocks < 2 || o.MaxBlockBytes < 0 || o.CPUPercentage < 1 || o.CPUPercentage > 100 {
		return errors.New("compaction needs 2 blocks or more, a positive size, and a CPU percentage from 1 to 100")
	}
	return nil
}

// mergePlan returns the merges that are due.
func (db *DB) mergePlan(s *state) []compact.Job {
	o := &db.opts.Compaction
	l := compact.Limits{
		MinBlocks: o.MinBlocks, MaxBlocks: mergeFanIn * o.MinBlocks, MaxRows: mergeMaxRows,
		MaxTraces: db.maxTraces(), MaxBytes: o.MaxBlockBytes, Free: -1, Grace: mergeGrace,
	}
	if free, err := db.opts.FS.FreeBytes(db.opts.Dir); err == nil {
		l.Free = int64(min(free, 1<<62)) //nolint:gosec // bounded
	}
	now := db.now()
	waits := db.mayDecide()
	if waits {
		l.Window, l.Decides = db.opts.Retention.Recent, true
	}
	blocks := make([]compact.Block, 0, len(s.blocks))
	lost := db.losses.load()
	for _, b := range slices.Backward(s.blocks) {
		m := b.block.Meta()
		if slices.ContainsFunc(lost, func(l loss) bool { return l.id == b.id }) {
			continue // It is repaired or moved away first.
		}
		if _, ok := db.bulky[b.id]; ok {
			continue
		}
		blocks = append(blocks, compact.Block{
			ID: b.id, Level: m.Level, Newest: newestOf(m.MaxEnd, storedAt(m, now)), Stored: storedAt(m, now), Rows: m.Rows, Traces: m.Traces,
			Hidden: len(b.hidden), Bytes: m.Bytes(), Waiting: waits && b.undecided(),
		})
	}
	return compact.Plan(l, now, blocks)
}

// maxTraces bounds the traces of a merge by the memory of the store.
func (db *DB) maxTraces() int { return int(max(1<<16, db.opts.MemoryBytes/bytesPerTrace)) }

// compactLoop merges blocks until Close. It is the only goroutine that does, beside Compact.
func (db *DB) compactLoop() {
	defer db.wg.Done()
	retry := time.Duration(0)
	for {
		worked, err := db.compactOnce(db.stopping, db.giveWay, false)
		if db.stopping.Err() != nil {
			return
		}
		delay := time.Duration(0)
		switch {
		case err != nil:
			retry = min(max(2*retry, firstRetry), lastRetry)
			delay = retry
			db.stats.mergeFailures.Add(1)
			call(db.opts.Listener.CompactionFailed, FlushFailed{Err: err, Retry: retry})
		case worked:
			retry = 0
		default:
			retry, delay = 0, db.opts.MaintenanceInterval
		}
		if sleep(db.stopping, delay) != nil {
			return
		}
	}
}

// sleep waits until a time has passed or ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// maxYield is how long a piece of merging waits for a flush: under a load that never lets up, blocks must not pile up
// for ever.
const maxYield = 5 * time.Second

// giveWay is the pace of merging in the background: no work while a head waits to be written, and only a share of a CPU.
func (db *DB) giveWay(ctx context.Context, worked time.Duration) error {
	limit := time.NewTimer(maxYield)
	defer limit.Stop()
	for waiting := true; waiting; {
		s, changed := db.current()
		if s == nil {
			return store.ErrClosed
		}
		if len(s.frozen) == 0 {
			break
		}
		select {
		case <-changed:
		case <-limit.C:
			waiting = false
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	share := int64(db.opts.Compaction.CPUPercentage)
	return sleep(ctx, worked*time.Duration(100-share)/time.Duration(share))
}

// compactOnce does the most urgent merge and reports whether there was one. See mergeMemory for patient.
func (db *DB) compactOnce(ctx context.Context, wait pace, patient bool) (worked bool, err error) {
	select {
	case db.compacting <- struct{}{}:
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	defer func() { <-db.compacting }()
	if db.merged == nil {
		decided, undecided := db.decideDue(ctx)
		if decided || db.opts.Compaction.Off {
			return decided, undecided
		}
		defer func() { err = errors.Join(err, undecided) }()
		if db.merged, err = db.nextMerge(ctx, wait, patient); err != nil || db.merged == nil {
			return false, err
		}
	}
	if err := db.finish(db.merged); err != nil {
		return false, fmt.Errorf("put %s in use: %w", db.merged.source(), err)
	}
	db.merged = nil
	db.wakeFlusher() // It removes what was replaced.
	return true, nil
}

// nextMerge merges blocks. It returns nil if there is nothing to do, or not enough memory now.
func (db *DB) nextMerge(ctx context.Context, wait pace, patient bool) (*job, error) {
	v, err := db.view()
	if err != nil {
		return nil, nil //nolint:nilerr // It was closed.
	}
	defer v.Release() // The blocks are in use until then.
	maps.DeleteFunc(db.bulky, func(id string, _ struct{}) bool {
		return !slices.ContainsFunc(v.s.blocks, func(b *blockPiece) bool { return b.id == id })
	})
	olds, level, bulk, err := db.mergeInputs(v.s)
	if err != nil || len(olds) == 0 {
		return nil, err
	}
	base, needs := db.mergeNeeds(olds, bulk)
	mem, err := db.mergeMemory(ctx, needs, patient)
	if err != nil || mem == nil {
		return nil, err
	}
	defer mem.release()
	mem.base = base
	start := time.Now()
	j, err := db.mergeBlocks(ctx, olds, level, wait, mem)
	db.stats.mergeNanos.Add(int64(time.Since(start)))
	if err != nil {
		return nil, fmt.Errorf("merge %s: %w", (&job{olds: olds}).source(), err)
	}
	return j, nil
}

// bulkShare is the part of the memory that large values may take in one granule of a merged block. What a block adds
// to it is at most a quarter of that: blocks with more are left as they are.
const bulkShare = 8

// mergeInputs returns the blocks to be merged next, oldest first, the level of the result, and about the bytes of their
// large values.
func (db *DB) mergeInputs(s *state) (olds []*blockPiece, level int, bulk int64, err error) {
	limit := db.opts.MemoryBytes / bulkShare
	for {
		jobs := db.mergePlan(s)
		if len(jobs) == 0 {
			return nil, 0, 0, nil
		}
		olds = olds[:0]
		sum, again := int64(0), false
		bulk = 0
		for _, id := range jobs[0].Inputs {
			b := s.blocks[slices.IndexFunc(s.blocks, func(b *blockPiece) bool { return b.id == id })]
			if len(jobs[0].Inputs) == 1 {
				return []*blockPiece{b}, jobs[0].Level, 0, nil // It becomes no larger than it was.
			}
			n, err := b.block.Bulk()
			if err != nil {
				if _, ok := errors.AsType[*store.CorruptionError](err); ok {
					db.suspect(b.block, err)
				}
				return nil, 0, 0, fmt.Errorf("look for large values in block %s: %w", id, err)
			}
			if n > limit/4 {
				if db.bulky == nil {
					db.bulky = make(map[string]struct{})
				}
				db.bulky[id], again = struct{}{}, true
			}
			if sum += n; sum <= limit || len(olds) < 2 {
				olds, bulk = append(olds, b), bulk+n
			}
		}
		if !again {
			return olds, jobs[0].Level, bulk, nil
		}
	}
}

// Compact does all merges that are due, without giving way to other work. It returns when none is left.
func (db *DB) Compact(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(db.stopping, func() { cancel(store.ErrClosed) })()
	for {
		worked, err := db.compactOnce(ctx, noPace, true)
		if err != nil {
			return fmt.Errorf("compact: %w", err)
		}
		if !worked {
			return nil
		}
	}
}

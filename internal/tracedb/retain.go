package tracedb

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/retain"
)

// diskSizer is a file system that knows how large it is. The operating system's is asked directly.
type diskSizer interface {
	TotalBytes(path string) (uint64, error)
}

// maintain looks after age, size and free disk until Close.
func (db *DB) maintain() {
	defer db.wg.Done()
	if v, err := db.view(); err == nil {
		v.Split().Len() // The first time takes long with many blocks: before a query waits for it.
		v.Release()
	}
	t := time.NewTicker(db.opts.MaintenanceInterval)
	defer t.Stop()
	for {
		db.tick()
		select {
		case <-db.stopping.Done():
			return
		case <-t.C:
		}
	}
}

// tick does one round of maintenance.
func (db *DB) tick() {
	if v, err := db.view(); err == nil {
		v.s.split.catchUp(v.live) // Little at a time, so that neither a cut nor a query has much to do.
		live := v.s.live
		v.Release()
		if _, ok := db.mustCut(live); ok {
			db.cutIf(live)
		}
	}
	db.cutForSize()
	db.retain()
	db.wakeFlusher() // Erased traces may be due.
}

// cutForSize cuts the live head when its log is a quarter of the allowed size, so that dropping frees no more than
// needed.
func (db *DB) cutForSize() {
	limit := db.opts.Retention.MaxSizeBytes
	if limit == 0 {
		return
	}
	if db.wal.Bytes()-db.walAtCut.Load() < limit/4 {
		return
	}
	db.gate.Lock()
	defer db.gate.Unlock()
	if !db.closed {
		db.cut(CutSize)
	}
}

// retain drops what is too old or too much.
func (db *DB) retain() {
	reason, missing := db.watchDisk()
	db.commit.Lock()
	s := db.state.Load()
	if s == nil {
		db.commit.Unlock()
		return
	}
	plan := db.planDrops(s, db.purgeQuarantine(db.used(s), missing))
	if len(plan) > 0 {
		if err := db.applyDrops(s, plan); err != nil {
			call(db.opts.Listener.Error, fmt.Errorf("drop the oldest spans: %w", err))
		}
	}
	db.commit.Unlock()
	// With a drop on its way there is hope; the next look tells.
	if reason == "" || !slices.ContainsFunc(plan, func(d retain.Drop) bool { return d.Reason == retain.Disk }) && db.doomedBytes() == 0 {
		db.setDiskFull(reason)
	}
}

// planDrops describes the store to retain.Plan.
func (db *DB) planDrops(s *state, missing int64) []retain.Drop {
	now := db.now()
	r := db.opts.Retention
	st := retain.State{Now: now, Used: db.used(s), Missing: missing}
	for _, b := range s.blocks {
		m := b.block.Meta()
		st.Blocks = append(st.Blocks, retain.Item{ID: b.id, Newest: newestOf(m.MaxEnd, storedAt(m, now)), Bytes: m.Bytes()})
	}
	for _, p := range slices.Backward(s.frozen) {
		st.Heads = append(st.Heads, retain.Item{ID: p.id, Newest: p.newest(), Bytes: max(1, p.logged)})
	}
	return retain.Plan(retain.Limits{MaxAge: r.MaxAge, MaxBytes: r.sizeLimit()}, st)
}

// sizeLimit returns how much may be on disk after a look: a little is left for what comes until the next one, and for what
// does not count, such as meta.json.
func (r *Retention) sizeLimit() int64 { return r.MaxSizeBytes - min(r.MaxSizeBytes/32, 64<<20) }

// makeRoomFor notes that blocks are about to be written anew, which takes as much again for a while, and makes room for that.
func (db *DB) makeRoomFor(olds []*blockPiece) (bytes int64) {
	for _, b := range olds {
		bytes += b.block.Meta().Bytes()
	}
	db.reserved.Add(bytes)
	db.retain()
	if err := db.emptyTrash(); err != nil {
		call(db.opts.Listener.Error, err)
	}
	return bytes
}

// used returns the bytes on disk that count for retention: log, blocks, those that are being written anew, and quarantine.
func (db *DB) used(s *state) int64 {
	n := db.wal.Bytes() + db.losses.bytes() + db.reserved.Load()
	for _, b := range s.blocks {
		n += b.block.Meta().Bytes()
	}
	return n
}

// blockTime returns when a block was written, from its id.
func blockTime(id string, now time.Time) time.Time {
	u, err := ulid.ParseStrict(id)
	if err != nil {
		return now
	}
	return ulid.Time(u.Time())
}

// applyDrops drops blocks and the oldest frozen heads. The caller holds commit.
func (db *DB) applyDrops(s *state, plan []retain.Drop) error {
	var blocks []*blockPiece
	var heads []*piece
	why := map[string]DropReason{}
	for _, d := range plan {
		why[d.ID] = dropReasons[d.Reason]
		if d.Head {
			heads = append(heads, s.frozen[len(s.frozen)-1-len(heads)])
			continue
		}
		blocks = append(blocks, s.blocks[slices.IndexFunc(s.blocks, func(b *blockPiece) bool { return b.id == d.ID })])
	}
	mark := db.mark
	if len(heads) > 0 {
		mark = max(mark, heads[len(heads)-1].mark)
	}
	rest := without(s.blocks, blocks)
	if err := db.save(rest, mark); err != nil {
		// On a full disk something must go before a manifest can be written. Open knows of blocks that are not there.
		if !errors.Is(err, syscall.ENOSPC) {
			return err
		}
		db.saveLater(err)
	}
	for _, b := range blocks {
		db.doom(b, 0)
	}
	db.replace(func(old *state) (*state, *splitIndex) {
		masks := old.masks
		for _, p := range heads {
			db.leave(p)
			masks = (&state{masks: masks}).withoutMask(p)
		}
		frozen := slices.DeleteFunc(slices.Clone(old.frozen), func(p *piece) bool { return slices.Contains(heads, p) })
		next := newState(old.live, frozen, rest, masks)
		return next, old.split.without(next, func(id spanid.TraceID) bool {
			return hadBlock(blocks)(id) || slices.ContainsFunc(heads, func(p *piece) bool { return s.has(p, id) })
		})
	})
	if len(heads) > 0 {
		db.retire(mark)
	}
	for _, b := range blocks {
		db.stats.droppedBlocks.Add(1)
		db.stats.droppedSpans.Add(uint64(b.part.Info().Rows))
		call(db.opts.Listener.BlockDropped, blockDropped(b, why[b.id]))
	}
	for _, p := range heads {
		spans := p.part.Info().Rows - len(s.masks[p])
		db.stats.droppedHeads.Add(1)
		db.stats.droppedSpans.Add(uint64(spans))
		call(db.opts.Listener.HeadDropped, HeadDropped{ID: p.id, Reason: why[p.id], Spans: spans, Bytes: p.head.Bytes(), Mark: p.mark})
	}
	return nil
}

func hadBlock(gone []*blockPiece) func(spanid.TraceID) bool {
	return func(id spanid.TraceID) bool {
		return slices.ContainsFunc(gone, func(b *blockPiece) bool { return b.has(id) })
	}
}

// watchDisk says why the disk is too full, if it is, and how many bytes must become free beside those that will.
func (db *DB) watchDisk() (reason string, missing int64) {
	share := db.opts.Retention.MinFreePercentage
	if share == 0 {
		return "", 0
	}
	reason, missing, err := db.lowDisk(share)
	if err != nil {
		call(db.opts.Listener.Error, err)
		return "", 0
	}
	return reason, missing - db.doomedBytes()
}

// lowDisk says why the disk is too full, if it is.
func (db *DB) lowDisk(share float64) (reason string, missing int64, err error) {
	free, err := db.opts.FS.FreeBytes(db.opts.Dir)
	if err != nil {
		return "", 0, fmt.Errorf("measure free disk space: %w", err)
	}
	total, err := totalBytes(db.opts.FS, db.opts.Dir)
	if err != nil {
		return "", 0, fmt.Errorf("measure disk size: %w", err)
	}
	want := float64(total) * share / 100
	if total == 0 || float64(free) >= want {
		return "", 0, nil
	}
	return fmt.Sprintf("the disk of %s has %d of %d bytes free, less than the %v %% of min_free_percentage",
		db.opts.Dir, free, total, share), int64(want - float64(free) + 1), nil
}

// totalBytes returns the size of the file system, 0 if it cannot be known.
func totalBytes(fsys fsx.FS, path string) (uint64, error) {
	if s, ok := fsys.(diskSizer); ok {
		return s.TotalBytes(path)
	}
	if _, ok := fsys.(fsx.OS); ok {
		return diskSize(path)
	}
	return 0, nil
}

func (db *DB) setDiskFull(reason string) {
	was := db.diskFull.Load() != nil
	switch {
	case reason != "":
		db.diskFull.Store(&reason)
		if !was {
			call(db.opts.Listener.Full, reason)
		}
	case was:
		db.diskFull.Store(nil)
		if db.opts.Listener.Recovered != nil {
			db.opts.Listener.Recovered()
		}
	}
}

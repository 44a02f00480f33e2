package tracedb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bramble-tracing/bramble/internal/memlimit"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/block"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/head"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/wal"
)

// DB is an open store. It is safe for concurrent use.
type DB struct {
	opts Options
	lock io.Closer
	wal  *wal.WAL
	memory
	state  atomic.Pointer[state]
	stats  counters
	replay Replayed
	bufs   sync.Pool // of *[]byte, for log records

	observers atomic.Pointer[[]*observer]

	// diskFull is why Append refuses because of the disk; nil if it does not.
	diskFull atomic.Pointer[string]
	// retained is what dropped heads still take because views use them.
	retained atomic.Int64
	nextID   atomic.Uint64

	// gate: see the package comment. It guards closed.
	gate   sync.RWMutex
	closed bool

	// commit is held while frozen heads or blocks leave, arrive or are changed: whoever holds it can save a manifest that
	// agrees with the next state. It guards catalog, sequence and mark, which are what the manifest on disk says.
	commit   sync.Mutex
	catalog  map[string]*saved
	sequence uint64
	mark     uint64
	markNow  atomic.Uint64 // mark, for Stats
	// unsaved says that the manifest does not have what is in memory, because writing it failed.
	unsaved atomic.Bool

	reader *block.Reader
	cache  *block.LRU

	// flushing is full while the flusher works. It guards pending, a job that has to be finished.
	flushing   chan struct{}
	pending    *job
	wake       chan struct{}
	requests   chan rewriteRequest
	flushError atomic.Pointer[string] // why the last attempt did not succeed, nil if it did
	// compacting is full while blocks are merged. It guards merged, a merge that has to be finished.
	compacting chan struct{}
	merged     *job
	// reserved is what blocks take twice on disk, because they are being merged or written anew.
	reserved atomic.Int64
	// bulky are the blocks with large values, which are not merged. It belongs to who merges.
	bulky map[string]struct{}
	// decider is who decides about traces that leave the recent window, nil if nobody does.
	decider atomic.Pointer[decider]
	opened  time.Time
	// remembered are dropped traces that are in no block any more, as the overlay of none. commit guards changes.
	remembered atomic.Pointer[block.Overlay]
	notes      headNotes
	trash      trash
	losses     losses
	ledger     ledger
	// What Open found: bytes of the log, and spans in blocks.
	logOpened, spansOpened int64
	replayed               atomic.Bool // the log was read; it may be freed

	// walAtCut is the size of what is left of the log that was there at the last cut.
	walAtCut atomic.Int64

	// mu is held while the state is replaced. It guards piece.dropped and changed, which is closed by each change.
	mu      sync.Mutex
	changed chan struct{}

	stop      context.CancelFunc // ends waiting and the maintenance
	stopping  context.Context    //nolint:containedctx // The lifetime of the DB's own goroutines.
	wg        sync.WaitGroup
	closeOnce sync.Once
	closeDone chan struct{}
	closeErr  error
}

var _ store.Store = (*DB)(nil)

// counters are the sums that Stats reports.
type counters struct {
	batches, spans, refused               atomic.Uint64
	cuts, droppedHeads, droppedSpans      atomic.Uint64
	deletedSpans, deletedTraces, corrupts atomic.Uint64
	blocksWritten, bytesWritten, rewrites atomic.Uint64
	droppedBlocks, quarantined            atomic.Uint64
	flushFailures                         atomic.Uint64
	repaired, scrubbedBlocks              atomic.Uint64
	scrubbedBytes                         atomic.Uint64
	quarantineFreed, received             atomic.Uint64
	quarantinedSpans                      atomic.Uint64
	removedSpans                          atomic.Int64
	flushNanos                            atomic.Int64
	merges, mergedSpans, copiedSpans      atomic.Uint64
	mergeFailures, decided, keptTraces    atomic.Uint64
	mergeNanos                            atomic.Int64
}

// Stats describes a DB. Sums count from Open.
type Stats struct {
	// Spans and Traces that are stored now; a trace counts once per part. Heads counts the live and the frozen ones.
	Spans, Traces, Heads int
	// Blocks and BlockBytes are the immutable blocks and their files. DoomedBytes are files that go when views do.
	Blocks                  int
	BlockBytes, DoomedBytes int64
	// CacheBytes is what was decoded from blocks and is kept, at most CacheLimit.
	CacheBytes, CacheLimit int64
	// WALLag is the number of log records that are not in blocks yet.
	WALLag uint64
	// BlocksWritten, with their bytes and the time it took, Rewrites among them; blocks dropped by retention, those
	// quarantined, and attempts to write that did not succeed.
	BlocksWritten, BlockBytesWritten, Rewrites uint64
	FlushTime                                  time.Duration
	DroppedBlocks, Quarantined, FlushFailures  uint64
	// Merges of blocks to a higher level, the spans in their results, those among them that were copied without decoding,
	// attempts that did not succeed, and the time that merging took, waiting included.
	Merges, MergedSpans, CopiedSpans, MergeFailures uint64
	MergeTime                                       time.Duration
	// Repaired counts damaged blocks of which nothing was lost. QuarantinedBytes is what quarantine holds on disk.
	Repaired         uint64
	QuarantinedBytes int64
	// LevelBytes are the blocks in use by level; ReceivedBytes are log records before compression; WrittenBytes and
	// FreedBytes are what the log, blocks and quarantine took and gave back on disk. See Account for sums that add up.
	LevelBytes               [Levels]int64
	ReceivedBytes            uint64
	WrittenBytes, FreedBytes int64
	// ScrubbedBlocks and ScrubbedBytes were verified by the scrub.
	ScrubbedBlocks, ScrubbedBytes uint64
	// DecidedTraces were decided about when they left the recent window, KeptTraces among them were kept.
	DecidedTraces, KeptTraces uint64
	// HeadBytes is the memory of all heads, RetainedBytes what dropped ones take because views use them.
	HeadBytes, RetainedBytes int64
	// Memory is that of heads, retained ones included, Flushing what writing heads as blocks takes, Merging what merging
	// blocks takes, and AllMemory the sum with what is kept for the cache and the flusher.
	Memory, Flushing, Merging, AllMemory memlimit.Usage
	WALBytes                             int64
	// OldestNano is the earliest span start in Unix nanoseconds; 0 without spans.
	OldestNano uint64
	// Accepted batches and spans, and refused batches.
	AppendedBatches, AppendedSpans, RefusedBatches uint64
	Cuts, DroppedHeads, DroppedSpans               uint64
	DeletedTraces, DeletedSpans                    uint64
	// Corruptions counts damaged places that were skipped.
	Corruptions uint64
	Replayed    Replayed
	// Full is the reason why Append refuses because of the disk; empty if it does not.
	Full string
}

// Stats returns the present numbers.
func (db *DB) Stats() Stats {
	c := &db.stats
	st := Stats{
		RetainedBytes: db.retained.Load(), Memory: db.heads.Usage(), Flushing: db.flush.Usage(), Merging: db.merge.Usage(), AllMemory: db.all.Usage(), WALBytes: db.wal.Bytes(),
		AppendedBatches: c.batches.Load(), AppendedSpans: c.spans.Load(), RefusedBatches: c.refused.Load(),
		Cuts: c.cuts.Load(), DroppedHeads: c.droppedHeads.Load(), DroppedSpans: c.droppedSpans.Load(),
		DeletedTraces: c.deletedTraces.Load(), DeletedSpans: c.deletedSpans.Load(),
		Corruptions: c.corrupts.Load(), Replayed: db.replay,
		DoomedBytes: db.doomedBytes(), CacheBytes: db.cache.Bytes(), CacheLimit: db.opts.MemoryBytes / cacheShare, WALLag: db.wal.LastSeq() - min(db.markNow.Load(), db.wal.LastSeq()),
		BlocksWritten: c.blocksWritten.Load(), BlockBytesWritten: c.bytesWritten.Load(), Rewrites: c.rewrites.Load(),
		FlushTime: time.Duration(c.flushNanos.Load()), DroppedBlocks: c.droppedBlocks.Load(),
		Quarantined: c.quarantined.Load(), FlushFailures: c.flushFailures.Load(),
		Merges: c.merges.Load(), MergedSpans: c.mergedSpans.Load(), CopiedSpans: c.copiedSpans.Load(),
		DecidedTraces: c.decided.Load(), KeptTraces: c.keptTraces.Load(),
		MergeFailures: c.mergeFailures.Load(), MergeTime: time.Duration(c.mergeNanos.Load()),
		Repaired: c.repaired.Load(), ScrubbedBlocks: c.scrubbedBlocks.Load(), ScrubbedBytes: c.scrubbedBytes.Load(),
		QuarantinedBytes: db.losses.bytes(), ReceivedBytes: c.received.Load(),
	}
	written, freed, _ := db.wal.Flow()
	db.ledger.add(func(l *ledger) { st.WrittenBytes, st.FreedBytes = written+l.flow.Written, freed+l.flow.Freed })
	st.FreedBytes += int64(c.quarantineFreed.Load())
	if reason := db.diskFull.Load(); reason != nil {
		st.Full = *reason
	}
	v, err := db.view()
	if err != nil {
		return st
	}
	defer v.Release()
	st.Heads = 1 + len(v.s.frozen)
	st.Traces = v.live.Traces()
	for _, p := range v.s.frozen {
		st.Traces += p.part.Traces()
		st.HeadBytes += p.head.Bytes()
	}
	st.HeadBytes += v.s.live.head.Bytes()
	st.Blocks = len(v.s.blocks)
	for _, b := range v.s.blocks {
		st.Traces += b.block.Meta().Traces
		m := b.block.Meta()
		st.BlockBytes += m.Bytes()
		st.LevelBytes[min(max(m.Level, 0), Levels-1)] += m.Bytes()
	}
	for _, p := range v.parts {
		info := p.Info()
		st.Spans += info.Rows
		if st.OldestNano == 0 || info.MinStartNano < st.OldestNano {
			st.OldestNano = info.MinStartNano
		}
	}
	return st
}

// newPiece returns an empty live head.
func (db *DB) newPiece() *piece {
	id := "head-" + strconv.FormatUint(db.nextID.Add(1), 10)
	p := &piece{id: id, head: head.New(id, head.Options{MaxColumns: db.opts.MaxColumns}), free: db.freePiece, notes: &db.notes}
	db.charge(p, p.head.Bytes(), 0)
	return p
}

// charge counts grown bytes of a head, of which reserved are taken from the budget already.
func (db *DB) charge(p *piece, grown, reserved int64) {
	p.charged.Add(grown)
	db.heads.Force(grown - reserved)
	db.heads.Release(reserved - grown)
}

// freePiece returns the memory of a head that nobody can reach any more.
func (db *DB) freePiece(p *piece) {
	n := p.charged.Load()
	if p.dropped {
		db.retained.Add(-n)
	}
	db.heads.Release(n)
}

// setState publishes a state. The caller holds mu.
func (db *DB) setState(s *state) {
	if old := db.state.Swap(s); old != nil {
		old.unref()
	}
	if db.changed != nil {
		close(db.changed)
	}
	db.changed = make(chan struct{})
}

// current returns the state, nil if the DB is closed, and a channel that is closed when there is another.
func (db *DB) current() (s *state, changed <-chan struct{}) {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.state.Load(), db.changed
}

// Close refuses further appends, waits for running ones, syncs the log and releases the directory. Heads are not
// written as blocks: reading their log at the next Open is quicker, and restarts do not make small blocks. It returns
// store-wide errors of that, or ctx's error if ctx ends first: closing then goes on, and another Close waits for it.
// Views stay valid until released.
func (db *DB) Close(ctx context.Context) error {
	db.closeOnce.Do(func() { go db.close() })
	select {
	case <-db.closeDone:
		return db.closeErr
	case <-ctx.Done():
		return fmt.Errorf("close %s: %w", db.opts.Dir, context.Cause(ctx))
	}
}

func (db *DB) close() {
	defer close(db.closeDone)
	db.stop()
	db.gate.Lock()
	db.closed = true
	db.gate.Unlock()
	db.wg.Wait()
	err := db.wal.Close()
	db.flushing <- struct{}{}
	if db.pending != nil && db.pending.block != nil {
		err = errors.Join(err, db.pending.block.Release())
	}
	db.pending = nil
	<-db.flushing
	db.compacting <- struct{}{}
	if db.merged != nil && db.merged.block != nil {
		err = errors.Join(err, db.merged.block.Release())
	}
	db.merged = nil
	<-db.compacting
	db.mu.Lock()
	db.setState(nil)
	db.mu.Unlock()
	err = errors.Join(err, db.emptyTrash())
	if err = errors.Join(err, db.lock.Close()); err != nil {
		db.closeErr = fmt.Errorf("close %s: %w", db.opts.Dir, err)
	}
}

// Memory returns the budget of the whole store, of which readers can take shares.
func (db *DB) Memory() *memlimit.Budget { return db.all }

// Sync makes everything durable that was appended before the call, whatever the sync mode.
func (db *DB) Sync() error { return db.wal.Sync() }

func (db *DB) now() time.Time { return db.opts.Clock() }

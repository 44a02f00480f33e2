package tracedb

import (
	"context"
	"fmt"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/head"
)

// maxPooledRecord is the largest buffer for log records that is kept for reuse.
const maxPooledRecord = 4 << 20

// Append stores a batch, as a whole or not at all; see store.Appender and Options.WAL for how durable it is. One batch
// is one log record. It is refused with store.ErrTooLarge if the record would not fit into a segment of the log
// (64 MiB compressed, 256 MiB not) or the spans not into two thirds of the memory for heads: with the defaults, a
// request of 32 MiB is far from either. It waits for memory that views of dropped heads hold, until ctx ends:
// store.ErrFull.
func (db *DB) Append(ctx context.Context, b *store.Batch) error {
	err := db.append(ctx, b)
	if err != nil {
		db.stats.refused.Add(1)
		return fmt.Errorf("append %d spans: %w", len(b.Spans), err)
	}
	return nil
}

func (db *DB) append(ctx context.Context, b *store.Batch) error {
	if err := head.Validate(b); err != nil {
		return err
	}
	if len(b.Spans) == 0 {
		return nil
	}
	buf := db.buffer()
	defer db.release(buf)
	var err error
	if *buf, err = appendBatchRecord((*buf)[:0], b); err != nil {
		return err
	}
	reserved := weigh(b)
	if limit := db.heads.Limit() - db.opts.Cut.Bytes; reserved > limit {
		return fmt.Errorf("about %d bytes in memory, at most %d: send smaller batches or allow more memory: %w",
			reserved, limit, store.ErrTooLarge)
	}
	if reason := db.diskFull.Load(); reason != nil {
		return fmt.Errorf("%s: %w", *reason, store.ErrFull)
	}
	if err := db.reserve(ctx, reserved); err != nil {
		return err
	}
	live, err := db.write(ctx, *buf, b, reserved)
	if err != nil {
		return err
	}
	db.stats.batches.Add(1)
	db.stats.spans.Add(uint64(len(b.Spans)))
	db.accepted(b)
	if _, ok := db.mustCut(live); ok {
		db.cutIf(live)
		db.relieve()
	}
	return nil
}

func (db *DB) buffer() *[]byte {
	if buf, ok := db.bufs.Get().(*[]byte); ok {
		return buf
	}
	return new([]byte)
}

func (db *DB) release(buf *[]byte) {
	if cap(*buf) <= maxPooledRecord {
		db.bufs.Put(buf)
	}
}

// write adds the record to the log and then the spans to the live head, which it returns.
func (db *DB) write(ctx context.Context, rec []byte, b *store.Batch, reserved int64) (*piece, error) {
	db.gate.RLock()
	defer db.gate.RUnlock()
	if db.closed {
		db.heads.Release(reserved)
		return nil, store.ErrClosed
	}
	if _, err := db.wal.Append(ctx, rec); err != nil {
		db.heads.Release(reserved)
		return nil, err
	}
	live := db.state.Load().live
	grown, err := live.head.Append(b)
	if err != nil {
		// The batch was validated before: only the number of rows could be exceeded, long after the cut.
		db.heads.Release(reserved)
		return nil, err
	}
	db.charge(live, grown, reserved)
	live.born.CompareAndSwap(0, db.now().UnixNano())
	return live, nil
}

// reserve takes n bytes of the heads' budget, dropping the oldest heads for it.
func (db *DB) reserve(ctx context.Context, n int64) error {
	for !db.heads.TryAcquire(n) {
		if !db.makeRoom(n) {
			return db.wait(ctx, n)
		}
	}
	return nil
}

// makeRoom drops the oldest head if that is needed to get n bytes beside what others wait for. Memory of dropped heads
// that views still use is waited for rather than made up for by dropping more. It reports whether it dropped one.
func (db *DB) makeRoom(n int64) bool {
	db.gate.RLock()
	defer db.gate.RUnlock()
	if db.closed {
		return false
	}
	db.dropping.Lock()
	defer db.dropping.Unlock()
	return db.tooFull(n) && db.dropOldest(DropMemory)
}

// tooFull reports whether n bytes more do not fit even when the memory of dropped heads is free.
func (db *DB) tooFull(n int64) bool {
	u := db.heads.Usage()
	return u.Used-db.retained.Load()+u.Waiting+n > u.Limit
}

// relieve drops heads for those who wait for memory: when they began to wait there may have been no frozen head.
func (db *DB) relieve() {
	for db.heads.Usage().Waiters > 0 && db.makeRoom(0) {
	}
}

func (db *DB) wait(ctx context.Context, n int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(db.stopping, cancel)()
	err := db.heads.Acquire(ctx, n)
	if err == nil {
		return nil
	}
	if db.stopping.Err() != nil {
		return store.ErrClosed
	}
	return fmt.Errorf("%w: %w", store.ErrFull, err)
}

// DeleteTrace hides all spans of a trace that were accepted so far, durably, and returns how many there were. Views
// taken before keep them. The bytes go when the heads that hold them do.
func (db *DB) DeleteTrace(ctx context.Context, id spanid.TraceID) (int, error) {
	db.gate.Lock()
	defer db.gate.Unlock()
	if db.closed {
		return 0, fmt.Errorf("delete trace %s: %w", id, store.ErrClosed)
	}
	if !db.stored(id) {
		return 0, nil
	}
	if _, err := db.wal.Append(ctx, deleteRecord(id)); err != nil {
		return 0, fmt.Errorf("delete trace %s: %w", id, err)
	}
	n := db.mask(id)
	call(db.opts.Listener.TraceDeleted, n)
	return n, nil
}

// stored reports whether the trace has spans that are not deleted. The caller holds gate.
func (db *DB) stored(id spanid.TraceID) bool {
	v, err := db.view()
	if err != nil {
		return false
	}
	defer v.Release()
	if len(v.s.rows(v.s.live, v.live, id)) > 0 {
		return true
	}
	for _, p := range v.s.frozen {
		if v.s.has(p, id) {
			return true
		}
	}
	return false
}

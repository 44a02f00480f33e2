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
// request of 32 MiB is far from either. It waits, until ctx ends, for heads to be written as blocks and for memory that
// views of such heads hold: store.ErrFull.
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
	// Not before there is room: of many large batches that wait, none has its record yet.
	buf := db.buffer()
	defer db.release(buf)
	var err error
	if *buf, err = appendBatchRecord((*buf)[:0], b); err != nil {
		db.heads.Release(reserved)
		return err
	}
	live, err := db.write(ctx, *buf, b, reserved)
	if err != nil {
		return err
	}
	db.accepted(b)
	if _, ok := db.mustCut(live); ok {
		db.cutIf(live)
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
	db.stats.batches.Add(1)
	db.stats.spans.Add(uint64(len(b.Spans)))
	db.stats.received.Add(uint64(len(rec)))
	live.born.CompareAndSwap(0, db.now().UnixNano())
	return live, nil
}

// reserve takes n bytes of the heads' budget. It waits as long as the live head is full and too many frozen ones wait
// to be written, or for memory: heads that become blocks give it back, and so do views of those.
func (db *DB) reserve(ctx context.Context, n int64) error {
	if err := db.waitForFlush(ctx); err != nil {
		return err
	}
	if db.heads.TryAcquire(n) {
		return nil
	}
	db.makeRoom()
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
	return fmt.Errorf("%w: %w%s", store.ErrFull, err, db.flushTrouble())
}

// waitForFlush waits while the live head must be cut and cannot be.
func (db *DB) waitForFlush(ctx context.Context) error {
	for {
		s, changed := db.current()
		if s == nil {
			return store.ErrClosed
		}
		if len(s.frozen) < db.opts.Cut.MaxFrozen {
			return nil
		}
		if _, ok := db.mustCut(s.live); !ok {
			return nil
		}
		select {
		case <-changed:
		case <-db.stopping.Done():
			return store.ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("%w: %d heads wait to be written as blocks: %w%s",
				store.ErrFull, len(s.frozen), context.Cause(ctx), db.flushTrouble())
		}
	}
}

// flushTrouble says why heads are not written as blocks, if so, to be added to an error.
func (db *DB) flushTrouble() string {
	if why := db.flushError.Load(); why != nil {
		return " (writing blocks does not succeed: " + *why + ")"
	}
	return ""
}

// makeRoom freezes the live head if there is no other memory that could become free.
func (db *DB) makeRoom() {
	s := db.state.Load()
	if s == nil || len(s.frozen) > 0 || s.live.head.Rows() == 0 {
		return
	}
	db.gate.Lock()
	defer db.gate.Unlock()
	now := db.state.Load()
	if db.closed || now == nil || now.live != s.live || len(now.frozen) > 0 || db.retained.Load() > 0 {
		return
	}
	db.cut(CutMemory)
}

// DeleteTrace hides all spans of a trace that were accepted so far, durably, and returns how many there were. After an
// error nothing is hidden, but a restart may find the deletion in the log. Views taken before keep the spans. The bytes go
// when the heads and blocks that hold them are written anew: see Rewrite.
func (db *DB) DeleteTrace(ctx context.Context, id spanid.TraceID) (int, error) {
	db.gate.Lock()
	defer db.gate.Unlock()
	if db.closed {
		return 0, fmt.Errorf("delete trace %s: %w", id, store.ErrClosed)
	}
	db.commit.Lock()
	defer db.commit.Unlock()
	if !db.stored(id) {
		return 0, nil
	}
	// The record is what makes the deletion durable: replaying it erases the trace in blocks as well, and it stays
	// until a manifest is written, which takes the overlays with it.
	if _, err := db.wal.Append(ctx, deleteRecord(id)); err != nil {
		return 0, fmt.Errorf("delete trace %s: %w", id, err)
	}
	db.stats.received.Add(uint64(len(deleteRecord(id))))
	if err := db.wal.Sync(); err != nil {
		return 0, fmt.Errorf("delete trace %s: %w", id, err)
	}
	n, blocks := db.mask(id)
	if blocks {
		db.saveLater(db.save(db.state.Load().blocks, db.mark))
		db.wakeFlusher()
	}
	call(db.opts.Listener.TraceDeleted, n)
	return n, nil
}

// stored reports whether the trace has spans that are not erased. The caller holds gate.
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
	for _, b := range v.s.blocks {
		if b.erasable(id) {
			return true
		}
	}
	return false
}

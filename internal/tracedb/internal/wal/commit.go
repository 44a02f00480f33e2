package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/bramble-tracing/bramble/internal/store"
)

// maxWrite is where a write ends though more is waiting, in bytes.
const maxWrite = 4 << 20

// commitLoop is the committer.
func (w *WAL) commitLoop() {
	defer w.wg.Done()
	for {
		batch, ok := w.q.take(w.batch[:0])
		if !ok {
			return
		}
		w.batch = batch
		for len(batch) > 0 {
			n := 1
			switch batch[0].kind {
			case reqAppend:
				n = w.commitAppends(batch)
			case reqSync:
				finish(batch[:1], w.syncCurrent())
			case reqRotate:
				finish(batch[:1], w.rotate())
			}
			batch = batch[n:]
		}
		clear(w.batch)
	}
}

// finish tells requests their result. They may not be used afterwards.
func finish(reqs []*request, err error) {
	for _, r := range reqs {
		r.err = err
		r.done <- struct{}{}
	}
}

// commitAppends writes the first records of batch, as many as go into one write and one segment, and returns how
// many it was. They are accepted or refused together.
func (w *WAL) commitAppends(batch []*request) int {
	if err := w.ready(len(batch[0].rec)); err != nil {
		finish(batch[:1], full(err))
		return 1
	}
	a, first := w.cur, w.nextSeq
	start, end, n := a.pos, a.pos, 0
	w.buf = w.buf[:0]
	for n < len(batch) && batch[n].kind == reqAppend && len(w.buf) < maxWrite {
		r := batch[n]
		next := fragmentedEnd(end, len(r.rec))
		if next > w.opts.SegmentBytes {
			break
		}
		r.seq = first + uint64(n) //nolint:gosec // n is not negative.
		setSeq(r.rec, r.seq)
		w.buf = appendFragments(w.buf, end, a.number, r.rec)
		end = next
		n++
	}
	err := w.writeBuf(a, start, end, batch[n-1].seq)
	if cap(w.buf) > 2*maxWrite {
		w.buf = nil
	}
	finish(batch[:n], full(err))
	return n
}

// full marks the errors that mean a full disk.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", store.ErrFull, err)
	}
	return err
}

// writeBuf writes w.buf, which holds the records up to seq, from start to end of the segment, and syncs if Append
// waits for that. If it fails, the log is as before.
func (w *WAL) writeBuf(a *active, start, end int64, seq uint64) error {
	if _, err := a.f.Write(w.buf); err != nil {
		w.event(Event{Kind: WriteFailed, Path: a.path, Err: err})
		w.rollback(a, start)
		return err
	}
	w.mu.Lock()
	prev := a.seq
	a.pos, a.seq = end, seq
	w.written += end - start
	w.mu.Unlock()
	if w.opts.Sync == SyncAlways {
		if err := w.syncCurrent(); err != nil {
			w.mu.Lock()
			a.pos, a.seq = start, prev
			w.written -= end - start
			w.mu.Unlock()
			w.rollback(a, start)
			return err
		}
	}
	w.mu.Lock()
	w.prevSeq, w.nextSeq = seq, seq+1
	w.mu.Unlock()
	if w.opts.Sync == SyncInterval {
		select {
		case w.dirty <- struct{}{}:
		default:
		}
	}
	return nil
}

// rollback cuts the segment to pos, so that nothing of a refused record is found behind it, and does so durably,
// because the writers are told next. If that is not possible, or the file is suspect already, a new segment is begun,
// whose header revokes the records; if that is not possible either, the next Append tries again.
func (w *WAL) rollback(a *active, pos int64) {
	err := a.f.Truncate(pos)
	if err == nil {
		err = a.f.Sync()
	}
	w.mu.Lock()
	if err != nil && a.suspect == nil {
		a.suspect = fmt.Errorf("cut %s to its last good byte %d: %w", a.path, pos, err)
	}
	suspect := a.suspect != nil
	w.mu.Unlock()
	if suspect {
		// Its error is that of the disk, which the writers are told already.
		_ = w.nextSegment()
	}
}

// ready sees to it that the current segment can be written to and has room for a record of n bytes.
func (w *WAL) ready(n int) error {
	w.mu.Lock()
	a := w.cur
	fits := a != nil && a.suspect == nil && !a.ended && fragmentedEnd(a.pos, n) <= w.opts.SegmentBytes
	w.mu.Unlock()
	if fits {
		return nil
	}
	return w.nextSegment()
}

// rotate begins a new segment unless the current one is empty.
func (w *WAL) rotate() error {
	w.mu.Lock()
	a := w.cur
	empty := a != nil && a.suspect == nil && !a.ended && a.pos == segmentHeaderBytes ||
		a == nil && (len(w.segs) == 0 || w.segs[len(w.segs)-1].size <= segmentHeaderBytes)
	w.mu.Unlock()
	if empty {
		return nil
	}
	return full(w.nextSegment())
}

// nextSegment syncs and ends the current segment and begins a new one. If it fails, the current one stays but is not
// written to any more: what was created of the new one may come back after a crash and revoke what would follow.
func (w *WAL) nextSegment() error {
	// If it fails, the segment is suspect, which is one more reason to leave it; OnEvent was told.
	_ = w.syncCurrent()
	w.mu.Lock()
	h := segmentHeader{number: w.nextNumber, prevSeq: w.prevSeq, firstSeq: w.nextSeq}
	if w.cur != nil {
		w.cur.ended = true
	}
	w.mu.Unlock()
	a, err := w.create(h)
	if err != nil {
		return err
	}
	w.mu.Lock()
	for w.syncing {
		w.idle.Wait()
	}
	old := w.cur
	if old != nil {
		w.segs[len(w.segs)-1].size = old.pos
	}
	w.cur = a
	w.segs = append(w.segs, segment{segmentHeader: h, size: segmentHeaderBytes})
	w.nextNumber++
	w.written += segmentHeaderBytes
	w.mu.Unlock()
	w.event(Event{Kind: SegmentCreated, Path: a.path, Seq: h.firstSeq})
	if old == nil {
		return nil
	}
	if old.suspect != nil {
		// It may hold accepted records that the failed sync did not cover.
		_ = old.f.Sync()
		w.event(Event{Kind: SegmentLeft, Path: old.path, Err: old.suspect})
	}
	// Everything in it was synced or given up; there is nothing that an error could tell.
	_ = old.f.Close()
	return nil
}

// create makes a segment, durably, so that its header revokes what was refused before.
func (w *WAL) create(h segmentHeader) (*active, error) {
	path := w.path(h.number)
	f, err := w.fs.Create(path)
	if err != nil {
		return nil, fmt.Errorf("create WAL segment: %w", err)
	}
	_, err = f.Write(h.encode())
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = w.fs.SyncDir(w.dir)
	}
	if err != nil {
		_ = f.Close()
		// If it stays, the next attempt overwrites it, and Open takes it for what it is, a torn one.
		_ = w.fs.Remove(path)
		return nil, fmt.Errorf("create WAL segment %s: %w", path, err)
	}
	return &active{
		f: f, path: path, number: h.number, pos: segmentHeaderBytes, synced: segmentHeaderBytes, seq: h.prevSeq,
	}, nil
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

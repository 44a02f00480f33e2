package wal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
)

// WAL is an open log. It is safe for concurrent use. The caller holds the lock of the data directory: two logs must
// not be open on one directory.
type WAL struct {
	fs       fsx.FS
	dir      string
	opts     Options
	torn     Torn
	requests sync.Pool // of *request
	q        queue
	dirty    chan struct{} // holds a value if something waits for the interval's sync
	stop     chan struct{} // closed to end the syncer
	wg       sync.WaitGroup
	closing  sync.Once
	closeErr error

	// buf holds the bytes of the write being done, batch the requests. Only the committer uses them.
	buf   []byte
	batch []*request

	mu   sync.Mutex
	idle *sync.Cond // signalled when syncing becomes false
	// segs are the segments on disk, oldest first. If cur is set, it is the last of them.
	segs []segment
	cur  *active
	// nextNumber is the number of the next segment, nextSeq that of the next record, prevSeq that of the newest
	// accepted record or 0, syncedSeq that of the newest one on disk.
	nextNumber, nextSeq, prevSeq, syncedSeq uint64
	syncing                                 bool
	written, freed                          int64 // bytes, since Open
}

// segment is a segment on disk.
type segment struct {
	segmentHeader
	size int64 // bytes; for the one being written, active.pos counts
	// damaged says what is wrong with the header, in which case prevSeq and firstSeq are unknown.
	damaged error
}

// active is the segment that is written to. WAL.mu guards the positions; only the committer changes pos and seq.
type active struct {
	f      fsx.File
	path   string
	number uint64
	pos    int64  // behind the last byte written
	seq    uint64 // of the last record written, accepted or not yet
	synced int64  // behind the last byte known to be on disk
	// suspect says why nobody can know what this file holds beyond synced, if so; ended is set when a successor
	// was begun. Either way nothing is written any more.
	suspect error
	ended   bool
}

// Append adds a record and returns its sequence number. When it returns nil the record is as durable as
// Options.Sync says; on an error the record is not part of the log and never will be, and may be appended again.
// The payload is not kept. Errors wrap store.ErrTooLarge if the record cannot fit into a segment, store.ErrFull if
// the disk is full, store.ErrClosed after Close, and the error of ctx if that ended while the record was still
// queued.
func (w *WAL) Append(ctx context.Context, payload []byte) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("append to WAL: %w", err)
	}
	if len(payload) > MaxPayload {
		return 0, fmt.Errorf("append to WAL: %w: %d bytes, at most %d", store.ErrTooLarge, len(payload), MaxPayload)
	}
	r := w.request(reqAppend)
	defer w.release(r)
	r.rec = encodeRecord(r.rec, payload)
	if fragmentedEnd(segmentHeaderBytes, len(r.rec)) > w.opts.SegmentBytes {
		return 0, fmt.Errorf("append to WAL: %w: %d bytes (%d compressed) do not fit into a segment of %d",
			store.ErrTooLarge, len(payload), len(r.rec), w.opts.SegmentBytes)
	}
	if err := w.q.do(ctx, r); err != nil {
		return 0, fmt.Errorf("append to WAL: %w", err)
	}
	return r.seq, nil
}

// Sync makes everything durable that was appended before the call.
func (w *WAL) Sync() error {
	r := w.request(reqSync)
	defer w.release(r)
	if err := w.q.do(context.Background(), r); err != nil {
		return fmt.Errorf("sync WAL: %w", err)
	}
	return nil
}

// Rotate ends the segment being written, so that TruncateBefore can free it, and begins a new one. It does nothing if
// no record was appended since the last one began.
func (w *WAL) Rotate() error {
	r := w.request(reqRotate)
	defer w.release(r)
	if err := w.q.do(context.Background(), r); err != nil {
		return fmt.Errorf("rotate WAL: %w", err)
	}
	return nil
}

func (w *WAL) request(kind requestKind) *request {
	r, ok := w.requests.Get().(*request)
	if !ok {
		r = &request{done: make(chan struct{}, 1)}
	}
	r.kind, r.seq, r.err = kind, 0, nil
	return r
}

func (w *WAL) release(r *request) {
	if cap(r.rec) > maxPooled {
		r.rec = nil
	}
	w.requests.Put(r)
}

// LastSeq returns the number of the newest accepted record. If there is none, it is one less than the number that the
// first will get.
func (w *WAL) LastSeq() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.nextSeq - 1
}

// SyncedSeq returns the number of the newest record that is known to be on disk with all before it, except those
// that an event SyncFailed reported.
func (w *WAL) SyncedSeq() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.syncedSeq
}

// Flow returns how many bytes were written since Open, how many of segments were freed, and the size of all segments now.
func (w *WAL) Flow() (written, freed, now int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.segments() {
		now += s.size
	}
	return w.written, w.freed, now
}

// Bytes returns the size of all segments.
func (w *WAL) Bytes() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	var sum int64
	for _, s := range w.segments() {
		sum += s.size
	}
	return sum
}

// segments returns a copy of the list with the current size of the last one. w.mu is held.
func (w *WAL) segments() []segment {
	segs := append([]segment(nil), w.segs...)
	if w.cur != nil {
		segs[len(segs)-1].size = w.cur.pos
	}
	return segs
}

// TruncateBefore removes the segments in which every record has a number below seq. The newest segment stays; call
// Rotate first to be able to free it. A failure leaves a log that is intact but longer than it needs to be.
func (w *WAL) TruncateBefore(seq uint64) error {
	for {
		s, ok := w.obsolete(seq)
		if !ok {
			return nil
		}
		path := w.path(s.number)
		// One at a time and durably, so that a crash never leaves a hole that looks like a lost segment.
		err := w.fs.Remove(path)
		if err != nil && !isNotExist(err) {
			return fmt.Errorf("free WAL segment: %w", err)
		}
		if err := w.fs.SyncDir(w.dir); err != nil {
			return fmt.Errorf("free WAL segment %s: %w", path, err)
		}
		w.mu.Lock()
		if len(w.segs) > 0 && w.segs[0].number == s.number {
			w.segs = append(w.segs[:0], w.segs[1:]...)
			w.freed += s.size
		}
		w.mu.Unlock()
		w.event(Event{Kind: SegmentRemoved, Path: path, Bytes: s.size})
	}
}

// obsolete returns the oldest segment if it holds no record from seq on. What it holds beyond its successor's
// prevSeq was refused.
func (w *WAL) obsolete(seq uint64) (segment, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	// A successor with a damaged header does not say where it begins; a later one does as well.
	for _, next := range w.segs[min(1, len(w.segs)):] {
		if next.damaged == nil {
			return w.segs[0], next.prevSeq < seq
		}
	}
	return segment{}, false
}

// Close syncs, ends the goroutines and closes the file. Requests that wait are served first, later ones get
// store.ErrClosed. Further calls return the result of the first.
func (w *WAL) Close() error {
	w.closing.Do(func() {
		w.q.close()
		close(w.stop)
		w.wg.Wait()
		if w.cur == nil {
			return
		}
		err := w.syncCurrent()
		if err != nil {
			// The failed sync may not have covered everything; the second cannot make up for it, but may save the rest.
			_ = w.cur.f.Sync()
		}
		w.closeErr = errors.Join(err, w.cur.f.Close())
		if w.closeErr != nil {
			w.closeErr = fmt.Errorf("close WAL: %w", w.closeErr)
		}
	})
	return w.closeErr
}

func (w *WAL) path(number uint64) string { return filepath.Join(w.dir, segmentName(number)) }

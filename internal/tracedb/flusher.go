package tracedb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bramble-tracing/bramble/internal/store"
)

// errStopped: the DB was closed while something in the background was waited for.
var errStopped = store.ErrClosed

// Waiting times after a failure.
const (
	firstRetry = 500 * time.Millisecond
	lastRetry  = time.Minute
)

// rewriteRequest is a Rewrite that waits.
type rewriteRequest struct {
	ctx  context.Context //nolint:containedctx // It is the caller's, handed to another goroutine.
	done chan error
}

// wakeFlusher makes the flusher look for work.
func (db *DB) wakeFlusher() {
	select {
	case db.wake <- struct{}{}:
	default:
	}
}

// flushLoop writes blocks until Close. It is the only goroutine that does.
func (db *DB) flushLoop() {
	defer db.wg.Done()
	retry := time.Duration(0)
	for db.stopping.Err() == nil {
		worked, err := db.step(db.now().Add(-db.opts.PurgeAfter))
		switch {
		case err != nil:
			if db.stopping.Err() != nil {
				return
			}
			retry = min(max(2*retry, firstRetry), lastRetry)
			db.flushFailed(err, retry)
			db.pause(retry)
		case worked:
			retry = 0
			db.flushError.Store(nil)
		default:
			retry = 0
			db.flushError.Store(nil)
			db.await()
		}
	}
}

func (db *DB) flushFailed(err error, retry time.Duration) {
	why := err.Error()
	db.flushError.Store(&why)
	db.stats.flushFailures.Add(1)
	call(db.opts.Listener.FlushFailed, FlushFailed{Err: err, Retry: retry})
}

// pause waits before another attempt.
func (db *DB) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case r := <-db.requests:
		r.done <- db.rewriteNow(r.ctx)
	case <-db.stopping.Done():
	}
}

// await waits for work.
func (db *DB) await() {
	select {
	case <-db.wake:
	case r := <-db.requests:
		r.done <- db.rewriteNow(r.ctx)
	case <-db.stopping.Done():
	}
}

// step does the most urgent piece of work and reports whether there was one. Blocks with traces that were erased before
// a time are written anew.
func (db *DB) step(erasedBefore time.Time) (worked bool, err error) {
	db.flushing <- struct{}{}
	defer func() { <-db.flushing }()
	if err := db.emptyTrash(); err != nil {
		call(db.opts.Listener.Error, err) // It is tried again, but nothing waits for it.
	}
	if db.unsaved.Load() {
		if err := db.saveAgain(); err != nil {
			return false, err
		}
	}
	if db.pending == nil {
		if db.pending, worked, err = db.repairJob(); err != nil || db.pending == nil && worked {
			return worked, err
		}
	}
	if db.pending == nil {
		if db.pending, err = db.nextJob(erasedBefore); err != nil || db.pending == nil {
			return false, err
		}
	}
	if err := db.finish(db.pending); err != nil {
		return false, fmt.Errorf("put %s in use: %w", db.pending.source(), err)
	}
	db.pending = nil
	// What the job replaced is removed; failing to is not the job's failure, and is tried again.
	if err := db.emptyTrash(); err != nil {
		call(db.opts.Listener.Error, err)
	}
	return true, nil
}

// nextJob writes the oldest frozen head as a block or, if there is none, a block anew. It returns nil if there is nothing
// to do.
func (db *DB) nextJob(erasedBefore time.Time) (*job, error) {
	v, err := db.view()
	if errors.Is(err, store.ErrClosed) {
		return nil, nil
	}
	if n := len(v.s.frozen); n > 0 {
		p := v.s.frozen[n-1]
		mask := v.s.masks[p]
		v.Release() // The state keeps the head, or it was dropped and the job is not wanted.
		j, err := db.writeHead(db.stopping, p, mask)
		if err != nil {
			return nil, fmt.Errorf("write %s as a block: %w", p.id, err)
		}
		return j, nil
	}
	v.Release()
	old := db.dueRewrite(erasedBefore)
	if old == nil {
		return nil, nil
	}
	j, err := db.rewriteBlock(db.stopping, old)
	if rerr := old.block.Release(); err == nil {
		err = rerr
	}
	if err != nil {
		return nil, fmt.Errorf("write block %s anew: %w", old.id, err)
	}
	return j, nil
}

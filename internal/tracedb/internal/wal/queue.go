package wal

import (
	"context"
	"slices"
	"sync"

	"github.com/bramble-tracing/bramble/internal/store"
)

// requestKind is what the committer is asked to do.
type requestKind uint8

const (
	reqAppend requestKind = iota
	reqSync
	reqRotate
)

// request is one call that waits for the committer. It is pooled: rec keeps its memory.
type request struct {
	kind requestKind
	rec  []byte // record without its sequence number
	seq  uint64
	err  error
	done chan struct{} // receives one value when seq and err are set
}

// maxPooled is the largest record memory that is kept for reuse.
const maxPooled = 4 << 20

// queue holds the requests that the committer has not taken yet.
type queue struct {
	mu      sync.Mutex
	waiting []*request
	closed  bool
	wake    chan struct{} // holds a value if there may be something to take
}

// do queues a request and waits for its result. If ctx ends before the committer has taken the request, nothing
// happens and ctx's error is returned; afterwards the result is waited for, because it is no longer open.
func (q *queue) do(ctx context.Context, r *request) error {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return store.ErrClosed
	}
	q.waiting = append(q.waiting, r)
	q.mu.Unlock()
	q.signal()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
	}
	if q.withdraw(r) {
		return ctx.Err()
	}
	<-r.done
	return r.err
}

func (q *queue) withdraw(r *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, r)
	if i < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	return true
}

// take moves all waiting requests to batch, waiting until there is one. ok is false when the queue is closed and
// empty.
func (q *queue) take(batch []*request) (_ []*request, ok bool) {
	for {
		q.mu.Lock()
		if len(q.waiting) > 0 {
			batch = append(batch, q.waiting...)
			clear(q.waiting)
			q.waiting = q.waiting[:0]
			q.mu.Unlock()
			return batch, true
		}
		closed := q.closed
		q.mu.Unlock()
		if closed {
			return batch, false
		}
		<-q.wake
	}
}

// close refuses further requests. Those that wait are still served.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

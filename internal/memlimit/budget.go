package memlimit

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
)

// ErrTooLarge is wrapped by Acquire when the request exceeds the limit and so could never be met.
var ErrTooLarge = errors.New("request is larger than the memory budget")

// Budget is a number of bytes that its users share. It is safe for concurrent use.
type Budget struct {
	name   string
	limit  int64
	parent *Budget

	mu      sync.Mutex
	used    int64
	peak    int64
	waiting int64     // bytes asked for by waiters
	waiters list.List // of *waiter, oldest first
}

// waiter is one blocked Acquire. ready is closed once its bytes have been counted as used.
type waiter struct {
	n     int64
	ready chan struct{}
}

// Usage is what a budget reports about itself, in bytes but for Waiters.
type Usage struct {
	Limit, Used, Peak, Waiting int64
	Waiters                    int
}

// New returns a budget of limit bytes. The name appears in errors. A limit below 1 admits nothing but Force.
func New(name string, limit int64) *Budget {
	return &Budget{name: name, limit: max(limit, 0)}
}

// Share returns a budget of at most limit bytes which are also taken from b. A limit above b's is lowered to it.
func (b *Budget) Share(name string, limit int64) *Budget {
	return &Budget{name: name, limit: max(min(limit, b.limit), 0), parent: b}
}

// Limit returns the number of bytes that can be acquired at most.
func (b *Budget) Limit() int64 { return b.limit }

// Acquire takes n bytes, waiting until they are free or ctx ends. The error wraps ErrTooLarge or the context's cause;
// nothing is taken then.
func (b *Budget) Acquire(ctx context.Context, n int64) error {
	if n <= 0 {
		return nil
	}
	if n > b.limit {
		return fmt.Errorf("%d bytes of the %s budget of %d: %w", n, b.name, b.limit, ErrTooLarge)
	}
	if err := b.acquireOwn(ctx, n); err != nil {
		return err
	}
	if b.parent == nil {
		return nil
	}
	if err := b.parent.Acquire(ctx, n); err != nil {
		b.releaseOwn(n)
		return err
	}
	return nil
}

func (b *Budget) acquireOwn(ctx context.Context, n int64) error {
	b.mu.Lock()
	if b.waiters.Len() == 0 && b.used+n <= b.limit {
		b.take(n)
		b.mu.Unlock()
		return nil
	}
	if ctx.Err() != nil {
		b.mu.Unlock()
		return b.waitError(ctx, n)
	}
	w := &waiter{n: n, ready: make(chan struct{})}
	elem := b.waiters.PushBack(w)
	b.waiting += n
	b.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
		return b.giveUp(ctx, elem, w)
	}
}

// giveUp leaves the queue, or hands the bytes back if they were granted in the meantime.
func (b *Budget) giveUp(ctx context.Context, elem *list.Element, w *waiter) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-w.ready:
		b.used -= w.n
	default:
		b.waiters.Remove(elem)
		b.waiting -= w.n
	}
	b.grant()
	return b.waitError(ctx, w.n)
}

func (b *Budget) waitError(ctx context.Context, n int64) error {
	return fmt.Errorf("wait for %d bytes of the %s budget of %d: %w", n, b.name, b.limit, context.Cause(ctx))
}

// TryAcquire takes n bytes if they are free now and nobody waits for bytes. It reports whether it did.
func (b *Budget) TryAcquire(n int64) bool {
	if n <= 0 {
		return true
	}
	b.mu.Lock()
	ok := b.waiters.Len() == 0 && b.used+n <= b.limit
	if ok {
		b.take(n)
	}
	b.mu.Unlock()
	if ok && b.parent != nil && !b.parent.TryAcquire(n) {
		b.releaseOwn(n)
		return false
	}
	return ok
}

// Force takes n bytes at once, also beyond the limit. It is for bytes that are in use already.
func (b *Budget) Force(n int64) {
	if n <= 0 {
		return
	}
	b.mu.Lock()
	b.take(n)
	b.mu.Unlock()
	if b.parent != nil {
		b.parent.Force(n)
	}
}

// Release gives n bytes back. Giving back more than was taken is a bug of the caller; the count stops at zero.
func (b *Budget) Release(n int64) {
	if n <= 0 {
		return
	}
	b.releaseOwn(n)
	if b.parent != nil {
		b.parent.Release(n)
	}
}

func (b *Budget) releaseOwn(n int64) {
	b.mu.Lock()
	b.used = max(b.used-n, 0)
	b.grant()
	b.mu.Unlock()
}

// take counts n bytes as used. The caller holds mu.
func (b *Budget) take(n int64) {
	b.used += n
	b.peak = max(b.peak, b.used)
}

// grant wakes the waiters whose bytes are free, oldest first. The caller holds mu.
func (b *Budget) grant() {
	for e := b.waiters.Front(); e != nil; e = b.waiters.Front() {
		w, ok := e.Value.(*waiter)
		if !ok || b.used+w.n > b.limit {
			return
		}
		b.waiters.Remove(e)
		b.waiting -= w.n
		b.take(w.n)
		close(w.ready)
	}
}

// Usage returns the present counts.
func (b *Budget) Usage() Usage {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Usage{Limit: b.limit, Used: b.used, Peak: b.peak, Waiting: b.waiting, Waiters: b.waiters.Len()}
}

package query

import (
	"context"
	"slices"
	"sync"
)

// admission lets a bounded number of queries run. The others wait, each client in a queue of its own; a place that
// becomes free goes to the next client in turn, and within a client to the query that came first. One place is never
// given to a client that has all others: whoever runs long queries waits for himself, and not others for him.
type admission struct {
	running, waiting, perClient int // capacities

	mu      sync.Mutex
	active  int
	waiters int
	// has counts the running queries of each client that has any.
	has map[string]int
	// turn holds the clients with waiting queries; the first is next.
	turn   []*clientQueue
	queues map[string]*clientQueue
	closed bool
	// idle is closed when the admission is closed and nothing is active any more.
	idle chan struct{}
}

// clientQueue holds the waiting queries of one client.
type clientQueue struct {
	client  string
	waiters []chan error
}

func newAdmission(running, waiting int) *admission {
	return &admission{
		running: running, waiting: waiting, perClient: max(1, running-1),
		has: make(map[string]int), queues: make(map[string]*clientQueue), idle: make(chan struct{}),
	}
}

// acquire waits for a place. leave must be called once for the same client if there is no error, which wraps
// ErrOverloaded, ErrClosing or the context's cause.
func (a *admission) acquire(ctx context.Context, client string) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	a.mu.Lock()
	switch {
	case a.closed:
		a.mu.Unlock()
		return ErrClosing
	case a.mayEnter(client):
		a.enter(client)
		a.mu.Unlock()
		return nil
	case a.waiters >= a.waiting:
		a.mu.Unlock()
		return ErrOverloaded
	}
	admitted := a.enqueue(client)
	a.mu.Unlock()
	select {
	case err := <-admitted:
		return err
	case <-ctx.Done():
		if !a.abandon(client, admitted) {
			// The place was given just now.
			if err := <-admitted; err == nil {
				a.leave(client)
			}
		}
		return context.Cause(ctx)
	}
}

func (a *admission) enqueue(client string) chan error {
	q := a.queues[client]
	if q == nil {
		q = &clientQueue{client: client}
		a.queues[client] = q
		a.turn = append(a.turn, q)
	}
	admitted := make(chan error, 1)
	q.waiters = append(q.waiters, admitted)
	a.waiters++
	return admitted
}

// abandon takes a waiting query out of its queue. It reports false if the query does not wait any more.
func (a *admission) abandon(client string, admitted chan error) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := a.queues[client]
	if q == nil {
		return false
	}
	i := slices.Index(q.waiters, admitted)
	if i < 0 {
		return false
	}
	q.waiters = slices.Delete(q.waiters, i, i+1)
	a.waiters--
	if len(q.waiters) == 0 {
		delete(a.queues, client)
		a.turn = slices.DeleteFunc(a.turn, func(o *clientQueue) bool { return o == q })
	}
	return true
}

// mayEnter reports whether a place is free for the client. Nobody who may enter waits, so nobody is overtaken.
func (a *admission) mayEnter(client string) bool {
	return a.active < a.running && a.has[client] < a.perClient
}

func (a *admission) enter(client string) {
	a.active++
	a.has[client]++
}

// leave gives a place back and lets those enter who may now.
func (a *admission) leave(client string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.active--
	if a.has[client]--; a.has[client] == 0 {
		delete(a.has, client)
	}
	for a.admitNext() {
	}
	if a.closed && a.active == 0 {
		close(a.idle)
	}
}

// admitNext gives a free place to the next client in turn that may have it.
func (a *admission) admitNext() bool {
	for i, q := range a.turn {
		if !a.mayEnter(q.client) {
			continue
		}
		a.turn = slices.Delete(a.turn, i, i+1)
		admitted := q.waiters[0]
		q.waiters = slices.Delete(q.waiters, 0, 1)
		a.waiters--
		if len(q.waiters) == 0 {
			delete(a.queues, q.client)
		} else {
			a.turn = append(a.turn, q)
		}
		a.enter(q.client)
		admitted <- nil
		return true
	}
	return false
}

// close refuses whoever waits or comes. The channel is closed when nobody runs any more.
func (a *admission) close() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return a.idle
	}
	a.closed = true
	for _, q := range a.turn {
		for _, admitted := range q.waiters {
			admitted <- ErrClosing
		}
	}
	a.turn, a.waiters = nil, 0
	clear(a.queues)
	if a.active == 0 {
		close(a.idle)
	}
	return a.idle
}

// load returns how many queries run and wait.
func (a *admission) load() (active, waiting int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.active, a.waiters
}

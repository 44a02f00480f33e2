package query

import (
	"context"
	"slices"
	"strings"
	"sync"
)

// admission lets a bounded number of queries run. The others wait, each client in a queue of its own. A place that
// becomes free goes to the next address in turn, there to the next client in turn, and within a client to the query
// that came first: an address does not get more by giving its clients many names, and a Grafana with many users is not
// taken for one of them. One place is never given to a client that has all others: whoever runs long queries waits for
// himself, and not others for him. When the queue is full, whoever fills it is refused, and not who comes next.
type admission struct {
	running, waiting, perClient int // capacities

	mu      sync.Mutex
	active  int
	waiters int
	// has counts the running queries of each client that has any.
	has map[string]int
	// turn holds the addresses with waiting queries; the first is next.
	turn   []*address
	queues map[string]*clientQueue
	closed bool
	// lent counts those who have lent their place, and closing is closed when they should give up.
	lent    int
	closing chan struct{}
	// idle is closed when the admission is closed and nothing is active any more, lent places included.
	idle chan struct{}
}

// address holds the clients of one address that have waiting queries; the first is next.
type address struct {
	name string
	turn []*clientQueue
}

// clientQueue holds the waiting queries of one client.
type clientQueue struct {
	client  string
	waiters []chan error
}

// addressOf is the part of a client's name before the first NUL: who is behind it may be invented.
func addressOf(client string) string {
	name, _, _ := strings.Cut(client, "\x00")
	return name
}

func newAdmission(running, waiting int) *admission {
	return &admission{
		running: running, waiting: waiting, perClient: max(1, running-1),
		has: make(map[string]int), queues: make(map[string]*clientQueue), idle: make(chan struct{}), closing: make(chan struct{}),
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
	case a.waiters >= a.waiting && !a.makeRoom(addressOf(client)):
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
		a.line(q)
	}
	admitted := make(chan error, 1)
	q.waiters = append(q.waiters, admitted)
	a.waiters++
	return admitted
}

// line puts a client behind the others of its address, and the address behind the others if it did not wait.
func (a *admission) line(q *clientQueue) {
	name := addressOf(q.client)
	i := slices.IndexFunc(a.turn, func(o *address) bool { return o.name == name })
	if i < 0 {
		a.turn = append(a.turn, &address{name: name, turn: []*clientQueue{q}})
		return
	}
	a.turn[i].turn = append(a.turn[i].turn, q)
}

// makeRoom refuses the query that came last of the address that has most waiting, unless that is the one that wants
// room or has no more than it.
func (a *admission) makeRoom(name string) bool {
	var greedy *address
	most, own := 0, 0
	for _, at := range a.turn {
		n := 0
		for _, q := range at.turn {
			n += len(q.waiters)
		}
		if at.name == name {
			own = n
		}
		if n > most {
			greedy, most = at, n
		}
	}
	if greedy == nil || greedy.name == name || most <= own+1 {
		return false
	}
	longest := slices.MaxFunc(greedy.turn, func(x, y *clientQueue) int { return len(x.waiters) - len(y.waiters) })
	last := len(longest.waiters) - 1
	longest.waiters[last] <- ErrOverloaded
	longest.waiters = longest.waiters[:last]
	a.waiters--
	if last == 0 {
		a.remove(longest)
	}
	return true
}

// remove takes a client without waiting queries out.
func (a *admission) remove(q *clientQueue) {
	delete(a.queues, q.client)
	name := addressOf(q.client)
	i := slices.IndexFunc(a.turn, func(o *address) bool { return o.name == name })
	at := a.turn[i]
	at.turn = slices.DeleteFunc(at.turn, func(o *clientQueue) bool { return o == q })
	if len(at.turn) == 0 {
		a.turn = slices.Delete(a.turn, i, i+1)
	}
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
		a.remove(q)
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
	a.free(client)
	a.ifIdle()
}

// free gives a place to who waits.
func (a *admission) free(client string) {
	a.active--
	if a.has[client]--; a.has[client] == 0 {
		delete(a.has, client)
	}
	for a.admitNext() {
	}
}

// ifIdle notes that nobody is left.
func (a *admission) ifIdle() {
	if a.closed && a.active == 0 && a.lent == 0 {
		close(a.idle)
	}
}

// admitNext gives a free place to the next client in turn that may have it.
func (a *admission) admitNext() bool {
	for i, at := range a.turn {
		for k, q := range at.turn {
			if a.mayEnter(q.client) {
				a.admit(i, k, q)
				return true
			}
		}
	}
	return false
}

// admit lets the first query of client k of address i in, and puts both behind the others.
func (a *admission) admit(i, k int, q *clientQueue) {
	admitted := q.waiters[0]
	q.waiters = slices.Delete(q.waiters, 0, 1)
	a.waiters--
	at := a.turn[i]
	at.turn = append(slices.Delete(at.turn, k, k+1), q)
	a.turn = append(slices.Delete(a.turn, i, i+1), at)
	if len(q.waiters) == 0 {
		a.remove(q)
	}
	a.enter(q.client)
	admitted <- nil
}

// close refuses whoever waits or comes. The channel is closed when nobody runs any more.
func (a *admission) close() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return a.idle
	}
	a.closed = true
	for _, q := range a.queues {
		for _, admitted := range q.waiters {
			admitted <- ErrClosing
		}
	}
	a.turn, a.waiters = nil, 0
	clear(a.queues)
	close(a.closing)
	a.ifIdle()
	return a.idle
}

// load returns how many queries run and wait.
func (a *admission) load() (active, waiting int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.active, a.waiters
}

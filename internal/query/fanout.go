package query

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

// fan asks this agent and its peers for one query. A peer that fails is not asked again, and the answer goes without
// it. It belongs to one query; its methods are not called concurrently.
type fan struct {
	federation Federation
	nodes      []*fanNode // The first is this agent.
	client     string
	// scattered and hope are the service's.
	scattered *atomic.Bool
	hope      *hope

	mu      sync.Mutex
	missing []MissingNode
	damaged map[string]string // What is damaged, by node.
}

type fanNode struct {
	Peer
	failed bool // Guarded by fan.mu while calls run.
}

// fanOut returns the agents to ask: l, and the peers if there are any.
func (s *Service) fanOut(l *local, client string) *fan {
	f := &fan{federation: s.federation, nodes: []*fanNode{{Peer: l}}, client: client, scattered: &s.scattered, hope: &s.hope}
	if s.federation.Peers == nil {
		return f
	}
	peers, missing := s.federation.Peers.Peers()
	for _, p := range peers {
		f.nodes = append(f.nodes, &fanNode{Peer: p})
	}
	f.missing = missing
	return f
}

// alone reports whether there is nobody else.
func (f *fan) alone() bool { return len(f.nodes) == 1 && len(f.missing) == 0 }

// coverage says who has answered.
func (f *fan) coverage() Coverage {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := Coverage{Nodes: len(f.nodes), Missing: slices.Clone(f.missing)}
	failed := 0
	for _, n := range f.nodes {
		if n.failed {
			failed++
		}
	}
	c.Nodes += len(c.Missing) - failed
	slices.SortFunc(c.Missing, func(a, b MissingNode) int { return cmp.Compare(a.Node, b.Node) })
	return c
}

// report is coverage, told also to whoever asked with WithCoverage. It adds what is missing to an answer's text and
// counts nodes as jobs.
func (f *fan) report(ctx context.Context, partial *string, stats *Stats) Coverage {
	c := f.coverage()
	*partial = joinTexts(*partial, c.Text())
	if text := f.damage(); text != "" {
		*partial = joinTexts(*partial, text)
		stats.Missing = joinTexts(stats.Missing, text)
		stats.Jobs++
	}
	if c.Nodes > 1 {
		stats.Jobs += uint32(c.Nodes - 1)                       //nolint:gosec // Nodes of a cluster.
		stats.Completed += uint32(c.Nodes - 1 - len(c.Missing)) //nolint:gosec // Never this one.
	}
	if to, ok := ctx.Value(coverageKey{}).(*CoverageReport); ok {
		to.set(c)
	}
	return c
}

// damage says what of peers' stores the answer is without.
func (f *fan) damage() (text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, node := range slices.Sorted(maps.Keys(f.damaged)) {
		text = joinTexts(text, node+": "+f.damaged[node])
	}
	return text
}

// noting returns a context in which the peer tells of damage.
func (f *fan) noting(ctx context.Context, n *fanNode) context.Context {
	return withDamage(ctx, func(text string) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.damaged == nil {
			f.damaged = map[string]string{}
		}
		f.damaged[n.Node()] = text
	})
}

// peerShare is the part of the time left that peers get, so that an answer can still be made without them.
const peerShare = 0.9

// turn is the right of a peer to be at work for a query, of which there are only so many. This agent needs none.
type turn struct {
	slots chan struct{}
	next  func() // Asks those who were not asked yet.
}

// lend lets others have the turn while f runs.
func (t *turn) lend(f func() error) error {
	if t.slots == nil {
		return f()
	}
	<-t.slots
	t.next()
	err := f()
	t.slots <- struct{}{} // Soon: whoever works for a query stops when its time is over.
	return err
}

// each calls ask for every agent that has not failed, some at a time. The first error of this agent, or of a peer about
// the query itself, ends the others.
func (f *fan) each(ctx context.Context, ask func(ctx context.Context, i int, p Peer) error) error {
	return f.eachInTurn(ctx, func(ctx context.Context, i int, p Peer, _ *turn) error { return ask(ctx, i, p) })
}

// eachInTurn is each for what may lend its turn.
func (f *fan) eachInTurn(ctx context.Context, ask func(ctx context.Context, i int, p Peer, t *turn) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	peerCtx := ctx
	if end, ok := ctx.Deadline(); ok {
		left := time.Until(end)
		var done context.CancelFunc
		peerCtx, done = context.WithTimeout(ctx, time.Duration(float64(left)*peerShare))
		defer done()
	}
	f.ask(func() {
		if err := ask(ctx, 0, f.nodes[0].Peer, &turn{}); err != nil {
			cancel(err)
		}
	}, func(i int, t *turn) {
		n := f.nodes[i]
		if err := ask(f.noting(peerCtx, n), i, n.Peer, t); err != nil {
			f.failed(ctx, n, err, cancel)
		}
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.federation.Strict && len(f.missing) > 0 {
		return &MissingNodesError{Coverage{Nodes: len(f.nodes), Missing: slices.Clone(f.missing)}}
	}
	return nil
}

// ask calls here, and peer with the number of each agent that has not failed, some at a time.
func (f *fan) ask(here func(), peer func(i int, t *turn)) {
	var peers []int
	for i, n := range f.nodes[1:] {
		if !n.failed {
			peers = append(peers, i+1)
		}
	}
	if len(peers) == 0 {
		here()
		return
	}
	var (
		next   atomic.Int64
		wg     sync.WaitGroup
		inTurn func()
	)
	t := &turn{slots: make(chan struct{}, f.federation.Parallel), next: func() {
		if next.Load() < int64(len(peers)) {
			wg.Go(inTurn)
		}
	}}
	inTurn = func() {
		for k := next.Add(1); k <= int64(len(peers)); k = next.Add(1) {
			t.slots <- struct{}{}
			peer(peers[k-1], t)
			<-t.slots
		}
	}
	for range min(len(peers), f.federation.Parallel) - 1 {
		wg.Go(inTurn)
	}
	wg.Go(func() {
		yield()
		here()
	})
	// Peers are what has to be waited for, so one is asked from here: a goroutine that is new has to grow its stack first.
	inTurn()
	wg.Wait()
}

// yield lets the goroutines run that ask peers, and those that write to their connections: this agent's own search would
// keep a processor to itself for milliseconds in which peers could be at work already.
func yield() {
	const rounds = 8 // A question passes three goroutines on its way, of which one yields itself.
	for range rounds {
		runtime.Gosched()
	}
}

// failed notes that a peer did not answer, or ends the query if it did and the query is at fault.
func (f *fan) failed(ctx context.Context, n *fanNode, err error, cancel context.CancelCauseFunc) {
	if ctx.Err() != nil {
		return
	}
	if k := KindOf(err); k == KindInvalid || k == KindUnsupported || errors.Is(err, exec.ErrBudget) {
		cancel(err)
		return
	}
	reason := err.Error()
	if errors.Is(err, context.DeadlineExceeded) {
		reason = "no answer in time"
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n.failed = true
	f.missing = append(f.missing, MissingNode{Node: n.Node(), Reason: reason})
}

package federation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/bramble-tracing/bramble/internal/federation/peerpb"
	"github.com/bramble-tracing/bramble/internal/query"
)

// Options are what Peers needs.
type Options struct {
	// Node and Instance are this agent's own, as Server has them.
	Node, Instance string
	Resolver       Resolver
	// Dial makes a connection, without waiting for it.
	Dial func(address string) (*grpc.ClientConn, error)
	// Measured says that somebody sees what gRPC's own metrics say of calls.
	Measured bool
	// Interval is the time between greetings, for up to 50 peers; with more it grows with their number. Timeout is how
	// long a peer may take to answer one.
	Interval, Timeout time.Duration
	// Forget is how long a node that has left the list is still called missing.
	Forget time.Duration
	Logger *zap.Logger
}

// Peers is the list of agents. It is safe for concurrent use.
type Peers struct {
	opts   Options
	cancel context.CancelFunc
	// lookup is the resolver's goroutine, which starts those of work.
	lookup, work sync.WaitGroup

	mu      sync.Mutex
	members map[string]*member // By address.
	gone    map[string]time.Time
	known   bool // Whether the resolver has answered.
	problem string
}

var _ query.Peers = (*Peers)(nil)

// member is one address of the list.
type member struct {
	endpoint Endpoint
	conn     *grpc.ClientConn
	cancel   context.CancelFunc

	// Guarded by Peers.mu.
	node, instance string
	state          state
	reason         string // Why it is down.
	failures       int
	peer           *remote
	giveUp         context.CancelCauseFunc // Ends peer.up.

	lines *lines
}

type state uint8

const (
	stateNew state = iota
	stateUp
	stateDown
)

// sameAs reports whether an endpoint of the list is still what the member was made for.
func (m *member) sameAs(e Endpoint) bool { return m.endpoint == e }

// Start follows the list until Close.
func Start(o Options) *Peers {
	ctx, cancel := context.WithCancel(context.Background())
	p := &Peers{opts: o, cancel: cancel, members: map[string]*member{}, gone: map[string]time.Time{}}
	p.lookup.Go(func() {
		o.Resolver.Run(ctx, func(list []Endpoint) { p.update(ctx, list) }, p.failed)
	})
	return p
}

// Close ends all connections and waits for all goroutines.
func (p *Peers) Close() error {
	p.cancel()
	p.lookup.Wait()
	p.mu.Lock()
	members := p.members
	p.members = map[string]*member{}
	p.mu.Unlock()
	var errs []error
	for _, m := range members {
		errs = append(errs, p.drop(m))
	}
	p.work.Wait()
	return errors.Join(errs...)
}

// failed notes that the resolver has a problem.
func (p *Peers) failed(err error) {
	p.mu.Lock()
	again := p.problem == err.Error()
	p.problem = err.Error()
	p.mu.Unlock()
	if !again {
		p.opts.Logger.Warn("peers cannot be looked up", zap.Error(err))
	}
}

// update makes the members those of the list.
func (p *Peers) update(ctx context.Context, list []Endpoint) {
	p.mu.Lock()
	p.problem = ""
	var dropped []*member
	want := map[string]Endpoint{}
	for _, e := range list {
		want[e.Address] = e
	}
	for a, m := range p.members {
		if e, ok := want[a]; ok && m.sameAs(e) {
			delete(want, a)
			continue
		}
		delete(p.members, a)
		dropped = append(dropped, m)
		if m.instance != p.opts.Instance && m.node != "" && m.node != m.endpoint.Address {
			p.gone[m.node] = time.Now()
		}
	}
	stopped := ctx.Err() != nil
	p.mu.Unlock()
	for _, m := range dropped {
		if err := p.drop(m); err != nil {
			p.opts.Logger.Warn("a connection to a peer was not closed", zap.String("peer", m.endpoint.Address), zap.Error(err))
		}
	}
	for _, e := range want {
		if !stopped {
			p.add(ctx, e)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known = true // Not before: without its members the list would be one of this agent only.
}

func (p *Peers) add(ctx context.Context, e Endpoint) {
	m := &member{endpoint: e, node: cmp.Or(e.Node, e.Address)}
	conn, err := p.opts.Dial(e.Address)
	if err != nil {
		p.failed(fmt.Errorf("connect to %s: %w", e.Address, err))
		return
	}
	m.conn, m.lines = conn, newLines(conn, p.opts.Measured)
	ctx, m.cancel = context.WithCancel(ctx)
	p.mu.Lock()
	p.members[e.Address] = m
	p.mu.Unlock()
	p.work.Go(func() { p.greet(ctx, m) })
}

// drop ends a member that is not in the list any more.
func (p *Peers) drop(m *member) error {
	p.mu.Lock()
	if m.giveUp != nil {
		m.giveUp(errors.New("it has left the list of peers"))
	}
	p.mu.Unlock()
	m.cancel()
	m.lines.close()
	return m.conn.Close()
}

// downAfter is how many greetings in a row a peer may miss.
const downAfter = 2

// greet says hello again and again.
func (p *Peers) greet(ctx context.Context, m *member) {
	client := peerpb.NewPeerClient(m.conn)
	for {
		call, cancel := context.WithTimeout(ctx, p.opts.Timeout)
		res, err := client.Hello(call, &peerpb.HelloRequest{Node: p.opts.Node, Instance: p.opts.Instance})
		cancel()
		if ctx.Err() != nil {
			return
		}
		p.greeted(m, res, err)
		m.lines.prune(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-time.After(p.pause()):
		}
	}
}

// pause is the time between greetings of one peer.
func (p *Peers) pause() time.Duration {
	const few = 50
	p.mu.Lock()
	n := len(p.members)
	p.mu.Unlock()
	return p.opts.Interval * time.Duration(max(n, few)) / few
}

// greeted notes the outcome of a greeting.
func (p *Peers) greeted(m *member, res *peerpb.HelloResponse, err error) {
	if err == nil && res.GetProtocol() != protocol {
		err = fmt.Errorf("it speaks protocol %d and this node %d: they are of different versions", res.GetProtocol(), protocol)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		m.failures++
		m.reason = fromStatus(err).Error()
		if m.state == stateNew || m.state == stateUp && m.failures >= downAfter {
			p.opts.Logger.Warn("a peer does not answer: queries go on without it", zap.String("node", m.node), zap.String("address", m.endpoint.Address), zap.String("reason", m.reason))
			m.state = stateDown
			if m.giveUp != nil {
				m.giveUp(errors.New("it does not answer: " + m.reason))
				m.giveUp, m.peer = nil, nil
			}
		}
		return
	}
	m.failures, m.reason = 0, ""
	if m.state == stateUp && m.instance == res.GetInstance() {
		return
	}
	if m.giveUp != nil { // Another process on the same address.
		m.giveUp(errors.New("it was started again"))
	}
	m.state, m.instance, m.node = stateUp, res.GetInstance(), cmp.Or(res.GetNode(), m.endpoint.Node, m.endpoint.Address)
	delete(p.gone, m.node)
	if m.instance == p.opts.Instance {
		return
	}
	up, giveUp := context.WithCancelCause(context.Background())
	m.giveUp = giveUp
	m.peer = &remote{client: peerpb.NewPeerClient(m.lines), node: m.node, up: up}
	p.opts.Logger.Info("a peer answers", zap.String("node", m.node), zap.String("address", m.endpoint.Address))
}

// Peers implements query.Peers.
func (p *Peers) Peers() (reachable []query.Peer, missing []query.MissingNode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.known {
		missing = append(missing, query.MissingNode{Node: "unknown", Reason: cmp.Or(p.problem, "the list of peers is not known yet")})
	}
	here := map[string]bool{}
	instances := map[string]bool{p.opts.Instance: true}
	for _, m := range p.sorted() {
		here[m.node] = true
		switch {
		case m.state == stateUp && instances[m.instance]: // This agent, or a second address of one.
		case m.state == stateUp:
			instances[m.instance] = true
			reachable = append(reachable, m.peer)
		default:
			missing = append(missing, query.MissingNode{Node: m.node, Reason: cmp.Or(m.reason, "not reached yet")})
		}
	}
	for node, since := range p.gone {
		switch {
		case time.Since(since) > p.opts.Forget || here[node] || node == p.opts.Node:
			delete(p.gone, node)
		default:
			missing = append(missing, query.MissingNode{Node: node, Reason: "it has left the list of peers"})
		}
	}
	return reachable, missing
}

func (p *Peers) sorted() []*member {
	out := make([]*member, 0, len(p.members))
	for _, m := range p.members {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b *member) int { return cmp.Compare(a.endpoint.Address, b.endpoint.Address) })
	return out
}

// Member is one agent of the list.
type Member struct {
	Node, Address string
	Up, Self      bool
	// Reason says why it is not up.
	Reason string
}

// Members lists all agents by address.
func (p *Peers) Members() []Member {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]Member, 0, len(p.members))
	for _, m := range p.sorted() {
		out = append(out, Member{
			Node: m.node, Address: m.endpoint.Address, Up: m.state == stateUp, Self: m.instance == p.opts.Instance, Reason: m.reason,
		})
	}
	return out
}

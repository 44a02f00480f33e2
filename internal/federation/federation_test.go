package federation

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/bramble-tracing/bramble/internal/federation/peerpb"
	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/gathered"
	"github.com/bramble-tracing/bramble/internal/store/oracle"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// agent is a store that listens for others.
type agent struct {
	service *query.Service
	address string
	server  *grpc.Server
}

func serve(tb testing.TB, address, node, instance string, b *store.Batch) *agent {
	tb.Helper()
	o := oracle.New(0)
	if b != nil {
		require.NoError(tb, o.Append(tb.Context(), b))
	}
	a := &agent{service: query.New(o, query.Limits{}), server: grpc.NewServer(ServerOptions()...)}
	NewServer(a.service, node, instance).Register(a.server)
	var lc net.ListenConfig
	l, err := lc.Listen(tb.Context(), "tcp", address)
	require.NoError(tb, err)
	a.address = l.Addr().String()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = a.server.Serve(l) // It ends by Stop.
	}()
	tb.Cleanup(func() {
		a.server.Stop()
		<-done
	})
	return a
}

func dial(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient(address, append(DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
}

func follow(tb testing.TB, r Resolver, instance string) *Peers {
	tb.Helper()
	p := Start(Options{
		Node: "me", Instance: instance, Resolver: r, Dial: dial, Interval: 10 * time.Millisecond, Timeout: 200 * time.Millisecond,
		Forget: time.Hour, Logger: zap.NewNop(),
	})
	tb.Cleanup(func() { require.NoError(tb, p.Close()) })
	return p
}

// eventually waits until the names of reachable and missing nodes are these.
func eventually(tb testing.TB, p *Peers, reachable, missing string) []query.Peer {
	tb.Helper()
	var up []query.Peer
	require.Eventually(tb, func() bool {
		var gone []query.MissingNode
		up, gone = p.Peers()
		var a, b []string
		for _, u := range up {
			a = append(a, u.Node())
		}
		for _, m := range gone {
			b = append(b, m.Node)
		}
		return strings.Join(a, " ") == reachable && strings.Join(b, " ") == missing
	}, 30*time.Second, 5*time.Millisecond, "reachable %q, missing %q", reachable, missing)
	return up
}

func TestPeersRecogniseThemselvesAndComeBack(t *testing.T) {
	me := serve(t, "127.0.0.1:0", "me", "1", nil)
	other := serve(t, "127.0.0.1:0", "other", "2", nil)
	p := follow(t, Static{me.address, other.address}, "1")
	up := eventually(t, p, "other", "")
	other.server.Stop()
	eventually(t, p, "", "other")
	_, err := up[0].Holds(t.Context(), []spanid.TraceID{{1}}, "")
	require.ErrorContains(t, err, "does not answer")
	serve(t, other.address, "other", "3", nil)
	eventually(t, p, "other", "")
	require.Len(t, p.Members(), 2)
}

// TestHangingPeerIsGivenUp: calls that wait for a peer that does not answer any more end when that is noticed, not at
// their deadline.
func TestHangingPeerIsGivenUp(t *testing.T) {
	var hang atomic.Bool
	release := make(chan struct{})
	server := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
		if hang.Load() {
			<-release
		}
		return h(ctx, req)
	}), grpc.StreamInterceptor(func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, h grpc.StreamHandler) error {
		if hang.Load() {
			<-release
		}
		return h(srv, ss)
	}))
	NewServer(query.New(oracle.New(0), query.Limits{}), "stuck", "7").Register(server)
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = server.Serve(l) }() // It ends by Stop.
	t.Cleanup(server.Stop)
	t.Cleanup(func() { close(release) })
	p := follow(t, Static{l.Addr().String()}, "1")
	up := eventually(t, p, "stuck", "")
	hang.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err = up[0].Holds(ctx, []spanid.TraceID{{1}}, "")
	require.ErrorContains(t, err, "does not answer")
	require.NoError(t, ctx.Err())
	eventually(t, p, "", "stuck")
}

// changing is a list that a test changes.
type changing struct{ lists chan []Endpoint }

func (c *changing) Run(ctx context.Context, update func([]Endpoint), _ func(error)) {
	for {
		select {
		case <-ctx.Done():
			return
		case l := <-c.lists:
			update(l)
		}
	}
}

// TestNodeThatLeftIsMissing until it is back under another address, or forgotten.
func TestNodeThatLeftIsMissing(t *testing.T) {
	a := serve(t, "127.0.0.1:0", "node-a", "2", nil)
	c := &changing{make(chan []Endpoint)}
	p := follow(t, c, "1")
	eventually(t, p, "", "unknown")
	c.lists <- []Endpoint{{Address: a.address}}
	eventually(t, p, "node-a", "")
	c.lists <- nil
	eventually(t, p, "", "node-a")
	moved := serve(t, "127.0.0.1:0", "node-a", "3", nil)
	c.lists <- []Endpoint{{Address: moved.address}}
	eventually(t, p, "node-a", "")
	c.lists <- nil
	eventually(t, p, "", "node-a")
	p.mu.Lock()
	p.gone["node-a"] = time.Now().Add(-2 * time.Hour)
	p.mu.Unlock()
	eventually(t, p, "", "")
}

// otherProtocol answers as a later version would.
type otherProtocol struct{ peerpb.UnimplementedPeerServer }

func (otherProtocol) Hello(context.Context, *peerpb.HelloRequest) (*peerpb.HelloResponse, error) {
	return &peerpb.HelloResponse{Node: "new", Instance: "9", Protocol: protocol + 1}, nil
}

func TestOtherVersionIsMissing(t *testing.T) {
	server := grpc.NewServer()
	peerpb.RegisterPeerServer(server, otherProtocol{})
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = server.Serve(l) }() // It ends by Stop.
	t.Cleanup(server.Stop)
	p := follow(t, Static{l.Addr().String()}, "1")
	require.Eventually(t, func() bool {
		_, missing := p.Peers()
		return len(missing) == 1 && strings.Contains(missing[0].Reason, "of different versions")
	}, 30*time.Second, 5*time.Millisecond)
}

// TestRemoteAnswersAsLocal asks a store over the network, in both ways, and directly.
func TestRemoteAnswersAsLocal(t *testing.T) {
	b := testkit.NewGenerator(1).Batch(3000)
	a := serve(t, "127.0.0.1:0", "a", "1", b)
	conn, err := dial(a.address)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	l := newLines(conn, false)
	t.Cleanup(l.close)
	remotes := []query.Peer{NewPeer(conn, "a"), NewPeer(l, "a")}
	require.Equal(t, "a", remotes[0].Node())
	var ids []spanid.TraceID
	seen := map[spanid.TraceID]bool{}
	for _, s := range b.Spans {
		if !seen[s.TraceID] {
			seen[s.TraceID] = true
			ids = append(ids, s.TraceID)
		}
	}
	ids = append(ids, spanid.TraceID{15: 9})
	skip := exec.TraceSet{ids[0]: {}, ids[1]: {}}
	search := query.SearchRequest{Query: "{ status = error } | count() > 0", Limit: 9, SpansPerSpanSet: 4, Client: "c\xff"}
	tags := query.SearchRequest{Tags: map[string]string{"service.name": "e"}, MinDuration: time.Millisecond, Limit: 3}
	metrics := query.MetricsRequest{Query: "{} | quantile_over_time(duration, .9) by (rootServiceName)", EndNano: 1 << 61, Instant: true}
	names := query.TagNamesRequest{Query: "{ rootName != nil }", Limit: 5}
	values := query.TagValuesRequest{Name: "service.name", Unscoped: true, Limit: 4}
	free := func(int64) error { return nil }
	ask := func(p query.Peer) (out []any) {
		add := func(v any, err error) {
			t.Helper()
			require.NoError(t, err)
			out = append(out, v)
		}
		ctx := t.Context()
		held, err := p.Holds(ctx, ids, "")
		add(held, err)
		f, err := p.Fragments(ctx, query.FragmentsRequest{IDs: ids}, free)
		require.NoError(t, err)
		add(gathered.Merge(&f.Batch), nil)
		require.Positive(t, f.InspectedBytes)
		bulk, err := p.Fragments(ctx, query.FragmentsRequest{IDs: ids, Bulk: true}, free)
		require.NoError(t, err)
		require.Equal(t, gathered.Merge(&f.Batch).Spans, gathered.Merge(&bulk.Batch).Spans)
		add(gathered.Merge(&bulk.Batch).Spans, nil)
		cols := append(slices.Clone(gathered.Base), store.Column{Scope: store.ScopeResource, Name: "service.name"}, store.Intrinsic(store.SpanParentID))
		columns, err := p.Columns(ctx, query.ColumnsRequest{IDs: ids, Columns: cols, Client: "c\xff"}, free)
		require.NoError(t, err)
		require.Equal(t, len(f.Spans), columns.Rows())
		encoded, err := columns.MarshalBinary() // Dictionaries of a store have more than is used.
		require.NoError(t, err)
		add(encoded, nil)
		for _, r := range []query.SearchRequest{search, tags} {
			c, err := p.Candidates(ctx, query.CandidatesRequest{Search: &r})
			require.NoError(t, err)
			require.Len(t, c.Candidates, r.Limit)
			require.Positive(t, c.Rest)
			c.Stats = exec.Stats{} // Stays with the peer.
			add(c, err)
			res, held, err := p.SearchTraces(ctx, r, ids[:50])
			require.NoError(t, err)
			add(res.Traces, err)
			add(held, err)
		}
		for _, r := range []query.CandidatesRequest{{Metrics: &metrics}, {Names: &names}, {Values: &values}} {
			c, err := p.Candidates(ctx, r)
			require.NoError(t, err)
			require.NotEmpty(t, c.Candidates)
			set := exec.TraceSet{}
			for _, k := range c.Candidates {
				set[k.ID] = struct{}{}
			}
			add(set, err)
		}
		for _, r := range []*query.Ring{{Nodes: []string{"a", "b"}}, {Nodes: []string{"a"}}} {
			strays, many, err := p.Strays(ctx, r, "c\xff")
			require.NoError(t, err)
			require.False(t, many)
			require.Equal(t, len(r.Nodes) == 1, len(strays) == 0)
			add(append([]spanid.TraceID{}, strays...), err)
			res, err := newest(ctx, p, search, query.Share{Ring: r})
			if len(strays) > 0 {
				require.ErrorIs(t, err, query.ErrStrays)
				continue
			}
			require.NoError(t, err)
			add(res.Traces, err)
			some, err := p.Candidates(ctx, query.CandidatesRequest{Search: &tags, Only: skip})
			require.NoError(t, err)
			require.LessOrEqual(t, len(some.Candidates), len(skip))
			add(some.Candidates, err)
		}
		for _, s := range []query.Share{{}, {Skip: skip}, {Ring: &query.Ring{Nodes: []string{"a"}}}} {
			res, err := newest(ctx, p, search, s)
			require.NoError(t, err)
			require.NotEmpty(t, res.Traces)
			add(res.Traces, err)
			m, err := p.MetricsPartial(ctx, metrics, s)
			require.NoError(t, err)
			add(m.Queries, err)
			n, err := p.TagNames(ctx, names, s)
			require.NoError(t, err)
			add(n.Scopes, err)
			v, err := p.TagValues(ctx, values, s)
			require.NoError(t, err)
			require.Len(t, v.Values, 4)
			out = append(out, len(v.Values)) // Which ones a limit leaves is open.
		}
		return out
	}
	var want []any
	_, err = a.service.ServePeer(t.Context(), query.PeerRequest{}, func(_ context.Context, p query.Peer) error {
		want = ask(p)
		return nil
	})
	require.NoError(t, err)
	for k, remote := range remotes {
		got := ask(remote)
		require.Len(t, got, len(want))
		for i := range want {
			require.Equal(t, want[i], got[i], "remote %d, answer %d", k, i)
		}
	}
}

// TestErrorsCrossTheWire: what decides about the status of the answer survives.
func TestErrorsCrossTheWire(t *testing.T) {
	a := serve(t, "127.0.0.1:0", "a", "1", testkit.NewGenerator(1).Batch(10))
	conn, err := dial(a.address)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	l := newLines(conn, false)
	t.Cleanup(l.close)
	for _, p := range []query.Peer{NewPeer(conn, "a"), NewPeer(l, "a")} {
		_, err = p.MetricsPartial(t.Context(), query.MetricsRequest{Query: "{ nonsense"}, query.Share{})
		require.Equal(t, query.KindInvalid, query.KindOf(err))
		require.ErrorContains(t, err, "parse error")
		for _, ring := range []*query.Ring{{}, {Nodes: []string{"a"}, Self: 1}, {Nodes: []string{"b", "a"}}, {Nodes: []string{"a", "a"}}} {
			_, _, err = p.Strays(t.Context(), ring, "")
			require.Equal(t, query.KindInvalid, query.KindOf(err))
			require.ErrorContains(t, err, "no ring")
		}
		_, err = p.Candidates(t.Context(), query.CandidatesRequest{})
		require.Equal(t, query.KindInvalid, query.KindOf(err))
		full := errors.New("no room")
		_, err = p.Fragments(t.Context(), query.FragmentsRequest{IDs: []spanid.TraceID{{1}}}, func(int64) error { return full })
		require.ErrorIs(t, err, full)
		for _, want := range []error{
			&query.InvalidError{Reason: "x"}, fmt.Errorf("x: %w", store.ErrUnsupported), fmt.Errorf("x: %w", exec.ErrBudget),
			context.DeadlineExceeded, context.Canceled, query.ErrStrays,
		} {
			require.Equal(t, query.KindOf(want), query.KindOf(fromStatus(toStatus(want))), want)
		}
		for _, want := range []error{query.ErrOverloaded, query.ErrClosing, errors.New("disk")} {
			require.Equal(t, query.KindInternal, query.KindOf(fromStatus(toStatus(want))), "the peer is at fault, not the query: %v", want)
		}
		require.NoError(t, fromStatus(toStatus(nil)))
	}
}

func TestDNS(t *testing.T) {
	answers := make(chan []string)
	d := &DNS{Hostname: "peers", Port: "3201", Interval: time.Millisecond, Lookup: func(ctx context.Context, host string) ([]string, error) {
		require.Equal(t, "peers", host)
		select {
		case a := <-answers:
			if a == nil {
				return nil, errors.New("server misbehaving")
			}
			return a, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
	ctx, cancel := context.WithCancel(t.Context())
	got, failed, done := make(chan []Endpoint), make(chan error), make(chan struct{})
	go func() {
		defer close(done)
		d.Run(ctx, func(l []Endpoint) { got <- l }, func(err error) { failed <- err })
	}()
	answers <- []string{"10.0.0.2", "10.0.0.1", "10.0.0.2"}
	require.Equal(t, []Endpoint{{Address: "10.0.0.1:3201"}, {Address: "10.0.0.2:3201"}}, <-got)
	answers <- []string{"10.0.0.1", "10.0.0.2"} // No change.
	answers <- nil
	require.ErrorContains(t, <-failed, "server misbehaving")
	answers <- []string{"fd00::1"}
	require.Equal(t, []Endpoint{{Address: "[fd00::1]:3201"}}, <-got)
	cancel()
	<-done
}

package query

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/memlimit"
	"github.com/bramble-tracing/bramble/internal/owner"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/gathered"
	"github.com/bramble-tracing/bramble/internal/store/oracle"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/traceql"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
	"github.com/bramble-tracing/bramble/internal/traceql/traceqltest"
)

// scatter gives every span to one of n stores.
func scatter(tb testing.TB, b *store.Batch, n int, of func(i int, s *store.Span) int) []*oracle.Store {
	tb.Helper()
	parts := make([]*store.Batch, n)
	for i := range parts {
		parts[i] = &store.Batch{Resources: b.Resources, Scopes: b.Scopes}
	}
	for i := range b.Spans {
		p := parts[of(i, &b.Spans[i])]
		p.Spans = append(p.Spans, b.Spans[i])
	}
	out := make([]*oracle.Store, n)
	for i, p := range parts {
		out[i] = oracle.New(0)
		require.NoError(tb, out[i].Append(tb.Context(), p))
	}
	return out
}

// named is a local store that calls itself something.
type named struct {
	Peer
	name string
	// fail, if set, is asked before every call.
	fail func(ctx context.Context) error
}

func (n *named) Node() string { return n.name }

func (n *named) check(ctx context.Context) error {
	if n.fail == nil {
		return nil
	}
	return n.fail(ctx)
}

func (n *named) Fragments(ctx context.Context, r FragmentsRequest, take func(int64) error) (*Fragments, error) {
	if err := n.check(ctx); err != nil {
		return nil, err
	}
	return n.Peer.Fragments(ctx, r, take)
}

func (n *named) Columns(ctx context.Context, r ColumnsRequest, take func(int64) error) (*gathered.Columns, error) {
	if err := n.check(ctx); err != nil {
		return nil, err
	}
	return n.Peer.Columns(ctx, r, take)
}

func (n *named) Candidates(ctx context.Context, r CandidatesRequest) (*exec.CandidateList, error) {
	if err := n.check(ctx); err != nil {
		return nil, err
	}
	return n.Peer.Candidates(ctx, r)
}

func (n *named) Strays(ctx context.Context, r *Ring, client string) ([]spanid.TraceID, bool, error) {
	if err := n.check(ctx); err != nil {
		return nil, false, err
	}
	return n.Peer.Strays(ctx, r, client)
}

func (n *named) Newest(ctx context.Context, r NewestRequest, to Listener) error {
	if err := n.check(ctx); err != nil {
		return err
	}
	return n.Peer.Newest(ctx, r, to)
}

func (n *named) MetricsPartial(ctx context.Context, r MetricsRequest, s Share) (*exec.Partial, error) {
	if err := n.check(ctx); err != nil {
		return nil, err
	}
	return n.Peer.MetricsPartial(ctx, r, s)
}

func (n *named) TagNames(ctx context.Context, r TagNamesRequest, s Share) (*exec.TagNamesResult, error) {
	if err := n.check(ctx); err != nil {
		return nil, err
	}
	return n.Peer.TagNames(ctx, r, s)
}

func (n *named) TagValues(ctx context.Context, r TagValuesRequest, s Share) (*exec.TagValuesResult, error) {
	if err := n.check(ctx); err != nil {
		return nil, err
	}
	return n.Peer.TagValues(ctx, r, s)
}

// fixedPeers is a list that does not change.
type fixedPeers struct {
	peers   []Peer
	missing []MissingNode
}

func (f *fixedPeers) Peers() ([]Peer, []MissingNode) {
	return slices.Clone(f.peers), slices.Clone(f.missing)
}

// cluster makes a service over the first store whose peers are the others.
func cluster(tb testing.TB, l Limits, stores []*oracle.Store) (*Service, []*named) {
	tb.Helper()
	s := New(stores[0], l)
	peers := &fixedPeers{}
	var all []*named
	for i, o := range stores[1:] {
		v, err := o.View()
		require.NoError(tb, err)
		n := &named{Peer: &local{service: New(o, l), view: v, budget: memlimit.New("peer", 1<<30)}, name: fmt.Sprintf("node-%d", i+2)}
		all = append(all, n)
		peers.peers = append(peers.peers, n)
	}
	s.Federate(Federation{Peers: peers, Node: "node-1"})
	return s, all
}

// federatedEngine runs scripts on a cluster.
type federatedEngine struct{ service *Service }

func (e *federatedEngine) run(ctx context.Context, f func(ctx context.Context, f *fan, v store.View, budget *memlimit.Budget) error) error {
	return e.service.run(ctx, e.service.scans, &Done{}, func(ctx context.Context, v store.View, budget *memlimit.Budget) error {
		return f(ctx, e.service.fanOut(&local{service: e.service, view: v, budget: budget}, ""), v, budget)
	})
}

func (e *federatedEngine) Search(ctx context.Context, query string, o exec.SearchOptions) (res *exec.SearchResult, err error) {
	q, err := traceql.Compile(query)
	if err != nil {
		return nil, err
	}
	err = e.run(ctx, func(ctx context.Context, f *fan, v store.View, budget *memlimit.Budget) error {
		o.Budget = budget
		res, err = f.search(ctx, v, q, SearchRequest{Query: query, Limit: o.Limit, SpansPerSpanSet: o.SpansPerSpanSet}, o)
		return err
	})
	return res, err
}

func (e *federatedEngine) Metrics(ctx context.Context, query string, o exec.MetricsOptions) (res *exec.MetricsResult, err error) {
	q, err := traceql.Compile(query)
	if err != nil {
		return nil, err
	}
	if len(q.Metrics) == 0 {
		return nil, exec.ErrNotMetrics
	}
	r := MetricsRequest{Query: query, StartNano: uint64(o.Start), EndNano: uint64(o.End), Step: o.Step, Instant: o.Instant, Exemplars: o.Exemplars}
	err = e.run(ctx, func(ctx context.Context, f *fan, v store.View, budget *memlimit.Budget) error {
		res, err = f.metrics(ctx, &metricsRun{service: e.service, view: v, plan: q, options: metricsOptions(&r, budget)}, r)
		return err
	})
	return res, err
}

func (e *federatedEngine) TagNames(ctx context.Context, scope, filter string) (res *exec.TagNamesResult, err error) {
	o, err := e.service.tagOptions(filter, 0, 0, 0)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	err = e.run(ctx, func(ctx context.Context, f *fan, _ store.View, budget *memlimit.Budget) error {
		res, err = f.tagNames(ctx, budget, TagNamesRequest{Scope: scope, Query: filter}, o)
		return err
	})
	return res, err
}

func (e *federatedEngine) TagValues(ctx context.Context, attr, filter string) (res *exec.TagValuesResult, err error) {
	if _, err := traceql.ParseAttribute(attr); err != nil {
		return nil, err
	}
	err = e.run(ctx, func(ctx context.Context, f *fan, v store.View, budget *memlimit.Budget) error {
		res, err = f.tagValues(ctx, budget, v, TagValuesRequest{Name: attr, Query: filter}, e.service)
		return err
	})
	return res, err
}

// spreads are the ways in which tests spread spans over three stores: whole traces with their owners, the same with
// one span of ten elsewhere, whole traces anywhere, spans at random, and every other span, so that parents and children
// are always apart.
func spreads(rng *rand.Rand) map[string]func(i int, s *store.Span) int {
	ring := owner.New([]string{"node-1", "node-2", "node-3"})
	return map[string]func(i int, s *store.Span) int{
		"owned": func(_ int, s *store.Span) int { return ring.Of(s.TraceID) },
		"mostly owned": func(i int, s *store.Span) int {
			if i%10 == 0 {
				return rng.IntN(3)
			}
			return ring.Of(s.TraceID)
		},
		"whole":     func(_ int, s *store.Span) int { return int(s.TraceID[15]) % 3 },
		"scattered": func(int, *store.Span) int { return rng.IntN(3) },
		"in turn":   func(i int, _ *store.Span) int { return i % 3 },
		"elsewhere": func(int, *store.Span) int { return 2 },
	}
}

// TestCorpusOnCluster runs the corpus on three stores, in the hope that traces are with their owners and without it.
func TestCorpusOnCluster(t *testing.T) {
	for name, of := range spreads(rand.New(rand.NewPCG(1, 2))) {
		for _, node := range []string{"node-1", ""} {
			t.Run(name+"/"+node, func(t *testing.T) {
				traceqltest.RunScriptsOn(t, name, func(b *store.Batch) traceqltest.Engine {
					s, _ := cluster(t, Limits{}, scatter(t, b, 3, of))
					s.federation.Node = node
					return &federatedEngine{s}
				})
			})
		}
	}
}

// TestSearchInSteps finds the newest few of many traces although candidates and results come in pages: the answer is
// that of one store.
func TestSearchInSteps(t *testing.T) {
	b := testkit.NewGenerator(5).Batch(4000)
	one := oracle.New(0)
	require.NoError(t, one.Append(t.Context(), b))
	alone := New(one, Limits{})
	for name, of := range spreads(rand.New(rand.NewPCG(3, 4))) {
		stores := scatter(t, b, 3, of)
		for _, node := range []string{"node-1", ""} {
			t.Run(name+"/"+node, func(t *testing.T) {
				s, _ := cluster(t, Limits{}, stores)
				s.federation.Node = node
				for _, q := range []string{`{}`, `{ status = error }`, `{} | count() > 5`, `{} >> { kind = client }`, `{ rootName =~ ".*" && duration > 1ms }`} {
					for _, limit := range []int{1, 7, 60} {
						r := SearchRequest{Query: q, Limit: limit, SpansPerSpanSet: 3}
						want, err := alone.Search(t.Context(), r)
						require.NoError(t, err)
						got, err := s.Search(t.Context(), r)
						require.NoError(t, err)
						require.Equal(t, want.Traces, got.Traces, "%s, limit %d", q, limit)
						require.Equal(t, 3, got.Nodes)
					}
				}
			})
		}
	}
}

// TestMissingNodes: a node that is known to be down, one that fails at once and one that hangs are named, and the rest
// answers; a strict service refuses.
func TestMissingNodes(t *testing.T) {
	b := testkit.NewGenerator(6).Batch(300)
	stores := scatter(t, b, 3, func(i int, _ *store.Span) int { return i % 3 })
	id := b.Spans[0].TraceID
	for name, fail := range map[string]func(ctx context.Context) error{
		"fails": func(context.Context) error { return errors.New("connection refused") },
		// What a peer that hangs ends with, without the wait. TestPeerHangs waits.
		"hangs": func(context.Context) error { return context.DeadlineExceeded },
	} {
		t.Run(name, func(t *testing.T) {
			s, peers := cluster(t, Limits{}, stores)
			peers[1].fail = fail
			report := &CoverageReport{}
			ctx := WithCoverage(t.Context(), report)
			check := func(c Coverage) {
				t.Helper()
				require.Equal(t, []string{"node-3"}, c.MissingNames())
				require.Equal(t, 3, c.Nodes)
				require.Contains(t, c.Text(), "1 of 3 nodes did not answer")
				require.Equal(t, c, *report.Last())
			}
			res, err := s.Search(ctx, SearchRequest{Query: "{}", Limit: 5})
			require.NoError(t, err)
			require.Len(t, res.Traces, 5)
			check(res.Coverage)
			m, err := s.Metrics(ctx, MetricsRequest{Query: "{} | count_over_time()", EndNano: 1 << 62, Instant: true})
			require.NoError(t, err)
			require.Contains(t, m.Partial, "node-3")
			check(m.Coverage)
			names, err := s.TagNames(ctx, TagNamesRequest{})
			require.NoError(t, err)
			check(names.Coverage)
			values, err := s.TagValues(ctx, TagValuesRequest{Name: "resource.service.name"})
			require.NoError(t, err)
			require.NotEmpty(t, values.Values)
			check(values.Coverage)
			require.NoError(t, s.Trace(ctx, TraceRequest{ID: id}, func(tr *store.Trace) error {
				require.Contains(t, tr.Missing, "node-3")
				require.NotEmpty(t, tr.Spans)
				return nil
			}))
			require.NoError(t, s.Trace(ctx, TraceRequest{ID: spanid.TraceID{1}}, func(tr *store.Trace) error {
				require.NotNil(t, tr, "nobody knows whether there is none")
				require.Empty(t, tr.Spans)
				require.Contains(t, tr.Missing, "node-3")
				return nil
			}))
		})
	}
	s, _ := cluster(t, Limits{}, stores)
	list := s.federation.Peers.(*fixedPeers)
	list.missing = []MissingNode{{Node: "node-9", Reason: "not reached yet"}}
	res, err := s.Search(t.Context(), SearchRequest{Query: "{}"})
	require.NoError(t, err)
	require.Equal(t, Coverage{Nodes: 4, Missing: list.missing}, res.Coverage)
	s.federation.Strict = true
	_, err = s.Search(t.Context(), SearchRequest{Query: "{}"})
	require.ErrorContains(t, err, "node-9")
	require.Equal(t, KindUnavailable, KindOf(err))
}

// TestPeerHangs: a peer that does not answer gets part of the time only, so that there is an answer without it.
func TestPeerHangs(t *testing.T) {
	t.Parallel() // It waits.
	s, peers := cluster(t, Limits{Timeout: 8 * time.Second}, scatter(t, testkit.NewGenerator(6).Batch(300), 3, func(i int, _ *store.Span) int { return i % 3 }))
	peers[1].fail = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	res, err := s.Search(t.Context(), SearchRequest{Query: "{}", Limit: 5})
	require.NoError(t, err)
	require.Len(t, res.Traces, 5)
	require.Equal(t, []string{"node-3"}, res.MissingNames())
	require.Contains(t, res.Partial, "no answer in time")
}

// TestErrorsOfTheQueryAreNotThePeers: a query that a peer refuses because of what it asks fails; the peer is not called
// missing.
func TestErrorsOfTheQueryAreNotThePeers(t *testing.T) {
	stores := scatter(t, testkit.NewGenerator(7).Batch(100), 2, func(i int, _ *store.Span) int { return i % 2 })
	for _, want := range []error{Invalidf("no such thing"), fmt.Errorf("column: %w", store.ErrUnsupported), fmt.Errorf("peer: %w", exec.ErrBudget)} {
		s, peers := cluster(t, Limits{}, stores)
		peers[0].fail = func(context.Context) error { return want }
		_, err := s.Search(t.Context(), SearchRequest{Query: "{}"})
		require.ErrorIs(t, err, want)
	}
}

// TestCancelledQueryLeavesPeers: when the client goes, calls to peers end.
func TestCancelledQueryLeavesPeers(t *testing.T) {
	stores := scatter(t, testkit.NewGenerator(8).Batch(100), 3, func(i int, _ *store.Span) int { return i % 3 })
	s, peers := cluster(t, Limits{}, stores)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var waiting atomic.Int32
	for _, p := range peers {
		p.fail = func(ctx context.Context) error {
			if waiting.Add(1) == 2 {
				cancel()
			}
			<-ctx.Done()
			return ctx.Err()
		}
	}
	_, err := s.Search(ctx, SearchRequest{Query: "{}"})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, int32(2), waiting.Load())
}

// TestGatherIsBounded: traces that do not fit into the query's memory at a time are taken in smaller pages, and one that
// does not fit at all is an error.
func TestGatherIsBounded(t *testing.T) {
	b := testkit.NewGenerator(9).Batch(3000)
	stores := scatter(t, b, 3, func(i int, _ *store.Span) int { return i % 3 })
	q := MetricsRequest{Query: "{} | count_over_time() by (rootServiceName)", EndNano: 1 << 62, Instant: true}
	roomy, _ := cluster(t, Limits{}, stores)
	want, err := roomy.Metrics(t.Context(), q)
	require.NoError(t, err)
	tight, _ := cluster(t, Limits{Memory: 4 << 20, QueryMemory: 2 << 20}, stores)
	got, err := tight.Metrics(t.Context(), q)
	require.NoError(t, err)
	require.Equal(t, want.Series, got.Series)
	require.Zero(t, tight.memory.Usage().Used)
	tiny, _ := cluster(t, Limits{Memory: 200 << 10, QueryMemory: 100 << 10}, stores)
	_, err = tiny.Metrics(t.Context(), q)
	require.ErrorIs(t, err, exec.ErrBudget)
	require.Zero(t, tiny.memory.Usage().Used)
}

// TestNotice is about an agent that knows of others and does not ask them.
func TestNotice(t *testing.T) {
	s := New(oracle.New(0), Limits{})
	require.Empty(t, s.Notice())
	s.Alone("three agents and no peers")
	require.True(t, strings.HasPrefix(s.Notice(), "three"))
	s.Alone("")
	require.Empty(t, s.Notice())
}

// TestStreamOnCluster: what a stream of several nodes tells early is the beginning of the result.
func TestStreamOnCluster(t *testing.T) {
	b := testkit.NewGenerator(10).Batch(6000)
	rng := rand.New(rand.NewPCG(5, 6))
	s, _ := cluster(t, Limits{StreamInterval: time.Nanosecond}, scatter(t, b, 3, func(int, *store.Span) int { return rng.IntN(3) }))
	for _, q := range []string{`{}`, `{} | count() > 3`} {
		var told []TraceRow
		messages := 0
		res, err := s.SearchStream(t.Context(), SearchRequest{Query: q, Limit: 200}, func(m *SearchResult) error {
			messages++
			told = append(told, m.Traces...)
			require.Less(t, m.Stats.Completed, m.Stats.Jobs)
			return nil
		})
		require.NoError(t, err)
		require.Positive(t, messages, q)
		require.NotEmpty(t, told, q)
		require.Equal(t, res.Traces[:len(told)], told, q)
		require.Equal(t, uint32(3), res.Stats.Completed)
	}
}

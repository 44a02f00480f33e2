package query

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/owner"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/oracle"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

// oneSpanTraces returns a batch of n traces, numbered from first on.
func oneSpanTraces(first, n int) *store.Batch {
	b := &store.Batch{Resources: []store.Resource{{}}, Scopes: []store.Scope{{}}}
	for i := range n {
		s := store.Span{SpanID: spanid.SpanID{1}, StartNano: 1, EndNano: 2}
		binary.BigEndian.PutUint64(s.TraceID[8:], uint64(first+i))
		b.Spans = append(b.Spans, s)
	}
	return b
}

// TestStrays lists strays of a store that grows, in parts, by several rings.
func TestStrays(t *testing.T) {
	const partRows = 100
	o := oracle.New(partRows)
	s := newStrays()
	rings := []*Ring{{Nodes: []string{"a", "b"}}, {Nodes: []string{"a", "b"}, Self: 1}, {Nodes: []string{"a"}}}
	for n := 0; n < 1000; n += 170 {
		b := oneSpanTraces(n, 170)
		require.NoError(t, o.Append(t.Context(), b))
		v, err := o.View()
		require.NoError(t, err)
		for _, r := range rings {
			ids, many, err := s.list(t.Context(), v, r)
			require.NoError(t, err)
			require.False(t, many)
			var want []spanid.TraceID
			of := owner.New(r.Nodes)
			for _, one := range oneSpanTraces(0, n+170).Spans {
				if of.Of(one.TraceID) != r.Self {
					want = append(want, one.TraceID)
				}
			}
			require.Equal(t, sortedUnique(want), ids)
		}
	}
	require.NoError(t, o.Append(t.Context(), oneSpanTraces(1190, 3*MostStrays)))
	v, err := o.View()
	require.NoError(t, err)
	for range 2 {
		_, many, err := s.list(t.Context(), v, rings[0])
		require.NoError(t, err)
		require.True(t, many, "too many in all, but in no part")
	}
	for i := range 2 * mostRings {
		ids, many, err := s.list(t.Context(), v, &Ring{Nodes: []string{string(rune('A' + i))}})
		require.NoError(t, err)
		require.False(t, many)
		require.Empty(t, ids)
	}
	require.Len(t, s.rings, mostRings)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.lock <- struct{}{}
	_, _, err = s.list(ctx, v, rings[0])
	require.ErrorIs(t, err, context.Canceled)
}

// counted counts questions.
type counted struct {
	Peer
	asked map[string]int
}

func (c *counted) Node() string { return "node-2" }

func (c *counted) Candidates(ctx context.Context, r CandidatesRequest) (*exec.CandidateList, error) {
	c.asked["candidates"]++
	return c.Peer.Candidates(ctx, r)
}

func (c *counted) Strays(ctx context.Context, r *Ring, client string) ([]spanid.TraceID, bool, error) {
	c.asked["strays"]++
	return c.Peer.Strays(ctx, r, client)
}

func (c *counted) Newest(ctx context.Context, r NewestRequest, to Listener) error {
	c.asked["newest"]++
	return c.Peer.Newest(ctx, r, to)
}

func (c *counted) MetricsPartial(ctx context.Context, r MetricsRequest, s Share) (*exec.Partial, error) {
	c.asked["metrics"]++
	return c.Peer.MetricsPartial(ctx, r, s)
}

// TestRounds: queries about whole traces take one round of questions as long as traces are with their owners. While some
// are not, only these cost further rounds, and where most are not nobody asks for strays again and again.
func TestRounds(t *testing.T) {
	b := testkit.NewGenerator(11).Batch(6000)
	ring := owner.New([]string{"node-1", "node-2"})
	rng := rand.New(rand.NewPCG(6, 7))
	many := oneSpanTraces(0, 4*MostStrays)
	many.Resources, many.Scopes = b.Resources, b.Scopes
	for i := range many.Spans {
		many.Spans[i].StartNano, many.Spans[i].EndNano = 1e18+uint64(i), 1e18+uint64(i)
	}
	owned := func(_ int, s *store.Span) int { return ring.Of(s.TraceID) }
	for _, k := range []struct {
		name          string
		batch         *store.Batch
		of            func(i int, s *store.Span) int
		first, second map[string]int
	}{
		{"owned", b, owned, map[string]int{"newest": 1, "metrics": 1}, map[string]int{"newest": 1, "metrics": 1}},
		{
			"some strays", b,
			func(i int, s *store.Span) int {
				if i == 5 {
					return 1 - owned(i, s)
				}
				return owned(i, s)
			},
			map[string]int{"newest": 2, "strays": 2, "candidates": 2, "metrics": 1},
			map[string]int{"newest": 1, "strays": 2, "candidates": 2, "metrics": 1},
		},
		{
			"scattered", many, func(int, *store.Span) int { return rng.IntN(2) },
			map[string]int{"newest": 1, "strays": 1, "candidates": 2, "metrics": 1},
			map[string]int{"candidates": 2, "metrics": 1},
		},
	} {
		t.Run(k.name, func(t *testing.T) {
			one := oracle.New(0)
			require.NoError(t, one.Append(t.Context(), k.batch))
			alone := New(one, Limits{})
			s, peers := cluster(t, Limits{}, scatter(t, k.batch, 2, k.of))
			c := &counted{Peer: peers[0].Peer, asked: map[string]int{}}
			s.federation.Peers = &fixedPeers{peers: []Peer{c}}
			for round, most := range []map[string]int{k.first, k.second} {
				clear(c.asked)
				q := SearchRequest{Query: "{} | count() > 0", Limit: 5}
				want, err := alone.Search(t.Context(), q)
				require.NoError(t, err)
				got, err := s.Search(t.Context(), q)
				require.NoError(t, err)
				require.Equal(t, want.Traces, got.Traces)
				m := MetricsRequest{Query: "{} | count() > 1 | count_over_time() by (rootName)", EndNano: 1 << 62, Instant: true}
				sums, err := alone.Metrics(t.Context(), m)
				require.NoError(t, err)
				have, err := s.Metrics(t.Context(), m)
				require.NoError(t, err)
				require.Equal(t, sums.Series, have.Series)
				for kind, n := range c.asked {
					require.LessOrEqual(t, n, most[kind], "%s in round %d: %v", kind, round, c.asked)
				}
			}
		})
	}
}

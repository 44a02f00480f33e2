package query

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/gathered"
	"github.com/bramble-tracing/bramble/internal/store/oracle"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

// TestCopiesAtSeveralAgents scatters spans over three agents, and some of them a second time, enriched or as they are: searches
// find what one store finds that has the richer copy of each.
func TestCopiesAtSeveralAgents(t *testing.T) {
	b := testkit.NewGenerator(21).Batch(1500)
	rng := rand.New(rand.NewPCG(3, 4))
	parts := make([]*store.Batch, 3)
	for i := range parts {
		parts[i] = &store.Batch{Resources: b.Resources, Scopes: b.Scopes}
	}
	copied := 0
	for i := range b.Spans {
		at := rng.IntN(3)
		parts[at].Spans = append(parts[at].Spans, b.Spans[i])
		if rng.IntN(20) == 0 {
			rich := b.Spans[i]
			rich.Attrs = append(slices.Clone(rich.Attrs), store.Attr{Key: "enriched", Value: store.Bool(true)})
			other := parts[(at+1)%3]
			other.Spans = append(other.Spans, rich)
			copied++
		}
	}
	require.Positive(t, copied)
	merged := gathered.Merge(parts...)
	for _, p := range parts { // And some are sent to the same agent twice.
		for i := 0; i < len(p.Spans); i += 7 {
			p.Spans = append(p.Spans, p.Spans[i])
		}
	}
	var stores []*oracle.Store
	for _, p := range parts {
		o := oracle.New(0)
		require.NoError(t, o.Append(t.Context(), p))
		stores = append(stores, o)
	}
	s, _ := cluster(t, Limits{}, stores)
	whole := oracle.New(0)
	require.NoError(t, whole.Append(t.Context(), merged))
	one := New(whole, Limits{})
	for _, q := range []string{"{ status = error }", "{ span.enriched = true }", "{ } | count() > 12", "{ kind = server } >> { kind = client }"} {
		for range 2 { // The second time most traces are known to be split.
			r := SearchRequest{Query: q, Limit: 15, SpansPerSpanSet: 50}
			want, err := one.Search(t.Context(), r)
			require.NoError(t, err)
			require.NotEmpty(t, want.Traces)
			got, err := s.Search(t.Context(), r)
			require.NoError(t, err)
			require.Empty(t, got.Missing)
			require.Equal(t, want.Traces, got.Traces, q)
		}
	}
}

package query

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/oracle"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

// TestInspectedTraces: each trace counts once as inspected, also when results are told of early, for which they are read
// again, and when the trace is at one of several agents (the example before S-20).
func TestInspectedTraces(t *testing.T) {
	b := testkit.NewGenerator(5).Batch(400)
	traces := map[spanid.TraceID]bool{}
	for i := range b.Spans {
		traces[b.Spans[i].TraceID] = true
	}
	one := &store.Batch{Resources: b.Resources, Scopes: b.Scopes}
	for i := range b.Spans {
		if b.Spans[i].TraceID == b.Spans[0].TraceID {
			one.Spans = append(one.Spans, b.Spans[i])
		}
	}
	service := func(t *testing.T, b *store.Batch, agents int) *Service {
		stores := make([]*oracle.Store, agents)
		for i := range stores {
			stores[i] = oracle.New(50)
		}
		require.NoError(t, stores[agents-1].Append(t.Context(), b))
		if agents == 1 {
			s := New(stores[0], Limits{StreamInterval: 1})
			s.sliceSpans = 100
			return s
		}
		s, _ := cluster(t, Limits{StreamInterval: 1}, stores)
		return s
	}
	for _, tc := range []struct {
		name   string
		batch  *store.Batch
		agents int
		want   int
	}{
		{"one trace", one, 1, 1},
		{"one trace at the last of three agents", one, 3, 1},
		{"many traces in parts of 50 spans", b, 1, len(traces)},
		{"many traces at the last of three agents", b, 3, len(traces)},
	} {
		for _, q := range []string{`{ }`, `{ } | count() > 0`, `{ } &>> { }`} {
			t.Run(fmt.Sprint(tc.name, " ", q), func(t *testing.T) {
				s := service(t, tc.batch, tc.agents)
				r := SearchRequest{Query: q, Limit: 1000, SpansPerSpanSet: 3}
				last := uint64(0)
				got, err := s.SearchStream(t.Context(), r, func(m *SearchResult) error {
					require.GreaterOrEqual(t, m.Stats.Traces, last)
					last = m.Stats.Traces
					return nil
				})
				require.NoError(t, err)
				require.NotEmpty(t, got.Traces)
				require.EqualValues(t, tc.want, got.Stats.Traces)
				require.LessOrEqual(t, last, got.Stats.Traces)
				require.GreaterOrEqual(t, got.Stats.Spans, uint64(len(tc.batch.Spans)))
				if tc.agents == 1 {
					require.Len(t, tc.batch.Spans, int(got.Stats.Spans))
				}
				require.Positive(t, got.Stats.Bytes)
			})
		}
	}
}

package sampling_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/sampling"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/traceql"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

// TestQueryPolicies compares the policy traceql with a search for everything that the query finds.
func TestQueryPolicies(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	views := openStores(t, (&traceGen{rng: rng}).batches(150)...)
	for _, query := range []string{
		`{ status = error }`, `{ span.k1 = "a" || resource.k2 > 3 }`, `{ resource.service.name = "cart" } && { status = error }`,
		`{} | count() > 3`, `{ span.k1 != nil } >> {}`, `{ traceDuration > 2s }`, `{ rootServiceName = "checkout" }`,
		`{ name =~ "a.*" } | avg(duration) > 1s`, `{ false }`, `{}`,
	} {
		policies := compile(t, fmt.Sprintf(`[{name: q, type: traceql, traceql: {query: %q}}]`, query))
		q, err := traceql.Compile(query)
		require.NoError(t, err)
		for name, v := range views {
			result, err := exec.Search(t.Context(), v, q, exec.SearchOptions{Limit: 10_000})
			require.NoError(t, err)
			want := map[spanid.TraceID]bool{}
			for i := range result.Traces {
				want[result.Traces[i].ID] = true
			}
			parts := v.Parts()
			for _, some := range [][2]int{{0, len(parts)}, {len(parts) / 2, len(parts)}} {
				u := undecided(t, v, parts[some[0]:some[1]])
				got, err := policies.Decide(t.Context(), u)
				require.NoError(t, err)
				for i, id := range u.Traces {
					require.Equal(t, want[id], got[i].Keep, "%s on %s, trace %s", query, name, id)
				}
			}
		}
	}
}

// TestPreviewSaysWhatIsDecided compares the report with decisions about everything.
func TestPreviewSaysWhatIsDecided(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 3))
	views := openStores(t, (&traceGen{rng: rng}).batches(200)...)
	policies := compile(t, `
- {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}
- {name: share, type: probabilistic, probabilistic: {sampling_percentage: 20}}
- {name: rate, type: rate_limiting, rate_limiting: {spans_per_second: 20}}
- {name: no, type: drop, drop: {drop_sub_policy: [{name: s, type: span_count, span_count: {min_spans: 6}}]}}
`)
	for name, v := range views {
		t.Run(name, func(t *testing.T) {
			u := undecided(t, v, v.Parts())
			results, err := policies.Evaluate(t.Context(), u)
			require.NoError(t, err)
			r, err := sampling.Preview(t.Context(), v, policies)
			require.NoError(t, err)
			traces, spans, kept, all := map[string]int{}, map[string]int{}, 0, 0
			for i := range results {
				traces[results[i].Policy]++
				spans[results[i].Policy] += results[i].Spans
				all += results[i].Spans
				if results[i].Keep {
					kept++
				}
			}
			require.Equal(t, len(results), r.Total.Traces)
			require.Equal(t, all, r.Total.Spans)
			require.Equal(t, kept, r.Kept.Traces)
			require.InDelta(t, float64(kept)/float64(len(results)), r.Share, 1e-9)
			require.Positive(t, r.Kept.BytesPerDay)
			require.Less(t, r.Kept.Bytes, r.Total.Bytes)
			var names []string
			for _, p := range r.Policies {
				names = append(names, p.Policy)
				require.Equal(t, traces[p.Policy], p.Traces, p.Policy)
				require.Equal(t, spans[p.Policy], p.Spans, p.Policy)
				require.Equal(t, p.Policy != "no" && p.Policy != "", p.Keep, p.Policy)
			}
			require.Equal(t, []string{"no", "errors", "share", "rate", ""}, names)
			serviceSpans := 0
			for _, s := range r.Services {
				serviceSpans += s.Total.Spans
				require.LessOrEqual(t, s.Kept.Traces, s.Total.Traces)
			}
			require.Equal(t, all, serviceSpans)
			require.Len(t, r.Services, 4)
		})
	}
}

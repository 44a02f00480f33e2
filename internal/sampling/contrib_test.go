package sampling_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/tailsamplingprocessor"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/bramble-tracing/bramble/internal/sampling"
	"github.com/bramble-tracing/bramble/internal/spanid"
)

// contribKeeps returns the traces that contrib's processor forwards. It decides about what it holds when it is shut down.
func contribKeeps(t testing.TB, config map[string]any, batches ...ptrace.Traces) map[spanid.TraceID]bool {
	f := tailsamplingprocessor.NewFactory()
	cfg := f.CreateDefaultConfig()
	require.NoError(t, confmap.NewFromStringMap(config).Unmarshal(cfg))
	sink := new(consumertest.TracesSink)
	p, err := f.CreateTraces(t.Context(), processortest.NewNopSettings(f.Type()), cfg, sink)
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
	for _, td := range batches {
		copied := ptrace.NewTraces()
		td.CopyTo(copied)
		require.NoError(t, p.ConsumeTraces(t.Context(), copied))
	}
	require.NoError(t, p.Shutdown(t.Context()))
	kept := map[spanid.TraceID]bool{}
	for _, td := range sink.AllTraces() {
		for _, rs := range td.ResourceSpans().All() {
			for _, ss := range rs.ScopeSpans().All() {
				for _, s := range ss.Spans().All() {
					kept[spanid.TraceID(s.TraceID())] = true
				}
			}
		}
	}
	return kept
}

// TestEqualsContrib compares decisions with those of contrib's processor: random traces, random policies. Left out is
// what docs/sampling.md lists as different: budgets, and an upper latency threshold for traces whose first span does not
// cover the others, since contrib compares each span as it comes.
func TestEqualsContrib(t *testing.T) {
	rounds := 25
	if full() {
		rounds = 400
	}
	kept, all, upper := 0, 0, 0
	for round := range rounds {
		rng := rand.New(rand.NewPCG(uint64(round), 11))
		g := &traceGen{rng: rng}
		batches := g.batches(120)
		views := openStores(t, batches...)
		for range 8 {
			pg := &policyGen{rng: rng, upper: g.rootsFirst}
			config := pg.config()
			if pg.usedUpper {
				upper++
			}
			want := contribKeeps(t, config, batches...)
			cfg, err := sampling.Decode(config)
			require.NoError(t, err, "%v", config)
			policies, err := sampling.Compile(cfg)
			require.NoError(t, err, "%v", config)
			for name, v := range views {
				parts := v.Parts()
				if n := len(parts); n > 2 && rng.IntN(2) == 0 {
					parts = parts[rng.IntN(n-1):]
				}
				u := undecided(t, v, parts)
				got, err := policies.Decide(t.Context(), u)
				require.NoError(t, err)
				for i, id := range u.Traces {
					all++
					if got[i].Keep {
						kept++
					}
					require.Equal(t, want[id], got[i].Keep, "round %d, %s, trace %s, policy %q, config %s", round, name, id, got[i].Policy, pretty(config))
				}
			}
		}
	}
	t.Logf("%d of %d decisions were to keep, %d policy sets had an upper latency threshold", kept, all, upper)
	require.Greater(t, kept, all/10)
	require.Less(t, kept, all*9/10)
	require.Positive(t, upper)
}

func pretty(v any) string { return fmt.Sprintf("%v", v) }

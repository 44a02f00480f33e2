package sampling_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/sampling"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/oracle"
)

const epoch = 1_700_000_000_000_000_000

// simple is a trace of some spans of one service that start at one time.
type simple struct {
	id      byte
	service string
	at      time.Duration // since epoch
	spans   int
	errors  bool
}

func (s simple) traces() ptrace.Traces {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", s.service)
	ss := rs.ScopeSpans().AppendEmpty()
	for n := range s.spans {
		span := ss.Spans().AppendEmpty()
		span.SetTraceID(pcommon.TraceID{1, s.id})
		span.SetSpanID(pcommon.SpanID{1, byte(n)})
		span.SetStartTimestamp(pcommon.Timestamp(epoch + s.at))
		span.SetEndTimestamp(pcommon.Timestamp(epoch + s.at + time.Millisecond))
		if s.errors {
			span.Status().SetCode(ptrace.StatusCodeError)
		}
	}
	return td
}

// decideInSteps decides parts one after the other, oldest first or in random order, deleting what is dropped in between,
// as the engine does.
func decideInSteps(t *testing.T, p *sampling.Policies, list []simple, rng *rand.Rand) map[spanid.TraceID]store.Decision {
	s := oracle.New(20)
	for _, one := range list {
		var b store.Batch
		require.NoError(t, otlpspan.Flatten(one.traces(), &b))
		require.NoError(t, s.Append(t.Context(), &b))
	}
	out := map[spanid.TraceID]store.Decision{}
	for {
		v, err := s.View()
		require.NoError(t, err)
		// Deleting renumbers the oracle's parts, so what is left is a random part with undecided traces.
		parts := v.Parts()
		var u *store.Undecided
		for _, i := range rng.Perm(len(parts)) {
			u = undecided(t, v, parts[i:i+1])
			u.Traces = deleteFunc(u.Traces, func(id spanid.TraceID) bool { _, ok := out[id]; return ok })
			if len(u.Traces) > 0 {
				break
			}
		}
		if u == nil || len(u.Traces) == 0 {
			v.Release()
			return out
		}
		got, err := p.Decide(t.Context(), u)
		require.NoError(t, err)
		for i, id := range u.Traces {
			out[id] = got[i]
			if !got[i].Keep && rng.IntN(4) > 0 { // Some stay for a while, as until the block is rewritten.
				s.DeleteTrace(id)
			}
		}
		v.Release()
	}
}

func deleteFunc(ids []spanid.TraceID, f func(spanid.TraceID) bool) []spanid.TraceID {
	out := ids[:0:0]
	for _, id := range ids {
		if !f(id) {
			out = append(out, id)
		}
	}
	return out
}

// TestDecisionsDoNotDependOnOrder: in whatever steps traces leave the window, and whether those that were dropped are
// still there, each gets the decision that it gets when all are decided at once. So a preview is right, and a decision
// that a crash undid comes out the same.
func TestDecisionsDoNotDependOnOrder(t *testing.T) {
	p := func() *sampling.Policies {
		return compile(t, `
- {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}
- {name: rate, type: rate_limiting, rate_limiting: {spans_per_second: 12}}
- {name: bytes, type: and, and: {and_sub_policy: [{name: b, type: bytes_limiting, bytes_limiting: {bytes_per_second: 300}}, {name: s, type: span_count, span_count: {min_spans: 3}}]}}
- {name: both, type: composite, composite: {max_total_spans_per_second: 10, rate_allocation: [{policy: x, percent: 50}, {policy: y}],
   composite_sub_policy: [{name: x, type: string_attribute, string_attribute: {key: service.name, values: [cart]}}, {name: y, type: always_sample}]}}
- {name: quiet, type: min_per_service, min_per_service: {traces: 2, window: 2s}}
- {name: no, type: drop, drop: {drop_sub_policy: [{name: s, type: span_count, span_count: {min_spans: 6}}]}}
`)
	}
	for round := range 30 {
		rng := rand.New(rand.NewPCG(uint64(round), 5))
		var list []simple
		for i := range 120 {
			list = append(list, simple{
				id: byte(i), service: []string{"cart", "shop", "shop", "mail"}[rng.IntN(4)], at: time.Duration(rng.Int64N(4e9)),
				spans: 1 + rng.IntN(6), errors: rng.IntN(10) == 0,
			})
		}
		s := oracle.New(1 << 20)
		for _, one := range list {
			var b store.Batch
			require.NoError(t, otlpspan.Flatten(one.traces(), &b))
			require.NoError(t, s.Append(t.Context(), &b))
		}
		v, err := s.View()
		require.NoError(t, err)
		u := undecided(t, v, v.Parts())
		want, err := p().Decide(t.Context(), u)
		require.NoError(t, err)
		byPolicy := map[string]int{}
		for i := range want {
			byPolicy[want[i].Policy]++
		}
		for _, name := range []string{"errors", "rate", "both", "no", ""} {
			require.Positive(t, byPolicy[name], "%v", byPolicy)
		}
		got := decideInSteps(t, p(), list, rng)
		require.Len(t, got, len(u.Traces))
		for i, id := range u.Traces {
			require.Equal(t, want[i], got[id], "round %d, trace %s", round, id)
		}
	}
}

func TestRateIsPerSecond(t *testing.T) {
	p := compile(t, `[{name: rate, type: rate_limiting, rate_limiting: {spans_per_second: 10, burst_capacity: 15}}]`)
	var list []simple
	for i := range 90 {
		list = append(list, simple{id: byte(i), service: "a", at: time.Duration(i/30) * time.Second, spans: 2})
	}
	list = append(list, simple{id: 100, service: "a", at: 10 * time.Second, spans: 14}) // more than the rate, alone
	list = append(list, simple{id: 101, service: "a", at: 12 * time.Second, spans: 16}) // more than the burst
	spans := map[int]int{}
	got := decideInSteps(t, p, list, rand.New(rand.NewPCG(1, 1)))
	for _, s := range list {
		if got[spanid.TraceID{1, s.id}].Keep {
			spans[int(s.at/time.Second)] += s.spans
		}
	}
	require.Equal(t, map[int]int{0: 10, 1: 10, 2: 10, 10: 14}, spans)
}

// TestQuietServices: a service with few traces keeps them whatever the others do, and no more than the number is kept
// of a service with many.
func TestQuietServices(t *testing.T) {
	p := compile(t, `[{name: quiet, type: min_per_service, min_per_service: {traces: 3, window: 1h}}]`)
	var list []simple
	for i := range 200 {
		list = append(list, simple{id: byte(i), service: "noisy", at: time.Duration(i) * time.Second, spans: 1})
	}
	for i := range 5 {
		list = append(list, simple{id: byte(210 + i), service: fmt.Sprintf("quiet%d", i/2), at: time.Duration(i) * time.Minute, spans: 2})
	}
	got := decideInSteps(t, p, list, rand.New(rand.NewPCG(7, 1)))
	kept := map[string]int{}
	for _, s := range list {
		if got[spanid.TraceID{1, s.id}].Keep {
			kept[s.service]++
		}
	}
	// epoch is 13 minutes and 20 seconds after a full hour.
	require.Equal(t, map[string]int{"noisy": 3, "quiet0": 2, "quiet1": 2, "quiet2": 1}, kept)
}

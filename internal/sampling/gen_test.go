package sampling_test

import (
	"fmt"
	"math/rand/v2"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

var (
	genKeys    = []string{"k1", "k2", "k3", "http.route", "missing"}
	genTexts   = []string{"", "a", "b", "abc", "/api/v1/orders", "error: timeout", "xyz", "7"}
	genStates  = []string{"", "vendor=a", "vendor=b,ot=th:8", "ot=rv:123", "bad state", "vendor=a,vendor=b", "k1=abc"}
	genService = []string{"checkout", "cart", "mail", ""}
)

// traceGen makes traces whose attributes have few keys, few values and all types, so that policies hit.
type traceGen struct {
	rng        *rand.Rand
	rootsFirst bool // the first span of a trace covers the others
}

// batches returns traces in some requests; spans of most traces come in several.
func (g *traceGen) batches(traces int) []ptrace.Traces {
	g.rootsFirst = g.rng.IntN(2) == 0
	out := make([]ptrace.Traces, 5)
	for i := range out {
		out[i] = ptrace.NewTraces()
	}
	for range traces {
		var id pcommon.TraceID
		for i := range id {
			id[i] = byte(g.rng.Uint32())
		}
		if g.rng.IntN(10) == 0 {
			copy(id[:8], make([]byte, 8))
		}
		start := 1_700_000_000_000_000_000 + g.rng.Int64N(3e9)
		length := g.rng.Int64N(3e9)
		first := g.rng.IntN(len(out) - 1)
		for n := range 1 + g.rng.IntN(6) {
			at := first
			if n > 0 && g.rng.IntN(3) == 0 {
				at = first + g.rng.IntN(len(out)-first)
			}
			if g.rootsFirst && n > 0 { // Within a request contrib goes by resource.
				at = min(first+1+g.rng.IntN(2), len(out)-1)
			}
			s := g.span(out[at], id)
			from, to := start, start+length
			if n > 0 || !g.rootsFirst {
				from += g.rng.Int64N(length/2 + 1)
				to -= g.rng.Int64N(length/2 + 1)
			}
			if !g.rootsFirst && g.rng.IntN(20) == 0 {
				from, to = to, from
			}
			s.SetStartTimestamp(pcommon.Timestamp(from))
			s.SetEndTimestamp(pcommon.Timestamp(to))
		}
	}
	return out
}

// span adds a span, to a resource that is there or to a new one.
func (g *traceGen) span(td ptrace.Traces, id pcommon.TraceID) ptrace.Span {
	all := td.ResourceSpans()
	var rs ptrace.ResourceSpans
	if n := all.Len(); n > 0 && g.rng.IntN(3) > 0 {
		rs = all.At(g.rng.IntN(n))
	} else {
		rs = all.AppendEmpty()
		rs.Resource().Attributes().PutStr("service.name", genService[g.rng.IntN(len(genService))])
		g.attrs(rs.Resource().Attributes(), 5)
	}
	var ss ptrace.ScopeSpans
	if n := rs.ScopeSpans().Len(); n > 0 && g.rng.IntN(2) == 0 {
		ss = rs.ScopeSpans().At(g.rng.IntN(n))
	} else {
		ss = rs.ScopeSpans().AppendEmpty()
	}
	s := ss.Spans().AppendEmpty()
	s.SetTraceID(id)
	var span pcommon.SpanID
	for i := range span {
		span[i] = byte(g.rng.Uint32())
	}
	s.SetSpanID(span)
	s.SetName(genTexts[g.rng.IntN(len(genTexts))])
	s.Status().SetCode(ptrace.StatusCode([]int32{0, 0, 0, 0, 0, 1, 1, 2, 7}[g.rng.IntN(9)]))
	s.SetFlags([]uint32{0, 0, 0x100, 0x101, 0x301, 1, 0xff00}[g.rng.IntN(7)])
	s.TraceState().FromRaw(genStates[g.rng.IntN(len(genStates))])
	g.attrs(s.Attributes(), 3)
	return s
}

func (g *traceGen) attrs(m pcommon.Map, rare int) {
	for _, key := range genKeys[:4] {
		if g.rng.IntN(rare) > 0 {
			continue
		}
		switch g.rng.IntN(8) {
		case 0, 1, 2:
			m.PutStr(key, genTexts[g.rng.IntN(len(genTexts))])
		case 3, 4:
			m.PutInt(key, int64(g.rng.IntN(20)-5))
		case 5:
			m.PutBool(key, g.rng.IntN(2) == 0)
		case 6:
			m.PutDouble(key, 3.5)
		case 7:
			m.PutEmptySlice(key).AppendEmpty().SetStr("a")
		}
	}
}

// policyGen makes configurations that contrib accepts.
type policyGen struct {
	rng              *rand.Rand
	upper, usedUpper bool
	names            int
}

func (g *policyGen) config() map[string]any {
	var list []any
	for range 1 + g.rng.IntN(4) {
		list = append(list, g.top())
	}
	return map[string]any{"policies": list, "sample_on_first_match": g.rng.IntN(2) == 0}
}

func (g *policyGen) top() map[string]any {
	switch g.rng.IntN(8) {
	case 0:
		return g.group("and", "and_sub_policy", g.inner)
	case 1:
		return g.group("drop", "drop_sub_policy", g.inner)
	case 2:
		return g.not()
	}
	return g.shared()
}

func (g *policyGen) inner() map[string]any {
	if g.rng.IntN(4) == 0 {
		return g.not()
	}
	return g.shared()
}

func (g *policyGen) group(typ, field string, sub func() map[string]any) map[string]any {
	subs := []any{}
	for range g.rng.IntN(4) {
		subs = append(subs, sub())
	}
	return g.policy(typ, map[string]any{field: subs})
}

func (g *policyGen) not() map[string]any {
	return g.policy("not", map[string]any{"not_sub_policy": g.shared()})
}

func (g *policyGen) policy(typ string, settings map[string]any) map[string]any {
	g.names++
	out := map[string]any{"name": fmt.Sprintf("p%d", g.names), "type": typ}
	if settings != nil {
		out[typ] = settings
	}
	return out
}

func (g *policyGen) shared() map[string]any {
	rng := g.rng
	key := genKeys[rng.IntN(len(genKeys))]
	invert := rng.IntN(3) == 0
	switch rng.IntN(16) {
	case 0:
		if rng.IntN(4) == 0 {
			return g.policy("always_sample", map[string]any{})
		}
		fallthrough
	case 1, 2:
		s := map[string]any{"threshold_ms": rng.IntN(2500)}
		if g.upper && rng.IntN(2) == 0 {
			s["upper_threshold_ms"], g.usedUpper = rng.IntN(3000), true
		}
		return g.policy("latency", s)
	case 3, 4:
		codes := []any{[]string{"OK", "ERROR", "UNSET"}[rng.IntN(3)]}
		if rng.IntN(3) == 0 {
			codes = append(codes, "OK")
		}
		return g.policy("status_code", map[string]any{"status_codes": codes})
	case 5, 6:
		s := map[string]any{"sampling_percentage": rng.Float64() * 60}
		if rng.IntN(2) == 0 {
			s["hash_salt"] = genTexts[rng.IntN(len(genTexts))]
		}
		return g.policy("probabilistic", s)
	case 7, 8:
		var values []any
		for range 1 + rng.IntN(6) {
			values = append(values, genTexts[rng.IntN(len(genTexts))])
		}
		return g.policy("string_attribute", map[string]any{"key": key, "values": values, "invert_match": invert})
	case 9, 10:
		exprs := []any{"^a", "b$", "", ".*timeout", "^$", "[0-9]+"}
		return g.policy("string_attribute", map[string]any{
			"key": key, "values": []any{exprs[rng.IntN(len(exprs))], exprs[rng.IntN(len(exprs))]}, "invert_match": invert,
			"enabled_regex_matching": true, "cache_max_size": rng.IntN(4),
		})
	case 11:
		s := map[string]any{"key": key, "invert_match": invert, "min_value": 1 + rng.IntN(8)}
		if rng.IntN(2) == 0 {
			s["max_value"] = 10
		}
		if rng.IntN(4) == 0 {
			s["min_value"] = -3
		}
		return g.policy("numeric_attribute", s)
	case 12:
		return g.policy("boolean_attribute", map[string]any{"key": key, "value": rng.IntN(2) == 0, "invert_match": invert})
	case 13:
		s := map[string]any{"min_spans": rng.IntN(6)}
		if rng.IntN(2) == 0 {
			s["max_spans"] = rng.IntN(7)
		}
		return g.policy("span_count", s)
	case 14:
		return g.policy("trace_state", map[string]any{"key": []string{"vendor", "ot", "k1"}[rng.IntN(3)], "values": []any{"a", "th:8", "abc", ""}})
	}
	return g.policy("trace_flags", nil)
}

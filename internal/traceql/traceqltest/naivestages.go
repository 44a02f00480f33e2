package traceqltest

import (
	"cmp"
	"math"
	"slices"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

func (m *NaiveMetrics) stages(series []naiveSeries, stages []ast.SecondStage) []naiveSeries {
	for _, s := range stages {
		if s.Kind == ast.CompareValue {
			series = m.keep(series, func(_, _ int, v float64) bool { return compareOrder(s.Op, cmp.Compare(v, shownNumber(s.Value))) })
			continue
		}
		series = m.ranked(series, int(s.Limit), s.Kind == ast.BottomK)
	}
	return series
}

// shownNumber is a number of a query in the units of answers: durations in seconds.
func shownNumber(v ast.Static) float64 {
	f, _ := toNumber(fromStatic(v))
	if v.Type == ast.TypeDuration {
		f /= 1e9
	}
	return f
}

// keep makes gaps of the points that are not to be kept, and drops series without points.
func (m *NaiveMetrics) keep(series []naiveSeries, holds func(i, k int, v float64) bool) []naiveSeries {
	var out []naiveSeries
	for i, s := range series {
		values := make([]float64, m.n)
		some := false
		for k, v := range s.values {
			values[k] = math.NaN()
			if !math.IsNaN(v) && holds(i, k, v) {
				values[k], some = v, true
			}
		}
		if some {
			out = append(out, naiveSeries{s.labels, values})
		}
	}
	return out
}

// ranked keeps the best per bucket: a point stays if fewer than limit others come before it.
func (m *NaiveMetrics) ranked(series []naiveSeries, limit int, bottom bool) []naiveSeries {
	return m.keep(series, func(i, k int, v float64) bool {
		before := 0
		for j, o := range series {
			c := cmp.Compare(v, o.values[k])
			if bottom {
				c = -c
			}
			if j == i || math.IsNaN(o.values[k]) {
				continue
			}
			ties := compareNaiveLabels(o.labels, series[i].labels)
			if ties == 0 {
				m.Ambiguous = true
			}
			if c < 0 || c == 0 && ties < 0 {
				before++
			}
		}
		return before < limit
	})
}

// op computes with series.
func (m *NaiveMetrics) op(o *ast.MetricsOp) []naiveSeries {
	number := func(x ast.Metrics) (float64, bool) {
		s, ok := x.(*ast.MetricsScalar)
		if !ok {
			return 0, false
		}
		return shownNumber(s.Value), true
	}
	l, lNumber := number(o.L)
	r, rNumber := number(o.R)
	var out []naiveSeries
	switch {
	case lNumber && rNumber:
		return nil
	case lNumber:
		for _, s := range m.Eval(o.R) {
			out = append(out, m.combine(o.Op, s.labels, func(int) float64 { return l }, func(k int) float64 { return s.values[k] }))
		}
	case rNumber:
		for _, s := range m.Eval(o.L) {
			out = append(out, m.combine(o.Op, s.labels, func(k int) float64 { return s.values[k] }, func(int) float64 { return r }))
		}
	default:
		left, right := m.Eval(o.L), m.Eval(o.R)
		m.Ambiguous = m.Ambiguous || repeated(left) || repeated(right)
		for _, s := range left {
			for _, t := range right {
				if labelText(withoutName(s.labels)) == labelText(withoutName(t.labels)) {
					out = append(out, m.combine(o.Op, s.labels, func(k int) float64 { return s.values[k] }, func(k int) float64 { return t.values[k] }))
				}
			}
		}
	}
	return m.keep(out, func(int, int, float64) bool { return true })
}

func repeated(series []naiveSeries) bool {
	seen := map[string]bool{}
	for _, s := range series {
		k := labelText(withoutName(s.labels))
		if seen[k] {
			return true
		}
		seen[k] = true
	}
	return false
}

func withoutName(labels []naiveLabel) []naiveLabel {
	return slices.DeleteFunc(slices.Clone(labels), func(l naiveLabel) bool { return l.key == "__name__" })
}

func (m *NaiveMetrics) combine(op ast.Op, labels []naiveLabel, a, b func(k int) float64) naiveSeries {
	out := naiveSeries{labels, make([]float64, m.n)}
	for k := range out.values {
		switch op {
		case ast.OpAdd:
			out.values[k] = a(k) + b(k)
		case ast.OpSub:
			out.values[k] = a(k) - b(k)
		case ast.OpMul:
			out.values[k] = a(k) * b(k)
		default:
			out.values[k] = a(k) / b(k)
		}
	}
	return out
}

// compare follows.
func (m *NaiveMetrics) compare(q *ast.MetricsQuery, spans []survivor) []naiveSeries {
	type key struct {
		side int
		attr string
	}
	values := map[key][]naiveSeries{} // labels hold the value only
	var keys []key
	for _, s := range spans {
		start := int64(s.trace.spans[s.i].StartNano) //nolint:gosec // Times of tests.
		side := 0
		if (!q.TimesSet || start > q.Start && start <= q.End) && (q.Selection.X == nil || truth(s.trace.expr(q.Selection.X, s.i))) {
			side = 1
		}
		for _, a := range m.comparedAttrs(s) {
			v := s.trace.firstOf(a, s.i)
			if v == nil {
				continue
			}
			k := key{side, a.Label()}
			at := slices.IndexFunc(values[k], func(o naiveSeries) bool { return identical(o.labels[0].value, v) })
			if at < 0 {
				if values[k] == nil {
					keys = append(keys, k)
				}
				at = len(values[k])
				values[k] = append(values[k], naiveSeries{[]naiveLabel{{a.Label(), v}}, make([]float64, m.n)})
			}
			values[k][at].values[s.bucket]++
		}
	}
	var out []naiveSeries
	for _, k := range keys {
		list := values[k]
		total := make([]float64, m.n)
		for _, s := range list {
			for b, n := range s.values {
				total[b] += n
			}
		}
		slices.SortStableFunc(list, func(a, b naiveSeries) int {
			return cmp.Or(cmp.Compare(all(b.values), all(a.values)), compareNaiveLabels(a.labels, b.labels))
		})
		meta := []string{"baseline", "selection"}[k.side]
		for _, s := range list[:min(len(list), int(q.TopN))] {
			out = append(out, naiveSeries{append([]naiveLabel{{"__meta_type", meta}}, s.labels...), s.values})
		}
		out = append(out, naiveSeries{[]naiveLabel{{"__meta_type", meta + "_total"}, {k.attr, "nil"}}, total})
		if len(list) > int(q.TopN) {
			labels := []naiveLabel{{"__meta_error", "__too_many_values__"}, {"__meta_type", meta}, {k.attr, "nil"}}
			out = append(out, naiveSeries{labels, slices.Repeat([]float64{math.NaN()}, m.n)})
		}
	}
	return out
}

func all(list []float64) (sum float64) {
	for _, v := range list {
		sum += v
	}
	return sum
}

// firstOf is single with arrays, which compare counts as they are.
func (n *Naive) firstOf(a ast.Attr, i int) nval {
	if a.Multi() {
		return n.single(a, i)
	}
	return n.attr(a, i)
}

// comparedAttrs lists the attributes of a span, each once.
func (m *NaiveMetrics) comparedAttrs(s survivor) []ast.Attr {
	var out []ast.Attr
	for _, in := range []ast.Intrinsic{
		ast.Name, ast.StatusCode, ast.StatusMessage, ast.SpanKind, ast.ScopeName, ast.ScopeVersion, ast.EventName,
		ast.RootName, ast.RootService,
	} {
		out = append(out, ast.IntrinsicAttr(in))
	}
	add := func(scope ast.Scope, attrs []store.Attr) {
		for _, kv := range attrs {
			out = ast.AddAttr(out, ast.Attr{Scope: scope, Name: kv.Key})
		}
	}
	span := s.trace.spans[s.i]
	add(ast.ScopeSpan, span.Attrs)
	add(ast.ScopeResource, m.batch.Resources[span.Resource].Attrs)
	add(ast.ScopeResource, []store.Attr{{Key: "service.name"}})
	add(ast.ScopeInstrumentation, m.batch.Scopes[span.Scope].Attrs)
	for i := range span.Events {
		add(ast.ScopeEvent, span.Events[i].Attrs)
	}
	for i := range span.Links {
		add(ast.ScopeLink, span.Links[i].Attrs)
	}
	return out
}

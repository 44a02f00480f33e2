package traceqltest

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

// NaiveMetrics evaluates metrics in the plainest way: all spans that a query leaves are kept, and every number of every
// series is computed from the list of them. Like Naive it shares nothing with package exec but the syntax tree.
type NaiveMetrics struct {
	batch   *store.Batch
	traces  map[spanid.TraceID]*Naive
	instant bool
	// The buckets (start, start+step], …; an instant query has one that takes in both ends.
	start, step int64
	n           int
	// Ambiguous is set when series of equal labels met in arithmetic: which counts is not defined.
	Ambiguous bool
}

// NewNaiveMetrics makes an evaluator of a batch over a range. Times are Unix nanoseconds.
func NewNaiveMetrics(b *store.Batch, start, end int64, step time.Duration, instant bool) *NaiveMetrics {
	m := &NaiveMetrics{batch: b, traces: map[spanid.TraceID]*Naive{}, instant: instant, start: start, step: end - start, n: 1}
	for id, spans := range naiveTraces(b) {
		m.traces[id] = NewNaive(b, spans)
	}
	if instant {
		return m
	}
	m.step = int64(step)
	m.start = start - start%m.step - m.step
	for m.n = 0; m.start+int64(m.n)*m.step < end; m.n++ {
	}
	return m
}

// naiveTraces groups the spans of a batch by trace, in the order of arrival.
func naiveTraces(b *store.Batch) map[spanid.TraceID][]*store.Span {
	out := map[spanid.TraceID][]*store.Span{}
	for i := range b.Spans {
		s := &b.Spans[i]
		out[s.TraceID] = append(out[s.TraceID], s)
	}
	return out
}

// naiveLabel is a label of a series.
type naiveLabel struct {
	key   string
	value nval
}

// naiveSeries is a series; NaN marks gaps.
type naiveSeries struct {
	labels []naiveLabel
	values []float64
}

// survivor is a span that a pipeline left, in a bucket.
type survivor struct {
	trace  *Naive
	i      int
	bucket int
}

// bucket returns the bucket of a time, -1 for none.
func (m *NaiveMetrics) bucket(t int64) int {
	for k := range m.n {
		from, to := m.start+int64(k)*m.step, m.start+int64(k+1)*m.step
		if t > from && t <= to || m.instant && t == from {
			return k
		}
	}
	return -1
}

// seconds is what rate divides by.
func (m *NaiveMetrics) seconds() float64 { return time.Duration(m.step).Seconds() }

// survivors lists the spans that the pipeline leaves, each once.
func (m *NaiveMetrics) survivors(p *ast.Pipeline) []survivor {
	var out []survivor
	for _, tr := range m.traces {
		for _, i := range flatten(tr.Eval(p)) {
			if b := m.bucket(int64(tr.spans[i].StartNano)); b >= 0 { //nolint:gosec // Times of tests.
				out = append(out, survivor{tr, i, b})
			}
		}
	}
	return out
}

// Eval computes an expression of metrics.
func (m *NaiveMetrics) Eval(x ast.Metrics) []naiveSeries {
	switch x := x.(type) {
	case *ast.MetricsQuery:
		return m.stages(m.query(x), x.Stages)
	case *ast.MetricsStages:
		return m.stages(m.Eval(x.X), x.Stages)
	case *ast.MetricsOp:
		return m.op(x)
	}
	return nil
}

func (m *NaiveMetrics) query(q *ast.MetricsQuery) []naiveSeries {
	spans := m.survivors(q.Pipeline)
	if q.Fn == ast.Compare {
		return m.compare(q, spans)
	}
	type group struct {
		values []nval
		spans  []survivor
	}
	var groups []*group
	for _, s := range spans {
		if _, ok := m.measure(q, s); q.Fn.HasAttr() && !ok {
			continue
		}
		values := make([]nval, len(q.By))
		for i, a := range q.By {
			values[i] = s.trace.single(a, s.i)
		}
		k := slices.IndexFunc(groups, func(g *group) bool { return slices.EqualFunc(g.values, values, identical) })
		if k < 0 {
			k = len(groups)
			groups = append(groups, &group{values: values})
		}
		groups[k].spans = append(groups[k].spans, s)
	}
	if len(groups) == 0 && len(q.By) == 0 && (q.Fn == ast.Rate || q.Fn == ast.CountOverTime) {
		groups = append(groups, &group{}) // M-14.
	}
	var out []naiveSeries
	for _, g := range groups {
		labels := groupLabels(q, g.values)
		switch q.Fn {
		case ast.HistogramOverTime:
			out = append(out, m.histogram(q, labels, g.spans)...)
		case ast.QuantileOverTime:
			out = append(out, m.quantiles(q, labels, g.spans)...)
		default:
			out = append(out, naiveSeries{labels, m.simple(q, g.spans)})
		}
	}
	return out
}

// single returns the one value that a span is grouped or measured by: of several events or links that of the first,
// nothing for an array.
func (n *Naive) single(a ast.Attr, i int) nval {
	s := n.spans[i]
	one := *s
	if a.Multi() {
		has := func(attrs []store.Attr) bool { return a.Scope == ast.ScopeIntrinsic || has(attrs, a.Name) }
		if k := slices.IndexFunc(s.Events, func(e store.Event) bool { return has(e.Attrs) }); k >= 0 {
			one.Events = s.Events[k : k+1]
		}
		if k := slices.IndexFunc(s.Links, func(l store.Link) bool { return has(l.Attrs) }); k >= 0 {
			one.Links = s.Links[k : k+1]
		}
		v := (&Naive{batch: n.batch, spans: []*store.Span{&one}}).attr(a, 0)
		return scalarOnly(v)
	}
	return scalarOnly(n.attr(a, i))
}

func scalarOnly(v nval) nval {
	if _, many := v.([]nval); many {
		return nil
	}
	return v
}

// groupLabels follows.
func groupLabels(q *ast.MetricsQuery, values []nval) []naiveLabel {
	if len(q.By) == 0 {
		if q.Fn.Bucketed() {
			return nil
		}
		return []naiveLabel{{"__name__", q.Fn.String()}}
	}
	var out []naiveLabel
	for i, v := range values {
		if v != nil {
			out = append(out, naiveLabel{q.By[i].Label(), v})
		}
	}
	if out == nil {
		out = []naiveLabel{{q.By[0].Label(), "nil"}}
	}
	return out
}

// measure returns the number that a function measures in a span.
func (m *NaiveMetrics) measure(q *ast.MetricsQuery, s survivor) (float64, bool) {
	if !q.Fn.HasAttr() {
		return 0, true
	}
	v := s.trace.single(q.Attr, s.i)
	if _, float := v.(float64); float && q.Fn.Bucketed() {
		return 0, false
	}
	f, ok := toNumber(v)
	if q.Attr.Intrinsic == ast.SpanDuration && !q.Fn.Bucketed() {
		f /= 1e9
	}
	if q.Fn.Bucketed() && f < 2 {
		return 0, false
	}
	return f, ok
}

func (m *NaiveMetrics) simple(q *ast.MetricsQuery, spans []survivor) []float64 {
	out := make([]float64, m.n)
	for k := range out {
		var list []float64
		total := 0.0
		for _, s := range spans {
			if s.bucket == k {
				v, _ := m.measure(q, s)
				list = append(list, v)
				total += v
			}
		}
		switch {
		case q.Fn == ast.CountOverTime:
			out[k] = float64(len(list))
		case q.Fn == ast.Rate:
			out[k] = float64(len(list)) / m.seconds()
		case len(list) == 0:
			out[k] = math.NaN()
		case q.Fn == ast.MinOverTime:
			out[k] = slices.Min(list)
		case q.Fn == ast.MaxOverTime:
			out[k] = slices.Max(list)
		case q.Fn == ast.SumOverTime:
			out[k] = total
		case q.Fn == ast.AvgOverTime:
			out[k] = total / float64(len(list))
		}
	}
	return out
}

// ceiling returns the power of two at or above a value of at least 2.
func ceiling(v float64) float64 {
	p := 2.0
	for p < v {
		p *= 2
	}
	return p
}

// unit is how many stored units a shown one has.
func unit(q *ast.MetricsQuery) float64 {
	if q.Attr.Type() == ast.TypeDuration {
		return 1e9
	}
	return 1
}

func (m *NaiveMetrics) histogram(q *ast.MetricsQuery, labels []naiveLabel, spans []survivor) []naiveSeries {
	tops := map[float64][]float64{}
	for _, s := range spans {
		v, _ := m.measure(q, s)
		top := ceiling(v)
		if tops[top] == nil {
			tops[top] = make([]float64, m.n)
		}
		tops[top][s.bucket]++
	}
	var out []naiveSeries
	for top, counts := range tops {
		out = append(out, naiveSeries{append(slices.Clone(labels), naiveLabel{"__bucket", top / unit(q)}), counts})
	}
	return out
}

// quantiles follows X-14: the value of the rank is looked for among the sorted ceilings.
func (m *NaiveMetrics) quantiles(q *ast.MetricsQuery, labels []naiveLabel, spans []survivor) []naiveSeries {
	var out []naiveSeries
	for _, p := range q.Quantiles {
		values := make([]float64, m.n)
		for k := range values {
			var tops []float64
			for _, s := range spans {
				if s.bucket == k {
					v, _ := m.measure(q, s)
					tops = append(tops, ceiling(v))
				}
			}
			slices.Sort(tops)
			values[k] = rankValue(tops, p) / unit(q)
		}
		out = append(out, naiveSeries{append(slices.Clone(labels), naiveLabel{"p", p}), values})
	}
	return out
}

func rankValue(tops []float64, p float64) float64 {
	if len(tops) == 0 {
		return 0
	}
	rank := max(1, int(math.Ceil(p*float64(len(tops)))))
	top := tops[rank-1]
	first := slices.Index(tops, top)
	same := 0
	for _, v := range tops {
		if v == top {
			same++
		}
	}
	if rank == first+same {
		return top
	}
	low := top / 2
	if first > 0 {
		low = tops[first-1]
	}
	share := float64(rank-first) / float64(same)
	return math.Exp2(math.Log2(low) + share*(math.Log2(top)-math.Log2(low)))
}

// text prints labels in a way that tells types apart.
func labelText(labels []naiveLabel) string {
	var out []string
	for _, l := range labels {
		out = append(out, l.key+"="+shown(staticOf(l.value)))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func staticOf(v nval) ast.Static {
	switch v := v.(type) {
	case int64:
		return ast.Int(v)
	case float64:
		return ast.Float(v)
	case string:
		return ast.String(v)
	case bool:
		return ast.Bool(v)
	case nduration:
		return ast.Duration(int64(v))
	case nstatus:
		return ast.Status(int64(v))
	case nkind:
		return ast.Kind(int64(v))
	case []nval:
		var elems []ast.Static
		for _, e := range v {
			elems = append(elems, staticOf(e))
		}
		return ast.Array(elems...)
	}
	return ast.Static{}
}

// compareNaiveLabels is the order of answers (M-11): fewer labels first, then by keys and values, numbers as numbers.
func compareNaiveLabels(a, b []naiveLabel) int {
	if c := cmp.Compare(len(a), len(b)); c != 0 {
		return c
	}
	for i := range a {
		if c := cmp.Compare(a[i].key, b[i].key); c != 0 {
			return c
		}
		x, okX := toNumber(a[i].value)
		y, okY := toNumber(b[i].value)
		if okX && okY && x != y {
			return cmp.Compare(x, y)
		}
		s, t := staticOf(a[i].value), staticOf(b[i].value)
		if c := cmp.Or(cmp.Compare(s.Type, t.Type), cmp.Compare(s.Text(), t.Text())); c != 0 {
			return c
		}
	}
	return 0
}

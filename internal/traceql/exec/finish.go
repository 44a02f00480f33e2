package exec

import (
	"cmp"
	"math"
	"slices"

	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// MetricsResult is the finished answer of a metrics query.
type MetricsResult struct {
	Series    []Series
	Truncated bool // The series limit was hit: the answer is partial (M-12).
	Stats     Stats
}

// Series is one series, ordered in MetricsResult by number of labels, then by labels (M-11).
type Series struct {
	Labels    []Attr
	Samples   []Sample // Ascending in time; one for instant queries.
	Exemplars []Exemplar
}

// Sample is the value of one bucket.
type Sample struct {
	Millis int64 // Unix time of the bucket's end.
	Value  float64
}

// points is a series while it is being finished: NaN marks gaps.
type points struct {
	labels    []Attr
	values    []float64
	exemplars []Exemplar
}

// finisher turns sums into series.
type finisher struct {
	query   *plan.Query
	partial *Partial
}

// Finish computes the series of a query from merged sums. maxSeries of 0 means no limit; maxExemplars bounds the
// exemplars of the whole answer.
func Finish(q *plan.Query, p *Partial, maxSeries, maxExemplars int) *MetricsResult {
	f := &finisher{query: q, partial: p}
	all := f.expr(q.AST.Metrics)
	slices.SortFunc(all, func(a, b *points) int { return compareLabels(a.labels, b.labels) })
	out := &MetricsResult{Stats: p.Stats}
	if maxSeries > 0 && len(all) > maxSeries {
		all, out.Truncated = all[:maxSeries], true
	}
	spreadExemplars(all, maxExemplars, &p.Timeline)
	for _, s := range all {
		series := Series{Labels: s.labels, Exemplars: s.exemplars}
		for i, v := range s.values {
			if !math.IsNaN(v) {
				series.Samples = append(series.Samples, Sample{p.Timeline.millis(i), v})
			}
		}
		out.Series = append(out.Series, series)
	}
	return out
}

func compareLabels(a, b []Attr) int {
	if c := cmp.Compare(len(a), len(b)); c != 0 {
		return c
	}
	for i := range a {
		if c := cmp.Compare(a[i].Key, b[i].Key); c != 0 {
			return c
		}
		if c := compareValues(a[i].Value, b[i].Value); c != 0 {
			return c
		}
	}
	return 0
}

func compareValues(a, b ast.Static) int {
	if x, ok := a.Number(); ok {
		if y, ok := b.Number(); ok && x != y {
			return cmp.Compare(x, y)
		}
	}
	if c := cmp.Compare(a.Type, b.Type); c != 0 {
		return c
	}
	return cmp.Compare(a.Text(), b.Text())
}

// expr evaluates an expression of metrics.
func (f *finisher) expr(m ast.Metrics) []*points {
	switch m := m.(type) {
	case *ast.MetricsQuery:
		for i, q := range f.query.Metrics {
			if q.AST == m {
				return f.secondStages(f.first(m, &f.partial.Queries[i], q), m.Stages)
			}
		}
	case *ast.MetricsStages:
		return f.secondStages(f.expr(m.X), m.Stages)
	case *ast.MetricsOp:
		return f.op(m)
	}
	return nil
}

// first computes the values of the first-stage function.
func (f *finisher) first(m *ast.MetricsQuery, p *QueryPartial, q *plan.MetricsQuery) []*points {
	switch m.Fn {
	case ast.Compare:
		return f.compare(m, p)
	case ast.HistogramOverTime:
		return f.histogram(m, p)
	case ast.QuantileOverTime:
		return f.quantiles(m, p)
	}
	series := p.Series
	counted := m.Fn == ast.Rate || m.Fn == ast.CountOverTime
	if len(series) == 0 && len(m.By) == 0 && counted && !q.Pipeline.ConstFalse() {
		series = []PartialSeries{*newPartialSeries(nil, needsOf(m.Fn), f.partial.Timeline.N)} // M-14.
	}
	out := make([]*points, 0, len(series))
	for i := range series {
		s := &series[i]
		pt := &points{labels: seriesLabels(m, s.Labels), values: make([]float64, f.partial.Timeline.N)}
		for k := range pt.values {
			pt.values[k] = f.value(m.Fn, s, k)
		}
		pt.exemplars = f.exemplars(s, pt.values)
		out = append(out, pt)
	}
	return out
}

func (f *finisher) value(fn ast.MetricsFn, s *PartialSeries, k int) float64 {
	switch fn {
	case ast.Rate:
		return s.Count[k] / f.partial.Timeline.seconds()
	case ast.CountOverTime:
		return s.Count[k]
	case ast.MinOverTime:
		return s.Min[k]
	case ast.MaxOverTime:
		return s.Max[k]
	}
	switch {
	case s.Count[k] == 0:
		return absent
	case fn == ast.AvgOverTime:
		return s.Sum[k] / s.Count[k]
	}
	return s.Sum[k]
}

// exemplars completes exemplars with the value of the sample in their bucket where nothing was measured, and drops
// those that clients cannot show.
func (f *finisher) exemplars(s *PartialSeries, values []float64) []Exemplar {
	var out []Exemplar
	for _, e := range s.Exemplars {
		if !e.HasValue {
			if k := f.bucketOf(e.Millis); k >= 0 {
				e.Value = values[k]
			}
		}
		if e.Value != 0 && !math.IsNaN(e.Value) {
			out = append(out, e)
		}
	}
	return out
}

// bucketOf finds the bucket of an exemplar, whose time is cut to milliseconds.
func (f *finisher) bucketOf(millis int64) int {
	t := &f.partial.Timeline
	return t.bucket(min(max(millis*1e6, t.Start+1), t.Start+int64(t.N)*t.Step))
}

// seriesLabels are the labels of a series: the groups, without missing ones, or the function's name
//
func seriesLabels(m *ast.MetricsQuery, groups []Attr) []Attr {
	if len(m.By) == 0 {
		if m.Fn.Bucketed() {
			return nil
		}
		return []Attr{{"__name__", ast.String(m.Fn.String())}}
	}
	out := make([]Attr, 0, len(groups)+1)
	for _, g := range groups {
		if !g.Value.IsNil() {
			out = append(out, g)
		}
	}
	if len(out) == 0 {
		out = append(out, Attr{groups[0].Key, ast.String("nil")})
	}
	return out
}

// histogram makes a series per group and bucket.
func (f *finisher) histogram(m *ast.MetricsQuery, p *QueryPartial) []*points {
	var out []*points
	for i := range p.Series {
		s := &p.Series[i]
		byExp := map[uint8]*points{}
		for k, h := range s.Hist {
			for _, c := range h {
				pt := byExp[c.Exp]
				if pt == nil {
					labels := append(seriesLabels(m, s.Labels), Attr{"__bucket", ast.Float(bound(m, c.Exp))})
					pt = &points{labels: labels, values: make([]float64, f.partial.Timeline.N)}
					byExp[c.Exp] = pt
					out = append(out, pt)
				}
				pt.values[k] = c.Count
			}
		}
		for _, e := range s.Exemplars {
			exp, ok := exponent(e.Value * scale(m))
			if pt := byExp[exp]; ok && pt != nil {
				if k := f.bucketOf(e.Millis); k >= 0 && pt.values[k] != 0 {
					e.Value = pt.values[k]
					pt.exemplars = append(pt.exemplars, e)
				}
			}
		}
	}
	return out
}

// scale is the number of stored units in a shown one: durations are stored in nanoseconds and shown in seconds.
func scale(m *ast.MetricsQuery) float64 {
	if m.Attr.Type() == ast.TypeDuration {
		return 1e9
	}
	return 1
}

// bound is the upper end of a bucket as it is shown.
func bound(m *ast.MetricsQuery, exp uint8) float64 { return math.Ldexp(1, int(exp)) / scale(m) }

// exponent returns the bucket of a value: the next power of two. Values below 2 have none.
func exponent(v float64) (uint8, bool) {
	if v < 2 || v > math.MaxInt64 {
		return 0, false
	}
	frac, exp := math.Frexp(v)
	if frac == 0.5 {
		exp--
	}
	return uint8(exp), true //nolint:gosec // At most 63.
}

// quantiles makes a series per group and quantile.
func (f *finisher) quantiles(m *ast.MetricsQuery, p *QueryPartial) []*points {
	var out []*points
	for i := range p.Series {
		s := &p.Series[i]
		for qi, q := range m.Quantiles {
			labels := append(seriesLabels(m, s.Labels), Attr{"p", ast.Float(q)})
			pt := &points{labels: labels, values: make([]float64, f.partial.Timeline.N)}
			for k, h := range s.Hist {
				pt.values[k] = quantile(h, q) / scale(m)
			}
			for n, e := range s.Exemplars {
				if n%len(m.Quantiles) == qi && e.Value != 0 { // Shared out among the quantiles.
					pt.exemplars = append(pt.exemplars, e)
				}
			}
			out = append(out, pt)
		}
	}
	return out
}

// quantile interpolates exponentially inside the bucket that holds the rank.
func quantile(h []HistCount, q float64) float64 {
	total := 0.0
	for _, c := range h {
		total += c.Count
	}
	if total == 0 {
		return 0
	}
	rank := max(1, math.Ceil(q*total))
	before := 0.0
	for i, c := range h {
		if before+c.Count < rank {
			before += c.Count
			continue
		}
		top := math.Ldexp(1, int(c.Exp))
		if before+c.Count == rank {
			return top
		}
		low := top / 2
		if i > 0 {
			low = math.Ldexp(1, int(h[i-1].Exp))
		}
		return low * math.Pow(top/low, (rank-before)/c.Count)
	}
	return math.Ldexp(1, int(h[len(h)-1].Exp))
}

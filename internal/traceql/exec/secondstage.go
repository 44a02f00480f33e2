package exec

import (
	"cmp"
	"math"
	"slices"

	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

// secondStages applies topk, bottomk and comparisons in order.
func (f *finisher) secondStages(in []*points, stages []ast.SecondStage) []*points {
	for _, s := range stages {
		if s.Kind == ast.CompareValue {
			in = f.compareValue(in, s)
			continue
		}
		in = f.topK(in, int(min(s.Limit, int64(len(in)))), s.Kind == ast.BottomK)
	}
	return in
}

// topK keeps the k greatest (or least) values of each bucket. Ties go to the lower labels (contract 11).
func (f *finisher) topK(in []*points, k int, bottom bool) []*points {
	slices.SortFunc(in, func(a, b *points) int { return compareLabels(a.labels, b.labels) })
	keep := make([][]bool, len(in))
	for i := range keep {
		keep[i] = make([]bool, f.partial.Timeline.N)
	}
	order := make([]int, 0, len(in))
	for b := range f.partial.Timeline.N {
		order = order[:0]
		for i, s := range in {
			if !math.IsNaN(s.values[b]) {
				order = append(order, i)
			}
		}
		slices.SortStableFunc(order, func(x, y int) int {
			c := cmp.Compare(in[x].values[b], in[y].values[b])
			if bottom {
				return c
			}
			return -c
		})
		for _, i := range order[:min(k, len(order))] {
			keep[i][b] = true
		}
	}
	return f.prune(in, func(i, b int, _ float64) bool { return keep[i][b] }, nil)
}

// compareValue keeps the points that compare as asked. Durations are in seconds.
func (f *finisher) compareValue(in []*points, s ast.SecondStage) []*points {
	want := secondsOf(s.Value)
	holds := func(v float64) bool {
		switch s.Op {
		case ast.OpEq:
			return v == want
		case ast.OpNe:
			return v != want
		case ast.OpLt:
			return v < want
		case ast.OpLe:
			return v <= want
		case ast.OpGt:
			return v > want
		}
		return v >= want
	}
	return f.prune(in, func(_, _ int, v float64) bool { return holds(v) }, holds)
}

// secondsOf returns a number of a query as metrics show it.
func secondsOf(v ast.Static) float64 {
	n, _ := v.Number()
	if v.Type == ast.TypeDuration {
		n /= 1e9
	}
	return n
}

// prune makes gaps of the points that are not kept, and drops series without points. Exemplars must stand in a bucket
// that is left and satisfy holds.
func (f *finisher) prune(in []*points, keep func(i, bucket int, v float64) bool, holds func(float64) bool) []*points {
	out := make([]*points, 0, len(in))
	for i, s := range in {
		left := 0
		for b, v := range s.values {
			switch {
			case math.IsNaN(v):
			case keep(i, b, v):
				left++
			default:
				s.values[b] = absent
			}
		}
		s.exemplars = slices.DeleteFunc(s.exemplars, func(e Exemplar) bool {
			b := f.bucketOf(e.Millis)
			return b < 0 || math.IsNaN(s.values[b]) || holds != nil && !holds(e.Value)
		})
		if left > 0 {
			out = append(out, s)
		}
	}
	return out
}

// op computes with series: those of equal labels on both sides are combined bucket by bucket, the others are dropped;
// a number is combined with every series. The name of the function is no label in this. Exemplars are dropped:
// their values belong to the operands.
func (f *finisher) op(m *ast.MetricsOp) []*points {
	l, lNumber := m.L.(*ast.MetricsScalar)
	r, rNumber := m.R.(*ast.MetricsScalar)
	var out []*points
	switch {
	case lNumber && rNumber:
	case lNumber:
		out = f.expr(m.R)
		for _, s := range out {
			for b, v := range s.values {
				s.values[b] = calculate(m.Op, secondsOf(l.Value), v)
			}
		}
	case rNumber:
		out = f.expr(m.L)
		for _, s := range out {
			for b, v := range s.values {
				s.values[b] = calculate(m.Op, v, secondsOf(r.Value))
			}
		}
	default:
		out = joinSeries(m.Op, f.expr(m.L), f.expr(m.R))
	}
	for _, s := range out {
		s.exemplars = nil
	}
	return f.prune(out, func(int, int, float64) bool { return true }, nil)
}

func joinSeries(op ast.Op, left, right []*points) []*points {
	byLabels := make(map[string]*points, len(right))
	for _, s := range right {
		byLabels[labelKey(unnamed(s.labels))] = s
	}
	var out []*points
	for _, s := range left {
		other, ok := byLabels[labelKey(unnamed(s.labels))]
		if !ok {
			continue
		}
		for b, v := range s.values {
			s.values[b] = calculate(op, v, other.values[b])
		}
		out = append(out, s)
	}
	return out
}

func unnamed(labels []Attr) []Attr {
	return slices.DeleteFunc(slices.Clone(labels), func(a Attr) bool { return a.Key == "__name__" })
}

// calculate keeps gaps: NaN with anything is NaN, and so is 0/0.
func calculate(op ast.Op, a, b float64) float64 {
	switch op {
	case ast.OpAdd:
		return a + b
	case ast.OpSub:
		return a - b
	case ast.OpMul:
		return a * b
	}
	return a / b
}

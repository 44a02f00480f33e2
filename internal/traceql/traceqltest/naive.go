package traceqltest

import (
	"cmp"
	"math"
	"slices"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

// Naive evaluates queries in the plainest way: all spans of a trace in a slice, the tree walked for every span. It
// shares nothing with package exec but the syntax tree, and is right or wrong on its own.
type Naive struct {
	spans []*store.Span
	batch *store.Batch
}

// NaiveSet is one spanset of a trace: indexes of spans.
type NaiveSet []int

// NewNaive makes an evaluator of one trace's spans, in the order of their arrival.
func NewNaive(b *store.Batch, spans []*store.Span) *Naive { return &Naive{spans: spans, batch: b} }

// nval is a value: nil for none, or int64, float64, string, bool, duration, status, kind or []nval.
type (
	nval      any
	nduration int64
	nstatus   int64
	nkind     int64
)

// Eval returns the spansets that the pipeline leaves of the trace.
func (n *Naive) Eval(p *ast.Pipeline) []NaiveSet {
	all := make(NaiveSet, len(n.spans))
	for i := range all {
		all[i] = i
	}
	return n.stages(p.Stages, []NaiveSet{all})
}

func (n *Naive) stages(stages []ast.Stage, sets []NaiveSet) []NaiveSet {
	for _, s := range stages {
		var next []NaiveSet
		if _, ok := s.(*ast.Coalesce); ok {
			var all NaiveSet
			for _, set := range sets {
				all = append(all, set...)
			}
			next = []NaiveSet{all}
		} else {
			for _, set := range sets {
				next = append(next, n.stage(s, set)...)
			}
		}
		sets = slices.DeleteFunc(next, func(s NaiveSet) bool { return len(s) == 0 })
	}
	return sets
}

func (n *Naive) stage(s ast.Stage, set NaiveSet) []NaiveSet {
	switch s := s.(type) {
	case *ast.Filter:
		var out NaiveSet
		for _, i := range set {
			if s.X == nil || truth(n.expr(s.X, i)) {
				out = append(out, i)
			}
		}
		return []NaiveSet{out}
	case *ast.Pipeline:
		return n.stages(s.Stages, []NaiveSet{set})
	case *ast.SpansetOp:
		return []NaiveSet{n.op(s, set)}
	case *ast.GroupBy:
		return n.group(s, set)
	case *ast.ScalarFilter:
		return n.scalar(s, set)
	}
	return []NaiveSet{set}
}

func flatten(sets []NaiveSet) NaiveSet {
	var out NaiveSet
	for _, s := range sets {
		for _, i := range s {
			if !slices.Contains(out, i) {
				out = append(out, i)
			}
		}
	}
	return out
}

func (n *Naive) op(o *ast.SpansetOp, set NaiveSet) NaiveSet {
	l, r := flatten(n.stage(o.L, set)), flatten(n.stage(o.R, set))
	switch o.Op {
	case ast.OpAnd:
		if len(l) == 0 || len(r) == 0 {
			return nil
		}
		return flatten([]NaiveSet{l, r})
	case ast.OpOr:
		return flatten([]NaiveSet{l, r})
	}
	var out NaiveSet
	for _, b := range r {
		related := false
		for _, a := range l {
			if n.related(o.Op.Plain(), a, b) {
				related = true
				if o.Op.Union() {
					out = append(out, a)
				}
			}
		}
		if related != o.Op.Negated() {
			out = append(out, b)
		}
	}
	return flatten([]NaiveSet{out})
}

// related decides E-42 to E-46 from parents alone.
func (n *Naive) related(op ast.Op, a, b int) bool {
	if !n.numbered(a) || !n.numbered(b) {
		return false
	}
	switch op {
	case ast.OpChild:
		return n.parent(b) == a
	case ast.OpParent:
		return n.parent(a) == b
	case ast.OpDescendant:
		for p := n.parent(b); p >= 0; p = n.parent(p) {
			if p == a {
				return true
			}
		}
	case ast.OpAncestor:
		return n.related(ast.OpDescendant, b, a)
	case ast.OpSibling:
		return a != b && n.parent(a) == n.parent(b)
	}
	return false
}

// parent returns the index of the parent, -1 for a root, -2 if it is missing.
func (n *Naive) parent(i int) int {
	s := n.spans[i]
	for j, twin := range n.spans {
		if n.sharing(i) == 2 && j != i && twin.SpanID == s.SpanID && s.Kind == store.KindServer && twin.Kind == store.KindClient {
			return j
		}
	}
	if s.ParentID.IsZero() {
		return -1
	}
	found := -2
	for j, p := range n.spans {
		if p.SpanID == s.ParentID && (found < 0 || p.Kind == store.KindServer && n.sharing(j) == 2) {
			found = j
		}
	}
	if found == i {
		return -2
	}
	return found
}

// sharing counts the spans that have the id of the i-th.
func (n *Naive) sharing(i int) (count int) {
	for _, s := range n.spans {
		if s.SpanID == n.spans[i].SpanID {
			count++
		}
	}
	return count
}

// numbered reports whether a root leads to the span, in a trace with at most two spans per id (E-05).
func (n *Naive) numbered(i int) bool {
	for j := range n.spans {
		if n.sharing(j) > 2 {
			return false
		}
	}
	for range len(n.spans) + 1 {
		if i < 0 {
			break
		}
		i = n.parent(i)
	}
	return i == -1
}

// left numbers by walking the whole tree.
func (n *Naive) left(want int) (left, right int) {
	counter := 0
	var walk func(i int)
	walk = func(i int) {
		counter++
		l := counter
		for j := range n.spans {
			if n.numbered(j) && n.parent(j) == i {
				walk(j)
			}
		}
		counter++
		if i == want {
			left, right = l, counter
		}
	}
	for j := range n.spans {
		if n.numbered(j) && n.parent(j) == -1 {
			walk(j)
		}
	}
	return left, right
}

func (n *Naive) group(g *ast.GroupBy, set NaiveSet) []NaiveSet {
	var values []nval
	var out []NaiveSet
	for _, i := range set {
		v := n.expr(g.X, i)
		k := slices.IndexFunc(values, func(o nval) bool { return identical(o, v) })
		if k < 0 {
			k = len(values)
			values, out = append(values, v), append(out, nil)
		}
		out[k] = append(out[k], i)
	}
	return out
}

func identical(a, b nval) bool {
	x, okX := a.([]nval)
	y, okY := b.([]nval)
	if okX && okY {
		return slices.EqualFunc(x, y, identical)
	}
	if okX || okY {
		return false
	}
	if f, ok := a.(float64); ok && math.IsNaN(f) {
		g, ok := b.(float64)
		return ok && math.IsNaN(g)
	}
	return a == b
}

func (n *Naive) scalar(f *ast.ScalarFilter, set NaiveSet) []NaiveSet {
	agg := f.L.(*ast.Aggregate) //nolint:forcetypeassert // Validation allows nothing else.
	lit := f.R.(*ast.Number)    //nolint:forcetypeassert // As above.
	var values []float64
	ints := true
	for _, i := range set {
		if agg.X == nil {
			values = append(values, 1)
			continue
		}
		v := n.expr(agg.X, i)
		if x, ok := toNumber(v); ok && !math.IsNaN(x) {
			values = append(values, x)
			if _, isInt := v.(int64); !isInt {
				ints = false
			}
		}
	}
	if len(values) == 0 {
		return nil
	}
	total, low, high := 0.0, values[0], values[0]
	for _, v := range values {
		total += v
		low, high = min(low, v), max(high, v)
	}
	got := total
	switch agg.Fn {
	case ast.Min:
		got = low
	case ast.Max:
		got = high
	case ast.Avg:
		got = total / float64(len(values))
		if !ints && durations(n, agg.X, set) {
			got = math.Trunc(got)
		}
	}
	want, _ := lit.Value.Number()
	if math.IsNaN(got) {
		return nil
	}
	if compareOrder(f.Op, cmp.Compare(got, want)) {
		return []NaiveSet{set}
	}
	return nil
}

// durations reports whether all values are durations, whose average is cut to nanoseconds.
func durations(n *Naive, x ast.Expr, set NaiveSet) bool {
	for _, i := range set {
		v := n.expr(x, i)
		if _, ok := toNumber(v); ok {
			if _, d := v.(nduration); !d {
				return false
			}
		}
	}
	return true
}

func toNumber(v nval) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	case nduration:
		return float64(v), true
	}
	return 0, false
}

func compareOrder(op ast.Op, c int) bool {
	switch op {
	case ast.OpEq:
		return c == 0
	case ast.OpNe:
		return c != 0
	case ast.OpLt:
		return c < 0
	case ast.OpLe:
		return c <= 0
	case ast.OpGt:
		return c > 0
	}
	return c >= 0
}

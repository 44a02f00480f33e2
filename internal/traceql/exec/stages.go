package exec

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// Attr is a name and a value of an answer.
type Attr struct {
	Key   string
	Value ast.Static
}

// spanset is some spans of a trace, ascending indexes, with what the pipeline found out about them.
type spanset struct {
	spans []int32
	attrs []Attr
}

// evaluator runs a pipeline over whole traces. It is immutable and can be used by many goroutines.
type evaluator struct {
	pipeline *plan.Pipeline
	cols     *columns
	conds    map[*ast.Filter]*cond
	exprs    map[ast.Stage]evalFn // Of by() and of aggregates.
}

func newEvaluator(p *plan.Pipeline, cols *columns) *evaluator {
	e := &evaluator{pipeline: p, cols: cols, conds: map[*ast.Filter]*cond{}, exprs: map[ast.Stage]evalFn{}}
	for f, c := range p.Conds {
		e.conds[f] = compile(c, cols)
	}
	e.prepare(p.AST.Stages)
	if p.Structure {
		cols.addStructure()
	}
	cols.needs = compileNeeds(p.Needs)
	return e
}

func (e *evaluator) prepare(stages []ast.Stage) {
	for _, s := range stages {
		switch s := s.(type) {
		case *ast.Pipeline:
			e.prepare(s.Stages)
		case *ast.SpansetOp:
			e.prepare([]ast.Stage{s.L, s.R})
		case *ast.GroupBy:
			e.exprs[s] = compileExpr(s.X, e.cols)
		case *ast.ScalarFilter:
			if a, ok := s.L.(*ast.Aggregate); ok && a.X != nil {
				e.exprs[s] = compileExpr(a.X, e.cols)
			}
		}
	}
}

// eval returns the spansets of a trace that the pipeline leaves. The trace counts as one that was evaluated.
func (e *evaluator) eval(r *run, t *trace) ([]spanset, error) {
	if len(t.spans) == 0 {
		return nil, nil
	}
	r.traces.Add(1)
	all := spanset{spans: make([]int32, len(t.spans))}
	for i := range all.spans {
		all.spans[i] = int32(i) //nolint:gosec // Spans of a trace fit.
	}
	return e.stages(r, t, e.pipeline.AST.Stages, []spanset{all})
}

func (e *evaluator) stages(r *run, t *trace, stages []ast.Stage, in []spanset) ([]spanset, error) {
	for _, s := range stages {
		var out []spanset
		switch s := s.(type) {
		case *ast.Select:
			continue
		case *ast.Coalesce:
			if len(in) > 0 {
				out = []spanset{{spans: union(t, in)}}
			}
		default:
			for _, set := range in {
				some, err := e.stage(r, t, s, set)
				if err != nil {
					return nil, err
				}
				out = append(out, some...)
			}
		}
		if in = out; len(in) == 0 {
			return nil, nil
		}
	}
	return in, nil
}

// stage applies one stage to one spanset.
func (e *evaluator) stage(r *run, t *trace, s ast.Stage, set spanset) ([]spanset, error) {
	switch s := s.(type) {
	case *ast.Filter:
		return e.filter(r, t, s, set)
	case *ast.SpansetOp:
		return e.spansetOp(r, t, s, set)
	case *ast.Pipeline:
		return e.stages(r, t, s.Stages, []spanset{set})
	case *ast.GroupBy:
		return e.group(t, s, set), nil
	case *ast.ScalarFilter:
		return e.scalarFilter(r, t, s, set)
	}
	return nil, fmt.Errorf("evaluate %s: %w", s, errPlan)
}

func (e *evaluator) filter(r *run, t *trace, f *ast.Filter, set spanset) ([]spanset, error) {
	c := e.conds[f]
	if c.op == plan.True {
		return []spanset{set}, nil
	}
	out := spanset{attrs: set.attrs}
	v := env{trace: t}
	for _, n := range set.spans {
		v.at(n)
		ok, err := c.holds(r, &v)
		if err != nil {
			return nil, err
		}
		if ok {
			out.spans = append(out.spans, n)
		}
	}
	if len(out.spans) == 0 {
		return nil, nil
	}
	return []spanset{out}, nil
}

// at moves the environment to the n-th span of its trace.
func (e *env) at(n int32) {
	s := e.trace.spans[n]
	e.chunk, e.i, e.n = s.chunk, s.i, int(n)
}

func (e *evaluator) spansetOp(r *run, t *trace, op *ast.SpansetOp, set spanset) ([]spanset, error) {
	ls, err := e.stage(r, t, op.L, set)
	if err != nil {
		return nil, err
	}
	if len(ls) == 0 && !op.Op.Negated() && op.Op != ast.OpOr {
		return nil, nil
	}
	rs, err := e.stage(r, t, op.R, set)
	if err != nil {
		return nil, err
	}
	out := spanset{attrs: set.attrs}
	switch {
	case len(rs) == 0 && op.Op != ast.OpOr: // Structural operators have spans of the right side, or of pairs.
		return nil, nil
	case op.Op.Logical():
		out.spans = union(t, append(slices.Clip(ls), rs...))
	default:
		out.spans = indexes(t.structure().structural(op.Op, originalMarks(t, ls), originalMarks(t, rs)))
	}
	if len(out.spans) == 0 {
		return nil, nil
	}
	return []spanset{out}, nil
}

func marks(t *trace, sets []spanset) []bool {
	out := make([]bool, len(t.spans))
	for _, s := range sets {
		for _, i := range s.spans {
			out[i] = true
		}
	}
	return out
}

// originalMarks marks originals instead of copies, which trees do without.
func originalMarks(t *trace, sets []spanset) []bool {
	out := marks(t, sets)
	for i, first := range t.originals() {
		if out[i] {
			out[i] = false
			out[first] = true
		}
	}
	return out
}

func indexes(marks []bool) []int32 {
	var out []int32
	for i, ok := range marks {
		if ok {
			out = append(out, int32(i)) //nolint:gosec // Spans of a trace fit.
		}
	}
	return out
}

func union(t *trace, sets []spanset) []int32 {
	if len(sets) == 1 {
		return sets[0].spans
	}
	return indexes(marks(t, sets))
}

// group splits a spanset by a value; spans without one are a group of their own (E-61).
func (e *evaluator) group(t *trace, g *ast.GroupBy, set spanset) []spanset {
	value := e.exprs[g]
	v := env{trace: t}
	var out []spanset
	byKey := map[string]int{}
	for _, n := range set.spans {
		v.at(n)
		got := value(&v)
		key := valueKey(got)
		i, ok := byKey[key]
		if !ok {
			i = len(out)
			byKey[key] = i
			if got.IsNil() {
				got = ast.String("nil") // S-29.
			}
			attrs := slices.Concat(set.attrs, []Attr{{g.String(), got}})
			out = append(out, spanset{attrs: attrs})
		}
		out[i].spans = append(out[i].spans, n)
	}
	return out
}

// valueKey is a text that is equal for equal values of equal type only.
func valueKey(s ast.Static) string {
	switch s.Type {
	case ast.TypeString:
		return "s" + s.S
	case ast.TypeFloat:
		return "f" + strconv.FormatUint(math.Float64bits(s.F), 16)
	case ast.TypeArray:
		key := "a"
		var keySb230 strings.Builder
		for _, e := range s.Elems {
			k := valueKey(e)
			keySb230.WriteString(strconv.Itoa(len(k)) + ":" + k)
		}
		key += keySb230.String()
		return key
	}
	return string(rune('A'+int(s.Type))) + strconv.FormatInt(s.N, 10)
}

// scalarFilter keeps a spanset if its aggregate compares as asked (E-63). Copies of spans are left out of it.
func (e *evaluator) scalarFilter(r *run, t *trace, f *ast.ScalarFilter, set spanset) ([]spanset, error) {
	a, okA := f.L.(*ast.Aggregate)
	number, okN := f.R.(*ast.Number)
	if !okA || !okN {
		return nil, nil
	}
	passes := func(got ast.Static) bool { return !got.IsNil() && plan.Compare(f.Op, got, number.Value, nil) }
	count := func() ast.Static { return ast.Int(int64(len(set.spans))) }
	if a.X == nil && (f.Op == ast.OpGt || f.Op == ast.OpGe) && !passes(count()) {
		return nil, nil // Without copies there are no more.
	}
	if err := t.identify(r); err != nil {
		return nil, err
	}
	set.spans = t.distinct(set.spans)
	got := count()
	if a.X != nil {
		got = e.aggregate(t, a.Fn, e.exprs[f], set)
	}
	if !passes(got) {
		return nil, nil
	}
	set.attrs = append(slices.Clip(set.attrs), Attr{a.String(), got})
	return []spanset{set}, nil
}

// aggregate computes over the numeric values of a spanset; nil without any. Durations stay durations, other averages
// are floats, and ints mixed with others become floats.
func (e *evaluator) aggregate(t *trace, fn ast.AggregateFn, value evalFn, set spanset) ast.Static {
	var (
		typ      ast.Type
		n        int
		exact    int64
		sum      float64
		low, top ast.Static
	)
	v := env{trace: t}
	for _, i := range set.spans {
		v.at(i)
		got := value(&v)
		f, ok := got.Number()
		if !ok || math.IsNaN(f) { // 0.0/0.0 is no value.
			continue
		}
		if n == 0 {
			typ, low, top = got.Type, got, got
		} else if typ != got.Type {
			typ = ast.TypeFloat
		}
		n++
		exact += got.N
		sum += f
		if plan.Compare(ast.OpLt, got, low, nil) {
			low = got
		}
		if plan.Compare(ast.OpGt, got, top, nil) {
			top = got
		}
	}
	switch {
	case n == 0:
		return ast.Static{}
	case fn == ast.Min:
		return low
	case fn == ast.Max:
		return top
	case fn == ast.Sum && typ != ast.TypeFloat:
		return ast.Static{Type: typ, N: exact}
	case fn == ast.Sum:
		return ast.Float(sum)
	case typ == ast.TypeDuration:
		return ast.Duration(int64(sum / float64(n)))
	}
	return ast.Float(sum / float64(n))
}

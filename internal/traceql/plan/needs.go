package plan

import (
	"math"
	"slices"

	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

// Need is what a trace must have to match: at least Spans spans for which Cond holds.
type Need struct {
	Cond  *Cond // Without trace-level parts, and cheap to decide for many spans at once.
	Spans int   // At least 1.
}

// needs returns what the traces must have that a pipeline leaves spans of.
func (b *builder) needs(p *ast.Pipeline) []Need {
	var out []Need
	each := condTrue // What holds for every span that is left.
	for _, s := range p.Stages {
		if set, ok := s.(ast.Spanset); ok {
			e, _ := b.spansetBounds(set)
			each = join(And, []*Cond{each, e})
			out = append(out, b.spansetNeeds(set)...)
		}
		if f, ok := s.(*ast.ScalarFilter); ok {
			out = append(out, Need{each, leastCount(f)})
		}
	}
	return out
}

func (b *builder) spansetNeeds(s ast.Spanset) []Need {
	switch s := s.(type) {
	case *ast.Pipeline:
		return b.needs(s)
	case *ast.Filter:
		return []Need{{b.p.Conds[s].superset(), 1}}
	case *ast.SpansetOp:
		switch {
		case s.Op == ast.OpOr:
			return nil
		case s.Op.Negated():
			return b.spansetNeeds(s.R)
		}
		return append(b.spansetNeeds(s.L), b.spansetNeeds(s.R)...)
	}
	return nil
}

// leastCount returns how many spans a set must have to get through a filter: more than 1 only if that counts spans.
func leastCount(f *ast.ScalarFilter) int {
	a, isAggregate := f.L.(*ast.Aggregate)
	n, isNumber := f.R.(*ast.Number)
	if !isAggregate || !isNumber || a.X != nil {
		return 1
	}
	least, ok := n.Value.Number()
	switch {
	case !ok || math.IsNaN(least):
		return 1
	case f.Op == ast.OpGt:
		least = math.Floor(least) + 1
	case f.Op == ast.OpGe || f.Op == ast.OpEq:
		least = math.Ceil(least)
	default:
		return 1
	}
	return int(min(max(least, 1), math.MaxInt32))
}

// worthChecking leaves out what says nothing, what is costly to find out, and what candidates have anyway.
func worthChecking(needs []Need, anchor *Cond) []Need {
	var out []Need
	for _, n := range needs {
		// Conditions that print the same may differ in long lists of values; then only less is checked.
		same := func(c *Cond) bool { return c.String() == n.Cond.String() }
		if n.Spans == 1 && (n.Cond.Op == True || same(anchor)) || !n.Cond.cheap() {
			continue
		}
		if i := slices.IndexFunc(out, func(o Need) bool { return same(o.Cond) }); i >= 0 {
			out[i].Spans = max(out[i].Spans, n.Spans)
			continue
		}
		out = append(out, n)
	}
	return out
}

// cheap reports whether columns that have one value per span are compared with constants. Whether an attribute exists is
// not always known from its column (E-06).
func (c *Cond) cheap() bool {
	cheap := true
	c.walk(func(c *Cond) {
		switch c.Op {
		case IsItem, IsExpr:
			cheap = false
		case IsTest:
			exists := c.Test.Op == Exists || c.Test.Op == NotExists
			cheap = cheap && c.Test.Regex == nil && !c.Test.Attr.Multi() && (!exists || c.Test.Attr.Scope == ast.ScopeIntrinsic)
		}
	})
	return cheap
}

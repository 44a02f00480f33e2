package exec

import (
	"fmt"
	"slices"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// cond is a plan.Cond made ready to run. It decides in two ways that give the same answer: filter works on the bitmap
// of a granule, holds on one span of a trace that has been read. The columns of holds are those of the set that the
// condition was compiled with.
type cond struct {
	op   plan.CondOp
	args []*cond

	attr   ast.Attr // Of a test.
	pred   *store.Predicate
	column int // Index for holds; -1 for trace-level intrinsics.

	items []*plan.Test // Of an item condition.
	preds []*store.Predicate

	expr  evalFn // Of an expression; over own columns below in filter.
	own   *columns
	local evalFn
}

// compile makes a condition ready to run; cols gets the columns that holds reads.
func compile(c *plan.Cond, cols *columns) *cond {
	out := &cond{op: c.Op, column: -1}
	for _, a := range c.Args {
		out.args = append(out.args, compile(a, cols))
	}
	switch c.Op {
	case plan.IsTest:
		out.attr, out.pred = c.Test.Attr, predicate(c.Test)
		cols.add(c.Test.Attr)
		if col, ok := columnOf(c.Test.Attr); ok {
			out.column = cols.addColumn(col)
		}
	case plan.IsItem:
		out.items = c.Tests
		for _, t := range c.Tests {
			out.preds = append(out.preds, predicate(t))
		}
	case plan.IsExpr:
		out.expr = compileExpr(c.Expr, cols)
		out.own = newColumns()
		out.local = compileExpr(c.Expr, out.own)
	}
	return out
}

var storeOps = map[plan.TestOp]store.Op{
	plan.Exists: store.OpExists, plan.NotExists: store.OpNotExists, plan.Eq: store.OpEq, plan.Ne: store.OpNe,
	plan.Lt: store.OpLt, plan.Le: store.OpLe, plan.Gt: store.OpGt, plan.Ge: store.OpGe, plan.Regex: store.OpRegex,
	plan.NotRegex: store.OpNotRegex, plan.In: store.OpIn, plan.NotIn: store.OpNotIn,
}

func predicate(t *plan.Test) *store.Predicate {
	col, _ := columnOf(t.Attr)
	p := &store.Predicate{Column: col, Op: storeOps[t.Op], Regex: t.Regex}
	if t.Regex != nil {
		p.Literal = store.RequiredLiteral(t.Regex)
	}
	for _, v := range t.Values {
		p.Values = append(p.Values, toValue(v))
	}
	return p
}

// mayMatch reports false only if the condition holds for no row of the granule, by what the part knows without
// reading. Granule -1 asks for the whole part.
func (c *cond) mayMatch(p store.Part, granule int) bool {
	switch c.op {
	case plan.False:
		return false
	case plan.And:
		for _, a := range c.args {
			if !a.mayMatch(p, granule) {
				return false
			}
		}
	case plan.Or:
		for _, a := range c.args {
			if a.mayMatch(p, granule) {
				return true
			}
		}
		return false
	case plan.IsTest:
		// A value that is none for queries (E-06) may be one for the store.
		return c.column < 0 || c.pred.Op == store.OpNotExists || p.MayMatch(granule, c.pred)
	}
	return true
}

// filter unmarks the rows for which the condition does not hold. The condition must not have trace-level parts.
func (c *cond) filter(r *run, p store.Part, granule int, sel *store.Bitmap) error {
	switch c.op {
	case plan.True:
		return nil
	case plan.False:
		sel.Fill(0)
		return nil
	case plan.And:
		for _, a := range c.args {
			if err := a.filter(r, p, granule, sel); err != nil {
				return err
			}
			if !sel.Any() {
				return nil
			}
		}
		return nil
	case plan.Or:
		return c.filterOr(r, p, granule, sel)
	case plan.Not:
		inner := *sel
		if err := c.args[0].filter(r, p, granule, &inner); err != nil {
			return err
		}
		sel.AndNot(&inner)
		return nil
	case plan.IsTest:
		return c.filterTest(r, p, granule, sel)
	case plan.IsItem:
		return c.filterItems(r, p, granule, sel)
	}
	return c.filterExpr(r, p, granule, sel)
}

func (c *cond) filterOr(r *run, p store.Part, granule int, sel *store.Bitmap) error {
	left, found := *sel, store.Bitmap{}
	for _, a := range c.args {
		if !left.Any() {
			break
		}
		if !a.mayMatch(p, granule) {
			continue
		}
		some := left
		if err := a.filter(r, p, granule, &some); err != nil {
			return err
		}
		found.Or(&some)
		left.AndNot(&some)
	}
	*sel = found
	return nil
}

func (c *cond) filterTest(r *run, p store.Part, granule int, sel *store.Bitmap) error {
	if c.column < 0 {
		return fmt.Errorf("filter %s: %w: it is known per trace only", c.attr, errPlan)
	}
	switch c.pred.Op {
	case store.OpExists:
		return c.filterExists(r, p, granule, sel)
	case store.OpNotExists:
		there := *sel
		if err := c.filterExists(r, p, granule, &there); err != nil {
			return err
		}
		sel.AndNot(&there)
		return nil
	}
	return c.filterBy(r, p, granule, c.pred, sel)
}

func (c *cond) filterBy(r *run, p store.Part, granule int, pred *store.Predicate, sel *store.Bitmap) error {
	if err := p.Filter(r.ctx, granule, pred, sel); err != nil {
		return fmt.Errorf("filter %s in %s: %w", c.attr, p.Info().ID, err)
	}
	return nil
}

// filterExists keeps the rows with a value that queries can look at (E-06, E-19).
func (c *cond) filterExists(r *run, p store.Part, granule int, sel *store.Bitmap) error {
	exists := store.Predicate{Column: c.pred.Column, Op: store.OpExists}
	if err := c.filterBy(r, p, granule, &exists, sel); err != nil {
		return err
	}
	opaque, err := r.isOpaque(p, c.pred.Column)
	if err != nil || !opaque || !sel.Any() {
		return err
	}
	var v store.Vector
	if err := p.Read(r.ctx, granule, c.pred.Column, sel, &v); err != nil {
		return fmt.Errorf("read %s in %s: %w", c.attr, p.Info().ID, err)
	}
	var buf []store.Value
	for i, row := range rowsOf(sel) {
		if buf = v.AppendTo(buf[:0], i); !slices.ContainsFunc(buf, queryable) {
			sel.Clear(int(row))
		}
	}
	return nil
}

// filterItems reads the marked spans: columns do not say which values belong to one event.
func (c *cond) filterItems(r *run, p store.Part, granule int, sel *store.Bitmap) error {
	ch := &chunk{part: p, granule: granule, sel: *sel}
	defer func() { r.meter.give(ch.bytes) }()
	for i, row := range rowsOf(sel) {
		ok, err := c.itemHolds(r, ch, i)
		if err != nil {
			return err
		}
		if !ok {
			sel.Clear(int(row))
		}
	}
	return nil
}

func (c *cond) filterExpr(r *run, p store.Part, granule int, sel *store.Bitmap) error {
	ch, err := r.readChunk(p, granule, sel, c.own)
	if err != nil {
		return err
	}
	defer r.meter.give(ch.bytes)
	e := env{chunk: ch}
	for i, row := range rowsOf(sel) {
		e.i = i
		if !c.local(&e).True() {
			sel.Clear(int(row))
		}
	}
	return nil
}

// holds decides for one span.
func (c *cond) holds(r *run, e *env) (bool, error) {
	switch c.op {
	case plan.True:
		return true, nil
	case plan.False:
		return false, nil
	case plan.Not:
		ok, err := c.args[0].holds(r, e)
		return !ok, err
	case plan.And, plan.Or:
		for _, a := range c.args {
			ok, err := a.holds(r, e)
			if err != nil {
				return false, err
			}
			if ok == (c.op == plan.Or) {
				return ok, nil
			}
		}
		return c.op == plan.And, nil
	case plan.IsTest:
		if c.column < 0 {
			return c.pred.MatchSpan([]store.Value{toValue(e.traceValue(c.attr))}), nil
		}
		e.buf = e.chunk.vecs[c.column].AppendTo(e.buf[:0], e.i)
		if c.pred.Op == store.OpExists || c.pred.Op == store.OpNotExists {
			return slices.ContainsFunc(e.buf, queryable) == (c.pred.Op == store.OpExists), nil
		}
		return c.pred.MatchSpan(e.buf), nil
	case plan.IsItem:
		return c.itemHolds(r, e.chunk, e.i)
	}
	return c.expr(e).True(), nil
}

// itemHolds decides whether one event (or link) of the i-th span of a chunk satisfies all tests.
func (c *cond) itemHolds(r *run, ch *chunk, i int) (bool, error) {
	s, err := ch.span(r, i)
	if err != nil {
		return false, err
	}
	n := len(s.Events)
	if c.items[0].Attr.OneOf() == ast.ScopeLink {
		n = len(s.Links)
	}
next:
	for item := range n {
		for k, t := range c.items {
			if !c.preds[k].MatchSpan(itemValues(s, t.Attr, item)) {
				continue next
			}
		}
		return true, nil
	}
	return false, nil
}

// itemValues returns the value of an attribute in one event or link.
func itemValues(s *store.Span, a ast.Attr, item int) []store.Value {
	switch a.Intrinsic {
	case ast.EventName:
		return []store.Value{store.String(s.Events[item].Name)}
	case ast.EventTimeSinceStart:
		return []store.Value{store.Int(int64(s.Events[item].TimeNano - s.StartNano))} //nolint:gosec // May be negative.
	case ast.LinkTraceID:
		return []store.Value{store.String(s.Links[item].TraceID.String())}
	case ast.LinkSpanID:
		return []store.Value{store.String(s.Links[item].SpanID.String())}
	}
	var attrs []store.Attr
	if a.Scope == ast.ScopeEvent {
		attrs = s.Events[item].Attrs
	} else {
		attrs = s.Links[item].Attrs
	}
	for _, kv := range attrs {
		if kv.Key == a.Name {
			return []store.Value{kv.Value}
		}
	}
	return nil
}

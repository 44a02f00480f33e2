package head

import (
	"context"
	"fmt"
	"math"

	"github.com/bramble-tracing/bramble/internal/store"
)

// unscopedOrder is the order in which an unscoped name is looked up (E-03).
var unscopedOrder = [...]store.ColumnScope{
	store.ScopeSpan, store.ScopeResource, store.ScopeEvent, store.ScopeLink, store.ScopeInstrumentation,
}

// Filter unmarks those rows of sel that do not satisfy pred.
func (p *Part) Filter(ctx context.Context, granule int, pred *store.Predicate, sel *store.Bitmap) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("filter %q of %s: %w", pred.Column.Name, p.h.id, err)
	}
	if err := checkPredicate(pred); err != nil {
		return fmt.Errorf("filter %s: %w", p.h.id, err)
	}
	lo, hi, err := p.bounds(granule)
	if err != nil {
		return err
	}
	if hi-lo < store.GranuleRows {
		var valid store.Bitmap
		valid.Fill(int(hi - lo))
		sel.And(&valid)
	}
	if sel.Any() {
		p.filter(pred, lo, hi, sel)
	}
	return nil
}

// filter decides for rows lo to hi-1, which are one granule.
func (p *Part) filter(pred *store.Predicate, lo, hi uint32, sel *store.Bitmap) {
	switch pred.Column.Scope {
	case store.ScopeIntrinsic:
		p.filterIntrinsic(pred, lo, hi, sel)
	case store.ScopeSpan:
		p.filterAttr(pred, lo, hi, sel)
	case store.ScopeResource, store.ScopeInstrumentation:
		p.filterRef(pred, lo, sel)
	case store.ScopeUnscoped:
		p.filterUnscoped(pred, lo, hi, sel)
	default:
		p.filterMulti(pred, lo, hi, sel)
	}
}

// filterAttr decides by the columns of a span attribute.
func (p *Part) filterAttr(pred *store.Predicate, lo, hi uint32, sel *store.Bitmap) {
	g, spilled := p.h.attrs.group(pred.Column.Name)
	positive := *pred
	if pred.Op == store.OpNotExists {
		positive.Op = store.OpExists
	}
	var out store.Bitmap
	g.columns(func(c *column) { p.filterColumn(c, &positive, lo, hi, sel, &out) })
	if spilled {
		m := matcher{p: &positive}
		p.h.attrs.eachSpilled(pred.Column.Name, lo, hi, func(row uint32, v store.Value) {
			if i := int(row - lo); sel.Has(i) && m.match(v) {
				out.Set(i)
			}
		})
	}
	if pred.Op == store.OpNotExists {
		sel.AndNot(&out)
		return
	}
	*sel = out
}

// matcher evaluates a predicate for single values.
type matcher struct {
	p   *store.Predicate
	buf [1]store.Value
}

func (m *matcher) match(v store.Value) bool {
	m.buf[0] = v
	return m.p.MatchSpan(m.buf[:])
}

// filterColumn marks in out the rows of sel that have an entry satisfying pred.
func (p *Part) filterColumn(c *column, pred *store.Predicate, lo, hi uint32, sel, out *store.Bitmap) {
	a, b := c.entries(lo, hi)
	if a == b {
		return
	}
	if pred.Op == store.OpExists {
		eachSegment(c, a, b, func(rows []uint32, _ int) {
			for _, r := range rows {
				if sel.Has(int(r - lo)) {
					out.Set(int(r - lo))
				}
			}
		})
		return
	}
	switch {
	case c.typ == store.TypeInt || c.typ == store.TypeFloat:
		filterNumbers(c, pred, a, b, lo, sel, out)
	case c.typ == store.TypeString && (pred.Op == store.OpEq || pred.Op == store.OpNe):
		filterCode(c, pred, a, b, lo, sel, out)
	default:
		p.filterCodes(c, pred, a, b, lo, sel, out)
	}
}

// eachSegment calls f for the chunks of entries a to b-1; at is the position of the first.
func eachSegment(c *column, a, b int, f func(rows []uint32, at int)) {
	dir := c.rows.view()
	for a < b {
		rows := segment(dir, a, b)
		f(rows, a)
		a += len(rows)
	}
}

// filterCode compares strings for equality with one constant, by code.
func filterCode(c *column, pred *store.Predicate, a, b int, lo uint32, sel, out *store.Bitmap) {
	if pred.Values[0].Type != store.TypeString {
		return // E-12: other types are neither equal nor unequal.
	}
	code, ok := c.dict.lookup(pred.Values[0].Str)
	if !ok {
		code = store.NoCode
	}
	want := pred.Op == store.OpEq
	dir := c.codes.view()
	eachSegment(c, a, b, func(rows []uint32, at int) {
		codes := segment(dir, at, b)[:len(rows)]
		for i, r := range rows {
			if (codes[i] == code) == want && sel.Has(int(r-lo)) {
				out.Set(int(r - lo))
			}
		}
	})
}

// filterCodes evaluates the predicate once per dictionary entry.
func (p *Part) filterCodes(c *column, pred *store.Predicate, a, b int, lo uint32, sel, out *store.Bitmap) {
	m := matcher{p: pred}
	known := p.h.memos.get(keyOf(pred, c.typ), c.codeCount())
	eval := func(code uint32) bool {
		if c.dict != nil {
			return m.match(store.Value{Type: c.typ, Str: c.dict.at(code)})
		}
		return m.match(store.Value{Type: c.typ, Num: uint64(code)})
	}
	dir := c.codes.view()
	eachSegment(c, a, b, func(rows []uint32, at int) {
		codes := segment(dir, at, b)[:len(rows)]
		for i, r := range rows {
			if sel.Has(int(r-lo)) && known.match(codes[i], eval) {
				out.Set(int(r - lo))
			}
		}
	})
}

// filterNumbers compares ints with an int directly and everything else by the contract's own function.
func filterNumbers(c *column, pred *store.Predicate, a, b int, lo uint32, sel, out *store.Bitmap) {
	m := matcher{p: pred}
	dir := c.nums.view()
	from, to, in, direct := intRange(pred)
	direct = direct && c.typ == store.TypeInt
	eachSegment(c, a, b, func(rows []uint32, at int) {
		nums := segment(dir, at, b)[:len(rows)]
		if direct {
			for i, r := range rows {
				if v := int64(nums[i]); (from <= v && v <= to) == in && sel.Has(int(r-lo)) {
					out.Set(int(r - lo))
				}
			}
			return
		}
		for i, r := range rows {
			if sel.Has(int(r-lo)) && m.match(store.Value{Type: c.typ, Num: nums[i]}) {
				out.Set(int(r - lo))
			}
		}
	})
}

// intRange turns a comparison of ints with one int into "is in (or not in) from to to". ok is false for others.
func intRange(p *store.Predicate) (from, to int64, in, ok bool) {
	if len(p.Values) == 0 || p.Op < store.OpEq || p.Op > store.OpGe || p.Values[0].Type != store.TypeInt {
		return 0, 0, false, false
	}
	v := p.Values[0].Int()
	switch p.Op {
	case store.OpEq:
		return v, v, true, true
	case store.OpNe:
		return v, v, false, true
	case store.OpLt: // The complement avoids overflow at the ends of the range.
		return v, math.MaxInt64, false, true
	case store.OpLe:
		return math.MinInt64, v, true, true
	case store.OpGt:
		return math.MinInt64, v, false, true
	}
	return v, math.MaxInt64, true, true
}

// filterRef evaluates the predicate once per distinct resource or scope.
func (p *Part) filterRef(pred *store.Predicate, lo uint32, sel *store.Bitmap) {
	t, refs := p.refTable(pred.Column), p.refColumn(pred.Column)
	known := p.h.memos.get(keyOf(pred, 0), t.len())
	var buf [1]store.Value
	eval := func(ref uint32) bool { return pred.MatchSpan(t.at(ref).values(pred.Column, buf[:])) }
	last, ok := store.NoCode, false
	for i := range sel.Rows() {
		if ref := get(refs, int(lo)+i); ref != last { // Mostly the spans of a resource come together.
			last, ok = ref, known.match(ref, eval)
		}
		if !ok {
			sel.Clear(i)
		}
	}
}

// filterUnscoped asks each scope about the rows for which the scopes before had no value (E-03).
func (p *Part) filterUnscoped(pred *store.Predicate, lo, hi uint32, sel *store.Bitmap) {
	rest := *sel
	var out store.Bitmap
	for _, scope := range unscopedOrder {
		col := store.Column{Scope: scope, Name: pred.Column.Name}
		has := rest
		p.filter(&store.Predicate{Column: col, Op: store.OpExists}, lo, hi, &has)
		if !has.Any() {
			continue
		}
		rest.AndNot(&has)
		if pred.Op != store.OpExists && pred.Op != store.OpNotExists {
			scoped := *pred
			scoped.Column = col
			p.filter(&scoped, lo, hi, &has)
		}
		out.Or(&has)
		if !rest.Any() {
			break
		}
	}
	if pred.Op == store.OpNotExists {
		*sel = rest
		return
	}
	*sel = out
}

// filterMulti decides for columns with several values per span by gathering them.
func (p *Part) filterMulti(pred *store.Predicate, lo, hi uint32, sel *store.Bitmap) {
	var v store.Vector
	p.read(pred.Column, lo, hi, sel, &v)
	i := 0
	var buf []store.Value
	for r := range sel.Rows() {
		buf = v.AppendTo(buf[:0], i)
		if !pred.MatchSpan(buf) {
			sel.Clear(r)
		}
		i++
	}
}

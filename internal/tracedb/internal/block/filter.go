package block

import (
	"context"
	"fmt"
	"math"

	"github.com/bramble-tracing/bramble/internal/store"
)

// Filter implements store.Part.
func (b *Block) Filter(ctx context.Context, granule int, p *store.Predicate, sel *store.Bitmap) (err error) {
	defer b.contain(&err)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("filter column %q of block %s: %w", p.Column.Name, b.meta.ID, err)
	}
	if err := checkPredicate(p); err != nil {
		return err
	}
	g, err := b.granule(granule)
	if err != nil {
		return err
	}
	if g.rows < store.GranuleRows {
		var all store.Bitmap
		all.Fill(g.rows)
		sel.And(&all)
	}
	src, err := g.source(p.Column)
	if err != nil {
		return err
	}
	switch s := src.(type) {
	case *columnSource:
		return b.filterColumn(s, p, sel)
	case *attrSource:
		return b.filterAttr(s, p, sel)
	case *refSource:
		return filterRefs(s, p, sel)
	case *parents:
		if p.Op == store.OpExists || p.Op == store.OpNotExists {
			var keep store.Bitmap
			s.exists(&keep)
			if p.Op == store.OpExists {
				sel.And(&keep)
			} else {
				sel.AndNot(&keep)
			}
			return nil
		}
	case intSource:
		if lo, hi, ok := intRange(p); ok {
			for r := range sel.Rows() {
				if n := s(r); n < lo || n > hi {
					sel.Clear(r)
				}
			}
			return nil
		}
	}
	return filterRows(src, p, sel)
}

// checkPredicate refuses what MatchSpan would panic over, so that a caller's mistake is not taken for damage.
func checkPredicate(p *store.Predicate) error {
	switch p.Op {
	case store.OpExists, store.OpNotExists, store.OpIn, store.OpNotIn:
		return nil
	case store.OpRegex, store.OpNotRegex:
		if p.Regex != nil {
			return nil
		}
	case store.OpEq, store.OpNe, store.OpLt, store.OpLe, store.OpGt, store.OpGe:
		if len(p.Values) > 0 {
			return nil
		}
	}
	return fmt.Errorf("%w: predicate %s on column %q has no operand", store.ErrInvalid, p.Op, p.Column.Name)
}

// filterRows decides row by row.
func filterRows(src source, p *store.Predicate, sel *store.Bitmap) error {
	var buf []store.Value
	for r := range sel.Rows() {
		var err error
		if buf, err = src.append(buf[:0], r); err != nil {
			return err
		}
		if !p.MatchSpan(buf) {
			sel.Clear(r)
		}
	}
	return nil
}

// filterAttr decides column by column, as a row has a value in one of them at most, and row by row where there are
// attributes in the overflow column.
func (b *Block) filterAttr(s *attrSource, p *store.Predicate, sel *store.Bitmap) error {
	var keep store.Bitmap
	if p.Op == store.OpNotExists {
		keep = *sel
	}
	for i := range s.typed {
		if p.Op == store.OpNotExists {
			if err := b.filterColumn(&s.typed[i], p, &keep); err != nil {
				return err
			}
			continue
		}
		one := *sel
		if err := b.filterColumn(&s.typed[i], p, &one); err != nil {
			return err
		}
		keep.Or(&one)
	}
	if s.overflow != nil {
		var buf []store.Value
		for row := range s.overflow.All() {
			if !sel.Has(row) {
				continue
			}
			var err error
			if buf, err = s.append(buf[:0], row); err != nil {
				return err
			}
			if p.MatchSpan(buf) {
				keep.Set(row)
			} else {
				keep.Clear(row)
			}
		}
	}
	*sel = keep
	return nil
}

// filterColumn decides by one column: once per dictionary entry, or once per value.
func (b *Block) filterColumn(s *columnSource, p *store.Predicate, sel *store.Bitmap) error {
	var keep store.Bitmap
	if p.Op == store.OpExists || p.Op == store.OpNotExists {
		present(s.v, &keep)
		if p.Op == store.OpExists {
			sel.And(&keep)
		} else {
			sel.AndNot(&keep)
		}
		return nil
	}
	if !sel.Any() {
		return nil
	}
	switch lo, hi, ok := intRange(p); {
	case s.v.Dict != nil:
		markCodes(s.v, b.matches(s.from, s.v.Dict, p), &keep)
	case ok && s.v.Type() == store.TypeInt:
		markRange(s.v, lo, hi, &keep)
	case p.Op == store.OpRegex && p.Literal != "" && s.v.Type() == store.TypeString:
		markTexts(s.v, p, &keep)
	default:
		return filterRows(s, p, sel)
	}
	sel.And(&keep)
	return nil
}

// intRange turns a comparison of an int column into a range, which may be empty. ok is false if that is not possible.
func intRange(p *store.Predicate) (lo, hi int64, ok bool) {
	if len(p.Values) != 1 || p.Values[0].Type != store.TypeInt {
		return 0, 0, false
	}
	n := p.Values[0].Int()
	switch p.Op {
	case store.OpEq:
		return n, n, true
	case store.OpLe:
		return math.MinInt64, n, true
	case store.OpGe:
		return n, math.MaxInt64, true
	case store.OpLt:
		if n == math.MinInt64 {
			return 0, -1, true
		}
		return math.MinInt64, n - 1, true
	case store.OpGt:
		if n == math.MaxInt64 {
			return 0, -1, true
		}
		return n + 1, math.MaxInt64, true
	}
	return 0, 0, false
}

// filterRefs decides once per distinct value of the resources or scopes.
func filterRefs(s *refSource, p *store.Predicate, sel *store.Bitmap) error {
	match := matchAll(s.col.dict, p)
	holds := func(code uint32) bool {
		if code == store.NoCode {
			return p.Op == store.OpNotExists
		}
		return match[code]
	}
	var keep store.Bitmap
	if s.ids.Dict != nil {
		codes, err := s.codesByID()
		if err != nil {
			return err
		}
		byCode := make([]bool, len(codes))
		for i, c := range codes {
			byCode[i] = holds(c)
		}
		markCodes(s.ids, byCode, &keep)
		sel.And(&keep)
		return nil
	}
	byID := make([]bool, len(s.col.codes))
	for id, c := range s.col.codes {
		byID[id] = holds(c)
	}
	base := uint64(s.base) //nolint:gosec // not negative
	for w, nums := 0, s.ids.Nums; len(nums) > 0; w++ {
		n := min(64, len(nums))
		var marks uint64
		for i, num := range nums[:n] {
			id := num + base
			if id >= uint64(len(byID)) {
				if !sel.Has(w<<6 + i) {
					continue
				}
				return s.b.corrupt(fileSpans, fmt.Errorf("a span refers to resource or scope %d of %d", id, len(byID)))
			}
			if byID[id] {
				marks |= 1 << i
			}
		}
		keep.SetWord(w, marks)
		nums = nums[n:]
	}
	sel.And(&keep)
	return nil
}

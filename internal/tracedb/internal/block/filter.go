package block

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
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

// markTexts marks the rows that match an expression. Most have nothing to do with it, which one look at the text of the
// whole granule tells.
func markTexts(v *column.Values, p *store.Predicate, keep *store.Bitmap) {
	var found []int
	for i := range v.Containing(p.Literal) {
		if p.Regex.MatchString(v.Text(i)) {
			found = append(found, i)
		}
	}
	if len(found) == 0 {
		return
	}
	for row, i := range v.All() {
		if i == found[0] {
			keep.Set(row)
			if found = found[1:]; len(found) == 0 {
				return
			}
		}
	}
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

// present marks the rows that have a value.
func present(v *column.Values, keep *store.Bitmap) {
	if v.Present == nil {
		keep.Fill(v.Rows)
		return
	}
	for w := range store.Words {
		marks, _ := v.Present.Word(w)
		keep.SetWord(w, marks)
	}
}

// markCodes marks the rows whose dictionary code matches.
func markCodes(v *column.Values, match []bool, keep *store.Bitmap) {
	if !slices.Contains(match, true) {
		return
	}
	codes := v.Codes
	if v.Present == nil {
		for w := 0; len(codes) > 0; w++ {
			n := min(64, len(codes))
			var marks uint64
			for i, c := range codes[:n] {
				if match[c] {
					marks |= 1 << i
				}
			}
			keep.SetWord(w, marks)
			codes = codes[n:]
		}
		return
	}
	i := 0
	for w := range store.Words {
		has, _ := v.Present.Word(w)
		var marks uint64
		for ; has != 0; has &= has - 1 {
			if match[codes[i]] {
				marks |= has & -has
			}
			i++
		}
		keep.SetWord(w, marks)
	}
}

// markRange marks the rows whose number is in a range.
func markRange(v *column.Values, lo, hi int64, keep *store.Bitmap) {
	width := uint64(hi) - uint64(lo) //nolint:gosec // the distance, whatever the signs
	if hi < lo {
		return
	}
	nums := v.Nums
	if v.Present == nil {
		for w := 0; len(nums) > 0; w++ {
			n := min(64, len(nums))
			var marks uint64
			for i, num := range nums[:n] {
				if num-uint64(lo) <= width { //nolint:gosec // the bits
					marks |= 1 << i
				}
			}
			keep.SetWord(w, marks)
			nums = nums[n:]
		}
		return
	}
	i := 0
	for w := range store.Words {
		has, _ := v.Present.Word(w)
		var marks uint64
		for ; has != 0; has &= has - 1 {
			if nums[i]-uint64(lo) <= width { //nolint:gosec // the bits
				marks |= has & -has
			}
			i++
		}
		keep.SetWord(w, marks)
	}
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

func matchAll(dict []store.Value, p *store.Predicate) []bool {
	out := make([]bool, len(dict))
	for i := range dict {
		out[i] = p.MatchSpan(dict[i : i+1])
	}
	return out
}

// matchMemo remembers which entries of a dictionary satisfy recent predicates, so that a query tests them once for all
// granules.
type matchMemo struct {
	mu   sync.Mutex
	last []remembered
}

type remembered struct {
	p     store.Predicate
	match []bool
}

// maxRemembered bounds the predicates per dictionary.
const maxRemembered = 8

// matches returns which entries of a dictionary satisfy p.
func (b *Block) matches(from chunkRef, dict *column.Dict, p *store.Predicate) []bool {
	key := CacheKey{
		Block: b.id, Kind: cacheMatches, Table: uint8(from.table), Group: int32(from.group), Column: int32(from.col), //nolint:gosec // small
	}
	var memo *matchMemo
	if v, ok := b.reader.Cache.Get(key); ok {
		memo = v.(*matchMemo) //nolint:forcetypeassert // we put it there
	} else {
		memo = &matchMemo{}
		b.reader.Cache.Put(key, memo, 200+int64(len(dict.Values)*maxRemembered))
	}
	memo.mu.Lock()
	defer memo.mu.Unlock()
	for i := range memo.last {
		if samePredicate(&memo.last[i].p, p) {
			return memo.last[i].match
		}
	}
	r := remembered{p: *p, match: matchAll(dict.Values, p)}
	r.p.Values = slices.Clone(p.Values)
	if len(memo.last) >= maxRemembered {
		memo.last = slices.Delete(memo.last, 0, 1)
	}
	memo.last = append(memo.last, r)
	return r.match
}

// samePredicate compares what predicates ask, not whether they are one, because callers may reuse them.
func samePredicate(a, b *store.Predicate) bool {
	return a.Op == b.Op && a.Regex == b.Regex && a.Column == b.Column && slices.Equal(a.Values, b.Values)
}

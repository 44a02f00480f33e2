package exec

import (
	"fmt"
	"slices"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

// tabulate fills the table: a cell for each place and code. codes may be nil for one code, and have codes beyond the
// last, which count as that.
func (c *comparer) tabulate(codes []uint32, width uint32) {
	c.table = zeroed(c.table, c.cells*int(width))
	at := func(i int, off uint32) uint32 {
		if codes == nil {
			return off
		}
		return off*width + min(codes[i], width-1)
	}
	for i, off := range c.offsets {
		if off != outside {
			c.table[at(i, off)]++
		}
	}
	if !c.correct {
		return
	}
	for i, off := range c.wrongs {
		c.table[at(i, off)]--
	}
}

// place finds the side and the bucket of each row.
func (c *comparer) place(s spot, sp *split) error {
	c.n = sp.all.Count()
	for row := range sp.all.Rows() {
		c.byRow[row] = 0
		if sp.selected.Has(row) {
			c.byRow[row] = 1
		}
	}
	t := c.x.timeline
	if lo, hi, ok := c.x.run.rangeOf(s, store.SpanStart); ok && t.bucket(lo) >= 0 && t.bucket(lo) == t.bucket(hi) {
		c.first, c.cells = t.bucket(lo), 2
		return nil
	}
	p := c.x.run.parts[s.part]
	if err := p.Read(c.x.run.ctx, s.granule, store.Intrinsic(store.SpanStart), &sp.all, &c.starts); err != nil {
		return fmt.Errorf("read span starts: %w", err)
	}
	first, last := t.N, -1
	for i := range c.n {
		if b := t.bucket(c.starts.At(i).Int()); b >= 0 {
			first, last = min(first, b), max(last, b)
		}
	}
	c.first, c.cells = first, 2*max(0, last-first+1)
	i := -1
	for row := range sp.all.Rows() {
		i++
		b := t.bucket(c.starts.At(i).Int())
		if b < 0 {
			c.byRow[row] = outside
			continue
		}
		c.byRow[row] += uint32(2 * (b - first)) //nolint:gosec // Twice maxPoints at most.
	}
	return nil
}

// column counts a column that was read.
func (c *comparer) column(a ast.Attr, v *store.Vector) error {
	all := c.of(a)
	switch {
	case len(v.Dict) > 0 && len(v.Offsets) == 0 && len(v.Codes) == len(c.offsets) && (len(v.Dict)+1)*c.cells <= maxCompareCells:
		return c.coded(all, v.Codes, v.Dict, c.memoOf(all, v.Dict))
	case len(v.Ints) == len(c.offsets) && len(v.Offsets) == 0:
		if dict := c.smallInts(v.Ints); (len(dict)+1)*c.cells <= maxCompareCells && dict != nil {
			return c.coded(all, c.codes, dict, nil)
		}
	}
	if codes, dict, ok := c.numbers.number(v, len(c.offsets), maxCompareCells/max(1, c.cells)-1); ok {
		return c.coded(all, codes, dict, nil)
	}
	var last store.Value
	var counts *valueCount
	return c.each(func(i int, off uint32, n int64) error {
		value := v.At(i)
		if value != last || counts == nil {
			var err error
			if counts, err = c.value(all, value); err != nil {
				return err
			}
			last = value
		}
		if counts == nil {
			return nil
		}
		return c.add(counts, off, n)
	})
}

// uncounted counts rows of an attribute that has no value worth counting.
func (c *comparer) uncounted(all *valueCounts) error {
	c.tabulate(nil, 1)
	for off, n := range c.table {
		if n != 0 {
			if err := c.add(all.other, uint32(off), n); err != nil { //nolint:gosec // Twice maxPoints at most.
				return err
			}
		}
	}
	return nil
}

// maxCompareCells bounds the table.
const maxCompareCells = 1 << 16

// smallInts numbers ints that lie close together, as statuses and kinds do; nil for others.
func (c *comparer) smallInts(ints []int64) []store.Value {
	const most = 64
	lo, hi := slices.Min(ints), slices.Max(ints)
	if hi-lo >= most || hi-lo < 0 {
		return nil
	}
	c.codes = slices.Grow(c.codes[:0], len(ints))[:len(ints)]
	for i, n := range ints {
		c.codes[i] = uint32(n - lo) //nolint:gosec // Below most.
	}
	dict := make([]store.Value, hi-lo+1)
	for i := range dict {
		dict[i] = store.Int(lo + int64(i))
	}
	return dict
}

// coded counts rows by the codes of a dictionary; store.NoCode means that a row has no value. known may be nil.
func (c *comparer) coded(all *valueCounts, codes []uint32, dict []store.Value, known *memo) error {
	width := uint32(len(dict) + 1) //nolint:gosec // At most maxCompareCells.
	c.tabulate(codes, width)
	for code := range width {
		value := store.Value{}
		if code < width-1 {
			value = dict[code]
		}
		err := c.addCells(all, value, known.at(code), func(off uint32) int64 { return c.table[off*width+code] })
		if err != nil {
			return err
		}
	}
	return nil
}

// addCells adds the counts of one value, which count gives per offset. Where known points to is where the value is counted, if it
// is not nil, and is set.
func (c *comparer) addCells(all *valueCounts, value store.Value, known **valueCount, count func(off uint32) int64) error {
	var counts *valueCount
	for off := range uint32(c.cells) { //nolint:gosec // Twice maxPoints at most.
		n := count(off)
		if n == 0 {
			continue
		}
		if counts == nil && known != nil {
			counts = *known
		}
		if counts == nil {
			var err error
			if counts, err = c.value(all, value); err != nil || counts == nil {
				return err
			}
			if known != nil {
				*known = counts
			}
		}
		if err := c.add(counts, off, n); err != nil {
			return err
		}
	}
	return nil
}

// memo says where the values of a part's dictionary are counted: the granules of a row group have the same one, and looking up
// their values is most of the work.
type memo struct {
	all    *valueCounts
	ups    int // all.ups
	dict   []store.Value
	counts []*valueCount // By code; nil where it is not known.
}

// memoOf returns the memo of an attribute.
func (c *comparer) memoOf(all *valueCounts, dict []store.Value) *memo {
	m := c.memos[all.attr]
	if m == nil {
		m = &memo{}
		c.memos[all.attr] = m
	}
	if m.all != all || m.ups != all.ups || len(m.dict) != len(dict) || &m.dict[0] != &dict[0] {
		m.all, m.ups, m.dict = all, all.ups, dict
		m.counts = zeroed(m.counts, len(dict))
	}
	return m
}

// at returns the place of a code, nil if there is none.
func (m *memo) at(code uint32) **valueCount {
	if m == nil || code >= uint32(len(m.counts)) { //nolint:gosec // At most maxCompareCells.
		return nil
	}
	return &m.counts[code]
}

func (c *comparer) add(v *valueCount, off uint32, n int64) error {
	return c.x.addCount(v, int(off&1), c.first+int(off>>1), n)
}

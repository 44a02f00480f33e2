package exec

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

// The values of the label __meta_type, and what else compare names.
const (
	metaType      = "__meta_type"
	metaError     = "__meta_error"
	tooManyValues = "__too_many_values__"
)

var (
	metaNames  = [2]string{"baseline", "selection"}
	totalNames = [2]string{"baseline_total", "selection_total"}
)

// comparer counts the values of all attributes, for spans inside and outside of the selection. It goes through
// granules column by column: rows are counted in a table by code, side and bucket, and the table is added to the values.
// The attributes of resources are counted by resource, once for all of them.
type comparer struct {
	x         *metricsRun
	selection *cond
	attrs     map[ast.Attr]*valueCounts
	roots     map[spanid.TraceID]rootNames // Of traces that are split over parts.
	pending   map[spot]*split

	// Of the granule that is being counted.
	n       int
	first   int                       // Bucket.
	cells   int                       // Offsets are below.
	byRow   [store.GranuleRows]uint32 // Twice the bucket from first on plus the side; outside without one.
	offsets []uint32                  // Those of the rows that have a value in the column being counted.
	// correct says that rows have been counted before, in another place, from which they are taken.
	correct bool
	wrong   [store.GranuleRows]uint32 // That place, as byRow.
	wrongs  []uint32                  // Those of the rows that have a value.
	starts  store.Vector
	vec     store.Vector
	codes   []uint32
	table   []int64
}

// split is the rows of a granule, and those of them that are selected.
type split struct{ all, selected store.Bitmap }

// outside marks a row that is in no bucket.
const outside = ^uint32(0)

func newComparer(x *metricsRun) *comparer {
	c := &comparer{x: x, attrs: map[ast.Attr]*valueCounts{}, roots: map[spanid.TraceID]rootNames{}, pending: map[spot]*split{}}
	if x.query.Selection != nil {
		c.selection = compile(x.query.Selection, newColumns())
	}
	return c
}

// timeTests are the bounds of the selection in time: (start, end].
func (c *comparer) timeTests() []*store.Predicate {
	q := c.x.query.AST
	if !q.TimesSet {
		return nil
	}
	return []*store.Predicate{
		compareTime(store.SpanStart, store.OpGt, q.Start), compareTime(store.SpanStart, store.OpLe, q.End),
	}
}

// rows counts the marked rows of a granule.
func (c *comparer) rows(s spot, sel *store.Bitmap) error {
	sp := split{*sel, *sel}
	p := c.x.run.parts[s.part]
	for _, t := range c.timeTests() {
		if err := p.Filter(c.x.run.ctx, s.granule, t, &sp.selected); err != nil {
			return fmt.Errorf("filter times in %s: %w", p.Info().ID, err)
		}
	}
	if err := c.selection.filter(c.x.run, p, s.granule, &sp.selected); err != nil {
		return err
	}
	if err := c.place(s, &sp); err != nil {
		return err
	}
	if err := c.count(s, &sp, nil); err != nil {
		return err
	}
	return c.countRoots(s, &sp, c.rootNames)
}

// trace notes surviving spans of a whole trace; flush counts them.
func (c *comparer) trace(t *trace, spans []int32, selection *cond, tc *traceColumns) error {
	v := env{trace: t}
	q := c.x.query.AST
	for _, n := range spans {
		start := t.spans[n].number(tc.start)
		if c.x.timeline.bucket(start) < 0 {
			continue
		}
		v.at(n)
		selected := !q.TimesSet || start > q.Start && start <= q.End
		if selected {
			var err error
			if selected, err = selection.holds(c.x.run, &v); err != nil {
				return err
			}
		}
		ch := t.spans[n].chunk
		key := spot{ch.index, ch.granule}
		sp := c.pending[key]
		if sp == nil {
			sp = &split{}
			c.pending[key] = sp
		}
		row := int(ch.rows()[t.spans[n].i])
		sp.all.Set(row)
		if selected {
			sp.selected.Set(row)
		}
	}
	return nil
}

// flush counts what trace noted.
func (c *comparer) flush() error {
	for s, sp := range c.pending {
		if err := c.place(s, sp); err != nil {
			return err
		}
		if err := c.count(s, sp, nil); err != nil {
			return err
		}
		if err := c.countRoots(s, sp, c.rootNames); err != nil {
			return err
		}
	}
	clear(c.pending)
	return nil
}

// comparedIntrinsics are the intrinsics that compare counts, besides those of the root.
var comparedIntrinsics = []ast.Intrinsic{
	ast.Name, ast.StatusCode, ast.StatusMessage, ast.SpanKind, ast.ScopeName, ast.ScopeVersion, ast.EventName,
}

// count counts the values of the rows of a granule in every column, or only in some; place has said where.
func (c *comparer) count(s spot, sp *split, only func(ast.Attr) bool) error {
	attrs, err := c.x.run.attributesOf(s.part)
	if err != nil {
		return err
	}
	if !slices.Contains(attrs, ast.ServiceName) {
		attrs = append(slices.Clone(attrs), ast.ServiceName) // Every span has it, if empty (contract 11, X-17).
	}
	var ofResources []ast.Attr
	for _, a := range attrs {
		if err := c.x.run.err(); err != nil {
			return err
		}
		if only != nil && !only(a) {
			continue
		}
		if a.Scope == ast.ScopeResource {
			ofResources = append(ofResources, a)
			continue
		}
		col, _ := columnOf(a)
		if err := c.read(s, &sp.all, a, col); err != nil {
			return err
		}
	}
	if len(ofResources) == 0 {
		return nil
	}
	return c.resources(s, sp, ofResources)
}

// read counts a column of the granule.
func (c *comparer) read(s spot, sel *store.Bitmap, a ast.Attr, col store.Column) error {
	p := c.x.run.parts[s.part]
	exists := &store.Predicate{Column: col, Op: store.OpExists}
	if !p.MayMatch(s.granule, exists) {
		return nil
	}
	there := *sel
	if err := p.Filter(c.x.run.ctx, s.granule, exists, &there); err != nil {
		return fmt.Errorf("filter %s: %w", a, err)
	}
	if !there.Any() {
		return nil
	}
	c.gather(&there)
	opaque, err := c.x.run.isOpaque(p, col)
	if err != nil {
		return err
	}
	if all := c.of(a); !opaque && all.closed && len(all.values) == 0 {
		return c.uncounted(all)
	}
	if err := p.Read(c.x.run.ctx, s.granule, col, &there, &c.vec); err != nil {
		return fmt.Errorf("read column %s: %w", a, err)
	}
	return c.column(a, &c.vec)
}

// gather collects the offsets of marked rows.
func (c *comparer) gather(sel *store.Bitmap) {
	c.offsets = gatherRows(c.offsets[:0], &c.byRow, sel)
	if c.correct {
		c.wrongs = gatherRows(c.wrongs[:0], &c.wrong, sel)
	}
}

func gatherRows(dst []uint32, byRow *[store.GranuleRows]uint32, sel *store.Bitmap) []uint32 {
	for w := range store.Words {
		marks := sel.Word(w)
		if marks == ^uint64(0) {
			dst = append(dst, byRow[w<<6:(w+1)<<6]...)
			continue
		}
		for ; marks != 0; marks &= marks - 1 {
			dst = append(dst, byRow[w<<6+bits.TrailingZeros64(marks)])
		}
	}
	return dst
}

// each calls f with each row that has a value, by its number among them, and where it is to be counted, and how often.
func (c *comparer) each(f func(i int, off uint32, n int64) error) error {
	for i, off := range c.offsets {
		if off != outside {
			if err := f(i, off, 1); err != nil {
				return err
			}
		}
		if c.correct {
			if err := f(i, c.wrongs[i], -1); err != nil {
				return err
			}
		}
	}
	return nil
}

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
		return c.coded(all, v.Codes, v.Dict)
	case len(v.Ints) == len(c.offsets) && len(v.Offsets) == 0:
		if dict := c.smallInts(v.Ints); (len(dict)+1)*c.cells <= maxCompareCells && dict != nil {
			return c.coded(all, c.codes, dict)
		}
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

// coded counts rows by the codes of a dictionary; store.NoCode means that a row has no value.
func (c *comparer) coded(all *valueCounts, codes []uint32, dict []store.Value) error {
	width := uint32(len(dict) + 1) //nolint:gosec // At most maxCompareCells.
	c.tabulate(codes, width)
	for code := range width {
		value := store.Value{}
		if code < width-1 {
			value = dict[code]
		}
		if err := c.addCells(all, value, func(off uint32) int64 { return c.table[off*width+code] }); err != nil {
			return err
		}
	}
	return nil
}

// addCells adds the counts of one value, which count gives per offset.
func (c *comparer) addCells(all *valueCounts, value store.Value, count func(off uint32) int64) error {
	var counts *valueCount
	for off := range uint32(c.cells) { //nolint:gosec // Twice maxPoints at most.
		n := count(off)
		if n == 0 {
			continue
		}
		if counts == nil {
			var err error
			if counts, err = c.value(all, value); err != nil || counts == nil {
				return err
			}
		}
		if err := c.add(counts, off, n); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparer) add(v *valueCount, off uint32, n int64) error {
	return c.x.addCount(v, int(off&1), c.first+int(off>>1), n)
}

// resources counts attributes of resources: the rows of each resource first, then what the resources have.
func (c *comparer) resources(s spot, sp *split, attrs []ast.Attr) error {
	r := c.x.run
	p := r.parts[s.part]
	if err := p.Read(r.ctx, s.granule, store.Intrinsic(store.ResourceRef), &sp.all, &c.vec); err != nil {
		return fmt.Errorf("read resources: %w", err)
	}
	known := map[int64]uint32{}
	c.codes = slices.Grow(c.codes[:0], c.n)
	var one store.Bitmap // A row of each resource, in the order of the codes.
	var lastRef int64
	var lastCode uint32
	i := -1
	for row := range sp.all.Rows() {
		i++
		if ref := c.vec.At(i).Int(); i == 0 || ref != lastRef {
			code, ok := known[ref]
			if !ok {
				code = uint32(len(known)) //nolint:gosec // At most one per row.
				known[ref] = code
				one.Set(row)
			}
			lastRef, lastCode = ref, code
		}
		c.codes = append(c.codes, lastCode)
	}
	c.gather(&sp.all)
	width := len(known)
	if width*c.cells > maxCompareCells {
		return c.resourcesByRow(s, sp, attrs)
	}
	c.tabulate(c.codes, uint32(width)) //nolint:gosec // At most one per row.
	for _, a := range attrs {
		col, _ := columnOf(a)
		if err := p.Read(r.ctx, s.granule, col, &one, &c.vec); err != nil {
			return fmt.Errorf("read column %s: %w", a, err)
		}
		all := c.of(a)
		for code := range width {
			err := c.addCells(all, c.vec.At(code), func(off uint32) int64 { return c.table[int(off)*width+code] })
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// resourcesByRow counts where there are nearly as many resources as rows.
func (c *comparer) resourcesByRow(s spot, sp *split, attrs []ast.Attr) error {
	for _, a := range attrs {
		col, _ := columnOf(a)
		if err := c.x.run.parts[s.part].Read(c.x.run.ctx, s.granule, col, &sp.all, &c.vec); err != nil {
			return fmt.Errorf("read column %s: %w", a, err)
		}
		if err := c.column(a, &c.vec); err != nil {
			return err
		}
	}
	return nil
}

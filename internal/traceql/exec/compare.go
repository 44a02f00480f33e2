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
	split     map[spanid.TraceID]*splitTrace // Of x.elsewhere.

	// Of the granule that is being counted.
	n       int
	first   int                       // Bucket.
	cells   int                       // Offsets are below.
	byRow   [store.GranuleRows]uint32 // Twice the bucket from first on plus the side; outside without one.
	offsets []uint32                  // Those of the rows that have a value in the column being counted.
	sparse  bool                      // Few rows are counted: they are picked out of columns.
	// correct says that rows have been counted before, in another place, from which they are taken.
	correct bool
	wrong   [store.GranuleRows]uint32 // That place, as byRow.
	wrongs  []uint32                  // Those of the rows that have a value.
	starts  store.Vector
	vec     store.Vector
	codes   []uint32
	numbers numbering
	memos   map[ast.Attr]*memo
	table   []int64
}

// split is the rows of a granule, and those of them that are selected.
type split struct{ all, selected store.Bitmap }

// outside marks a row that is in no bucket.
const outside = ^uint32(0)

func newComparer(x *metricsRun) *comparer {
	c := &comparer{x: x, attrs: map[ast.Attr]*valueCounts{}, roots: map[spanid.TraceID]rootNames{}, pending: map[spot]*split{}, memos: map[ast.Attr]*memo{}, split: map[spanid.TraceID]*splitTrace{}}
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
	return c.countRoots(s, &sp, c.rootNames, true)
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
		if err := c.countRoots(s, sp, c.rootNames, true); err != nil {
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
	if c.sparse {
		c.gather(sel)
		if err := c.reading(s.part)(c.x.run.ctx, s.granule, col, sel, &c.vec); err != nil {
			return fmt.Errorf("read column %s: %w", a, err)
		}
		return c.column(a, &c.vec)
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

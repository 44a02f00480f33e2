package block

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/index"
)

// ErrColumns: a row group cannot be copied, because the block would have more columns than allowed. Nothing was written;
// its spans can be appended.
var ErrColumns = errors.New("too many columns to copy a row group")

// ErrPatched: a row group cannot be copied, because an overlay has replaced resources or scopes of its block.
var ErrPatched = errors.New("a patched block cannot be copied")

// CopyGroup adds a row group of another block without decoding its pages, with its events and links. traces are the
// entries of its traces in that block's index, in row order, none of which is anywhere else in the new block, and none of
// which the overlay of src hides. A trace that begins in the row group before, which was copied just before, is not
// among them. The row group must hold whole granules, and nothing may be appended that does not end with one.
//
// The pages are the same, bytes included. Resources and scopes of src are added to the table as they are, so that
// references hold with another base; those that no copied span uses are left empty.
func (w *Writer) CopyGroup(ctx context.Context, src *Block, group int, traces []index.Trace) (err error) {
	if w.err != nil {
		return w.err
	}
	defer src.contain(&err)
	g := &src.meta.Groups[group]
	switch {
	case src.overlay != nil && len(src.overlay.Patches) > 0:
		return ErrPatched
	case g.Rows%store.GranuleRows != 0:
		return fmt.Errorf("%w: row group of %d rows", store.ErrInvalid, g.Rows)
	case w.meta.Rows+g.Rows >= 1<<31:
		return fmt.Errorf("%w: more than 2^31 spans in a block", store.ErrTooLarge)
	}
	c, err := w.newCopier(src, group)
	if err != nil {
		return err
	}
	// From here on the file has columns and chunks that must be completed.
	if err := w.copyGroup(ctx, c, traces); err != nil {
		w.err = fmt.Errorf("write block %s: copy row group %d of %s: %w", w.opts.ID, group, src.meta.ID, err)
	}
	w.tellHeld()
	return w.err
}

// copier copies one row group.
type copier struct {
	src    *Block
	group  int
	meta   *Group
	tables []copiedTable
	chunk  column.Chunk
}

// copiedTable is a row group of one of the files.
type copiedTable struct {
	from     *tableFile
	to       *table
	group    int // in from
	granules []int
}

// newCopier looks whether the row group can be copied.
func (w *Writer) newCopier(src *Block, group int) (*copier, error) {
	c := &copier{src: src, group: group, meta: &src.meta.Groups[group]}
	for file, to := range map[int]*table{fileSpans: w.spans, fileEvents: w.events, fileLinks: w.links} {
		t := copiedTable{to: to, group: group}
		if file == fileSpans {
			for range c.meta.Rows / store.GranuleRows {
				t.granules = append(t.granules, store.GranuleRows)
			}
		} else {
			t.group = src.childGroup(file, group)
			for _, n := range c.meta.childRows(file) {
				for ; n > 0; n -= store.GranuleRows {
					t.granules = append(t.granules, min(n, store.GranuleRows))
				}
			}
		}
		if len(t.granules) == 0 {
			continue
		}
		var err error
		if t.from, err = src.tableFile(file); err != nil {
			return nil, err
		}
		if !t.fits() {
			return nil, ErrColumns
		}
		c.tables = append(c.tables, t)
	}
	return c, nil
}

// childGroup returns the number of the row group in the file of events or links: those without rows are left out.
func (b *Block) childGroup(file, group int) int {
	n := 0
	for i := range group {
		if sum(b.meta.Groups[i].childRows(file)) > 0 {
			n++
		}
	}
	return n
}

// fits reports whether the table can have all attribute columns of the row group.
func (t *copiedTable) fits() bool {
	fresh := 0
	for _, a := range t.from.ordered {
		if t.from.Empty(t.group, a.col) {
			continue
		}
		scope, key, typ, _ := parseAttrName(t.from.Spec(a.col).Name)
		if k := t.to.attrs[attrID{scope, key}]; k == nil || k.columns[typ] == nil || k.columns[typ].num < 0 {
			fresh++
		}
	}
	return t.to.inFile+fresh <= maxAttrColumns && len(t.to.columns)+fresh <= maxCandidates &&
		len(t.to.attrs)+fresh <= 4*maxCandidates
}

func (w *Writer) copyGroup(ctx context.Context, c *copier, traces []index.Trace) error {
	if err := w.endTrace(); err != nil {
		return err
	}
	if len(w.spans.granules) > 0 && w.spans.row == 0 {
		if err := w.endGroup(); err != nil {
			return err
		}
	}
	if w.spans.row != 0 || len(w.structure.groups) > 0 {
		return fmt.Errorf("%w: there is half a granule before it", store.ErrInvalid)
	}
	for i := range c.tables {
		if err := ctx.Err(); err != nil {
			return err
		}
		g, err := c.copyTable(&c.tables[i])
		if err == nil && c.tables[i].to == w.spans {
			err = w.copySampling(c, g, traces)
		}
		if err != nil {
			return err
		}
	}
	base, scopes, err := w.tables.include(c.src)
	if err != nil {
		return err
	}
	out := Group{
		Rows: c.meta.Rows, ResourceBase: base + c.meta.ResourceBase, ScopeBase: scopes + c.meta.ScopeBase,
		EventRows: slices.Clone(c.meta.EventRows), LinkRows: slices.Clone(c.meta.LinkRows),
	}
	if err := w.countRefs(c, &out); err != nil {
		return err
	}
	return w.noteCopied(c, out, traces)
}

// noteCopied adds what meta.json and traces.idx say about the row group.
func (w *Writer) noteCopied(c *copier, out Group, traces []index.Trace) error {
	from := uint32(c.src.rows[c.group]) //nolint:gosec // below 2^31
	at := uint32(w.meta.Rows)           //nolint:gosec // below 2^31
	for _, e := range traces {
		if e.Row < from || e.Row-from >= uint32(out.Rows) { //nolint:gosec // below 2^31
			return fmt.Errorf("%w: trace %s is not in the row group", store.ErrInvalid, e.ID)
		}
		if e.Root != index.NoRow {
			e.Root = e.Root - from + at
		}
		e.Row = e.Row - from + at
		w.traces = append(w.traces, e)
		w.meta.MinStart = min(w.meta.MinStart, e.Start)
		w.meta.MaxEnd = max(w.meta.MaxEnd, e.End)
	}
	t, err := c.src.tableFile(fileSpans)
	if err != nil {
		return err
	}
	starts, err := t.Bounds(c.group, colStart, 0, out.Rows)
	if err != nil {
		return err
	}
	w.meta.MaxStart = max(w.meta.MaxStart, maxStart(&starts, c.src.meta))
	w.meta.Rows += out.Rows
	w.meta.Events += sum(out.EventRows)
	w.meta.Links += sum(out.LinkRows)
	w.meta.Groups = append(w.meta.Groups, out)
	return w.tallies.copied(c.src, c.group)
}

// maxStart returns the latest start within bounds, which are those of signed numbers.
func maxStart(b *column.Bounds, m *Meta) uint64 {
	if !b.Known || b.Min.Int() < 0 || b.Max.Int() < 0 {
		return m.MaxStart
	}
	return b.Max.Num
}

// copyTable copies the chunks of one file and returns the number of the row group.
func (c *copier) copyTable(t *copiedTable) (group int, err error) {
	g := t.to.w.BeginGroup(t.granules)
	for i, num := range t.to.fixedNum {
		if t.from.Spec(i).Optional && t.from.Empty(t.group, i) {
			continue
		}
		if err := c.copyChunk(t, i, g, num); err != nil {
			return g, err
		}
	}
	for _, a := range t.from.ordered {
		if t.from.Empty(t.group, a.col) {
			continue
		}
		scope, key, typ, _ := parseAttrName(t.from.Spec(a.col).Name)
		k := t.to.key(scope, key)
		col := k.columns[typ]
		if col == nil {
			col = t.to.newColumn(k, typ)
		}
		if col.num < 0 {
			col.num = t.to.w.AddColumn(col.builder.Spec())
			t.to.inFile++
		}
		if err := c.copyChunk(t, a.col, g, col.num); err != nil {
			return g, err
		}
		if err := c.countAttr(t, a.col, col); err != nil {
			return g, err
		}
		col.distinct = max(col.distinct, c.chunk.Distinct, len(col.texts), len(col.nums))
	}
	return g, c.copyOverflow(t, g)
}

func (c *copier) copyChunk(t *copiedTable, from, group, to int) error {
	if err := t.from.ReadChunk(t.group, from, &c.chunk); err != nil {
		return err
	}
	return t.to.w.WriteChunk(group, to, &c.chunk)
}

// each calls f with the values of a column, granule by granule, until it returns false.
func (c *copier) each(t *copiedTable, col int, f func(*column.Values) bool) error {
	first := 0
	for _, n := range t.granules {
		v, err := c.src.values(t.from, t.group, col, first, n)
		if err != nil {
			return err
		}
		if !f(v) {
			return nil
		}
		first += n
	}
	return nil
}

// countAttr adds the values of a copied column to its counts. Of text without dictionary only some are looked at.
func (c *copier) countAttr(t *copiedTable, col int, to *attrColumn) error {
	to.rows += c.chunk.Values
	seen := 0
	switch to.typ {
	case store.TypeString:
		dict := t.from.HasDict(t.group, col)
		err := c.each(t, col, func(v *column.Values) bool {
			to.countTexts(v)
			seen += v.Len()
			return dict || seen < store.GranuleRows
		})
		to.partial = to.partial || seen < c.chunk.Values
		return err
	case store.TypeInt, store.TypeFloat, store.TypeBool:
		if to.partial {
			return nil
		}
		return c.each(t, col, func(v *column.Values) bool {
			for i := range v.Len() {
				to.countNum(v.Num(i), 1)
			}
			return !to.partial
		})
	}
	to.partial = true // not offered as values
	return nil
}

// countTexts adds the values of a granule to the counts.
func (c *attrColumn) countTexts(v *column.Values) {
	add := func(s string, n int) {
		if _, ok := c.texts[s]; ok || len(c.texts) < maxCounted {
			c.texts[s] += n
		} else {
			c.partial = true
		}
	}
	if v.Dict == nil {
		for i := range v.Len() {
			add(v.Str(i), 1)
		}
		return
	}
	counts := make([]int, len(v.Dict.Values))
	for _, code := range v.Codes {
		counts[code]++
	}
	for code, n := range counts {
		if n > 0 {
			add(v.Dict.Values[code].Str, n)
		}
	}
}

// copyOverflow copies the overflow column and counts its attributes.
func (c *copier) copyOverflow(t *copiedTable, group int) error {
	if t.from.overflow < 0 || t.from.Empty(t.group, t.from.overflow) {
		return nil
	}
	if t.to.overCol < 0 {
		t.to.overCol = t.to.w.AddColumn(overflowSpec())
	}
	if err := c.copyChunk(t, t.from.overflow, group, t.to.overCol); err != nil {
		return err
	}
	t.to.overRows += c.chunk.Values
	first := 0
	for _, n := range t.granules {
		v, err := c.src.values(t.from, t.group, t.from.overflow, first, n)
		if err != nil {
			return err
		}
		for row, i := range v.All() {
			attrs, err := v.Value(i).Attrs()
			if err != nil {
				return c.src.corrupt(t.from.num, fmt.Errorf("overflow attributes: %w", err))
			}
			if err := c.countOverflow(t, attrs, first, n, row); err != nil {
				return err
			}
		}
		first += n
	}
	return nil
}

// countOverflow counts those overflow attributes of a row that are the first of their key.
func (c *copier) countOverflow(t *copiedTable, attrs []store.Attr, first, rows, row int) error {
	for i := range attrs {
		if slices.ContainsFunc(attrs[:i], func(a store.Attr) bool { return a.Key == attrs[i].Key }) {
			continue
		}
		id := attrID{t.scope(), attrs[i].Key}
		again := false
		for _, col := range t.from.attrs[id] {
			if t.from.Empty(t.group, col) {
				continue
			}
			v, err := c.src.values(t.from, t.group, col, first, rows)
			if err != nil {
				return err
			}
			again = again || v.Index(row) >= 0
		}
		if !again {
			t.to.countSpilled(columnID{id, attrs[i].Value.Type})
		}
	}
	return nil
}

// scope returns the scope of the attributes of the table.
func (t *copiedTable) scope() store.ColumnScope {
	switch t.from.num {
	case fileEvents:
		return store.ScopeEvent
	case fileLinks:
		return store.ScopeLink
	}
	return store.ScopeSpan
}

// countRefs counts the spans of a copied row group per resource and scope.
func (w *Writer) countRefs(c *copier, out *Group) error {
	for n := c.src.first[c.group]; n < c.src.first[c.group+1]; n++ {
		g, err := c.src.granule(n)
		if err != nil {
			return err
		}
		for _, ref := range [...]struct {
			col, base int
			spans     func(id uint64) *int
		}{
			{colResource, out.ResourceBase, w.tables.resourceSpans},
			{colScope, out.ScopeBase, w.tables.scopeSpans},
		} {
			v, err := g.column(ref.col)
			if err != nil {
				return err
			}
			for r := range g.rows {
				spans := ref.spans(v.Num(r) + uint64(ref.base)) //nolint:gosec // not negative
				if spans == nil {
					return c.src.corrupt(fileSpans, fmt.Errorf("row %d refers to resource or scope %d, which does not exist", g.row+r, v.Num(r)))
				}
				*spans++
			}
		}
	}
	return nil
}

// include adds all resources and scopes of a block and returns where they begin.
func (t *tables) include(b *Block) (resources, scopes int, err error) {
	if at, ok := t.included[b.meta.ID]; ok {
		return at[0], at[1], nil
	}
	refs, err := b.resources()
	if err != nil {
		return 0, 0, err
	}
	resources, scopes = len(t.resources), len(t.scopes)
	for i := range refs.resources {
		t.resourceKey(&refs.resources[i])
		t.addResource(&refs.resources[i])
	}
	for i := range refs.scopes {
		t.scopeKey(&refs.scopes[i])
		t.addScope(&refs.scopes[i])
	}
	if t.included == nil {
		t.included = make(map[string][2]int)
	}
	t.included[b.meta.ID] = [2]int{resources, scopes}
	return resources, scopes, nil
}

func (t *tables) resourceSpans(id uint64) *int {
	if id >= uint64(len(t.resources)) {
		return nil
	}
	return &t.resources[id].spans
}

func (t *tables) scopeSpans(id uint64) *int {
	if id >= uint64(len(t.scopes)) {
		return nil
	}
	return &t.scopes[id].spans
}

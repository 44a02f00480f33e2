package block

import (
	"cmp"
	"slices"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
)

// overflowed is an attribute of a row that goes to the overflow column.
type overflowed struct {
	granule, row uint32
	attr         store.Attr
}

func compareRows(a, b overflowed) int {
	return cmp.Or(cmp.Compare(a.granule, b.granule), cmp.Compare(a.row, b.row))
}

// spilled counts the rows of an attribute without column.
type spilled struct{ rows int }

// spill adds an attribute of the current row to the overflow column. counted says that it is the first of its key.
func (t *table) spill(scope store.ColumnScope, a *store.Attr, counted bool) {
	t.overflow = append(t.overflow, overflowed{uint32(len(t.granules)), uint32(t.row), *a}) //nolint:gosec // below the rows of a block
	if counted {
		t.countSpilled(columnID{attrID{scope, a.Key}, a.Value.Type})
	}
}

func (t *table) countSpilled(id columnID) {
	s := t.spilled[id]
	if s == nil {
		if len(t.spilled) >= maxCounted {
			return
		}
		s = &spilled{}
		t.spilled[id] = s
	}
	s.rows++
}

// choose keeps the columns with the most rows if there are too many, and moves the rest to the overflow column. Columns
// that the file has already are kept.
func (t *table) choose() {
	fresh := make([]*attrColumn, 0, len(t.columns))
	for _, c := range t.columns {
		if c.num < 0 && c.builder.Len() > 0 {
			fresh = append(fresh, c)
		}
	}
	room := maxAttrColumns - t.inFile
	if len(fresh) <= room {
		return
	}
	slices.SortStableFunc(fresh, func(a, b *attrColumn) int { return cmp.Compare(b.builder.Len(), a.builder.Len()) })
	var moved []overflowed
	for _, c := range fresh[room:] {
		moved = t.demote(c, moved)
	}
	t.columns = slices.DeleteFunc(t.columns, func(c *attrColumn) bool { return c.builder == nil })
	// First values before later ones of the same key.
	t.overflow = append(moved, t.overflow...)
	slices.SortStableFunc(t.overflow, compareRows)
}

// demote moves the values of a column to the end of dst and forgets the column.
func (t *table) demote(c *attrColumn, dst []overflowed) []overflowed {
	for g := range c.builder.Granules() {
		from, to := c.builder.Span(g)
		for i := from; i < to; i++ {
			row, v := c.builder.Value(i)
			dst = append(dst, overflowed{uint32(g), uint32(row), store.Attr{Key: c.key, Value: v}}) //nolint:gosec // below the rows of a block
			t.countSpilled(c.columnID)
		}
	}
	t.attrs[c.attrID].columns[c.typ] = nil
	c.builder = nil
	return dst
}

func (t *table) writeOverflow(group int) error {
	if len(t.overflow) == 0 {
		return nil
	}
	b := column.NewBuilder(overflowSpec())
	var attrs []store.Attr
	for i := 0; i < len(t.overflow); {
		o := t.overflow[i]
		attrs = attrs[:0]
		for ; i < len(t.overflow) && compareRows(t.overflow[i], o) == 0; i++ {
			attrs = append(attrs, t.overflow[i].attr)
		}
		b.PadGranules(int(o.granule))
		b.AddText(int(o.row), store.Map(attrs...).Str)
		t.overRows++
	}
	b.PadGranules(len(t.granules))
	if t.overCol < 0 {
		t.overCol = t.w.AddColumn(overflowSpec())
	}
	clear(t.overflow)
	t.overflow = t.overflow[:0]
	return t.writeColumn(group, t.overCol, b)
}

package block

import (
	"context"
	"fmt"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
)

var _ store.Picker = (*Block)(nil)

// Pick implements store.Picker. Columns of parents are read as a whole all the same, and those of events and links
// where one of the rows has some.
func (b *Block) Pick(ctx context.Context, granule int, c store.Column, sel *store.Bitmap, dst *store.Vector) (err error) {
	defer b.contain(&err)
	n := sel.Count()
	if n >= wholeRows {
		return b.Read(ctx, granule, c, sel, dst)
	}
	dst.Reset()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("read column %q of block %s: %w", c.Name, b.meta.ID, err)
	}
	g, err := b.granule(granule)
	if err != nil {
		return err
	}
	if sel.Beyond(g.rows) {
		return fmt.Errorf("%w: a row from %d on of granule %d in block %s", store.ErrInvalid, g.rows, granule, b.meta.ID)
	}
	part := g.stretch()
	part.want = make([]uint16, 0, n)
	for r := range sel.Rows() {
		part.want = append(part.want, uint16(r)) //nolint:gosec // a row of a granule
	}
	src, err := g.picked(part, c)
	if err != nil {
		return err
	}
	if src == nil {
		return b.Read(ctx, granule, c, sel, dst)
	}
	var all store.Bitmap
	all.Fill(n)
	return read(src, c.Multi(), &all, dst)
}

// picked returns the values of a column in the wanted rows, whose numbers are their places among these. It is nil if they
// are not to be had without those of the other rows.
func (g *granule) picked(part *stretch, c store.Column) (source, error) {
	switch c.Scope {
	case store.ScopeSpan:
		return g.pickedAttr(part, c.Name)
	case store.ScopeResource, store.ScopeInstrumentation:
		return g.refSourceOf(c, part.column)
	case store.ScopeEvent:
		return g.pickedChildren(part, fileEvents)
	case store.ScopeLink:
		return g.pickedChildren(part, fileLinks)
	case store.ScopeIntrinsic:
		if in, ok := childIntrinsics[c.Name]; ok {
			return g.pickedChildren(part, in.file)
		}
		if f, ok := fixedIntrinsics[c.Name]; ok {
			v, err := part.column(f.col)
			return &columnSource{v: v, from: chunkRef{fileSpans, g.group, f.col}, ints: f.ints}, err
		}
		switch c.Name {
		case store.SpanTraceID:
			v, err := part.column(colTraceID)
			return traceSource{v}, err
		case store.SpanID:
			v, err := part.column(colSpanID)
			return spanIDs{v}, err
		case store.ScopeName, store.ScopeVersion:
			return g.refSourceOf(c, part.column)
		}
	}
	return nil, nil //nolint:nilnil // There is none.
}

// pickedChildren returns what spans without events or links have of these. It is nil if one of the wanted rows has some.
func (g *granule) pickedChildren(part *stretch, file int) (source, error) {
	counts, err := part.column(childCounts(file))
	if err != nil {
		return nil, err
	}
	for i := range part.want {
		if counts.Num(i) != 0 {
			return nil, nil //nolint:nilnil // As picked.
		}
	}
	return funcSource(func(dst []store.Value, _ int) ([]store.Value, error) { return dst, nil }), nil
}

func (g *granule) pickedAttr(part *stretch, key string) (source, error) {
	s := &attrSource{b: g.b, table: part.t.num, key: key}
	add := func(col int) (*column.Values, error) {
		if empty, err := part.t.NoValues(g.group, col, g.first, g.rows); err != nil || empty {
			return nil, err
		}
		v, err := part.column(col)
		if err != nil || v.Len() == 0 {
			return nil, err
		}
		return v, nil
	}
	for _, col := range part.t.attrs[attrID{store.ScopeSpan, key}] {
		v, err := add(col)
		if err != nil {
			return nil, err
		}
		if v != nil {
			s.typed = append(s.typed, columnSource{v: v, from: chunkRef{part.t.num, g.group, col}})
		}
	}
	if part.t.overflow < 0 {
		return s, nil
	}
	var err error
	s.overflow, err = add(part.t.overflow)
	return s, err
}

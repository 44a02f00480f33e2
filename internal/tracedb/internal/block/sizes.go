package block

import (
	"context"
	"fmt"

	"github.com/bramble-tracing/bramble/internal/spansize"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
)

// noTrace is a trace id of zeros.
const noTrace = noParent + noParent

// Sizes implements store.Sizer. It adds up column by column: of a value in a dictionary the size is computed once.
func (b *Block) Sizes(ctx context.Context, granule int, sel *store.Bitmap, dst []int) (_ []int, err error) {
	defer b.contain(&err)
	if err := ctx.Err(); err != nil {
		return dst, fmt.Errorf("read sizes of spans of block %s: %w", b.meta.ID, err)
	}
	g, err := b.granule(granule)
	if err != nil {
		return dst, err
	}
	if sel.Beyond(g.rows) {
		return dst, fmt.Errorf("%w: a row from %d on of granule %d in block %s", store.ErrInvalid, g.rows, granule, b.meta.ID)
	}
	sizes := make([]int, g.rows)
	for _, add := range []func([]int) error{g.addFixedSizes, g.addStatusSizes, g.addSpanAttrSizes, g.addEventSizes, g.addLinkSizes} {
		if err := add(sizes); err != nil {
			return dst, err
		}
	}
	for r := range sel.Rows() {
		dst = append(dst, sizes[r])
	}
	return dst, nil
}

// sizeOf is the size of the field that a value is in.
type sizeOf func(v *store.Value) int

func textSize(v *store.Value) int { return spansize.Text(len(v.Str)) }

func idSize(v *store.Value) int {
	return spansize.ID(len(v.Str), v.Str == noTrace || v.Str == noParent)
}

// enumSize is that of a number with a sign.
func enumSize(v *store.Value) int {
	return spansize.Number(uint64(int64(int32(v.Num)))) //nolint:gosec // As spans have it.
}

func countSize(v *store.Value) int { return spansize.Number(uint64(uint32(v.Num))) } //nolint:gosec // it was one

func spanFlagsSize(v *store.Value) int { return spansize.SpanFlags(uint32(v.Num)) } //nolint:gosec // it was one

func linkFlagsSize(v *store.Value) int { return spansize.LinkFlags(uint32(v.Num)) } //nolint:gosec // it was one

// addSizes adds the sizes of the values of a column to those of their rows.
func addSizes(v *column.Values, sizes []int, of sizeOf) {
	if v.Dict != nil && len(v.Dict.Values) <= v.Len() {
		byCode := make([]int, len(v.Dict.Values))
		for i := range byCode {
			byCode[i] = of(&v.Dict.Values[i])
		}
		for row, i := range v.All() {
			sizes[row] += byCode[v.Codes[i]]
		}
		return
	}
	var value store.Value
	for row, i := range v.All() {
		value = v.Value(i)
		sizes[row] += of(&value)
	}
}

func (g *granule) addColumnSizes(sizes []int, col int, of sizeOf) error {
	v, err := g.column(col)
	if err == nil {
		addSizes(v, sizes, of)
	}
	return err
}

// addFixedSizes adds what every span has but its status.
func (g *granule) addFixedSizes(sizes []int) error {
	for _, c := range [...]struct {
		col int
		of  sizeOf
	}{
		{colTraceID, idSize},
		{colSpanID, idSize},
		{colName, textSize},
		{colTraceState, textSize},
		{colKind, enumSize},
		{colFlags, spanFlagsSize},
		{colDroppedAttrs, countSize},
		{colDroppedEvents, countSize},
		{colDroppedLinks, countSize},
		{colStart, func(v *store.Value) int { return spansize.Fixed64(v.Num) }},
	} {
		if err := g.addColumnSizes(sizes, c.col, c.of); err != nil {
			return err
		}
	}
	end, err := g.endTimes()
	if err != nil {
		return err
	}
	parents, err := g.parents()
	if err != nil {
		return err
	}
	var has store.Bitmap
	parents.exists(&has)
	for row := range sizes {
		sizes[row] += spansize.Fixed64(end(row)) + spansize.ID(len(noParent), !has.Has(row))
	}
	return nil
}

func (g *granule) addStatusSizes(sizes []int) error {
	status := make([]int, g.rows)
	if err := g.addColumnSizes(status, colStatusMessage, textSize); err != nil {
		return err
	}
	if err := g.addColumnSizes(status, colStatus, enumSize); err != nil {
		return err
	}
	for row, n := range status {
		sizes[row] += spansize.Message(n)
	}
	return nil
}

func (g *granule) addSpanAttrSizes(sizes []int) error {
	_, attrs, err := g.stretch().read(nil)
	if err != nil {
		return err
	}
	return attrs.addSizes(sizes)
}

// addSizes adds the sizes of the attributes of each row.
func (a *rowAttrs) addSizes(sizes []int) error {
	for i, v := range a.columns {
		key := a.keys[i]
		addSizes(v, sizes, func(v *store.Value) int { return spansize.Attr(key, v) })
	}
	if a.overflow == nil {
		return nil
	}
	for row, i := range a.overflow.All() {
		attrs, err := a.overflow.Value(i).Attrs()
		if err != nil {
			return a.b.corrupt(a.file, fmt.Errorf("overflow attributes: %w", err))
		}
		for k := range attrs {
			sizes[row] += spansize.Attr(attrs[k].Key, &attrs[k].Value)
		}
	}
	return nil
}

// sizes adds up columns and attributes of events or links, per piece.
func (r *childReader) sizes(of map[int]sizeOf) ([][]int, error) {
	out := make([][]int, len(r.pieces))
	for i, p := range r.pieces {
		out[i] = make([]int, p.rows)
		for col, f := range of {
			addSizes(r.fixed[i][col], out[i], f)
		}
		if err := r.attrs[i].addSizes(out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (g *granule) addEventSizes(sizes []int) error {
	r, err := g.childReader(fileEvents, g.stretch())
	if err != nil || len(r.pieces) == 0 {
		return err
	}
	inner, err := r.sizes(map[int]sizeOf{colEventName: textSize, colEventDropped: countSize})
	if err != nil {
		return err
	}
	starts, err := g.column(colStart)
	if err != nil {
		return err
	}
	for row := range sizes {
		for c := r.offsets[row]; c < r.offsets[row+1]; c++ {
			fixed, _, at := r.at(c)
			time := starts.Num(row) + fixed[colEventOffset].Num(at)
			sizes[row] += spansize.Message(inner[c/store.GranuleRows][at] + spansize.Fixed64(time))
		}
	}
	return nil
}

func (g *granule) addLinkSizes(sizes []int) error {
	r, err := g.childReader(fileLinks, g.stretch())
	if err != nil || len(r.pieces) == 0 {
		return err
	}
	inner, err := r.sizes(map[int]sizeOf{
		colLinkTraceID: idSize, colLinkSpanID: idSize, colLinkState: textSize, colLinkFlags: linkFlagsSize, colLinkDropped: countSize,
	})
	if err != nil {
		return err
	}
	for row := range sizes {
		for c := r.offsets[row]; c < r.offsets[row+1]; c++ {
			sizes[row] += spansize.Message(inner[c/store.GranuleRows][c%store.GranuleRows])
		}
	}
	return nil
}

var _ store.Sizer = (*Block)(nil)

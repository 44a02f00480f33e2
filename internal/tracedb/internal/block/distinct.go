package block

import (
	"context"
	"fmt"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
)

// Distinct implements store.Lister, from the dictionaries of columns and from the table of resources.
func (b *Block) Distinct(ctx context.Context, c store.Column) (values []store.Value, complete bool, err error) {
	defer b.contain(&err)
	if err := ctx.Err(); err != nil {
		return nil, false, fmt.Errorf("list values of %q in block %s: %w", c.Name, b.meta.ID, err)
	}
	switch c.Scope {
	case store.ScopeResource, store.ScopeInstrumentation:
		return b.distinctRefs(c)
	case store.ScopeSpan:
		return b.distinctAttr(fileSpans, c)
	case store.ScopeEvent:
		return b.distinctAttr(fileEvents, c)
	case store.ScopeLink:
		return b.distinctAttr(fileLinks, c)
	case store.ScopeIntrinsic:
		switch c.Name {
		case store.ScopeName, store.ScopeVersion:
			return b.distinctRefs(c)
		case store.EventName:
			return b.distinctColumns(fileEvents, []int{colEventName})
		}
		if f, ok := fixedIntrinsics[c.Name]; ok && !f.ints {
			return b.distinctColumns(fileSpans, []int{f.col})
		}
	}
	return nil, false, nil
}

func (b *Block) distinctRefs(c store.Column) ([]store.Value, bool, error) {
	col, err := b.refColumn(c)
	if err != nil {
		return nil, false, err
	}
	return col.dict, true, nil
}

// distinctAttr lists the values of an attribute, unless some are in the overflow column.
func (b *Block) distinctAttr(file int, c store.Column) ([]store.Value, bool, error) {
	t, err := b.tableFile(file)
	if err != nil {
		return nil, false, err
	}
	if t.overflow >= 0 {
		for g := range t.Groups() {
			if !t.Empty(g, t.overflow) {
				return nil, false, nil
			}
		}
	}
	return b.distinctColumns(file, t.attrs[attrID{c.Scope, c.Name}])
}

// distinctColumns joins the dictionaries of columns in all row groups.
func (b *Block) distinctColumns(file int, cols []int) ([]store.Value, bool, error) {
	t, err := b.tableFile(file)
	if err != nil {
		return nil, false, err
	}
	var out []store.Value
	for _, col := range cols {
		for g := range t.Groups() {
			if t.Empty(g, col) {
				continue
			}
			if !t.HasDict(g, col) {
				return nil, false, nil
			}
			d, err := b.dict(t, g, col)
			if err != nil {
				return nil, false, err
			}
			if out == nil && len(cols) == 1 && t.Groups() == 1 {
				return d.Values, true, nil
			}
			out = append(out, d.Values...)
		}
	}
	return out, true, nil
}

// Range implements store.Ranger, from the zone maps.
func (b *Block) Range(granule int, c store.Column) (lo, hi int64, ok bool) {
	err := b.rangeOf(granule, c, &lo, &hi, &ok)
	return lo, hi, ok && err == nil
}

func (b *Block) rangeOf(granule int, c store.Column, lo, hi *int64, ok *bool) (err error) {
	defer b.contain(&err)
	if c == store.Intrinsic(store.SpanEnd) {
		return b.rangeOfEnds(granule, lo, hi, ok)
	}
	f, fixed := fixedIntrinsics[c.Name]
	if c.Scope != store.ScopeIntrinsic || !fixed || !f.ints {
		return nil
	}
	group, first, rows, err := b.within(granule)
	if err != nil {
		return err
	}
	t, err := b.tableFile(fileSpans)
	if err != nil {
		return err
	}
	bounds, err := t.Bounds(group, f.col, first, rows)
	if err != nil || !bounds.Known || bounds.Min.Type != store.TypeInt {
		return err
	}
	*lo, *hi, *ok = bounds.Min.Int(), bounds.Max.Int(), true
	return nil
}

// rangeOfEnds adds up starts and durations, where no span ends elsewhere.
func (b *Block) rangeOfEnds(granule int, lo, hi *int64, ok *bool) error {
	group, first, rows, err := b.within(granule)
	if err != nil {
		return err
	}
	t, err := b.tableFile(fileSpans)
	if err != nil {
		return err
	}
	var bounds [3]column.Bounds
	for i, col := range [...]int{colStart, colDuration, colEnd} {
		if bounds[i], err = t.Bounds(group, col, first, rows); err != nil {
			return err
		}
	}
	if !bounds[0].Known || !bounds[1].Known || !bounds[2].Empty {
		return nil
	}
	*lo, *hi = bounds[0].Min.Int()+bounds[1].Min.Int(), bounds[0].Max.Int()+bounds[1].Max.Int()
	*ok = *lo >= bounds[0].Min.Int() && *hi >= *lo // Sums that wrap around say nothing.
	return nil
}

var (
	_ store.Lister = (*Block)(nil)
	_ store.Ranger = (*Block)(nil)
)

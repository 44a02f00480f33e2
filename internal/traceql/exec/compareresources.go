package exec

import (
	"fmt"
	"slices"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

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
			err := c.addCells(all, c.vec.At(code), nil, func(off uint32) int64 { return c.table[int(off)*width+code] })
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

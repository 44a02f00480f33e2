package exec

import (
	"fmt"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

// fix corrects what addRange has counted wrongly in a granule, and counts what it has left out.
func (c *comparer) fix(t *compareTask) error {
	x, in := c.x, t.in
	p := x.run.parts[t.part]
	info := p.Info()
	var sp split
	sp.all.Fill(info.GranuleLen(t.granule))
	sp.selected = sp.all
	for _, test := range c.timeTests() {
		if err := p.Filter(x.run.ctx, t.granule, test, &sp.selected); err != nil {
			return fmt.Errorf("filter times in %s: %w", info.ID, err)
		}
	}
	if err := c.selection.filter(x.run, p, t.granule, &sp.selected); err != nil {
		return err
	}
	if err := c.place(t.spot, &sp); err != nil {
		return err
	}
	if len(in.scan) > 0 {
		if err := c.count(t.spot, &sp, func(a ast.Attr) bool { return in.scan[a] }); err != nil {
			return err
		}
	}
	if in.noRoots {
		if err := c.countRoots(t.spot, &sp, c.rootNames, true); err != nil {
			return err
		}
	}
	if t.split != nil && !in.noRoots {
		if err := c.fixRoots(t, &sp); err != nil {
			return err
		}
	}
	return c.move(t, &sp)
}

const (
	// sparseRows is below how many rows of a granule they are picked out of its columns instead of decoding these.
	sparseRows = 512
	// fewFixes is up to how many granules are decoded all the same, so that they are in the store's cache for the next query. The
	// columns of more do not fit there.
	fewFixes = 64
)

// move takes rows to the bucket and the side where they belong.
func (c *comparer) move(t *compareTask, sp *split) error {
	x, in := c.x, t.in
	moved := split{selected: sp.selected}
	for row := range sp.all.Rows() {
		off := c.byRow[row]
		if off == outside || c.first+int(off>>1) != in.main || !x.failed && off&1 != 0 {
			moved.all.Set(row)
		}
	}
	if !moved.all.Any() {
		return nil
	}
	c.include(in.main, &moved.all)
	for row := range moved.all.Rows() {
		c.wrong[row] = uint32(2 * (in.main - c.first)) //nolint:gosec // Twice maxPoints at most.
		if x.failed && moved.selected.Has(row) {
			c.wrong[row]++
		}
	}
	c.correct, c.sparse = true, x.manyFixes && moved.all.Count() < sparseRows
	defer func() { c.correct, c.sparse = false, false }()
	if err := c.count(t.spot, &moved, func(a ast.Attr) bool { return !in.scan[a] }); err != nil {
		return err
	}
	if in.noRoots {
		return nil
	}
	return c.countRoots(t.spot, &moved, c.nearRoots, false)
}

// include widens the table to have a bucket.
func (c *comparer) include(bucket int, rows *store.Bitmap) {
	if c.cells == 0 {
		c.first, c.cells = bucket, 2
	}
	if by := c.first - bucket; by > 0 {
		for row := range rows.Rows() {
			if c.byRow[row] != outside {
				c.byRow[row] += uint32(2 * by) //nolint:gosec // Twice maxPoints at most.
			}
		}
		c.first, c.cells = bucket, c.cells+2*by
	}
	c.cells = max(c.cells, 2*(bucket-c.first+1))
}

// fixRoots counts rows of traces that are split over parts by their root instead of the one that the part has of them.
// Where they have been counted by the latter, they are moved later.
func (c *comparer) fixRoots(t *compareTask, sp *split) error {
	rows := split{selected: sp.selected}
	for row := range t.split.Rows() {
		if c.byRow[row] != outside {
			rows.all.Set(row)
		}
	}
	if !rows.all.Any() {
		return nil
	}
	if err := c.countRoots(t.spot, &rows, c.splitRoots, true); err != nil {
		return err
	}
	saved := c.byRow
	for row := range rows.all.Rows() {
		c.wrong[row], c.byRow[row] = c.byRow[row], outside
	}
	c.correct = true
	defer func() { c.correct, c.byRow = false, saved }()
	return c.countRoots(t.spot, &rows, c.nearRoots, false)
}

// splitRoots returns the roots of traces that are split over parts.
func (c *comparer) splitRoots(ids []spanid.TraceID, s spot) ([]rootNames, error) {
	var refs []traceRef
	for _, id := range ids {
		if _, ok := c.roots[id]; !ok {
			c.roots[id] = rootNames{}
			refs = append(refs, traceRef{id, s.part})
		}
	}
	if err := c.readSplitRoots(refs); err != nil {
		return nil, err
	}
	out := make([]rootNames, len(ids))
	for i, id := range ids {
		out[i] = c.roots[id]
	}
	return out, nil
}

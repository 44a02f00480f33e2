package block

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/index"
)

// WithOverlay returns the block with an overlay (nil for none): its resources and scopes are the patched ones. Files and
// references are shared with b, which stays as it is. Hidden traces are not left out of rows: see HiddenRows.
func (b *Block) WithOverlay(o *Overlay) *Block {
	c := *b
	c.overlay = o
	return &c
}

// Overlay returns the block's overlay, nil if there is none.
func (b *Block) Overlay() *Overlay { return b.overlay }

// HiddenRows returns the rows of the traces that the overlay hides, ascending. Who publishes the block masks them, which
// renumbers rows, so that the block itself need not.
func (b *Block) HiddenRows(ctx context.Context) (rows []uint32, err error) {
	defer b.contain(&err)
	if b.overlay == nil {
		return nil, nil
	}
	var ranges []index.Trace
	notes := b.overlay.Traces
	var page []index.Trace
	for p := 0; p < b.traces.Pages() && len(notes) > 0; p++ {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("find hidden rows of block %s: %w", b.meta.ID, err)
		}
		if page, err = b.traces.Page(p, page[:0]); err != nil {
			return nil, err
		}
		for _, e := range page {
			for len(notes) > 0 && bytes.Compare(notes[0].ID[:], e.ID[:]) < 0 {
				notes = notes[1:]
			}
			if len(notes) > 0 && notes[0].ID == e.ID && notes[0].Flags.Hidden() {
				ranges = append(ranges, e)
			}
		}
	}
	slices.SortFunc(ranges, func(a, b index.Trace) int { return cmp.Compare(a.Row, b.Row) })
	for _, e := range ranges {
		if uint64(e.Row)+uint64(e.Spans) > uint64(b.meta.Rows) { //nolint:gosec // not negative
			return nil, b.corrupt(fileTraces, fmt.Errorf("trace %s has rows beyond the block", e.ID))
		}
		for r := range e.Spans {
			rows = append(rows, e.Row+r)
		}
	}
	return rows, nil
}

// patchedAttributes is the catalogue with the properties of resources and scopes counted anew, as attrs.idx has values
// that a patch removed.
func (b *Block) patchedAttributes(ctx context.Context) ([]store.AttributeInfo, error) {
	all, err := b.attributeCatalog()
	if err != nil {
		return nil, err
	}
	out := slices.Clone(all)
	out = slices.DeleteFunc(out, func(a store.AttributeInfo) bool {
		return a.Column.Scope == store.ScopeResource || a.Column.Scope == store.ScopeInstrumentation
	})
	refs, err := b.resources()
	if err != nil {
		return nil, err
	}
	perResource, perScope := make([]int, len(refs.resources)), make([]int, len(refs.scopes))
	for n := range b.first[len(b.first)-1] {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("count resources of block %s: %w", b.meta.ID, err)
		}
		g, err := b.granule(n)
		if err != nil {
			return nil, err
		}
		if err := g.countRefs(colResource, g.meta.ResourceBase, perResource); err != nil {
			return nil, err
		}
		if err := g.countRefs(colScope, g.meta.ScopeBase, perScope); err != nil {
			return nil, err
		}
	}
	counter := attrCounter{}
	for i, n := range perResource {
		counter.add(store.ScopeResource, refs.resources[i].Attrs, n)
	}
	for i, n := range perScope {
		counter.add(store.ScopeInstrumentation, refs.scopes[i].Attrs, n)
	}
	return sortCatalog(counter.catalog(out)), nil
}

// countRefs counts the rows of the granule per resource or scope.
func (g *granule) countRefs(col, base int, counts []int) error {
	v, err := g.column(col)
	if err != nil {
		return err
	}
	for r := range g.rows {
		id := v.Num(r) + uint64(base) //nolint:gosec // not negative
		if id >= uint64(len(counts)) {
			return g.b.corrupt(fileSpans, fmt.Errorf("a span refers to resource or scope %d of %d", id, len(counts)))
		}
		counts[id]++
	}
	return nil
}

package tracedb

import (
	"cmp"
	"context"
	"slices"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/block"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/compact"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/head"
)

// extent is a trace of a head: its rows in blockOrder's list.
type extent struct {
	start    uint64
	id       spanid.TraceID
	from, to int
}

// blockOrder returns the rows of a head that are not masked in the order of a block: by the start and id of their
// trace, then by their own start; a few traces are moved so that row groups end with a trace.
func blockOrder(ctx context.Context, part *head.Part, mask []uint32) ([]uint32, error) {
	starts, err := startTimes(ctx, part)
	if err != nil {
		return nil, err
	}
	rows := make([]uint32, 0, len(starts))
	extents := make([]extent, 0, part.Traces())
	for i := range part.Traces() {
		id, _ := part.TraceAt(i)
		e := extent{id: id, from: len(rows), start: ^uint64(0)}
		rows = part.AppendTraceRows(id, rows)
		if len(mask) > 0 {
			kept := slices.DeleteFunc(rows[e.from:], func(r uint32) bool { return contains(mask, r) })
			rows = rows[:e.from+len(kept)]
		}
		if e.to = len(rows); e.to == e.from {
			continue
		}
		slices.SortStableFunc(rows[e.from:], func(a, b uint32) int { return cmp.Compare(starts[a], starts[b]) })
		e.start = starts[rows[e.from]]
		extents = append(extents, e)
	}
	slices.SortFunc(extents, func(a, b extent) int {
		return cmp.Or(cmp.Compare(a.start, b.start), slices.Compare(a.id[:], b.id[:]))
	})
	sizes := make([]int, len(extents))
	for i, e := range extents {
		sizes[i] = e.to - e.from
	}
	out := make([]uint32, 0, len(rows))
	for _, i := range compact.Align(sizes, compact.Groups(len(rows))) {
		out = append(out, rows[extents[i].from:extents[i].to]...)
	}
	return out, nil
}

// startTimes returns the start of every span of a head.
func startTimes(ctx context.Context, part *head.Part) ([]uint64, error) {
	info := part.Info()
	out := make([]uint64, 0, info.Rows)
	var v store.Vector
	for g := range info.Granules() {
		var sel store.Bitmap
		sel.Fill(info.GranuleLen(g))
		if err := part.Read(ctx, g, store.Intrinsic(store.SpanStart), &sel, &v); err != nil {
			return nil, err
		}
		for i := range v.Rows() {
			out = append(out, uint64(v.At(i).Int()))
		}
	}
	return out, nil
}

// rowReader reads rows as spans, which need not be valid after the next call.
type rowReader interface {
	Spans(ctx context.Context, rows []uint32, dst *store.Batch) error
}

// copyRows appends rows of a head or block, in the order given and so many at once, to a block.
func copyRows(ctx context.Context, w *block.Writer, from rowReader, order []uint32, atOnce int) error {
	var read, ordered store.Batch
	type place struct{ row, at uint32 }
	places := make([]place, 0, atOnce)
	rows := make([]uint32, 0, atOnce)
	for chunk := range slices.Chunk(order, atOnce) {
		// Parts are read quickest in the order of their rows.
		places, rows = places[:0], rows[:0]
		for i, r := range chunk {
			places = append(places, place{r, uint32(i)})
		}
		slices.SortFunc(places, func(a, b place) int { return cmp.Compare(a.row, b.row) })
		for _, p := range places {
			rows = append(rows, p.row)
		}
		read.Reset()
		if err := from.Spans(ctx, rows, &read); err != nil {
			return err
		}
		ordered.Resources, ordered.Scopes = read.Resources, read.Scopes
		ordered.Spans = slices.Grow(ordered.Spans[:0], len(chunk))[:len(chunk)]
		for i, p := range places {
			ordered.Spans[p.at] = read.Spans[i]
		}
		if err := w.Append(ctx, &ordered); err != nil {
			return err
		}
	}
	return nil
}

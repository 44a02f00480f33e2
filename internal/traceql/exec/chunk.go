package exec

import (
	"fmt"
	"unsafe"

	"github.com/bramble-tracing/bramble/internal/store"
)

// chunk holds the values of some columns for some rows of a granule. Indexes count the marked rows.
type chunk struct {
	part    store.Part
	index   int // Of the part in the view; set for whole traces.
	granule int
	sel     store.Bitmap
	vecs    []store.Vector
	bytes   int64

	batch  *store.Batch // Whole spans, read when an item condition first asks.
	listed []uint32     // The marked rows, listed when first asked for.
}

// rows lists the marked rows of the granule.
func (ch *chunk) rows() []uint32 {
	if ch.listed == nil {
		ch.listed = rowsOf(&ch.sel)
	}
	return ch.listed
}

// valueBytes is what one value is counted with: strings are shared with the store or were read anyway.
const valueBytes = int64(unsafe.Sizeof(store.Value{}))

// readChunk reads columns. The caller gives ch.bytes back to the meter when it drops the chunk.
func (r *run) readChunk(p store.Part, granule int, sel *store.Bitmap, cols *columns) (*chunk, error) {
	ch := &chunk{part: p, granule: granule, sel: *sel, vecs: make([]store.Vector, len(cols.cols))}
	ch.bytes = int64(sel.Count()) * int64(len(cols.cols)) * valueBytes
	if err := r.meter.take(r.ctx, ch.bytes); err != nil {
		return nil, err
	}
	r.bytes.Add(ch.bytes)
	for i, c := range cols.cols {
		err := r.err()
		if err == nil {
			err = p.Read(r.ctx, granule, c, sel, &ch.vecs[i])
		}
		if err != nil {
			r.meter.give(ch.bytes)
			return nil, fmt.Errorf("read column %s of %s: %w", c.Name, p.Info().ID, err)
		}
	}
	return ch, nil
}

// span returns the i-th span of the chunk with its events and links.
func (ch *chunk) span(r *run, i int) (*store.Span, error) {
	if ch.batch == nil {
		rows := rowsOf(&ch.sel)
		for k := range rows {
			rows[k] += uint32(ch.granule) * store.GranuleRows //nolint:gosec // Rows of a part fit.
		}
		const spanBytes = 1 << 10 // A guess; whole spans are read only for a few.
		n := int64(len(rows)) * spanBytes
		if err := r.meter.take(r.ctx, n); err != nil {
			return nil, err
		}
		ch.bytes += n
		b := &store.Batch{}
		if err := ch.part.Spans(r.ctx, rows, b); err != nil {
			return nil, fmt.Errorf("read spans of %s: %w", ch.part.Info().ID, err)
		}
		if len(b.Spans) != len(rows) {
			return nil, fmt.Errorf("read spans of %s: got %d of %d", ch.part.Info().ID, len(b.Spans), len(rows))
		}
		ch.batch = b
	}
	return &ch.batch.Spans[i], nil
}

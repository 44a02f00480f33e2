package gathered

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// View is a view over a batch.
type View struct {
	part  part
	parts []store.Part
}

var _ store.View = (*View)(nil)

// New returns a view of what Merge makes of the fragments.
func New(fragments ...*store.Batch) *View {
	v := &View{}
	p := &v.part
	p.batch = Merge(fragments...)
	p.info = store.PartInfo{ID: "gathered", Kind: store.KindHead, Rows: len(p.batch.Spans), MinStartNano: math.MaxUint64, Bytes: Weight(p.batch)}
	p.traces = map[spanid.TraceID]rows{}
	for i := range p.batch.Spans {
		s := &p.batch.Spans[i]
		p.info.MinStartNano = min(p.info.MinStartNano, s.StartNano)
		p.info.MaxStartNano = max(p.info.MaxStartNano, s.StartNano)
		p.info.MaxEndNano = max(p.info.MaxEndNano, s.EndNano)
		r, ok := p.traces[s.TraceID]
		if !ok {
			r.first = uint32(i) //nolint:gosec // A row.
		}
		r.n++
		p.traces[s.TraceID] = r
	}
	if len(p.batch.Spans) > 0 {
		v.parts = []store.Part{p}
	}
	return v
}

// Parts returns the one part, or none of an empty view.
func (v *View) Parts() []store.Part { return v.parts }

// Split returns an empty set.
func (v *View) Split() store.TraceSet { return none{} }

// Release does nothing: the garbage collector frees views.
func (v *View) Release() {}

type none struct{}

func (none) Has(spanid.TraceID) bool { return false }
func (none) Len() int                { return 0 }

// Trace returns the spans of a trace, cut at maxBytes by Weight.
func (v *View) Trace(ctx context.Context, id spanid.TraceID, maxBytes int64) (*store.Trace, error) {
	listed, err := v.part.TraceRows(ctx, id, nil)
	if err != nil {
		return nil, err
	}
	if len(listed) == 0 {
		return nil, fmt.Errorf("read trace %s: %w", id, store.ErrNotFound)
	}
	out := &store.Trace{}
	seen := map[identity]bool{}
	listed = slices.DeleteFunc(listed, func(row uint32) bool {
		s := &v.part.batch.Spans[row]
		key := identity{s.TraceID, s.SpanID, s.Kind}
		again := seen[key]
		seen[key] = true
		return again
	})
	if err := v.part.Spans(ctx, listed, &out.Batch); err != nil {
		return nil, err
	}
	out.InspectedBytes = uint64(Weight(&out.Batch)) //nolint:gosec // Positive.
	Cut(out, maxBytes)
	return out, nil
}

// Cut takes the last spans from a trace until it weighs maxBytes at most, and says so. 0 is no limit.
func Cut(t *store.Trace, maxBytes int64) {
	if maxBytes <= 0 || Weight(&t.Batch) <= maxBytes {
		return
	}
	left := maxBytes
	for i := range t.Spans {
		one := store.Batch{Spans: t.Spans[i : i+1]}
		if left -= Weight(&one); left < 0 {
			t.Spans = t.Spans[:i]
			t.Partial = fmt.Sprintf("the trace is larger than the limit of %d bytes", maxBytes)
			return
		}
	}
}

// rows are n rows from first on.
type rows struct{ first, n uint32 }

type part struct {
	batch  *store.Batch
	info   store.PartInfo
	traces map[spanid.TraceID]rows
}

// Info describes the part.
func (p *part) Info() store.PartInfo { return p.info }

// MayMatch says what is known without reading a column: nothing.
func (p *part) MayMatch(int, *store.Predicate) bool { return true }

func (p *part) check(ctx context.Context, granule int, c store.Column) error {
	if ctx.Err() != nil {
		return fmt.Errorf("column %v: %w", c, context.Cause(ctx))
	}
	if granule < 0 || granule >= p.info.Granules() {
		return fmt.Errorf("%w: granule %d of %d", store.ErrInvalid, granule, p.info.Granules())
	}
	if c.Scope > store.ScopeUnscoped || c.Scope == store.ScopeIntrinsic && !known(c.Name) {
		return fmt.Errorf("%w: column %q of scope %s", store.ErrUnsupported, c.Name, c.Scope)
	}
	return nil
}

// Filter unmarks the rows that do not satisfy pred.
func (p *part) Filter(ctx context.Context, granule int, pred *store.Predicate, sel *store.Bitmap) error {
	if err := p.check(ctx, granule, pred.Column); err != nil {
		return err
	}
	var buf []store.Value
	n := p.info.GranuleLen(granule)
	for i := range sel.Rows() {
		if i >= n {
			sel.Clear(i)
			continue
		}
		if buf = p.values(buf[:0], granule*store.GranuleRows+i, pred.Column); !pred.MatchSpan(buf) {
			sel.Clear(i)
		}
	}
	return nil
}

// Read fills dst with numbers for numeric intrinsics and with values otherwise.
func (p *part) Read(ctx context.Context, granule int, c store.Column, sel *store.Bitmap, dst *store.Vector) error {
	dst.Reset()
	if err := p.check(ctx, granule, c); err != nil {
		return err
	}
	multi, ints := c.Multi(), numeric(c)
	if multi {
		dst.Offsets = append(dst.Offsets, 0)
	}
	var buf []store.Value
	for i := range sel.Rows() {
		if i >= p.info.GranuleLen(granule) {
			return fmt.Errorf("%w: row %d of granule %d", store.ErrInvalid, i, granule)
		}
		buf = p.values(buf[:0], granule*store.GranuleRows+i, c)
		switch {
		case multi:
			dst.Values = append(dst.Values, buf...)
			dst.Offsets = append(dst.Offsets, uint32(len(dst.Values))) //nolint:gosec // Values of a granule.
		case ints:
			dst.Ints = append(dst.Ints, buf[0].Int())
		case len(buf) == 0:
			dst.Values = append(dst.Values, store.Value{})
		default:
			dst.Values = append(dst.Values, buf[0])
		}
	}
	return nil
}

// TraceRows appends the rows of the trace.
func (p *part) TraceRows(ctx context.Context, id spanid.TraceID, dst []uint32) ([]uint32, error) {
	if ctx.Err() != nil {
		return dst, fmt.Errorf("rows of trace %s: %w", id, context.Cause(ctx))
	}
	r := p.traces[id]
	for i := range r.n {
		dst = append(dst, r.first+i)
	}
	return dst, nil
}

// Spans appends whole spans, with all resources and scopes.
func (p *part) Spans(ctx context.Context, listed []uint32, dst *store.Batch) error {
	if ctx.Err() != nil {
		return fmt.Errorf("read %d spans: %w", len(listed), context.Cause(ctx))
	}
	resources, scopes := map[int32]int32{}, map[int32]int32{}
	for _, row := range listed {
		if int64(row) >= int64(p.info.Rows) {
			return fmt.Errorf("%w: row %d of %d", store.ErrInvalid, row, p.info.Rows)
		}
		s := p.batch.Spans[row]
		r, ok := resources[s.Resource]
		if !ok {
			r = int32(len(dst.Resources)) //nolint:gosec // As many as spans at most.
			resources[s.Resource] = r
			dst.Resources = append(dst.Resources, p.batch.Resources[s.Resource])
		}
		sc, ok := scopes[s.Scope]
		if !ok {
			sc = int32(len(dst.Scopes)) //nolint:gosec // As above.
			scopes[s.Scope] = sc
			dst.Scopes = append(dst.Scopes, p.batch.Scopes[s.Scope])
		}
		s.Resource, s.Scope = r, sc
		dst.Spans = append(dst.Spans, s)
	}
	return nil
}

package gathered

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// ErrCopies says that several stores have a span, so that whole spans are needed to choose one.
var ErrCopies = errors.New("a span is in several stores")

// ColumnView is a view of some columns. Others, and whole spans, are answered with store.ErrUnsupported.
type ColumnView struct {
	part  columnPart
	parts []store.Part
}

var _ store.View = (*ColumnView)(nil)

// NewColumns returns a view of the fragments, each from another store and of the same traces and columns. Spans are in the
// order in which New has them. The error is ErrCopies if a span is in several fragments. split is how many traces are.
func NewColumns(ids []spanid.TraceID, fragments ...*Columns) (v *ColumnView, split int, err error) {
	v = &ColumnView{}
	p := &v.part
	p.ids, p.ends, p.byID = ids, make([]uint32, len(ids)), make(map[spanid.TraceID]int, len(ids))
	for i, id := range ids {
		p.byID[id] = i
	}
	for _, f := range fragments {
		if f == nil {
			continue
		}
		if p.index == nil {
			p.index = map[store.Column]int{}
			for i, c := range f.Columns {
				p.index[c] = i
			}
		}
		for k := range f.Segments {
			for _, t := range f.Segments[k].Trace {
				p.ends[t]++
			}
		}
	}
	for i := 1; i < len(p.ends); i++ {
		p.ends[i] += p.ends[i-1]
	}
	if len(p.ends) == 0 || p.ends[len(p.ends)-1] == 0 {
		return v, 0, nil
	}
	if split, err = p.place(fragments); err != nil {
		return nil, 0, err
	}
	v.parts = []store.Part{p}
	return v, split, nil
}

// columnRow is one span.
type columnRow struct {
	segment       *Segment
	row, fragment int32
	start         uint64
	span          uint64
	kind          int64
}

// place puts the rows of all fragments in order.
func (p *columnPart) place(fragments []*Columns) (split int, err error) {
	p.rows = make([]columnRow, p.ends[len(p.ends)-1])
	next := make([]uint32, len(p.ends))
	copy(next[1:], p.ends)
	at := func(name string) int { return p.index[store.Intrinsic(name)] }
	start, end, span, kind := at(store.SpanStart), at(store.SpanEnd), at(store.SpanID), at(store.SpanKind)
	p.info = store.PartInfo{ID: "gathered columns", Kind: store.KindHead, Rows: len(p.rows), MinStartNano: math.MaxUint64}
	for n, f := range fragments {
		if f == nil {
			continue
		}
		p.info.Bytes += f.Weight()
		for k := range f.Segments {
			s := &f.Segments[k]
			for i, t := range s.Trace {
				r := columnRow{
					segment: s, row: int32(i), fragment: int32(n), //nolint:gosec // Both fit.
					start: uint64(s.Vectors[start].At(i).Int()), //nolint:gosec // As stored.
					span:  hexNumber(s.Vectors[span].At(i).Str), kind: s.Vectors[kind].At(i).Int(),
				}
				p.info.MinStartNano, p.info.MaxStartNano = min(p.info.MinStartNano, r.start), max(p.info.MaxStartNano, r.start)
				p.info.MaxEndNano = max(p.info.MaxEndNano, uint64(s.Vectors[end].At(i).Int())) //nolint:gosec // As stored.
				p.rows[next[t]] = r
				next[t]++
			}
		}
	}
	for t := range p.ends {
		some := p.rows[p.first(t):p.ends[t]]
		several := slices.ContainsFunc(some, func(r columnRow) bool { return r.fragment != some[0].fragment })
		if several {
			split++
			if copies(some) {
				return 0, ErrCopies
			}
		}
		slices.SortStableFunc(some, func(a, b columnRow) int {
			return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.span, b.span), cmp.Compare(a.kind, b.kind))
		})
	}
	return split, nil
}

// copies reports whether a span of a trace is in several fragments.
func copies(rows []columnRow) bool {
	const few = 64 // With which comparing each with each is quicker than a map.
	if len(rows) <= few {
		for i := range rows {
			for k := range rows[:i] {
				if rows[i].span == rows[k].span && rows[i].kind == rows[k].kind && rows[i].fragment != rows[k].fragment {
					return true
				}
			}
		}
		return false
	}
	type key struct {
		span uint64
		kind int64
	}
	seen := make(map[key]int32, len(rows))
	for i := range rows {
		k := key{rows[i].span, rows[i].kind}
		if from, ok := seen[k]; ok && from != rows[i].fragment {
			return true
		}
		seen[k] = rows[i].fragment
	}
	return false
}

// hexNumber reads the text form of a span id.
func hexNumber(s string) (n uint64) {
	for i := range len(s) {
		d := s[i] - '0'
		if d > 9 {
			d = s[i] - 'a' + 10
		}
		n = n<<4 | uint64(d)
	}
	return n
}

// Parts returns the one part, or none of an empty view.
func (v *ColumnView) Parts() []store.Part { return v.parts }

// Split returns an empty set.
func (v *ColumnView) Split() store.TraceSet { return none{} }

// Release does nothing: the garbage collector frees views.
func (v *ColumnView) Release() {}

// Trace is not supported: there are no whole spans.
func (v *ColumnView) Trace(context.Context, spanid.TraceID, int64) (*store.Trace, error) {
	return nil, fmt.Errorf("read a whole trace of columns: %w", store.ErrUnsupported)
}

type columnPart struct {
	index map[store.Column]int
	ids   []spanid.TraceID
	byID  map[spanid.TraceID]int // Of ids.
	rows  []columnRow            // By trace, in the order of ids.
	ends  []uint32               // After the last row of each trace.
	info  store.PartInfo
}

func (p *columnPart) first(trace int) uint32 {
	if trace == 0 {
		return 0
	}
	return p.ends[trace-1]
}

// Info implements store.Part.
func (p *columnPart) Info() store.PartInfo { return p.info }

// MayMatch implements store.Part: nothing is known without reading.
func (p *columnPart) MayMatch(int, *store.Predicate) bool { return true }

// column returns the index of a column.
func (p *columnPart) column(ctx context.Context, granule int, c store.Column) (int, error) {
	if ctx.Err() != nil {
		return 0, fmt.Errorf("column %v: %w", c, context.Cause(ctx))
	}
	if granule < 0 || granule >= p.info.Granules() {
		return 0, fmt.Errorf("%w: granule %d of %d", store.ErrInvalid, granule, p.info.Granules())
	}
	i, ok := p.index[c]
	if !ok && c != store.Intrinsic(store.SpanTraceID) {
		return 0, fmt.Errorf("%w: column %q of scope %s was not brought together", store.ErrUnsupported, c.Name, c.Scope)
	}
	if !ok {
		i = traceIDColumn
	}
	return i, nil
}

// traceIDColumn stands for the column of trace ids, which are known anyway.
const traceIDColumn = -1

// value appends what a row has in a column.
func (p *columnPart) value(dst []store.Value, row, column int) []store.Value {
	if column == traceIDColumn {
		t, found := slices.BinarySearch(p.ends, uint32(row))       //nolint:gosec // A row.
		for found && t < len(p.ends) && p.ends[t] <= uint32(row) { //nolint:gosec // A row.
			t++ // Traces without rows have the same end.
		}
		return append(dst, store.String(p.ids[t].Short()))
	}
	r := &p.rows[row]
	return r.segment.Vectors[column].AppendTo(dst, int(r.row))
}

// Filter implements store.Part.
func (p *columnPart) Filter(ctx context.Context, granule int, pred *store.Predicate, sel *store.Bitmap) error {
	column, err := p.column(ctx, granule, pred.Column)
	if err != nil {
		return err
	}
	var buf []store.Value
	n := p.info.GranuleLen(granule)
	for i := range sel.Rows() {
		if i >= n {
			sel.Clear(i)
			continue
		}
		if buf = p.value(buf[:0], granule*store.GranuleRows+i, column); !pred.MatchSpan(buf) {
			sel.Clear(i)
		}
	}
	return nil
}

// Read implements store.Part.
func (p *columnPart) Read(ctx context.Context, granule int, c store.Column, sel *store.Bitmap, dst *store.Vector) error {
	dst.Reset()
	column, err := p.column(ctx, granule, c)
	if err != nil {
		return err
	}
	multi, ints := c.Multi(), numeric(c)
	if multi {
		dst.Offsets = append(dst.Offsets, 0)
	}
	n := p.info.GranuleLen(granule)
	for i := range sel.Rows() {
		if i >= n {
			return fmt.Errorf("%w: row %d of granule %d", store.ErrInvalid, i, granule)
		}
		row := granule*store.GranuleRows + i
		switch {
		case multi:
			dst.Values = p.value(dst.Values, row, column)
			dst.Offsets = append(dst.Offsets, uint32(len(dst.Values))) //nolint:gosec // Values of a granule.
		case column == traceIDColumn:
			dst.Values = p.value(dst.Values, row, column)
		default:
			r := &p.rows[row]
			v := &r.segment.Vectors[column]
			if ints {
				dst.Ints = append(dst.Ints, v.At(int(r.row)).Int())
			} else {
				dst.Values = append(dst.Values, v.At(int(r.row)))
			}
		}
	}
	return nil
}

// TraceRows implements store.Part.
func (p *columnPart) TraceRows(ctx context.Context, id spanid.TraceID, dst []uint32) ([]uint32, error) {
	if ctx.Err() != nil {
		return dst, fmt.Errorf("rows of trace %s: %w", id, context.Cause(ctx))
	}
	t, ok := p.byID[id]
	if !ok {
		return dst, nil
	}
	for i := p.first(t); i < p.ends[t]; i++ {
		dst = append(dst, i)
	}
	return dst, nil
}

// Spans implements store.Part: there are no whole spans.
func (p *columnPart) Spans(context.Context, []uint32, *store.Batch) error {
	return fmt.Errorf("read whole spans of columns: %w", store.ErrUnsupported)
}

// Attributes implements store.Part: not all are here.
func (p *columnPart) Attributes(context.Context) ([]store.AttributeInfo, error) {
	return nil, fmt.Errorf("list attributes of columns: %w", store.ErrUnsupported)
}

package tracedb

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sort"
	"sync"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// maskedPart hides deleted rows of another part: what is left is numbered without gaps, so that no reader can tell.
type maskedPart struct {
	inner   store.Part
	info    store.PartInfo
	deleted []uint32 // ascending, all below the inner part's rows

	mu    sync.Mutex
	attrs []store.AttributeInfo // result of Attributes, once known
}

// maskPart returns p without the deleted rows that it has.
func maskPart(p store.Part, deleted []uint32) store.Part {
	info := p.Info()
	deleted = deleted[:sort.Search(len(deleted), func(i int) bool { return int(deleted[i]) >= info.Rows })]
	if len(deleted) == 0 {
		return p
	}
	info.Rows -= len(deleted)
	return &maskedPart{inner: p, info: info, deleted: deleted}
}

// Info describes what is left. Times are those of the whole part.
func (m *maskedPart) Info() store.PartInfo { return m.info }

// toInner returns the inner part's number of a row.
func (m *maskedPart) toInner(row int) int {
	return row + sort.Search(len(m.deleted), func(i int) bool { return int(m.deleted[i])-i > row })
}

// toOuter is the inverse of toInner; ok is false for a deleted row.
func (m *maskedPart) toOuter(row uint32) (outer uint32, ok bool) {
	i := sort.Search(len(m.deleted), func(i int) bool { return m.deleted[i] >= row })
	if i < len(m.deleted) && m.deleted[i] == row {
		return 0, false
	}
	return row - uint32(i), true
}

// innerRows is a set of rows of one inner granule, with the rows of the outer granule that they are, in order.
type innerRows struct {
	granule int
	sel     store.Bitmap
	rows    []int // per marked row, its position in the outer granule
}

// translate splits the marked rows of an outer granule by inner granule.
func (m *maskedPart) translate(granule int, sel *store.Bitmap) ([]*innerRows, error) {
	if granule < 0 || granule >= m.info.Granules() {
		return nil, fmt.Errorf("granule %d of %s, which has %d rows: %w", granule, m.info.ID, m.info.Rows, store.ErrInvalid)
	}
	var out []*innerRows
	n := m.info.GranuleLen(granule)
	for i := range sel.Rows() {
		if i >= n {
			return nil, fmt.Errorf("row %d of granule %d of %s, which has %d: %w", i, granule, m.info.ID, n, store.ErrInvalid)
		}
		row := m.toInner(granule*store.GranuleRows + i)
		g := row / store.GranuleRows
		if len(out) == 0 || out[len(out)-1].granule != g {
			out = append(out, &innerRows{granule: g})
		}
		last := out[len(out)-1]
		last.sel.Set(row % store.GranuleRows)
		last.rows = append(last.rows, i)
	}
	return out, nil
}

// MayMatch asks the inner part about all granules that the outer one has rows of.
func (m *maskedPart) MayMatch(granule int, p *store.Predicate) bool {
	if granule < 0 {
		return m.inner.MayMatch(-1, p)
	}
	if granule >= m.info.Granules() {
		return false
	}
	lo := granule * store.GranuleRows
	first := m.toInner(lo) / store.GranuleRows
	last := m.toInner(lo+m.info.GranuleLen(granule)-1) / store.GranuleRows
	for g := first; g <= last; g++ {
		if m.inner.MayMatch(g, p) {
			return true
		}
	}
	return false
}

// Filter unmarks the rows that do not satisfy p.
func (m *maskedPart) Filter(ctx context.Context, granule int, p *store.Predicate, sel *store.Bitmap) error {
	if granule >= 0 && granule < m.info.Granules() {
		var valid store.Bitmap
		valid.Fill(m.info.GranuleLen(granule))
		sel.And(&valid)
	}
	parts, err := m.translate(granule, sel)
	if err != nil {
		return err
	}
	if len(parts) == 0 {
		// Nothing to decide, but the inner part knows whether the predicate is one.
		return m.inner.Filter(ctx, 0, p, &store.Bitmap{})
	}
	for _, in := range parts {
		kept := in.sel
		if err := m.inner.Filter(ctx, in.granule, p, &kept); err != nil {
			return err
		}
		i := 0
		for r := range in.sel.Rows() {
			if !kept.Has(r) {
				sel.Clear(in.rows[i])
			}
			i++
		}
	}
	return nil
}

// Read fills dst with the values of the marked rows.
func (m *maskedPart) Read(ctx context.Context, granule int, c store.Column, sel *store.Bitmap, dst *store.Vector) error {
	dst.Reset()
	parts, err := m.translate(granule, sel)
	if err != nil {
		return err
	}
	switch len(parts) {
	case 0:
		return m.inner.Read(ctx, 0, c, &store.Bitmap{}, dst)
	case 1:
		return m.inner.Read(ctx, parts[0].granule, c, &parts[0].sel, dst)
	}
	if c.Multi() {
		dst.Offsets = append(dst.Offsets, 0)
	}
	var v store.Vector
	for _, in := range parts {
		if err := m.inner.Read(ctx, in.granule, c, &in.sel, &v); err != nil {
			return err
		}
		appendVector(dst, &v, c)
	}
	return nil
}

// appendVector adds the rows of v, in the form that suits every part: numbers or values.
func appendVector(dst, v *store.Vector, c store.Column) {
	if len(v.Ints) > 0 {
		dst.Ints = append(dst.Ints, v.Ints...)
		return
	}
	for i := range v.Rows() {
		if !c.Multi() {
			dst.Values = append(dst.Values, v.At(i))
			continue
		}
		dst.Values = v.AppendTo(dst.Values, i)
		dst.Offsets = append(dst.Offsets, uint32(len(dst.Values)))
	}
}

// EachTrace implements store.TraceLister, if the inner part does. It lists deleted traces too.
func (m *maskedPart) EachTrace(ctx context.Context, first int, f func(spanid.TraceID)) (int, error) {
	return eachTrace(ctx, m.inner, first, f)
}

// eachTrace asks a part that may be a store.TraceLister.
func eachTrace(ctx context.Context, p store.Part, first int, f func(spanid.TraceID)) (int, error) {
	l, ok := p.(store.TraceLister)
	if !ok {
		return 0, fmt.Errorf("%w: a part that does not list its traces", store.ErrUnsupported)
	}
	return l.EachTrace(ctx, first, f)
}

// TraceIDs implements store.TraceReader, if the inner part does.
func (m *maskedPart) TraceIDs(ctx context.Context, granule int, sel *store.Bitmap, dst []spanid.TraceID) ([]spanid.TraceID, error) {
	parts, err := m.translate(granule, sel)
	for _, in := range parts {
		if dst, err = readTraceIDs(ctx, m.inner, in.granule, &in.sel, dst); err != nil {
			break
		}
	}
	return dst, err
}

// readTraceIDs asks a part that may be a store.TraceReader.
func readTraceIDs(ctx context.Context, p store.Part, granule int, sel *store.Bitmap, dst []spanid.TraceID) ([]spanid.TraceID, error) {
	r, ok := p.(store.TraceReader)
	if !ok {
		return dst, fmt.Errorf("%w: a part that does not hand out trace ids", store.ErrUnsupported)
	}
	return r.TraceIDs(ctx, granule, sel, dst)
}

// Sizes implements store.Sizer, if the inner part does.
func (m *maskedPart) Sizes(ctx context.Context, granule int, sel *store.Bitmap, dst []int) ([]int, error) {
	sizer, ok := m.inner.(store.Sizer)
	if !ok {
		return dst, fmt.Errorf("sizes of spans of %s: %w", m.info.ID, store.ErrUnsupported)
	}
	parts, err := m.translate(granule, sel)
	for _, in := range parts {
		if dst, err = sizer.Sizes(ctx, in.granule, &in.sel, dst); err != nil {
			break
		}
	}
	return dst, err
}

// TraceRows appends the rows of the trace that are left.
func (m *maskedPart) TraceRows(ctx context.Context, id spanid.TraceID, dst []uint32) ([]uint32, error) {
	rows, err := m.inner.TraceRows(ctx, id, nil)
	if err != nil {
		return dst, err
	}
	for _, r := range rows {
		if outer, ok := m.toOuter(r); ok {
			dst = append(dst, outer)
		}
	}
	return dst, nil
}

// Spans appends whole spans.
func (m *maskedPart) Spans(ctx context.Context, rows []uint32, dst *store.Batch) error {
	inner := make([]uint32, len(rows))
	for i, r := range rows {
		if int(r) >= m.info.Rows {
			return fmt.Errorf("row %d of %s, which has %d: %w", r, m.info.ID, m.info.Rows, store.ErrInvalid)
		}
		inner[i] = uint32(m.toInner(int(r)))
	}
	return m.inner.Spans(ctx, inner, dst)
}

// Attributes counts the values of the rows that are left, so that a deleted value is not offered any more.
func (m *maskedPart) Attributes(ctx context.Context) ([]store.AttributeInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.attrs != nil {
		return m.attrs, nil
	}
	lines, err := m.inner.Attributes(ctx)
	if err != nil {
		return nil, err
	}
	var out []store.AttributeInfo
	for i := range lines {
		if i > 0 && lines[i].Column == lines[i-1].Column {
			continue
		}
		infos, err := m.countColumn(ctx, lines[i].Column)
		if err != nil {
			return nil, err
		}
		out = append(out, infos...)
	}
	m.attrs = out
	return out, nil
}

// topValues is how many values Attributes lists per column and type.
const topValues = 100

// countColumn returns one line per type of the column's values.
func (m *maskedPart) countColumn(ctx context.Context, c store.Column) ([]store.AttributeInfo, error) {
	var counts [store.TypeMap + 1]map[store.Value]int
	var v store.Vector
	var buf []store.Value
	for g := range m.info.Granules() {
		var sel store.Bitmap
		sel.Fill(m.info.GranuleLen(g))
		if err := m.Read(ctx, g, c, &sel, &v); err != nil {
			return nil, err
		}
		for i := range v.Rows() {
			buf = v.AppendTo(buf[:0], i)
			for _, val := range buf {
				if counts[val.Type] == nil {
					counts[val.Type] = map[store.Value]int{}
				}
				counts[val.Type][val]++
			}
		}
	}
	var out []store.AttributeInfo
	for typ, values := range counts {
		if len(values) > 0 {
			out = append(out, attributeInfo(c, store.ValueType(typ), values))
		}
	}
	return out, nil
}

func attributeInfo(c store.Column, typ store.ValueType, values map[store.Value]int) store.AttributeInfo {
	info := store.AttributeInfo{Column: c, Type: typ, Complete: len(values) <= topValues}
	for v, n := range values {
		info.Rows += n
		info.Top = append(info.Top, store.ValueCount{Value: v, Count: n})
	}
	slices.SortFunc(info.Top, func(a, b store.ValueCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Value.Num, b.Value.Num), cmp.Compare(a.Value.Str, b.Value.Str))
	})
	info.Top = slices.Clone(info.Top[:min(len(info.Top), topValues)])
	return info
}

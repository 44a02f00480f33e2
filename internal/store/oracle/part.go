package oracle

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// Part is a range of the rows of a view.
type Part struct {
	rows store.Batch // Spans are the part's own; Resources and Scopes those of the whole view.
	info store.PartInfo
	refs []int64 // Per row, the value of store.ResourceRef.
	dict bool    // Read answers with dictionaries where it can.
}

func newPart(rows store.Batch, lo, hi, n int) *Part {
	p := &Part{rows: rows, dict: n%2 == 1}
	p.rows.Spans = rows.Spans[lo:hi:hi]
	p.info = store.PartInfo{
		ID: "oracle-" + strconv.Itoa(n), Kind: store.KindHead, Rows: hi - lo, MinStartNano: math.MaxUint64,
	}
	byContents := map[string]int64{}
	for i := range p.rows.Spans {
		s := &p.rows.Spans[i]
		p.info.MinStartNano = min(p.info.MinStartNano, s.StartNano)
		p.info.MaxStartNano = max(p.info.MaxStartNano, s.StartNano)
		p.info.MaxEndNano = max(p.info.MaxEndNano, s.EndNano)
		p.info.Bytes += weight(s)
		contents := fmt.Sprintf("%#v", rows.Resources[s.Resource])
		ref, ok := byContents[contents]
		if !ok {
			ref = int64(len(byContents))
			byContents[contents] = ref
		}
		p.refs = append(p.refs, ref)
	}
	return p
}

// Info describes the part.
func (p *Part) Info() store.PartInfo { return p.info }

// EachTrace implements store.TraceLister, in order of appearance.
func (p *Part) EachTrace(_ context.Context, first int, f func(spanid.TraceID)) (n int, err error) {
	seen := map[spanid.TraceID]bool{}
	for i := range p.rows.Spans {
		id := p.rows.Spans[i].TraceID
		if seen[id] {
			continue
		}
		seen[id] = true
		if n++; n > first {
			f(id)
		}
	}
	return n, nil
}

// values returns what row has in the column.
func (p *Part) values(row int, c store.Column) []store.Value {
	if c == store.Intrinsic(store.ResourceRef) {
		return []store.Value{store.Int(p.refs[row])}
	}
	s := &p.rows.Spans[row]
	return ValuesOf(s, &p.rows.Resources[s.Resource], &p.rows.Scopes[s.Scope], c)
}

func (p *Part) check(ctx context.Context, granule int, c store.Column) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("column %v of %s: %w", c, p.info.ID, err)
	}
	if granule < 0 || granule >= p.info.Granules() {
		return fmt.Errorf("%w: granule %d of %d in %s", store.ErrInvalid, granule, p.info.Granules(), p.info.ID)
	}
	if c.Scope > store.ScopeUnscoped || c.Scope == store.ScopeIntrinsic && !slices.Contains(store.Intrinsics, c.Name) {
		return fmt.Errorf("%w: column %q of scope %s", store.ErrUnsupported, c.Name, c.Scope)
	}
	return nil
}

// MayMatch tries every row: it is as exact as an index can be.
func (p *Part) MayMatch(granule int, pred *store.Predicate) bool {
	lo, hi := 0, p.info.Rows
	if granule >= 0 {
		lo = granule * store.GranuleRows
		hi = lo + p.info.GranuleLen(granule)
	}
	if p.check(context.Background(), 0, pred.Column) != nil {
		return true // Let Filter tell.
	}
	for row := lo; row < hi; row++ {
		if pred.MatchSpan(p.values(row, pred.Column)) {
			return true
		}
	}
	return false
}

// Filter unmarks the rows that do not satisfy pred.
func (p *Part) Filter(ctx context.Context, granule int, pred *store.Predicate, sel *store.Bitmap) error {
	if err := p.check(ctx, granule, pred.Column); err != nil {
		return err
	}
	for i := range sel.Rows() {
		if i >= p.info.GranuleLen(granule) || !pred.MatchSpan(p.values(granule*store.GranuleRows+i, pred.Column)) {
			sel.Clear(i)
		}
	}
	return nil
}

// Read fills dst: numbers per row for the numeric intrinsics, otherwise a dictionary or plain values.
func (p *Part) Read(ctx context.Context, granule int, c store.Column, sel *store.Bitmap, dst *store.Vector) error {
	dst.Reset()
	if err := p.check(ctx, granule, c); err != nil {
		return err
	}
	var codes map[store.Value]uint32
	if p.dict {
		codes = map[store.Value]uint32{}
	}
	if c.Multi() {
		dst.Offsets = append(dst.Offsets, 0)
	}
	entries := uint32(0)
	for i := range sel.Rows() {
		if i >= p.info.GranuleLen(granule) {
			return fmt.Errorf("%w: row %d of granule %d in %s", store.ErrInvalid, i, granule, p.info.ID)
		}
		values := p.values(granule*store.GranuleRows+i, c)
		if !c.Multi() && len(values) == 0 {
			values = []store.Value{{}}
		}
		for _, v := range values {
			appendEntry(dst, c, codes, v)
			entries++
		}
		if c.Multi() {
			dst.Offsets = append(dst.Offsets, entries)
		}
	}
	return nil
}

func appendEntry(dst *store.Vector, c store.Column, codes map[store.Value]uint32, v store.Value) {
	switch {
	case c.Scope == store.ScopeIntrinsic && v.Type == store.TypeInt && !c.Multi():
		dst.Ints = append(dst.Ints, v.Int())
	case codes == nil:
		dst.Values = append(dst.Values, v)
	case v.Type == store.TypeAbsent:
		dst.Codes = append(dst.Codes, store.NoCode)
	default:
		code, ok := codes[v]
		if !ok {
			code = uint32(len(dst.Dict)) //nolint:gosec // At most the entries of a granule.
			codes[v] = code
			dst.Dict = append(dst.Dict, v)
		}
		dst.Codes = append(dst.Codes, code)
	}
}

// TraceRows appends the rows of the trace.
func (p *Part) TraceRows(ctx context.Context, id spanid.TraceID, dst []uint32) ([]uint32, error) {
	if err := ctx.Err(); err != nil {
		return dst, fmt.Errorf("rows of trace %s: %w", id, err)
	}
	for i := range p.rows.Spans {
		if p.rows.Spans[i].TraceID == id {
			dst = append(dst, uint32(i)) //nolint:gosec // A row.
		}
	}
	return dst, nil
}

// Spans appends whole spans.
func (p *Part) Spans(ctx context.Context, rows []uint32, dst *store.Batch) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("read %d spans: %w", len(rows), err)
	}
	for _, r := range rows {
		if int64(r) >= int64(p.info.Rows) {
			return fmt.Errorf("%w: row %d of %d in %s", store.ErrInvalid, r, p.info.Rows, p.info.ID)
		}
	}
	appendRows(dst, &p.rows, len(rows), func(i int) int { return int(rows[i]) })
	return nil
}

// topValues is how many values Attributes lists per column and type.
const topValues = 100

// Attributes lists the columns by scope, name and type. Rows and counts are exact.
func (p *Part) Attributes(ctx context.Context) ([]store.AttributeInfo, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list attributes of %s: %w", p.info.ID, err)
	}
	type line struct {
		column store.Column
		typ    store.ValueType
	}
	counts := map[line]map[store.Value]int{}
	for i := range p.rows.Spans {
		for _, c := range columnsOf(&p.rows, i) {
			for _, v := range p.values(i, c) {
				l := line{c, v.Type}
				if counts[l] == nil {
					counts[l] = map[store.Value]int{}
				}
				counts[l][v]++
			}
		}
	}
	out := make([]store.AttributeInfo, 0, len(counts))
	for l, values := range counts {
		info := store.AttributeInfo{Column: l.column, Type: l.typ}
		for v, n := range values {
			info.Rows += n
			info.Top = append(info.Top, store.ValueCount{Value: v, Count: n})
		}
		slices.SortFunc(info.Top, func(a, b store.ValueCount) int {
			return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Value.Num, b.Value.Num), cmp.Compare(a.Value.Str, b.Value.Str))
		})
		info.Complete = len(info.Top) <= topValues
		info.Top = info.Top[:min(len(info.Top), topValues)]
		out = append(out, info)
	}
	slices.SortFunc(out, func(a, b store.AttributeInfo) int {
		return cmp.Or(cmp.Compare(a.Column.Scope, b.Column.Scope), cmp.Compare(a.Column.Name, b.Column.Name), cmp.Compare(a.Type, b.Type))
	})
	return out, nil
}

// columnsOf returns the attribute columns in which a row has a value, each once.
func columnsOf(b *store.Batch, row int) []store.Column {
	s := &b.Spans[row]
	seen := map[store.Column]bool{}
	var out []store.Column
	add := func(scope store.ColumnScope, attrs []store.Attr) {
		for i := range attrs {
			if c := (store.Column{Scope: scope, Name: attrs[i].Key}); !seen[c] {
				seen[c] = true
				out = append(out, c)
			}
		}
	}
	add(store.ScopeSpan, s.Attrs)
	add(store.ScopeResource, b.Resources[s.Resource].Attrs)
	add(store.ScopeInstrumentation, b.Scopes[s.Scope].Attrs)
	for i := range s.Events {
		add(store.ScopeEvent, s.Events[i].Attrs)
	}
	for i := range s.Links {
		add(store.ScopeLink, s.Links[i].Attrs)
	}
	return out
}

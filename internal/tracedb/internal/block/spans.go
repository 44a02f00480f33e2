package block

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
)

// wholeRows is from how many rows of a granule on all of them are decoded, and cached for whoever reads the rest.
const wholeRows = 512

// Spans implements store.Part. Each column of a granule is read once for all rows in it.
func (b *Block) Spans(ctx context.Context, rows []uint32, dst *store.Batch) (err error) {
	defer b.contain(&err)
	for _, r := range rows {
		if int64(r) >= int64(b.meta.Rows) {
			return fmt.Errorf("%w: row %d of %d in block %s", store.ErrInvalid, r, b.meta.Rows, b.meta.ID)
		}
	}
	refs, err := b.resources()
	if err != nil {
		return err
	}
	at := &assembler{refs: refs, dst: dst, resources: make(map[int]int32), scopes: make(map[int]int32)}
	start := len(dst.Spans)
	dst.Spans = slices.Grow(dst.Spans, len(rows))[:start+len(rows)]
	defer func() {
		if err != nil {
			clear(dst.Spans[start:])
			dst.Spans = dst.Spans[:start]
		}
	}()
	order := ascending(rows)
	for len(order) > 0 {
		n := 1
		for n < len(order) && order[n].row/store.GranuleRows == order[0].row/store.GranuleRows {
			n++
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("read %d spans of block %s: %w", len(rows), b.meta.ID, err)
		}
		if err := b.spansOf(order[:n], at, dst.Spans[start:]); err != nil {
			return err
		}
		order = order[n:]
	}
	return nil
}

// wanted is a row of the block and its place in the answer.
type wanted struct {
	row   uint32
	place int
}

// ascending sorts rows, which mostly are sorted.
func ascending(rows []uint32) []wanted {
	out := make([]wanted, len(rows))
	for i, r := range rows {
		out[i] = wanted{r, i}
	}
	if !slices.IsSorted(rows) {
		slices.SortFunc(out, func(a, b wanted) int { return cmp.Compare(a.row, b.row) })
	}
	return out
}

// spansOf reads rows of one granule, which ascend.
func (b *Block) spansOf(rows []wanted, a *assembler, out []store.Span) error {
	g, err := b.granule(int(rows[0].row / store.GranuleRows))
	if err != nil {
		return err
	}
	part := g.stretch()
	part.keep = b.keep(g)
	if len(rows) < wholeRows {
		part.want = make([]uint16, 0, len(rows))
		for _, r := range rows {
			part.want = append(part.want, uint16(r.row%store.GranuleRows)) //nolint:gosec // a row of a granule
		}
		part.want = slices.Compact(part.want)
	}
	r, err := g.spanReader(part)
	if err != nil {
		return err
	}
	for _, w := range rows {
		k, ok := part.find(int(w.row % store.GranuleRows))
		if !ok {
			return b.corrupt(fileSpans, fmt.Errorf("granule %d has no row %d", g.num, w.row%store.GranuleRows))
		}
		if err := r.read(k, a, &out[w.place]); err != nil {
			return err
		}
	}
	return nil
}

// soon is within how many reads of rows of some granule another read of the same one makes it worth keeping. So many
// granules fit into the cache.
const soon = 32

// keep decides whether a granule of which rows are wanted is decoded as a whole for the cache. That takes several times
// longer than picking a few rows, and pays when others of it are wanted soon.
func (b *Block) keep(g *granule) bool {
	key := CacheKey{Block: b.id, Kind: cacheTouched, Granule: int32(g.num)} //nolint:gosec // small
	now := b.reader.picks.Add(1)
	last, ok := b.reader.Cache.Get(key)
	b.reader.Cache.Put(key, now, 128)
	return ok && now-last.(uint64) <= soon //nolint:forcetypeassert // we put it there
}

// assembler adds spans to a batch with the resources and scopes that they use.
type assembler struct {
	refs              *resources
	dst               *store.Batch
	resources, scopes map[int]int32
}

func (a *assembler) resource(id int) (int32, bool) {
	if i, ok := a.resources[id]; ok {
		return i, true
	}
	if id < 0 || id >= len(a.refs.resources) {
		return 0, false
	}
	i := int32(len(a.dst.Resources)) //nolint:gosec // at most one per span
	a.resources[id] = i
	a.dst.Resources = append(a.dst.Resources, a.refs.resources[id])
	return i, true
}

func (a *assembler) scope(id int) (int32, bool) {
	if i, ok := a.scopes[id]; ok {
		return i, true
	}
	if id < 0 || id >= len(a.refs.scopes) {
		return 0, false
	}
	i := int32(len(a.dst.Scopes)) //nolint:gosec // at most one per span
	a.scopes[id] = i
	a.dst.Scopes = append(a.dst.Scopes, a.refs.scopes[id])
	return i, true
}

// spanReader reads whole spans of one granule. Rows are counted by their place in its stretch.
type spanReader struct {
	g       *granule
	part    *stretch
	fixed   [spanColumns]*column.Values
	attrs   *rowAttrs
	parents []string
	events  *childReader
	links   *childReader
}

// spanFixed are the fixed columns that spans are made of.
var spanFixed = func() []int {
	cols := firstColumns(spanColumns)
	return slices.DeleteFunc(cols, func(col int) bool {
		return col == colService || col == colEvents || col == colLinks || col == colNestedLeft || col == colNestedRight
	})
}()

func (g *granule) spanReader(part *stretch) (*spanReader, error) {
	r := &spanReader{g: g, part: part}
	fixed, attrs, err := part.read(spanFixed)
	if err != nil {
		return nil, err
	}
	r.attrs = attrs
	for i, col := range spanFixed {
		r.fixed[col] = fixed[i]
	}
	if r.parents, err = g.parentsOf(part, r.fixed[colSpanID], r.fixed[colParentRow], r.fixed[colParentID]); err != nil {
		return nil, err
	}
	if r.events, err = g.childReader(fileEvents, part); err != nil {
		return nil, err
	}
	r.links, err = g.childReader(fileLinks, part)
	return r, err
}

// end returns when the k-th span ended.
func (r *spanReader) end(k int) uint64 {
	if i := r.fixed[colEnd].Index(k); i >= 0 {
		return r.fixed[colEnd].Num(i)
	}
	return r.fixed[colStart].Num(k) + r.fixed[colDuration].Num(k)
}

func (r *spanReader) read(k int, a *assembler, s *store.Span) error {
	f := &r.fixed
	*s = store.Span{
		TraceID: spanid.TraceID([]byte(f[colTraceID].Str(k))), SpanID: spanid.SpanID([]byte(f[colSpanID].Str(k))),
		StartNano: f[colStart].Num(k), EndNano: r.end(k),
		Kind:       int32(f[colKind].Num(k)),   //nolint:gosec // it was one
		StatusCode: int32(f[colStatus].Num(k)), //nolint:gosec // it was one
		Flags:      uint32(f[colFlags].Num(k)), //nolint:gosec // it was one
		Name:       f[colName].Str(k), TraceState: f[colTraceState].Str(k), StatusMessage: f[colStatusMessage].Str(k),
		DroppedAttrs:  uint32(f[colDroppedAttrs].Num(k)),  //nolint:gosec // it was one
		DroppedEvents: uint32(f[colDroppedEvents].Num(k)), //nolint:gosec // it was one
		DroppedLinks:  uint32(f[colDroppedLinks].Num(k)),  //nolint:gosec // it was one
	}
	if id := r.parents[k]; id != "" {
		s.ParentID = spanid.SpanID([]byte(id))
	}
	row := r.g.row + r.part.row(k)
	var ok bool
	if s.Resource, ok = a.resource(int(f[colResource].Num(k)) + r.g.meta.ResourceBase); !ok { //nolint:gosec // checked
		return r.g.b.corrupt(fileSpans, fmt.Errorf("row %d refers to resource %d", row, f[colResource].Num(k)))
	}
	if s.Scope, ok = a.scope(int(f[colScope].Num(k)) + r.g.meta.ScopeBase); !ok { //nolint:gosec // checked
		return r.g.b.corrupt(fileSpans, fmt.Errorf("row %d refers to scope %d", row, f[colScope].Num(k)))
	}
	var err error
	if s.Attrs, err = r.attrs.of(k); err != nil {
		return err
	}
	if err := r.readEvents(k, s); err != nil {
		return err
	}
	return r.readLinks(k, s)
}

func (r *spanReader) readEvents(k int, s *store.Span) error {
	for c := r.events.offsets[k]; c < r.events.offsets[k+1]; c++ {
		f, attrs, at := r.events.at(c)
		e := store.Event{
			TimeNano: s.StartNano + f[colEventOffset].Num(at), Name: f[colEventName].Str(at),
			DroppedAttrs: uint32(f[colEventDropped].Num(at)), //nolint:gosec // it was one
		}
		var err error
		if e.Attrs, err = attrs.of(at); err != nil {
			return err
		}
		s.Events = append(s.Events, e)
	}
	return nil
}

func (r *spanReader) readLinks(k int, s *store.Span) error {
	for c := r.links.offsets[k]; c < r.links.offsets[k+1]; c++ {
		f, attrs, at := r.links.at(c)
		l := store.Link{
			TraceID: spanid.TraceID([]byte(f[colLinkTraceID].Str(at))), SpanID: spanid.SpanID([]byte(f[colLinkSpanID].Str(at))),
			TraceState:   f[colLinkState].Str(at),
			Flags:        uint32(f[colLinkFlags].Num(at)),   //nolint:gosec // it was one
			DroppedAttrs: uint32(f[colLinkDropped].Num(at)), //nolint:gosec // it was one
		}
		var err error
		if l.Attrs, err = attrs.of(at); err != nil {
			return err
		}
		s.Links = append(s.Links, l)
	}
	return nil
}

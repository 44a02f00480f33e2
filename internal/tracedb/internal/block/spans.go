package block

import (
	"context"
	"fmt"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
)

// Spans implements store.Part. Each column of a granule is decoded once for all rows in it.
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
	readers := make(map[int]*spanReader)
	for _, r := range rows {
		n := int(r / store.GranuleRows)
		sr := readers[n]
		if sr == nil {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("read %d spans of block %s: %w", len(rows), b.meta.ID, err)
			}
			// A long list of rows in order needs one granule at a time.
			clear(readers)
			if sr, err = b.spanReader(n); err != nil {
				return err
			}
			readers[n] = sr
		}
		if err := sr.read(int(r%store.GranuleRows), at); err != nil {
			return err
		}
	}
	return nil
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

// spanReader reads whole spans of one granule.
type spanReader struct {
	g       *granule
	fixed   [spanColumns]*column.Values
	attrs   *rowAttrs
	parents *parents
	end     func(row int) uint64
	events  *childReader
	links   *childReader
}

// childReader reads whole events or links of a granule.
type childReader struct {
	*children
	fixed [][]*column.Values // per piece
	attrs []*rowAttrs        // per piece
}

func (b *Block) spanReader(n int) (*spanReader, error) {
	g, err := b.granule(n)
	if err != nil {
		return nil, err
	}
	r := &spanReader{g: g}
	for col := range r.fixed {
		if col == colService || col == colNestedLeft || col == colNestedRight {
			continue
		}
		if r.fixed[col], err = g.column(col); err != nil {
			return nil, err
		}
	}
	if r.attrs, err = b.rowAttrs(g.spans, g.group, g.first, g.rows); err != nil {
		return nil, err
	}
	if r.parents, err = g.parents(); err != nil {
		return nil, err
	}
	if r.end, err = g.endTimes(); err != nil {
		return nil, err
	}
	if r.events, err = g.childReader(fileEvents, colEventDropped+1); err != nil {
		return nil, err
	}
	r.links, err = g.childReader(fileLinks, colLinkDropped+1)
	return r, err
}

func (g *granule) childReader(file, columns int) (*childReader, error) {
	ch, err := g.children(file)
	if err != nil {
		return nil, err
	}
	r := &childReader{children: ch}
	for _, p := range ch.pieces {
		fixed := make([]*column.Values, columns)
		for col := range fixed {
			if fixed[col], err = g.b.values(ch.t, ch.group, col, p.first, p.rows); err != nil {
				return nil, err
			}
		}
		attrs, err := g.b.rowAttrs(ch.t, ch.group, p.first, p.rows)
		if err != nil {
			return nil, err
		}
		r.fixed, r.attrs = append(r.fixed, fixed), append(r.attrs, attrs)
	}
	return r, nil
}

// at returns the piece of a child and its row there.
func (r *childReader) at(child uint32) (fixed []*column.Values, attrs *rowAttrs, row int) {
	p := child / store.GranuleRows
	return r.fixed[p], r.attrs[p], int(child % store.GranuleRows)
}

func (r *spanReader) read(row int, a *assembler) error {
	f := &r.fixed
	s := store.Span{
		TraceID: spanid.TraceID([]byte(f[colTraceID].Str(row))), SpanID: spanid.SpanID([]byte(f[colSpanID].Str(row))),
		StartNano: f[colStart].Num(row), EndNano: r.end(row),
		Kind:       int32(f[colKind].Num(row)),   //nolint:gosec // it was one
		StatusCode: int32(f[colStatus].Num(row)), //nolint:gosec // it was one
		Flags:      uint32(f[colFlags].Num(row)), //nolint:gosec // it was one
		Name:       f[colName].Str(row), TraceState: f[colTraceState].Str(row), StatusMessage: f[colStatusMessage].Str(row),
		DroppedAttrs:  uint32(f[colDroppedAttrs].Num(row)),  //nolint:gosec // it was one
		DroppedEvents: uint32(f[colDroppedEvents].Num(row)), //nolint:gosec // it was one
		DroppedLinks:  uint32(f[colDroppedLinks].Num(row)),  //nolint:gosec // it was one
	}
	parent, err := r.parents.id(row)
	if err != nil {
		return err
	}
	if parent != "" {
		s.ParentID = spanid.SpanID([]byte(parent))
	}
	var ok bool
	if s.Resource, ok = a.resource(int(f[colResource].Num(row)) + r.g.meta.ResourceBase); !ok { //nolint:gosec // checked
		return r.g.b.corrupt(fileSpans, fmt.Errorf("row %d refers to resource %d", r.g.row+row, f[colResource].Num(row)))
	}
	if s.Scope, ok = a.scope(int(f[colScope].Num(row)) + r.g.meta.ScopeBase); !ok { //nolint:gosec // checked
		return r.g.b.corrupt(fileSpans, fmt.Errorf("row %d refers to scope %d", r.g.row+row, f[colScope].Num(row)))
	}
	if s.Attrs, err = r.attrs.of(row); err != nil {
		return err
	}
	if err := r.readEvents(row, &s); err != nil {
		return err
	}
	if err := r.readLinks(row, &s); err != nil {
		return err
	}
	a.dst.Spans = append(a.dst.Spans, s)
	return nil
}

func (r *spanReader) readEvents(row int, s *store.Span) error {
	for c := r.events.offsets[row]; c < r.events.offsets[row+1]; c++ {
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

func (r *spanReader) readLinks(row int, s *store.Span) error {
	for c := r.links.offsets[row]; c < r.links.offsets[row+1]; c++ {
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

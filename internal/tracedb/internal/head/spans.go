package head

import (
	"context"
	"fmt"

	"github.com/bramble-tracing/bramble/internal/store"
)

// Spans appends the rows as whole spans, with their resources and scopes, to dst. It is quickest when rows ascend.
func (p *Part) Spans(ctx context.Context, rows []uint32, dst *store.Batch) error {
	return p.Reader().Spans(ctx, rows, dst) // What its memory holds belongs to dst.
}

// Reader reads many spans of a part, some at a time, always into the same memory. It belongs to one goroutine.
type Reader struct {
	part                 *Part
	spans, events, links gathering
	eventsOf             []store.Event
	linksOf              []store.Link
}

// Reader returns a reader of the part.
func (p *Part) Reader() *Reader { return &Reader{part: p} }

// Spans is Part.Spans, but the attributes, events and links of what it appends are valid until the next call only.
func (r *Reader) Spans(ctx context.Context, rows []uint32, dst *store.Batch) error {
	p := r.part
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("read %d spans of %s: %w", len(rows), p.h.id, err)
	}
	for _, row := range rows {
		if row >= p.s.rows {
			return fmt.Errorf("row %d of %s, which has %d: %w", row, p.h.id, p.s.rows, store.ErrInvalid)
		}
	}
	from := len(dst.Spans)
	resources, scopes := map[uint32]int32{}, map[uint32]int32{}
	for _, row := range rows {
		s := p.fixedFields(int(row))
		s.Resource = addResource(&p.h.resources, p.h.resource.at(int(row)), resources, dst)
		s.Scope = addScope(&p.h.scopes, p.h.scope.at(int(row)), scopes, dst)
		dst.Spans = append(dst.Spans, s)
	}
	spans := dst.Spans[from:]
	if err := p.sparseFields(ctx, rows, spans); err != nil {
		return err
	}
	attrs, err := r.spans.read(ctx, &p.h.attrs, rows)
	if err != nil {
		return err
	}
	for i := range spans {
		spans[i].Attrs = attrs[i]
	}
	if err := r.readEvents(ctx, rows, spans); err != nil {
		return err
	}
	return r.readLinks(ctx, rows, spans)
}

// fixedFields reads what the dense columns know.
func (p *Part) fixedFields(r int) store.Span {
	h := p.h
	id := h.ids.at(r)
	return store.Span{
		TraceID: id.trace, SpanID: id.span, ParentID: id.parent, StartNano: h.start.at(r), EndNano: h.end.at(r),
		Kind: h.kind.at(r), StatusCode: h.status.at(r), Flags: h.flags.at(r), Name: h.names.at(h.name.at(r)),
	}
}

func (p *Part) sparseFields(ctx context.Context, rows []uint32, spans []store.Span) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("read %d spans of %s: %w", len(rows), p.h.id, err)
	}
	sparse(p.h.traceState, rows, func(i int, v store.Value) { spans[i].TraceState = v.Str })
	sparse(p.h.statusMessage, rows, func(i int, v store.Value) { spans[i].StatusMessage = v.Str })
	sparse(p.h.dropped[0], rows, func(i int, v store.Value) { spans[i].DroppedAttrs = uint32(v.Num) })
	sparse(p.h.dropped[1], rows, func(i int, v store.Value) { spans[i].DroppedEvents = uint32(v.Num) })
	sparse(p.h.dropped[2], rows, func(i int, v store.Value) { spans[i].DroppedLinks = uint32(v.Num) })
	return nil
}

// sparse calls set for those rows that have a value in the column.
func sparse(c *column, rows []uint32, set func(i int, v store.Value)) {
	cur := c.cursor()
	if cur.n == 0 {
		return
	}
	for i, r := range rows {
		if at, ok := cur.find(r); ok {
			set(i, c.value(at))
		}
	}
}

func addResource(t *refTable, ref uint32, seen map[uint32]int32, dst *store.Batch) int32 {
	if i, ok := seen[ref]; ok {
		return i
	}
	i := int32(len(dst.Resources))
	seen[ref] = i
	e := t.at(ref)
	dst.Resources = append(dst.Resources, store.Resource{
		Attrs: e.attrs, DroppedAttrs: e.dropped, SchemaURL: e.schemaURL, EntityRefs: e.entityRefs,
	})
	return i
}

func addScope(t *refTable, ref uint32, seen map[uint32]int32, dst *store.Batch) int32 {
	if i, ok := seen[ref]; ok {
		return i
	}
	i := int32(len(dst.Scopes))
	seen[ref] = i
	e := t.at(ref)
	dst.Scopes = append(dst.Scopes, store.Scope{
		Name: e.name, Version: e.version, Attrs: e.attrs, DroppedAttrs: e.dropped, SchemaURL: e.schemaURL,
	})
	return i
}

// eachExtra calls f for the overflow entries of the rows and returns their number.
func (t *attrTable) eachExtra(rows []uint32, f func(i int, e *extra)) (n int) {
	if t.extras.Load() == 0 {
		return 0
	}
	for i, r := range rows {
		list, a, b := t.extraRange(r, r+1)
		for ; a < b; a++ {
			f(i, &list[a>>chunkShift][a&chunkMask])
			n++
		}
	}
	return n
}

// owned lists the events or links of the rows: their positions, and where those of each row begin.
func owned(owners *chunks[uint32], n uint32, rows []uint32) (list []uint32, offsets []int) {
	offsets = make([]int, len(rows)+1)
	if n == 0 {
		return nil, offsets
	}
	for i, r := range rows {
		a, b := ownedBy(owners, n, r, r+1)
		for ; a < b; a++ {
			list = append(list, a)
		}
		offsets[i+1] = len(list)
	}
	return list, offsets
}

func (r *Reader) readEvents(ctx context.Context, rows []uint32, spans []store.Span) error {
	p := r.part
	t := &p.h.events
	list, offsets := owned(&t.row, p.s.events, rows)
	if len(list) == 0 {
		return nil
	}
	attrs, err := r.events.read(ctx, &t.attrs, list)
	if err != nil {
		return err
	}
	r.eventsOf = resize(r.eventsOf, len(list))
	events := r.eventsOf
	for i, e := range list {
		events[i] = store.Event{
			TimeNano: t.time.at(int(e)), Name: t.names.at(t.name.at(int(e))), Attrs: attrs[i],
		}
	}
	sparse(t.dropped, list, func(i int, v store.Value) { events[i].DroppedAttrs = uint32(v.Num) })
	for i := range spans {
		if a, b := offsets[i], offsets[i+1]; a < b {
			spans[i].Events = events[a:b:b]
		}
	}
	return nil
}

func (r *Reader) readLinks(ctx context.Context, rows []uint32, spans []store.Span) error {
	p := r.part
	t := &p.h.links
	list, offsets := owned(&t.row, p.s.links, rows)
	if len(list) == 0 {
		return nil
	}
	attrs, err := r.links.read(ctx, &t.attrs, list)
	if err != nil {
		return err
	}
	r.linksOf = resize(r.linksOf, len(list))
	links := r.linksOf
	for i, l := range list {
		links[i] = store.Link{TraceID: t.trace.at(int(l)), SpanID: t.span.at(int(l)), Attrs: attrs[i]}
	}
	sparse(t.traceState, list, func(i int, v store.Value) { links[i].TraceState = v.Str })
	sparse(t.flags, list, func(i int, v store.Value) { links[i].Flags = uint32(v.Num) })
	sparse(t.droppedAttrs, list, func(i int, v store.Value) { links[i].DroppedAttrs = uint32(v.Num) })
	for i := range spans {
		if a, b := offsets[i], offsets[i+1]; a < b {
			spans[i].Links = links[a:b:b]
		}
	}
	return nil
}

package head

import "github.com/bramble-tracing/bramble/internal/store"

// internRefs finds the numbers of the batch's resources and scopes and keeps them in refs. The caller holds mu.
func (h *Head) internRefs(b *store.Batch) {
	h.refs[0], h.refs[1] = h.refs[0][:0], h.refs[1][:0]
	for i := range b.Resources {
		h.refs[0] = append(h.refs[0], h.resources.resource(&b.Resources[i]))
	}
	for i := range b.Scopes {
		h.refs[1] = append(h.refs[1], h.scopes.scope(&b.Scopes[i]))
	}
}

// appendSpan writes one span to the columns at row. The caller holds mu and has validated the span.
func (h *Head) appendSpan(row uint32, s *store.Span) {
	h.ids.push(ids{trace: s.TraceID, span: s.SpanID, parent: s.ParentID})
	h.start.push(s.StartNano)
	h.end.push(s.EndNano)
	h.kind.push(s.Kind)
	h.status.push(s.StatusCode)
	h.flags.push(s.Flags)
	h.name.push(h.names.intern(s.Name))
	h.resource.push(h.refs[0][s.Resource])
	h.scope.push(h.refs[1][s.Scope])
	h.pushText(h.traceState, row, s.TraceState)
	h.pushText(h.statusMessage, row, s.StatusMessage)
	h.pushNumber(h.dropped[0], row, s.DroppedAttrs)
	h.pushNumber(h.dropped[1], row, s.DroppedEvents)
	h.pushNumber(h.dropped[2], row, s.DroppedLinks)
	h.attrs.add(h, row, s.Attrs)
	for i := range s.Events {
		h.appendEvent(row, &s.Events[i])
	}
	for i := range s.Links {
		h.appendLink(row, &s.Links[i])
	}
	// The index comes last and prev before it: a reader that finds the row in the index may follow its links.
	h.prev.push(h.traces.last(s.TraceID))
	h.traces.set(s.TraceID, row)
}

func (h *Head) appendEvent(row uint32, e *store.Event) {
	t := &h.events
	i := uint32(t.row.n)
	t.row.push(row)
	t.time.push(e.TimeNano)
	t.name.push(t.names.intern(e.Name))
	h.pushNumber(t.dropped, i, e.DroppedAttrs)
	t.attrs.add(h, i, e.Attrs)
}

func (h *Head) appendLink(row uint32, l *store.Link) {
	t := &h.links
	i := uint32(t.row.n)
	t.row.push(row)
	t.trace.push(l.TraceID)
	t.span.push(l.SpanID)
	h.pushText(t.traceState, i, l.TraceState)
	h.pushNumber(t.flags, i, l.Flags)
	h.pushNumber(t.droppedAttrs, i, l.DroppedAttrs)
	t.attrs.add(h, i, l.Attrs)
}

// pushText appends s to a sparse column unless it is empty.
func (h *Head) pushText(c *column, row uint32, s string) {
	if s != "" {
		h.push(c, row, store.Value{Type: store.TypeString, Str: s})
	}
}

// pushNumber appends n to a sparse column unless it is zero.
func (h *Head) pushNumber(c *column, row, n uint32) {
	if n != 0 {
		h.push(c, row, store.Value{Type: store.TypeInt, Num: uint64(n)})
	}
}

func (h *Head) push(c *column, row uint32, v store.Value) {
	c.push(row, &v)
	if !c.dirty {
		c.dirty = true
		h.dirty = append(h.dirty, c)
	}
}

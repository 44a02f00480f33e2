package block

import "github.com/bramble-tracing/bramble/internal/store"

// addSpan adds the span's row without going to the next granule.
func (w *Writer) addSpan(s *store.Span, resource, scope int32) {
	t, r := w.spans, w.spans.row
	f := t.fixed
	f[colTraceID].AddBytes(r, s.TraceID[:])
	f[colSpanID].AddBytes(r, s.SpanID[:])
	f[colStart].AddNum(r, s.StartNano)
	f[colDuration].AddNum(r, s.DurationNano())
	if s.EndNano < s.StartNano {
		f[colEnd].AddNum(r, s.EndNano)
	}
	f[colName].AddText(r, s.Name)
	f[colKind].AddNum(r, uint64(int64(s.Kind)))         //nolint:gosec // the bits
	f[colStatus].AddNum(r, uint64(int64(s.StatusCode))) //nolint:gosec // the bits
	f[colStatusMessage].AddText(r, s.StatusMessage)
	f[colTraceState].AddText(r, s.TraceState)
	f[colFlags].AddNum(r, uint64(s.Flags))
	f[colDroppedAttrs].AddNum(r, uint64(s.DroppedAttrs))
	f[colDroppedEvents].AddNum(r, uint64(s.DroppedEvents))
	f[colDroppedLinks].AddNum(r, uint64(s.DroppedLinks))
	f[colResource].AddNum(r, uint64(resource)) //nolint:gosec // not negative
	f[colScope].AddNum(r, uint64(scope))       //nolint:gosec // not negative
	if name, ok := w.tables.service(resource); ok {
		f[colService].AddText(r, name)
	}
	f[colEvents].AddNum(r, uint64(len(s.Events)))
	f[colLinks].AddNum(r, uint64(len(s.Links)))
	t.addAttrs(store.ScopeSpan, s.Attrs)
	row := uint64(len(t.granules)*store.GranuleRows + r) //nolint:gosec // not negative
	for i := range s.Events {
		w.addEvent(row, s, &s.Events[i])
	}
	for i := range s.Links {
		w.addLink(row, &s.Links[i])
	}
	t.row++
}

func (w *Writer) addEvent(row uint64, s *store.Span, e *store.Event) {
	t, r := w.events, w.events.row
	t.fixed[colEventRow].AddNum(r, row)
	t.fixed[colEventOffset].AddNum(r, e.TimeNano-s.StartNano)
	t.fixed[colEventName].AddText(r, e.Name)
	t.fixed[colEventDropped].AddNum(r, uint64(e.DroppedAttrs))
	t.addAttrs(store.ScopeEvent, e.Attrs)
	t.endRow()
	w.granEvents++
}

func (w *Writer) addLink(row uint64, l *store.Link) {
	t, r := w.links, w.links.row
	t.fixed[colLinkRow].AddNum(r, row)
	t.fixed[colLinkTraceID].AddBytes(r, l.TraceID[:])
	t.fixed[colLinkSpanID].AddBytes(r, l.SpanID[:])
	t.fixed[colLinkState].AddText(r, l.TraceState)
	t.fixed[colLinkFlags].AddNum(r, uint64(l.Flags))
	t.fixed[colLinkDropped].AddNum(r, uint64(l.DroppedAttrs))
	t.addAttrs(store.ScopeLink, l.Attrs)
	t.endRow()
	w.granLinks++
}

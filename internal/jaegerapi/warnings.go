package jaegerapi

import (
	"slices"

	"github.com/bramble-tracing/bramble/internal/store"
)

// warningsKey is the attribute of a span under which Jaeger 2 sends warnings in OTLP, an array of strings.
const warningsKey = "@jaeger@warnings"

// warned returns the spans of t, with the reason in a warning if some of the trace are or may be missing. It is at a root
// if there is one, because that is what is looked at first. t is not changed.
func warned(t *store.Trace) *store.Batch {
	why := t.Why()
	if why == "" || len(t.Spans) == 0 {
		return &t.Batch
	}
	at := max(0, slices.IndexFunc(t.Spans, func(s store.Span) bool { return s.ParentID.IsZero() }))
	b := t.Batch
	b.Spans = slices.Clone(b.Spans)
	texts := []store.Value{store.String(why)}
	attrs := make([]store.Attr, 0, len(b.Spans[at].Attrs)+1)
	for _, a := range b.Spans[at].Attrs {
		if a.Key != warningsKey {
			attrs = append(attrs, a)
		} else if more, err := a.Value.Elems(); err == nil && a.Value.Type == store.TypeArray { // It came from Jaeger.
			texts = append(texts, more...)
		}
	}
	attrs = append(attrs, store.Attr{Key: warningsKey, Value: store.Array(texts...)})
	b.Spans[at].Attrs = attrs
	return &b
}

package tempoapi

import (
	"fmt"

	resourcev1 "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/proto"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// errTooDeep: a damaged value; what is stored is never that deep.
var errTooDeep = fmt.Errorf("value is nested deeper than %d", store.MaxDepth)

var (
	kindNames = []string{
		"SPAN_KIND_UNSPECIFIED", "SPAN_KIND_INTERNAL", "SPAN_KIND_SERVER", "SPAN_KIND_CLIENT", "SPAN_KIND_PRODUCER", "SPAN_KIND_CONSUMER",
	}
	codeNames = []string{"STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"}
)

// traceJSON writes the list of ResourceSpans of b as the field key: resourceSpans, or batches in v1 (T-04).
func (w *jsonWriter) traceJSON(key string, b *store.Batch) error {
	if len(b.Spans) == 0 {
		return nil
	}
	w.openField(key, '[')
	for _, rg := range group(b) {
		r := &b.Resources[rg.resource]
		w.object()
		if err := w.resource(r); err != nil {
			return err
		}
		w.openField("scopeSpans", '[')
		for _, sg := range rg.scopes {
			if err := w.scopeSpans(b, sg); err != nil {
				return err
			}
		}
		w.close(']')
		w.stringField("schemaUrl", r.SchemaURL)
		w.close('}')
	}
	w.close(']')
	return nil
}

func (w *jsonWriter) resource(r *store.Resource) error {
	w.openField("resource", '{')
	if err := w.attrs(r.Attrs); err != nil {
		return fmt.Errorf("resource: %w", err)
	}
	w.uint32Field("droppedAttributesCount", r.DroppedAttrs)
	if r.EntityRefs != "" {
		if err := w.entityRefs(r.EntityRefs); err != nil {
			return err
		}
	}
	w.close('}')
	return nil
}

// entityRefs writes what the store keeps in OTLP's encoding of Resource.entity_refs.
func (w *jsonWriter) entityRefs(packed string) error {
	var r resourcev1.Resource
	if err := proto.Unmarshal([]byte(packed), &r); err != nil {
		return fmt.Errorf("decode entity references of a resource: %w", err)
	}
	w.openField("entityRefs", '[')
	for _, e := range r.GetEntityRefs() {
		w.object()
		w.stringField("schemaUrl", e.GetSchemaUrl())
		w.stringField("type", e.GetType())
		w.strings("idKeys", e.GetIdKeys())
		w.strings("descriptionKeys", e.GetDescriptionKeys())
		w.close('}')
	}
	w.close(']')
	return nil
}

// strings writes a list unless it is empty.
func (w *jsonWriter) strings(key string, list []string) {
	if len(list) == 0 {
		return
	}
	w.openField(key, '[')
	for _, s := range list {
		w.text(s)
	}
	w.close(']')
}

func (w *jsonWriter) scopeSpans(b *store.Batch, g scopeGroup) error {
	sc := &b.Scopes[g.scope]
	w.object()
	w.openField("scope", '{')
	w.stringField("name", sc.Name)
	w.stringField("version", sc.Version)
	if err := w.attrs(sc.Attrs); err != nil {
		return fmt.Errorf("scope: %w", err)
	}
	w.uint32Field("droppedAttributesCount", sc.DroppedAttrs)
	w.close('}')
	w.openField("spans", '[')
	for _, i := range g.spans {
		if err := w.span(&b.Spans[i]); err != nil {
			return fmt.Errorf("span %s: %w", b.Spans[i].SpanID, err)
		}
	}
	w.close(']')
	w.stringField("schemaUrl", sc.SchemaURL)
	w.close('}')
	return nil
}

func (w *jsonWriter) span(s *store.Span) error {
	w.object()
	w.traceID(s.TraceID)
	w.spanID("spanId", s.SpanID)
	w.stringField("traceState", s.TraceState)
	w.spanID("parentSpanId", s.ParentID)
	w.stringField("name", s.Name)
	w.enumField("kind", s.Kind, kindNames)
	w.uint64Field("startTimeUnixNano", s.StartNano)
	w.uint64Field("endTimeUnixNano", s.EndNano)
	if err := w.attrs(s.Attrs); err != nil {
		return err
	}
	w.uint32Field("droppedAttributesCount", s.DroppedAttrs)
	if err := w.events(s.Events); err != nil {
		return err
	}
	w.uint32Field("droppedEventsCount", s.DroppedEvents)
	if err := w.links(s.Links); err != nil {
		return err
	}
	w.uint32Field("droppedLinksCount", s.DroppedLinks)
	w.openField("status", '{')
	w.stringField("message", s.StatusMessage)
	w.enumField("code", s.StatusCode, codeNames)
	w.close('}')
	w.uint32Field("flags", s.Flags)
	w.close('}')
	return nil
}

func (w *jsonWriter) events(events []store.Event) error {
	if len(events) == 0 {
		return nil
	}
	w.openField("events", '[')
	for i := range events {
		e := &events[i]
		w.object()
		w.uint64Field("timeUnixNano", e.TimeNano)
		w.stringField("name", e.Name)
		if err := w.attrs(e.Attrs); err != nil {
			return fmt.Errorf("event %d: %w", i, err)
		}
		w.uint32Field("droppedAttributesCount", e.DroppedAttrs)
		w.close('}')
	}
	w.close(']')
	return nil
}

func (w *jsonWriter) links(links []store.Link) error {
	if len(links) == 0 {
		return nil
	}
	w.openField("links", '[')
	for i := range links {
		l := &links[i]
		w.object()
		w.traceID(l.TraceID)
		w.spanID("spanId", l.SpanID)
		w.stringField("traceState", l.TraceState)
		if err := w.attrs(l.Attrs); err != nil {
			return fmt.Errorf("link %d: %w", i, err)
		}
		w.uint32Field("droppedAttributesCount", l.DroppedAttrs)
		w.uint32Field("flags", l.Flags)
		w.close('}')
	}
	w.close(']')
	return nil
}

// traceID writes base64 (C-23), which protobuf's JSON has for bytes. The zero id is an absent one.
func (w *jsonWriter) traceID(id spanid.TraceID) {
	if !id.IsZero() {
		w.bytesField("traceId", id[:])
	}
}

func (w *jsonWriter) spanID(key string, id spanid.SpanID) {
	if !id.IsZero() {
		w.bytesField(key, id[:])
	}
}

func (w *jsonWriter) attrs(attrs []store.Attr) error {
	if len(attrs) == 0 {
		return nil
	}
	w.openField("attributes", '[')
	for i := range attrs {
		if err := w.attr(&attrs[i], 0); err != nil {
			return fmt.Errorf("attribute %q: %w", attrs[i].Key, err)
		}
	}
	w.close(']')
	return nil
}

func (w *jsonWriter) attr(a *store.Attr, depth int) error {
	w.object()
	w.stringField("key", a.Key)
	w.key("value")
	if err := w.anyValue(a.Value, depth); err != nil {
		return err
	}
	w.close('}')
	return nil
}

// anyValue writes an AnyValue. The case that is set is written also when it holds a default (an empty string, 0).
func (w *jsonWriter) anyValue(v store.Value, depth int) error {
	if depth > store.MaxDepth {
		return errTooDeep
	}
	w.object()
	switch v.Type {
	case store.TypeAbsent, store.TypeEmpty:
	case store.TypeString:
		w.key("stringValue")
		w.b = appendJSONString(w.b, v.Str)
	case store.TypeInt:
		w.key("intValue")
		w.int64Value(v.Int())
	case store.TypeFloat:
		w.key("doubleValue")
		w.double(v.Float())
	case store.TypeBool:
		w.key("boolValue")
		w.boolean(v.Bool())
	case store.TypeBytes:
		w.key("bytesValue")
		w.b = append(w.b, '"')
		w.b = appendBase64(w.b, v.Str)
		w.b = append(w.b, '"')
	case store.TypeArray:
		if err := w.arrayValue(v, depth); err != nil {
			return err
		}
	case store.TypeMap:
		if err := w.mapValue(v, depth); err != nil {
			return err
		}
	}
	w.close('}')
	return nil
}

func (w *jsonWriter) arrayValue(v store.Value, depth int) error {
	elems, err := v.Elems()
	if err != nil {
		return err
	}
	w.openField("arrayValue", '{')
	if len(elems) > 0 {
		w.openField("values", '[')
		for _, e := range elems {
			if err := w.anyValue(e, depth+1); err != nil {
				return err
			}
		}
		w.close(']')
	}
	w.close('}')
	return nil
}

func (w *jsonWriter) mapValue(v store.Value, depth int) error {
	attrs, err := v.Attrs()
	if err != nil {
		return err
	}
	w.openField("kvlistValue", '{')
	if len(attrs) > 0 {
		w.openField("values", '[')
		for i := range attrs {
			if err := w.attr(&attrs[i], depth+1); err != nil {
				return err
			}
		}
		w.close(']')
	}
	w.close('}')
	return nil
}

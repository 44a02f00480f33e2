package tempoapi

import (
	"strconv"

	"github.com/bramble-tracing/bramble/internal/store"
)

// llmTrace is the form of a trace for language models (C-08): by service, with hex ids and flat attributes.
func llmTrace(t *store.Trace) ([]byte, error) {
	var j jsonWriter
	j.object()
	if t != nil && len(t.Spans) > 0 {
		j.stringField("traceId", t.Spans[0].TraceID.String())
	}
	j.openField("services", '[')
	if t != nil {
		b := nameResources(&t.Batch)
		for _, g := range group(b) {
			if err := j.llmService(b, g); err != nil {
				return nil, err
			}
		}
	}
	j.close(']')
	if t != nil {
		j.stringField("message", t.Why())
	}
	j.close('}')
	return j.b, nil
}

func (w *jsonWriter) llmService(b *store.Batch, g resourceGroup) error {
	attrs := b.Resources[g.resource].Attrs
	w.object()
	w.stringField("serviceName", serviceName(attrs))
	if err := w.llmAttrs("resource", attrs); err != nil {
		return err
	}
	w.openField("scopes", '[')
	for _, sg := range g.scopes {
		w.object()
		w.stringField("name", b.Scopes[sg.scope].Name)
		w.stringField("version", b.Scopes[sg.scope].Version)
		w.openField("spans", '[')
		for _, i := range sg.spans {
			if err := w.llmSpan(&b.Spans[i]); err != nil {
				return err
			}
		}
		w.close(']')
		w.close('}')
	}
	w.close(']')
	w.close('}')
	return nil
}

func serviceName(attrs []store.Attr) string {
	for i := range attrs {
		if attrs[i].Key == "service.name" && attrs[i].Value.Type == store.TypeString {
			return attrs[i].Value.Str
		}
	}
	return unknownService
}

func (w *jsonWriter) llmSpan(s *store.Span) error {
	w.object()
	w.stringField("spanId", s.SpanID.String())
	if !s.ParentID.IsZero() {
		w.stringField("parentSpanId", s.ParentID.String())
	}
	w.stringField("name", s.Name)
	w.enumField("kind", s.Kind, kindNames)
	w.uint64Field("startTimeUnixNano", s.StartNano)
	w.key("durationMs")
	w.double(float64(s.DurationNano()) / 1e6)
	w.enumField("status", s.StatusCode, codeNames)
	w.stringField("statusMessage", s.StatusMessage)
	if err := w.llmAttrs("attributes", s.Attrs); err != nil {
		return err
	}
	if len(s.Events) > 0 {
		w.openField("events", '[')
		for i := range s.Events {
			w.object()
			w.stringField("name", s.Events[i].Name)
			if err := w.llmAttrs("attributes", s.Events[i].Attrs); err != nil {
				return err
			}
			w.close('}')
		}
		w.close(']')
	}
	w.close('}')
	return nil
}

// llmAttrs writes attributes as an object with plain values. Of a key that occurs twice the first counts.
func (w *jsonWriter) llmAttrs(key string, attrs []store.Attr) error {
	if len(attrs) == 0 {
		return nil
	}
	w.openField(key, '{')
	if err := w.llmEntries(attrs, 0); err != nil {
		return err
	}
	w.close('}')
	return nil
}

func (w *jsonWriter) llmEntries(attrs []store.Attr, depth int) error {
	seen := make(map[string]bool, len(attrs))
	for i := range attrs {
		if seen[attrs[i].Key] {
			continue
		}
		seen[attrs[i].Key] = true
		w.text(attrs[i].Key)
		w.b = append(w.b, ':')
		if err := w.plainValue(attrs[i].Value, depth); err != nil {
			return err
		}
	}
	return nil
}

// plainValue writes a value as the JSON that people would write for it.
func (w *jsonWriter) plainValue(v store.Value, depth int) error {
	w.comma()
	switch v.Type {
	case store.TypeString:
		w.b = appendJSONString(w.b, v.Str)
	case store.TypeInt:
		w.b = strconv.AppendInt(w.b, v.Int(), 10)
	case store.TypeFloat:
		w.double(v.Float())
	case store.TypeBool:
		w.boolean(v.Bool())
	case store.TypeBytes:
		w.b = append(w.b, '"')
		w.b = appendBase64(w.b, v.Str)
		w.b = append(w.b, '"')
	case store.TypeArray, store.TypeMap:
		return w.plainContainer(v, depth)
	case store.TypeAbsent, store.TypeEmpty:
		w.b = append(w.b, "null"...)
	}
	return nil
}

func (w *jsonWriter) plainContainer(v store.Value, depth int) error {
	if depth >= store.MaxDepth {
		return errTooDeep
	}
	if v.Type == store.TypeMap {
		attrs, err := v.Attrs()
		if err != nil {
			return err
		}
		w.b = append(w.b, '{')
		if err := w.llmEntries(attrs, depth+1); err != nil {
			return err
		}
		w.b = append(w.b, '}')
		return nil
	}
	elems, err := v.Elems()
	if err != nil {
		return err
	}
	w.b = append(w.b, '[')
	for _, e := range elems {
		if err := w.plainValue(e, depth+1); err != nil {
			return err
		}
	}
	w.b = append(w.b, ']')
	return nil
}

package traceqltest

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// The OTLP/JSON of the recording, as far as it is used there.
type (
	otlpPush struct {
		ResourceSpans []struct {
			Resource   struct{ Attributes []otlpAttr }
			ScopeSpans []struct {
				Scope struct {
					Name, Version string
					Attributes    []otlpAttr
				}
				Spans []otlpSpan
			}
		}
	}
	otlpSpan struct {
		TraceID, SpanID, ParentSpanID, Name string
		TraceState                          string
		Kind                                int32
		StartTimeUnixNano, EndTimeUnixNano  string
		Attributes                          []otlpAttr
		Status                              struct {
			Code    int32
			Message string
		}
		Events []struct {
			Name, TimeUnixNano string
			Attributes         []otlpAttr
		}
		Links []struct {
			TraceID, SpanID string
			Attributes      []otlpAttr
		}
	}
	otlpAttr struct {
		Key   string
		Value otlpValue
	}
	otlpValue struct {
		StringValue *string
		IntValue    *json.Number
		DoubleValue *float64
		BoolValue   *bool
		BytesValue  *string
		ArrayValue  *struct{ Values []otlpValue }
		KvlistValue *struct{ Values []otlpAttr }
	}
)

func (v otlpValue) store() store.Value {
	switch {
	case v.StringValue != nil:
		return store.String(*v.StringValue)
	case v.IntValue != nil:
		n, _ := strconv.ParseInt(string(*v.IntValue), 10, 64)
		return store.Int(n)
	case v.DoubleValue != nil:
		return store.Float(*v.DoubleValue)
	case v.BoolValue != nil:
		return store.Bool(*v.BoolValue)
	case v.BytesValue != nil:
		return store.Bytes(*v.BytesValue)
	case v.ArrayValue != nil:
		var e []store.Value
		for _, x := range v.ArrayValue.Values {
			e = append(e, x.store())
		}
		return store.Array(e...)
	case v.KvlistValue != nil:
		return store.Map(attrs(v.KvlistValue.Values)...)
	}
	return store.Empty()
}

func attrs(in []otlpAttr) []store.Attr {
	out := make([]store.Attr, len(in))
	for i, a := range in {
		out[i] = store.Attr{Key: a.Key, Value: a.Value.store()}
	}
	return out
}

// at reads a time such as T0+5.
func at(s string) uint64 {
	base := int64(0)
	if rest, ok := strings.CutPrefix(s, "T0"); ok {
		base, s = t0, rest
	}
	n, _ := strconv.ParseInt(s, 10, 64)
	return uint64(base + n)
}

func spanID(s string) (id spanid.SpanID) {
	if s != "" {
		id, _ = spanid.ParseSpanID(s)
	}
	return id
}

func traceID(s string) (id spanid.TraceID) {
	if s != "" {
		id, _ = spanid.ParseTraceID(s)
	}
	return id
}

func decodePushes(t *testing.T, b []byte) []*store.Batch {
	t.Helper()
	var f struct{ Pushes []otlpPush }
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	var out []*store.Batch
	for _, p := range f.Pushes {
		batch := &store.Batch{}
		for _, rs := range p.ResourceSpans {
			resource := int32(len(batch.Resources))
			batch.Resources = append(batch.Resources, store.Resource{Attrs: attrs(rs.Resource.Attributes)})
			for _, ss := range rs.ScopeSpans {
				scope := int32(len(batch.Scopes))
				batch.Scopes = append(batch.Scopes, store.Scope{Name: ss.Scope.Name, Version: ss.Scope.Version, Attrs: attrs(ss.Scope.Attributes)})
				for _, s := range ss.Spans {
					batch.Spans = append(batch.Spans, s.store(resource, scope))
				}
			}
		}
		out = append(out, batch)
	}
	return out
}

func (s *otlpSpan) store(resource, scope int32) store.Span {
	out := store.Span{
		TraceID: traceID(s.TraceID), SpanID: spanID(s.SpanID), ParentID: spanID(s.ParentSpanID), Resource: resource, Scope: scope,
		Name: s.Name, Kind: s.Kind, StartNano: at(s.StartTimeUnixNano), EndNano: at(s.EndTimeUnixNano), TraceState: s.TraceState,
		StatusCode: s.Status.Code, StatusMessage: s.Status.Message, Attrs: attrs(s.Attributes),
	}
	for _, e := range s.Events {
		out.Events = append(out.Events, store.Event{Name: e.Name, TimeNano: at(e.TimeUnixNano), Attrs: attrs(e.Attributes)})
	}
	for _, l := range s.Links {
		out.Links = append(out.Links, store.Link{TraceID: traceID(l.TraceID), SpanID: spanID(l.SpanID), Attrs: attrs(l.Attributes)})
	}
	return out
}

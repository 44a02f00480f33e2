package conformance

import (
	"fmt"
	"strings"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

// Ids of the fixture's traces. The first begins with zeros (C-21).
const (
	cart     = "00c0ffee000000000000000000000001" // Two services, an error, an event, a link, values of all types.
	bare     = "20000000000000000000000000000002" // Its resource has no attributes (T-07).
	rootless = "30000000000000000000000000000003" // Its root was never sent (S-30).
	odd      = "40000000000000000000000000000004" // Names with special characters (V-04).
	zipkin   = "50000000000000000000000000000005" // Client and server share an id; their child was sent twice (T-08).
	quick    = "60000000000000000000000000000006" // Takes less than a millisecond (S-31).
	nameless = "70000000000000000000000000000007" // Its resource has attributes but no service.name (S-30).
	missing  = "ffffffffffffffffffffffffffffffff" // Not there.
)

// bulk is how many traces the fixture has of the service bulk, each with a span of more than bulkBytes, from 50 to 25
// minutes before its start: outside of every default window.
const (
	bulk      = 400
	bulkBytes = 8 << 10
)

// oddNames are attribute names that need quoting or escaping somewhere.
var oddNames = []string{"http/path", "with space", `quo"ted`, "per%cent", "em😀ji", "pl+us", "a/values/b", "semi;colon", "que?ry", "ha#sh"}

const beyondDouble = 9007199254740993 // Not a double.

func attr(key string, v any) *commonpb.KeyValue { return &commonpb.KeyValue{Key: key, Value: value(v)} }

func value(v any) *commonpb.AnyValue {
	switch v := v.(type) {
	case string:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: v}}
	case int:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: int64(v)}}
	case float64:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: v}}
	case bool:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: v}}
	case []byte:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_BytesValue{BytesValue: v}}
	case []string:
		a := &commonpb.ArrayValue{}
		for _, e := range v {
			a.Values = append(a.Values, value(e))
		}
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: a}}
	}
	panic(fmt.Sprintf("no such value: %T", v))
}

// resourceSpans is spans of one scope; a service of "" makes a resource without attributes.
func resourceSpans(service string, attrs []*commonpb.KeyValue, scope *commonpb.InstrumentationScope, spans ...*tracepb.Span) *tracepb.ResourceSpans {
	r := &resourcepb.Resource{Attributes: attrs}
	if service != "" {
		r.Attributes = append([]*commonpb.KeyValue{attr("service.name", service)}, attrs...)
	}
	return &tracepb.ResourceSpans{Resource: r, ScopeSpans: []*tracepb.ScopeSpans{{Scope: scope, Spans: spans}}}
}

// builder makes spans relative to a time.
type builder struct{ at time.Time }

func (b builder) span(trace, id, parent, name string, kind tracepb.Span_SpanKind, after, took time.Duration, attrs ...*commonpb.KeyValue) *tracepb.Span {
	s := &tracepb.Span{
		TraceId: unhex(trace), SpanId: unhex(id), Name: name, Kind: kind, Attributes: attrs,
		StartTimeUnixNano: uint64(b.at.Add(after).UnixNano()), EndTimeUnixNano: uint64(b.at.Add(after + took).UnixNano()),
	}
	if parent != "" {
		s.ParentSpanId = unhex(parent)
	}
	return s
}

const (
	server   = tracepb.Span_SPAN_KIND_SERVER
	client   = tracepb.Span_SPAN_KIND_CLIENT
	internal = tracepb.Span_SPAN_KIND_INTERNAL
)

// fixture returns the requests.
func fixture(at time.Time) [][]*tracepb.ResourceSpans {
	b := builder{at}
	lib := &commonpb.InstrumentationScope{Name: "lib/http", Version: "1.2.0", Attributes: []*commonpb.KeyValue{attr("zone", "a")}, DroppedAttributesCount: 2}
	root := b.span(cart, "00000000000000a1", "", "GET /cart", server, 0, 120*time.Millisecond,
		attr("http.method", "GET"), attr("http.status_code", 500), attr("ratio", 0.5), attr("cached", true), attr("labels", []string{"x", "y"}),
		attr("big", beyondDouble), attr("blob", []byte{0, 255}), attr("http.target", "/cart/1"), attr("empty", ""))
	root.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: "boom"}
	root.TraceState = "a=b"
	root.DroppedAttributesCount, root.DroppedEventsCount, root.DroppedLinksCount = 3, 4, 5
	root.Events = []*tracepb.Span_Event{{
		Name: "exception", TimeUnixNano: root.GetStartTimeUnixNano() + 1e6, DroppedAttributesCount: 6,
		Attributes: []*commonpb.KeyValue{attr("exception.message", "no bread"), attr("exception.type", "Sold<Out>"), attr("exception.stacktrace", "at a\nat b")},
	}}
	root.Links = []*tracepb.Span_Link{{TraceId: unhex(quick), SpanId: unhex("00000000000000f1"), TraceState: "c=d", Attributes: []*commonpb.KeyValue{attr("why", "retry")}}}
	query := b.span(cart, "00000000000000a2", "00000000000000a1", "SELECT", client, 5*time.Millisecond, 10*time.Millisecond,
		attr("db.system", "postgresql"), attr("db.name", "orders"), attr("http.status_code", 200))
	step := b.span(cart, "00000000000000a3", "00000000000000a1", "price", internal, 20*time.Millisecond, 1500*time.Microsecond, attr("items", 3))
	step.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_OK}
	shop := []*commonpb.KeyValue{attr("service.namespace", "canteen"), attr("k8s.pod.name", "shop-1"), attr("cluster", "c1")}

	odds := make([]*commonpb.KeyValue, len(oddNames))
	for i, n := range oddNames {
		odds[i] = attr(n, fmt.Sprintf("value %d", i))
	}
	twice := []*tracepb.ResourceSpans{resourceSpans("back", nil, nil,
		b.span(zipkin, "00000000000000c2", "00000000000000c1", "work", internal, 5*time.Second+10*time.Millisecond, 5*time.Millisecond))}
	out := [][]*tracepb.ResourceSpans{
		{resourceSpans("shop", shop, lib, root, step), resourceSpans("db", nil, nil, query)},
		{resourceSpans("", nil, nil, b.span(bare, "00000000000000b1", "", "no resource", internal, 2*time.Second, time.Millisecond))},
		{resourceSpans("orphan", nil, nil, b.span(rootless, "00000000000000b2", "00000000000000ff", "lost child", internal, 3*time.Second, 3*time.Millisecond))},
		{resourceSpans("odd", nil, nil, b.span(odd, "00000000000000b3", "", "odd names", internal, 4*time.Second, time.Millisecond, odds...))},
		{resourceSpans("front", nil, nil, b.span(zipkin, "00000000000000c1", "", "call", client, 5*time.Second, 30*time.Millisecond))},
		{resourceSpans("back", nil, nil, b.span(zipkin, "00000000000000c1", "", "serve", server, 5*time.Second+5*time.Millisecond, 20*time.Millisecond))},
		twice,
		twice,
		{resourceSpans("shop", shop, lib, b.span(quick, "00000000000000f1", "", "HEAD /", server, 6*time.Second, 300*time.Microsecond, attr("http.method", "HEAD"), attr("http.status_code", 204)))},
		{resourceSpans("", []*commonpb.KeyValue{attr("host.name", "h1")}, nil, b.span(nameless, "00000000000000d1", "", "who", internal, 7*time.Second, time.Millisecond))},
	}
	return append(out, bulkRequests(b)...)
}

func bulkRequests(b builder) [][]*tracepb.ResourceSpans {
	var out [][]*tracepb.ResourceSpans
	text := strings.Repeat("lorem ipsum ", bulkBytes/12+1)
	for i := range bulk {
		s := b.span(fmt.Sprintf("b%031x", i), fmt.Sprintf("%016x", i+1), "", "bulk", internal,
			-50*time.Minute+time.Duration(i)*25*time.Minute/bulk, time.Millisecond, attr("uid", i), attr("text", fmt.Sprint(i, text)))
		if i%50 == 0 {
			out = append(out, []*tracepb.ResourceSpans{resourceSpans("bulk", nil, nil)})
		}
		last := out[len(out)-1][0].GetScopeSpans()[0]
		last.Spans = append(last.Spans, s)
	}
	return out
}

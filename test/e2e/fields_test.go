package e2e

import (
	"bytes"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/ptrace"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/bramble-tracing/bramble/test/harness"
)

// profileOnly are the fields that OTLP defines for profiles alone: in traces a receiver ignores them.
var profileOnly = map[protoreflect.FullName]bool{
	"opentelemetry.proto.common.v1.AnyValue.string_value_strindex": true,
	"opentelemetry.proto.common.v1.KeyValue.key_strindex":          true,
}

func str(v string) *commonpb.AnyValue {
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: v}}
}

func kv(key string, v *commonpb.AnyValue) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: v}
}

// everyValue has one attribute of each type, and the values that are easily lost.
func everyValue() []*commonpb.KeyValue {
	num := func(v int64) *commonpb.AnyValue {
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: v}}
	}
	dbl := func(v float64) *commonpb.AnyValue {
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: v}}
	}
	boolean := func(v bool) *commonpb.AnyValue {
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: v}}
	}
	raw := func(v ...byte) *commonpb.AnyValue {
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_BytesValue{BytesValue: v}}
	}
	list := func(v ...*commonpb.AnyValue) *commonpb.AnyValue {
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: &commonpb.ArrayValue{Values: v}}}
	}
	dict := func(v ...*commonpb.KeyValue) *commonpb.AnyValue {
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_KvlistValue{KvlistValue: &commonpb.KeyValueList{Values: v}}}
	}
	return []*commonpb.KeyValue{
		kv("string", str("text")), kv("string.empty", str("")), kv("string.wide", str("ünïcødé 🌳\x00\n")),
		kv("string.long", str(strings.Repeat("long ", 20_000))),
		kv("bool.true", boolean(true)), kv("bool.false", boolean(false)),
		kv("int", num(42)), kv("int.zero", num(0)), kv("int.min", num(math.MinInt64)), kv("int.max", num(math.MaxInt64)),
		kv("int.beyond.double", num(1<<53+1)),
		kv("double", dbl(1.5)), kv("double.zero", dbl(0)), kv("double.minus.zero", dbl(math.Copysign(0, -1))),
		kv("double.whole", dbl(7)), kv("double.max", dbl(math.MaxFloat64)), kv("double.tiny", dbl(math.SmallestNonzeroFloat64)),
		kv("bytes", raw(0, 255, 10)), kv("bytes.empty", raw()),
		kv("array", list(str("a"), num(1), boolean(true), dbl(2.5), raw(1), list(str("b")), dict(kv("k", str("v"))))),
		kv("array.empty", list()), kv("array.strings", list(str("x"), str("y"), str("x"))),
		kv("map", dict(kv("z", num(1)), kv("a", dict(kv("deep", list(dict(kv("deeper", str("est"))))))))),
		kv("map.empty", dict()),
		kv("no.type", &commonpb.AnyValue{}),
		kv("clash", num(1)), kv("Clash", str("other key")), kv("", str("empty key")),
	}
}

// everyField returns a trace in which each field of OTLP's trace messages is set; TestSampleHasEveryField holds it to
// that.
func everyField(t *testing.T) *tracepb.TracesData {
	t.Helper()
	traceID := unhex(t, randomHex(t, 16))
	id := func() []byte { return unhex(t, randomHex(t, 8)) }
	root, child := id(), id()
	now := uint64(time.Now().UnixNano())
	span := &tracepb.Span{
		TraceId: traceID, SpanId: child, ParentSpanId: root, TraceState: "vendor=a,other=b:1", Flags: 0x301,
		Name: "GET /api/catalog/*", Kind: tracepb.Span_SPAN_KIND_SERVER,
		StartTimeUnixNano: now, EndTimeUnixNano: now + 1_234_567, Attributes: everyValue(), DroppedAttributesCount: 1,
		Events: []*tracepb.Span_Event{
			{TimeUnixNano: now + 7, Name: "exception", Attributes: everyValue(), DroppedAttributesCount: 2},
			{TimeUnixNano: now - 7, Name: "before the start"},
			{},
		},
		DroppedEventsCount: 3,
		Links: []*tracepb.Span_Link{
			{TraceId: unhex(t, randomHex(t, 16)), SpanId: id(), TraceState: "l=1", Attributes: everyValue(), DroppedAttributesCount: 4, Flags: 0x101},
			{TraceId: traceID, SpanId: root},
		},
		DroppedLinksCount: 5,
		Status:            &tracepb.Status{Message: "boom", Code: tracepb.Status_STATUS_CODE_ERROR},
	}
	bare := &tracepb.Span{TraceId: traceID, SpanId: root}
	odd := &tracepb.Span{
		TraceId: traceID, SpanId: id(), ParentSpanId: id(), Name: "kinds and codes of the future", Kind: 77, Flags: math.MaxUint32,
		StartTimeUnixNano: math.MaxUint64, EndTimeUnixNano: 1, Status: &tracepb.Status{Code: 9},
		DroppedAttributesCount: math.MaxUint32, DroppedEventsCount: math.MaxUint32, DroppedLinksCount: math.MaxUint32,
	}
	return &tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{
		{
			Resource: &resourcepb.Resource{
				Attributes: append([]*commonpb.KeyValue{kv("service.name", str("everything"))}, everyValue()...), DroppedAttributesCount: 6,
				EntityRefs: []*commonpb.EntityRef{
					{SchemaUrl: "https://example.com/entity", Type: "host", IdKeys: []string{"string", "int"}, DescriptionKeys: []string{"bool.true"}},
					{Type: "service", IdKeys: []string{"service.name"}},
				},
			},
			SchemaUrl: "https://example.com/resource",
			ScopeSpans: []*tracepb.ScopeSpans{
				{
					Scope:     &commonpb.InstrumentationScope{Name: "lib", Version: "1.2.3", Attributes: everyValue(), DroppedAttributesCount: 7},
					SchemaUrl: "https://example.com/scope",
					Spans:     []*tracepb.Span{span, odd},
				},
				{Scope: &commonpb.InstrumentationScope{Name: "lib", Version: "2"}, Spans: []*tracepb.Span{bare}},
			},
		},
		{
			Resource: &resourcepb.Resource{Attributes: []*commonpb.KeyValue{kv("service.name", str("second"))}},
			ScopeSpans: []*tracepb.ScopeSpans{{Spans: []*tracepb.Span{
				{TraceId: traceID, SpanId: id(), ParentSpanId: child, Name: "client", Kind: tracepb.Span_SPAN_KIND_CLIENT, Status: &tracepb.Status{Code: 1}},
				{TraceId: traceID, SpanId: id(), Name: "producer", Kind: tracepb.Span_SPAN_KIND_PRODUCER},
				{TraceId: traceID, SpanId: id(), Name: "consumer", Kind: tracepb.Span_SPAN_KIND_CONSUMER},
				{TraceId: traceID, SpanId: id(), Name: "internal", Kind: tracepb.Span_SPAN_KIND_INTERNAL},
			}}},
		},
	}}
}

// TestSampleHasEveryField walks the descriptors of OTLP's messages and fails when a field, also one that a newer
// version of OTLP adds, is not set in the sample. So the tests below cannot forget one.
func TestSampleHasEveryField(t *testing.T) {
	seen := map[protoreflect.FullName]bool{}
	var walk func(m protoreflect.Message)
	walk = func(m protoreflect.Message) {
		m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			seen[f.FullName()] = true
			switch {
			case f.IsList() && f.Message() != nil:
				for i := range v.List().Len() {
					walk(v.List().Get(i).Message())
				}
			case f.Message() != nil:
				walk(v.Message())
			}
			return true
		})
	}
	sample := everyField(t)
	walk(sample.ProtoReflect())

	var want func(d protoreflect.MessageDescriptor)
	visited := map[protoreflect.FullName]bool{}
	want = func(d protoreflect.MessageDescriptor) {
		if visited[d.FullName()] {
			return
		}
		visited[d.FullName()] = true
		for i := range d.Fields().Len() {
			f := d.Fields().Get(i)
			assert.True(t, seen[f.FullName()] || profileOnly[f.FullName()], "the sample does not set %s", f.FullName())
			if f.Message() != nil {
				want(f.Message())
			}
		}
	}
	want(sample.ProtoReflect().Descriptor())
	assert.Greater(t, len(visited), 8, "messages that were looked at")
}

// senders are the ways by which OTLP reaches the binary.
var senders = map[string]func(*testing.T, *harness.Bramble, *tracepb.TracesData){
	"grpc": sendGRPC,
	"http protobuf": func(t *testing.T, b *harness.Bramble, td *tracepb.TracesData) {
		t.Helper()
		raw, err := proto.Marshal(td)
		require.NoError(t, err)
		post(t, b, raw, "application/x-protobuf")
	},
	"http json": func(t *testing.T, b *harness.Bramble, td *tracepb.TracesData) {
		t.Helper()
		raw, err := proto.Marshal(td)
		require.NoError(t, err)
		post(t, b, toJSON(t, raw), "application/json")
	},
}

// toJSON turns a request in protobuf into OTLP's JSON, which has hex ids and so is not protobuf's own.
func toJSON(t *testing.T, raw []byte) []byte {
	t.Helper()
	traces, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(raw)
	require.NoError(t, err)
	text, err := (&ptrace.JSONMarshaler{}).MarshalTraces(traces)
	require.NoError(t, err)
	return text
}

func sendGRPC(t *testing.T, b *harness.Bramble, td *tracepb.TracesData) {
	t.Helper()
	client := coltracepb.NewTraceServiceClient(harness.Dial(t, b.GRPC()))
	res, err := client.Export(t.Context(), &coltracepb.ExportTraceServiceRequest{ResourceSpans: td.GetResourceSpans()})
	require.NoError(t, err)
	require.Zero(t, res.GetPartialSuccess().GetRejectedSpans())
}

func post(t *testing.T, b *harness.Bramble, body []byte, contentType string) {
	t.Helper()
	r := b.Do(http.MethodPost, b.TracesURL(), bytes.NewReader(body), "Content-Type", contentType)
	require.Equal(t, http.StatusOK, r.Status, "%s", r.Body)
}

// TestEveryFieldSurvives sends each OTLP field with values that are easily lost, by each protocol, and compares the
// answer with what was sent: at once, after SIGTERM and a start, and after SIGKILL and a start.
func TestEveryFieldSurvives(t *testing.T) {
	b := local(t)
	sent := map[string]*tracepb.TracesData{}
	for name, send := range senders {
		sent[name] = everyField(t)
		send(t, b, sent[name])
	}
	check := func(when string) {
		t.Helper()
		for name, td := range sent {
			t.Run(when+"/"+name, func(t *testing.T) {
				requireSame(t, td, b.Trace(harness.Spans(td)[0].GetTraceId()))
			})
		}
	}
	check("at once")
	b.Stop()
	b.Restart()
	check("after a stop")
	b.Kill()
	b.Restart()
	check("after a kill")
}

// TestRandomSpansSurvive does the same with messages whose fields are filled at random from the descriptors.
func TestRandomSpansSurvive(t *testing.T) {
	b := local(t)
	f := filler{rng: rand.New(rand.NewPCG(1, 2))}
	traces := map[string]*tracepb.TracesData{}
	for range 20 {
		req := &tracepb.TracesData{}
		for range 25 {
			td := f.trace(t)
			traces[string(harness.Spans(td)[0].GetTraceId())] = td
			req.ResourceSpans = append(req.ResourceSpans, td.GetResourceSpans()...)
		}
		sendGRPC(t, b, req)
	}
	for _, when := range []string{"at once", "after a kill"} {
		for id, td := range traces {
			requireSame(t, td, b.Trace([]byte(id)))
		}
		t.Logf("%s: %d random traces are as they were sent", when, len(traces))
		b.Kill()
		b.Restart()
	}
}

package e2e

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
	jaegermodel "github.com/jaegertracing/jaeger-idl/model/v1"
	"github.com/jaegertracing/jaeger-idl/proto-gen/api_v2"
	"github.com/jaegertracing/jaeger-idl/thrift-gen/agent"
	"github.com/jaegertracing/jaeger-idl/thrift-gen/jaeger"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/bramble-tracing/bramble/test/harness"
)

// jaegerTrace is a trace of three spans as a Jaeger client has it, with everything that Jaeger's model knows.
type jaegerTrace struct {
	high, low           int64
	root, child, orphan int64
	start               time.Time // whole microseconds, which is what Jaeger has
	batch               *jaeger.Batch
}

func newJaegerTrace(t *testing.T) jaegerTrace {
	t.Helper()
	num := func() int64 { return int64(binary.BigEndian.Uint64(unhex(t, randomHex(t, 8))) >> 1) }
	j := jaegerTrace{high: num(), low: num(), root: num(), child: num(), orphan: num(), start: time.Now().Truncate(time.Microsecond)}
	us := j.start.UnixMicro()
	str := func(k, v string) *jaeger.Tag { return &jaeger.Tag{Key: k, VType: jaeger.TagType_STRING, VStr: &v} }
	yes, long, dbl := true, int64(math.MinInt64), 1.5
	j.batch = &jaeger.Batch{
		Process: &jaeger.Process{ServiceName: "jaeger-client", Tags: []*jaeger.Tag{str("hostname", "box-1"), str("team", "shop")}},
		Spans: []*jaeger.Span{
			{
				TraceIdHigh: j.high, TraceIdLow: j.low, SpanId: j.root, OperationName: "GET /cart", Flags: 1, StartTime: us, Duration: 2500,
				Tags: []*jaeger.Tag{
					str("span.kind", "server"), str("http.method", "GET"),
					{Key: "error", VType: jaeger.TagType_BOOL, VBool: &yes},
					{Key: "long", VType: jaeger.TagType_LONG, VLong: &long},
					{Key: "double", VType: jaeger.TagType_DOUBLE, VDouble: &dbl},
					{Key: "binary", VType: jaeger.TagType_BINARY, VBinary: []byte{0, 255}},
				},
				Logs: []*jaeger.Log{{Timestamp: us + 7, Fields: []*jaeger.Tag{str("event", "cache miss"), str("key", "cart:7")}}},
			},
			{
				TraceIdHigh: j.high, TraceIdLow: j.low, SpanId: j.child, ParentSpanId: j.root, OperationName: "SELECT", Flags: 1,
				StartTime: us + 100, Duration: 1000, Tags: []*jaeger.Tag{str("span.kind", "client")},
				References: []*jaeger.SpanRef{
					{RefType: jaeger.SpanRefType_CHILD_OF, TraceIdHigh: j.high, TraceIdLow: j.low, SpanId: j.root},
					{RefType: jaeger.SpanRefType_FOLLOWS_FROM, TraceIdHigh: 1, TraceIdLow: 2, SpanId: 3},
				},
			},
			{TraceIdHigh: j.high, TraceIdLow: j.low, SpanId: j.orphan, ParentSpanId: 77, OperationName: "send", StartTime: us, Tags: []*jaeger.Tag{str("span.kind", "producer")}},
		},
	}
	return j
}

func (j jaegerTrace) id() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(j.high)), uint64(j.low))
}

func spanID(n int64) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(n))
}

// check compares what is stored with what Jaeger's client sent, field by field.
func (j jaegerTrace) check(t *testing.T, td *tracepb.TracesData) {
	t.Helper()
	require.Len(t, td.GetResourceSpans(), 1)
	resource := map[string]string{}
	for _, kv := range td.GetResourceSpans()[0].GetResource().GetAttributes() {
		resource[kv.GetKey()] = kv.GetValue().GetStringValue()
	}
	assert.Equal(t, map[string]string{"service.name": "jaeger-client", "host.name": "box-1", "team": "shop"}, resource)

	spans := byName(t, td)
	require.Len(t, spans, 3)
	root, child, orphan := spans["GET /cart"], spans["SELECT"], spans["send"]
	require.NotNil(t, root)
	require.NotNil(t, child)
	require.NotNil(t, orphan)

	assert.Equal(t, spanID(j.root), root.GetSpanId())
	assert.Empty(t, root.GetParentSpanId())
	assert.Equal(t, tracepb.Span_SPAN_KIND_SERVER, root.GetKind())
	assert.Equal(t, uint64(j.start.UnixNano()), root.GetStartTimeUnixNano())
	assert.Equal(t, uint64(j.start.Add(2500*time.Microsecond).UnixNano()), root.GetEndTimeUnixNano())
	assert.Equal(t, tracepb.Status_STATUS_CODE_ERROR, root.GetStatus().GetCode(), "the tag error=true")
	got := map[string]any{}
	for _, kv := range root.GetAttributes() {
		got[kv.GetKey()] = kv.GetValue().GetValue()
	}
	assert.Equal(t, map[string]any{
		"http.method": &commonpb.AnyValue_StringValue{StringValue: "GET"},
		"long":        &commonpb.AnyValue_IntValue{IntValue: math.MinInt64},
		"double":      &commonpb.AnyValue_DoubleValue{DoubleValue: 1.5},
		"binary":      &commonpb.AnyValue_BytesValue{BytesValue: []byte{0, 255}},
	}, got)
	require.Len(t, root.GetEvents(), 1)
	assert.Equal(t, "cache miss", root.GetEvents()[0].GetName())
	assert.Equal(t, uint64(j.start.Add(7*time.Microsecond).UnixNano()), root.GetEvents()[0].GetTimeUnixNano())
	require.Len(t, root.GetEvents()[0].GetAttributes(), 1)
	assert.Equal(t, "cart:7", root.GetEvents()[0].GetAttributes()[0].GetValue().GetStringValue())

	assert.Equal(t, spanID(j.child), child.GetSpanId())
	assert.Equal(t, spanID(j.root), child.GetParentSpanId())
	assert.Equal(t, tracepb.Span_SPAN_KIND_CLIENT, child.GetKind())
	assert.Equal(t, tracepb.Status_STATUS_CODE_UNSET, child.GetStatus().GetCode())
	require.Len(t, child.GetLinks(), 1, "the reference that is not the parent")
	assert.Equal(t, append(spanID(1), spanID(2)...), child.GetLinks()[0].GetTraceId())
	assert.Equal(t, spanID(3), child.GetLinks()[0].GetSpanId())

	assert.Equal(t, spanID(77), orphan.GetParentSpanId())
	assert.Equal(t, tracepb.Span_SPAN_KIND_PRODUCER, orphan.GetKind())
}

// jaegerFormat is one way in which Jaeger's clients send.
type jaegerFormat struct {
	name, listener string
	send           func(t *testing.T, addr string, j jaegerTrace)
}

func jaegerFormats() []jaegerFormat {
	return []jaegerFormat{
		{"thrift over HTTP", "thrift_http", sendThriftHTTP},
		{"compact thrift over UDP", "thrift_compact", func(t *testing.T, addr string, j jaegerTrace) {
			t.Helper()
			sendThriftUDP(t, addr, thrift.NewTCompactProtocolFactoryConf(nil), j)
		}},
		{"binary thrift over UDP", "thrift_binary", func(t *testing.T, addr string, j jaegerTrace) {
			t.Helper()
			sendThriftUDP(t, addr, thrift.NewTBinaryProtocolFactoryConf(nil), j)
		}},
		{"protobuf over gRPC", "grpc", sendJaegerGRPC},
	}
}

// sendThriftHTTP does what Jaeger's Java client does: it posts a batch in Thrift's binary protocol.
func sendThriftHTTP(t *testing.T, addr string, j jaegerTrace) {
	t.Helper()
	buf := thrift.NewTMemoryBuffer()
	require.NoError(t, j.batch.Write(t.Context(), thrift.NewTBinaryProtocolConf(buf, nil)))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/api/traces?format=jaeger.thrift", bytes.NewReader(buf.Bytes()))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/vnd.apache.thrift.binary")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, http.StatusAccepted, res.StatusCode)
}

// sendThriftUDP does what Jaeger's clients do towards an agent: one packet with a call of emitBatch.
func sendThriftUDP(t *testing.T, addr string, protocol thrift.TProtocolFactory, j jaegerTrace) {
	t.Helper()
	buf := thrift.NewTMemoryBuffer()
	require.NoError(t, agent.NewAgentClientFactory(buf, protocol).EmitBatch(t.Context(), j.batch))
	sendUDP(t, addr, buf.Bytes())
}

func sendUDP(t *testing.T, addr string, packet []byte) {
	t.Helper()
	conn, err := net.Dial("udp", addr)
	require.NoError(t, err)
	_, err = conn.Write(packet)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
}

// sendJaegerGRPC does what a Jaeger agent does towards a collector.
func sendJaegerGRPC(t *testing.T, addr string, j jaegerTrace) {
	t.Helper()
	_, err := api_v2.NewCollectorServiceClient(harness.Dial(t, addr)).PostSpans(t.Context(), &api_v2.PostSpansRequest{Batch: modelBatch(j)})
	require.NoError(t, err)
}

// modelBatch is the trace in Jaeger's protobuf.
func modelBatch(j jaegerTrace) jaegermodel.Batch {
	batch := jaegermodel.Batch{Process: &jaegermodel.Process{ServiceName: j.batch.GetProcess().GetServiceName(), Tags: modelTags(j.batch.GetProcess().GetTags())}}
	for _, s := range j.batch.GetSpans() {
		traceID := jaegermodel.NewTraceID(uint64(s.GetTraceIdHigh()), uint64(s.GetTraceIdLow()))
		m := &jaegermodel.Span{
			TraceID: traceID, SpanID: jaegermodel.NewSpanID(uint64(s.GetSpanId())), OperationName: s.GetOperationName(),
			StartTime: time.UnixMicro(s.GetStartTime()), Duration: time.Duration(s.GetDuration()) * time.Microsecond,
			Flags: jaegermodel.Flags(s.GetFlags()), Tags: modelTags(s.GetTags()),
		}
		if p := s.GetParentSpanId(); p != 0 {
			m.References = append(m.References, jaegermodel.NewChildOfRef(traceID, jaegermodel.NewSpanID(uint64(p))))
		}
		for _, r := range s.GetReferences() {
			if r.GetRefType() == jaeger.SpanRefType_FOLLOWS_FROM {
				m.References = append(m.References, jaegermodel.NewFollowsFromRef(
					jaegermodel.NewTraceID(uint64(r.GetTraceIdHigh()), uint64(r.GetTraceIdLow())), jaegermodel.NewSpanID(uint64(r.GetSpanId()))))
			}
		}
		for _, l := range s.GetLogs() {
			m.Logs = append(m.Logs, jaegermodel.Log{Timestamp: time.UnixMicro(l.GetTimestamp()), Fields: modelTags(l.GetFields())})
		}
		batch.Spans = append(batch.Spans, m)
	}
	return batch
}

func modelTags(tags []*jaeger.Tag) []jaegermodel.KeyValue {
	var out []jaegermodel.KeyValue
	for _, tag := range tags {
		switch tag.GetVType() {
		case jaeger.TagType_STRING:
			out = append(out, jaegermodel.String(tag.GetKey(), tag.GetVStr()))
		case jaeger.TagType_BOOL:
			out = append(out, jaegermodel.Bool(tag.GetKey(), tag.GetVBool()))
		case jaeger.TagType_LONG:
			out = append(out, jaegermodel.Int64(tag.GetKey(), tag.GetVLong()))
		case jaeger.TagType_DOUBLE:
			out = append(out, jaegermodel.Float64(tag.GetKey(), tag.GetVDouble()))
		case jaeger.TagType_BINARY:
			out = append(out, jaegermodel.Binary(tag.GetKey(), tag.GetVBinary()))
		}
	}
	return out
}

// TestJaeger sends a trace in each of Jaeger's formats, encoded by Jaeger's own generated code, and finds it complete.
func TestJaeger(t *testing.T) {
	b := local(t)
	for _, f := range jaegerFormats() {
		t.Run(f.name, func(t *testing.T) {
			j := newJaegerTrace(t)
			f.send(t, b.Addr("receivers::jaeger::protocols::"+f.listener), j)
			j.check(t, b.WaitTrace(j.id(), len(j.batch.GetSpans())))
		})
	}
}

// TestJaegerGarbage sends what is not Thrift, or not quite: the process lives and takes the next good batch.
func TestJaegerGarbage(t *testing.T) {
	b := local(t)
	protocols := map[string]thrift.TProtocolFactory{
		"thrift_compact": thrift.NewTCompactProtocolFactoryConf(nil), "thrift_binary": thrift.NewTBinaryProtocolFactoryConf(nil),
	}
	for listener, protocol := range protocols {
		addr := b.Addr("receivers::jaeger::protocols::" + listener)
		good := thrift.NewTMemoryBuffer()
		require.NoError(t, agent.NewAgentClientFactory(good, protocol).EmitBatch(t.Context(), newJaegerTrace(t).batch))
		for n := range 64 {
			packet := bytes.Clone(good.Bytes())
			sendUDP(t, addr, packet[:len(packet)*n/65]) // Cut short; the first one is empty.
			packet[(n*37)%len(packet)] ^= 0xff
			sendUDP(t, addr, packet) // A flipped byte.
			sendUDP(t, addr, unhex(t, randomHex(t, 1+n*20)))
		}
		// UDP may lose packets, and the damaged ones are many: send until one is taken.
		harness.Poll(t, 30*time.Second, "a good batch after damaged ones", func() error {
			j := newJaegerTrace(t)
			sendThriftUDP(t, addr, protocol, j)
			if b.Trace(j.id()) == nil {
				return errors.New("the last one is not there")
			}
			return nil
		})
	}
	http := "http://" + b.Addr("receivers::jaeger::protocols::thrift_http") + "/api/traces"
	for contentType, want := range map[string]int{
		"application/vnd.apache.thrift.binary": 400, "application/x-thrift": 400, "text/plain": 400, "": 400,
	} {
		r := b.Do("POST", http, bytes.NewReader([]byte("garbage")), "Content-Type", contentType)
		assert.Equal(t, want, r.Status, "content type %q: %s", contentType, r.Body)
	}
	assert.True(t, b.Running(), fmt.Sprint("the process must live: ", b.Log.Tail(5)))
}

// TestJaegerPoison sends, in one UDP packet each, what ends the process of contrib's receiver 0.158.0 by a panic: an
// empty packet (it reads from a buffer that was never set), and a call of the method of the agent's interface that takes
// Zipkin spans ("unsupported receiver"). Here they are counted, and the next good batch is taken.
func TestJaegerPoison(t *testing.T) {
	b := local(t)
	for listener, protocol := range map[string]thrift.TProtocolFactory{
		"thrift_compact": thrift.NewTCompactProtocolFactoryConf(nil), "thrift_binary": thrift.NewTBinaryProtocolFactoryConf(nil),
	} {
		call := thrift.NewTMemoryBuffer()
		require.NoError(t, agent.NewAgentClientFactory(call, protocol).EmitZipkinBatch(t.Context(), nil))
		addr := b.Addr("receivers::jaeger::protocols::" + listener)
		for reason, packet := range map[string][]byte{"malformed": {}, "unsupported": call.Bytes()} {
			t.Run(listener+"/"+reason, func(t *testing.T) {
				sendUDP(t, addr, packet)
				j := newJaegerTrace(t)
				sendThriftUDP(t, addr, protocol, j)
				j.check(t, b.WaitTrace(j.id(), 3))
				waitMetric(t, b, 1, "otelcol_jaeger_udp_dropped_packets", `transport="udp_`+listener+`"`, `reason="`+reason+`"`)
			})
		}
	}
	assert.True(t, b.Running())
}

// TestJaegerClaims posts, in a few bytes each, batches that claim to hold 100 million spans.
func TestJaegerClaims(t *testing.T) {
	b := local(t)
	allocated := func() float64 { return metrics(t, b).value("otelcol_process_runtime_total_alloc_bytes") }
	before := allocated()
	for _, count := range []uint32{1 << 20, 100_000_000, math.MaxInt32} {
		// A struct of Thrift's binary protocol: field 2, a list of structs.
		body := append([]byte{15, 0, 2, 12}, binary.BigEndian.AppendUint32(nil, count)...)
		for range 20 {
			r := b.Do("POST", "http://"+b.Addr("receivers::jaeger::protocols::thrift_http")+"/api/traces", bytes.NewReader(body), "Content-Type", "application/x-thrift")
			require.Equal(t, http.StatusBadRequest, r.Status, "%s", r.Body)
		}
	}
	assert.Less(t, allocated()-before, float64(256<<20), "bytes allocated for 60 requests of 8 bytes")
	assert.True(t, b.Running())
}

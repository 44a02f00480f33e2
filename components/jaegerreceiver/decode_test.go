package jaegerreceiver

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"
	"github.com/jaegertracing/jaeger-idl/model/v1"
	"github.com/jaegertracing/jaeger-idl/proto-gen/api_v2"
	"github.com/jaegertracing/jaeger-idl/thrift-gen/agent"
	"github.com/jaegertracing/jaeger-idl/thrift-gen/jaeger"
	"github.com/jaegertracing/jaeger-idl/thrift-gen/zipkincore"
	jaegertranslator "github.com/open-telemetry/opentelemetry-collector-contrib/pkg/translator/jaeger"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// protocols are those of the two listeners, by their names in the configuration.
var protocols = map[string]func(*thrift.TConfiguration) thrift.TProtocolFactory{
	"thrift_binary": binaryProtocol, "thrift_compact": compactProtocol,
}

// batch is what a client sends: one span with a tag, a log and a reference.
func batch() *jaeger.Batch {
	value := "v"
	tags := []*jaeger.Tag{{Key: "k", VType: jaeger.TagType_STRING, VStr: &value}}
	return &jaeger.Batch{
		Process: &jaeger.Process{ServiceName: "client", Tags: tags},
		Spans: []*jaeger.Span{{
			TraceIdLow: 1, TraceIdHigh: 2, SpanId: 3, ParentSpanId: 4, OperationName: "work", StartTime: 5, Duration: 6, Tags: tags,
			Logs:       []*jaeger.Log{{Timestamp: 7, Fields: tags}},
			References: []*jaeger.SpanRef{{RefType: jaeger.SpanRefType_FOLLOWS_FROM, TraceIdLow: 8, SpanId: 9}},
		}},
	}
}

// call encodes what f calls, as a client does.
func call(t testing.TB, protocol func(*thrift.TConfiguration) thrift.TProtocolFactory, f func(*agent.AgentClient) error) []byte {
	t.Helper()
	buf := thrift.NewTMemoryBuffer()
	require.NoError(t, f(agent.NewAgentClientFactory(buf, protocol(nil))))
	return buf.Bytes()
}

func emitBatch(b *jaeger.Batch) func(*agent.AgentClient) error {
	return func(c *agent.AgentClient) error { return c.EmitBatch(context.Background(), b) }
}

func emitZipkin(spans []*zipkincore.Span) func(*agent.AgentClient) error {
	return func(c *agent.AgentClient) error { return c.EmitZipkinBatch(context.Background(), spans) }
}

// message encodes a call by hand: a method's name, and what write puts into its argument struct.
func message(t testing.TB, protocol func(*thrift.TConfiguration) thrift.TProtocolFactory, method string, write func(context.Context, thrift.TProtocol) error) []byte {
	t.Helper()
	buf := thrift.NewTMemoryBuffer()
	p, ctx := protocol(nil).GetProtocol(buf), t.Context()
	require.NoError(t, errors.Join(p.WriteMessageBegin(ctx, method, thrift.ONEWAY, 1), p.WriteStructBegin(ctx, "args"),
		write(ctx, p), p.WriteFieldStop(ctx), p.WriteStructEnd(ctx), p.WriteMessageEnd(ctx), p.Flush(ctx)))
	return buf.Bytes()
}

func nothing(context.Context, thrift.TProtocol) error { return nil }

// hugeLists claims a list of n spans and has none.
func hugeLists(n int) func(context.Context, thrift.TProtocol) error {
	return func(ctx context.Context, p thrift.TProtocol) error {
		return errors.Join(p.WriteFieldBegin(ctx, "batch", thrift.STRUCT, 1), p.WriteFieldBegin(ctx, "spans", thrift.LIST, 2), p.WriteListBegin(ctx, thrift.STRUCT, n))
	}
}

// hugeBatch is field 2, a list of 100 million structs, in Thrift's binary protocol.
var hugeBatch = binary.BigEndian.AppendUint32([]byte{15, 0, 2, 12}, 100_000_000)

// posted encodes b as it is posted.
func posted(t testing.TB, b *jaeger.Batch) []byte {
	t.Helper()
	buf := thrift.NewTMemoryBuffer()
	require.NoError(t, b.Write(context.Background(), binaryProtocol(nil).GetProtocol(buf)))
	return buf.Bytes()
}

func TestDecode(t *testing.T) {
	for name, protocol := range protocols {
		t.Run(name, func(t *testing.T) {
			td, spans, err := decode(t.Context(), call(t, protocol, emitBatch(batch())), protocol)
			require.NoError(t, err)
			assert.Equal(t, 1, spans)
			want, err := jaegertranslator.ThriftToTraces(batch())
			require.NoError(t, err)
			assert.Equal(t, want, td)

			for _, tc := range []struct {
				name   string
				packet []byte
				reason dropReason
				want   string
			}{
				{"empty", nil, malformed, "empty"},
				{"zipkin without spans", call(t, protocol, emitZipkin(nil)), unsupported, "zipkin receiver"},
				{"zipkin", call(t, protocol, emitZipkin([]*zipkincore.Span{{Name: "x"}})), unsupported, "zipkin receiver"},
				{"another method", message(t, protocol, "emitNothing", nothing), unsupported, "emitNothing"},
				{"a long name", message(t, protocol, string(bytes.Repeat([]byte("ü"), 30000)), nothing), unsupported, "…"},
				{"no batch", message(t, protocol, "emitBatch", nothing), malformed, errNoBatch.Error()},
				{"a list larger than the packet", message(t, protocol, "emitBatch", hugeLists(100_000_000)), malformed, "size"},
				{"no Thrift", []byte("GET / HTTP/1.1\r\n\r\n"), malformed, ""},
				{"cut short", call(t, protocol, emitBatch(batch()))[:40], malformed, ""},
			} {
				t.Run(tc.name, func(t *testing.T) {
					_, spans, err := decode(t.Context(), tc.packet, protocol)
					var d *dropError
					require.ErrorAs(t, err, &d)
					assert.Equal(t, tc.reason, d.reason)
					require.ErrorContains(t, err, tc.want)
					assert.LessOrEqual(t, len(err.Error()), maxReason+len("…"))
					assert.Zero(t, spans)
				})
			}
		})
	}
}

// TestDecodePanic lets the protocol panic, as generated code may over what its authors did not think of.
func TestDecodePanic(t *testing.T) {
	_, _, err := decode(t.Context(), []byte{1}, func(*thrift.TConfiguration) thrift.TProtocolFactory { panic("unforeseen") })
	var d *dropError
	require.ErrorAs(t, err, &d)
	assert.Equal(t, panicked, d.reason)
	require.ErrorContains(t, err, "unforeseen")
	require.ErrorContains(t, err, "decode_test.go", "the stack says where")
}

// TestDecodeMemory decodes messages that claim to hold 100 million spans: what a few bytes cost is bounded by their
// number, not by what they claim.
func TestDecodeMemory(t *testing.T) {
	decoders := map[string]func() error{"posted": func() error { _, _, err := decodeBatch(t.Context(), hugeBatch); return err }}
	for name, protocol := range protocols {
		packet := message(t, protocol, "emitBatch", hugeLists(100_000_000))
		decoders[name] = func() error { _, _, err := decode(t.Context(), packet, protocol); return err }
	}
	for name, decode := range decoders {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 100 {
			require.Error(t, decode())
		}
		runtime.ReadMemStats(&after)
		assert.Less(t, (after.TotalAlloc-before.TotalAlloc)/100, uint64(64<<10), "%s: bytes per message", name)
	}
}

// FuzzDecode looks for packets over which decoding panics, or spans that the pipeline cannot handle.
func FuzzDecode(f *testing.F) {
	for _, protocol := range []func(*thrift.TConfiguration) thrift.TProtocolFactory{binaryProtocol, compactProtocol} {
		for _, seed := range [][]byte{
			{},
			call(f, protocol, emitBatch(batch())), call(f, protocol, emitBatch(&jaeger.Batch{Process: &jaeger.Process{}})),
			call(f, protocol, emitZipkin(nil)), call(f, protocol, emitZipkin([]*zipkincore.Span{{Name: "x"}})),
			message(f, protocol, "other", nothing), message(f, protocol, "emitBatch", nothing), message(f, protocol, "emitBatch", hugeLists(1<<30)),
		} {
			f.Add(seed)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for name, protocol := range protocols {
			td, spans, err := decode(t.Context(), data, protocol)
			if err != nil {
				var d *dropError
				require.ErrorAs(t, err, &d, name)
				require.NotEqual(t, panicked, d.reason, "%s: caught, but worth a look: %v", name, err)
				require.Zero(t, spans)
				continue
			}
			require.LessOrEqual(t, td.SpanCount(), spans, "blank spans are left out, none are made up")
			_, err = new(ptrace.ProtoMarshaler).MarshalTraces(td)
			require.NoError(t, err)
		}
	})
}

// FuzzDecodeBatch is FuzzDecode for what is posted.
func FuzzDecodeBatch(f *testing.F) {
	f.Add([]byte{})
	f.Add(posted(f, batch()))
	f.Add(hugeBatch)
	f.Fuzz(func(t *testing.T, data []byte) {
		td, spans, err := decodeBatch(t.Context(), data)
		if err != nil {
			var d *dropError
			require.ErrorAs(t, err, &d)
			require.NotEqual(t, panicked, d.reason, "caught, but worth a look: %v", err)
			return
		}
		require.LessOrEqual(t, td.SpanCount(), spans)
	})
}

// FuzzPostSpans looks for requests over gRPC that panic in contrib's receiver: its server catches none, so this would
// end the process.
func FuzzPostSpans(f *testing.F) {
	id := model.NewTraceID(1, 2)
	for _, b := range []model.Batch{
		{},
		{Process: &model.Process{ServiceName: "s"}},
		{Spans: []*model.Span{{}}},
		{Process: &model.Process{ServiceName: "s", Tags: []model.KeyValue{model.String("hostname", "h"), model.Binary("b", []byte{1})}}, Spans: []*model.Span{{
			TraceID: id, SpanID: 3, OperationName: "o", References: []model.SpanRef{model.NewChildOfRef(id, 4), model.NewFollowsFromRef(id, 5)},
			Tags:    []model.KeyValue{model.String("span.kind", "server"), model.Bool("error", true), model.Int64("http.status_code", 500), model.Float64("f", 1)},
			Logs:    []model.Log{{Fields: []model.KeyValue{model.String("event", "e")}}},
			Process: &model.Process{ServiceName: "other"}, Warnings: []string{"w"},
		}}},
	} {
		seed, err := (&api_v2.PostSpansRequest{Batch: b}).Marshal()
		require.NoError(f, err)
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var r api_v2.PostSpansRequest
		if r.Unmarshal(data) != nil {
			return
		}
		b := r.GetBatch()
		td, err := jaegertranslator.ProtoToTraces([]*model.Batch{&b})
		if err != nil {
			return
		}
		_, err = new(ptrace.ProtoMarshaler).MarshalTraces(td)
		require.NoError(t, err)
	})
}

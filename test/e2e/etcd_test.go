package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	sdkresource "go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.40.0"
	"go.opentelemetry.io/otel/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/bramble-tracing/bramble/test/harness"
)

// startEtcd runs an etcd that sends its spans to b, and returns its address.
func startEtcd(t *testing.T, b *harness.Bramble) string {
	t.Helper()
	bin := harness.Root(t, "build", "etcd")
	if _, err := os.Stat(bin); err != nil {
		if full() {
			t.Fatalf("etcd is missing: run `make build/etcd`: %v", err)
		}
		t.Skipf("etcd is missing: run `make build/etcd`: %v", err)
	}
	clients, peers := harness.FreeAddr(t), harness.FreeAddr(t)
	cmd := exec.Command(bin, "--data-dir", t.TempDir(), "--listen-client-urls", "http://"+clients, "--advertise-client-urls", "http://"+clients,
		"--listen-peer-urls", "http://"+peers, "--initial-advertise-peer-urls", "http://"+peers, "--initial-cluster", "default=http://"+peers,
		"--enable-distributed-tracing", "--distributed-tracing-address", b.GRPC(), "--distributed-tracing-sampling-rate", "1000000",
		"--distributed-tracing-service-name", "etcd", "--distributed-tracing-instance-id", "etcd-0")
	cmd.Env = append(os.Environ(), "OTEL_BSP_SCHEDULE_DELAY=100")
	log := harness.NewLog()
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // It may have ended meanwhile.
		_ = cmd.Wait()         // With the signal as an error.
		if t.Failed() {
			t.Logf("the output of etcd:\n%s", log.Tail(20))
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, log.WaitFor(ctx, "ready to serve client requests"))
	return clients
}

// TestEtcd takes the spans of a server that nobody here wrote, and that sends with the Go SDK of its choice: a client with
// a tracer of its own calls etcd, and each of its traces is there with both services and the parent across them.
func TestEtcd(t *testing.T) {
	b := local(t)
	etcd := harness.Dial(t, startEtcd(t, b))
	exporter, err := otlptracegrpc.New(t.Context(), otlptracegrpc.WithEndpoint(b.GRPC()), otlptracegrpc.WithInsecure())
	require.NoError(t, err)
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter),
		sdktrace.WithResource(sdkresource.NewSchemaless(semconv.ServiceName("app"))))

	type sent struct {
		id     trace.TraceID
		client trace.SpanID
		method string
	}
	var calls []sent
	for i := range 100 {
		method := [...]string{"Put", "Range"}[i%2]
		// PutRequest and RangeRequest both begin with the key; a value is a range's end.
		key := fmt.Appendf(nil, "key-%03d", i/2)
		request := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), key)
		ctx, span := provider.Tracer("app").Start(t.Context(), "call "+method, trace.WithSpanKind(trace.SpanKindClient))
		carrier := propagation.MapCarrier{}
		propagation.TraceContext{}.Inject(ctx, carrier)
		require.NoError(t, etcd.Invoke(metadata.NewOutgoingContext(ctx, metadata.New(carrier)), "/etcdserverpb.KV/"+method, request, new([]byte), grpc.ForceCodecV2(rawCodec{})))
		span.End()
		calls = append(calls, sent{span.SpanContext().TraceID(), span.SpanContext().SpanID(), method})
	}
	require.NoError(t, provider.Shutdown(t.Context()))

	for _, c := range calls {
		var td *tracepb.TracesData
		harness.Poll(t, time.Minute, "both sides of the call", func() error {
			if td = b.Trace(c.id[:]); td == nil || len(harness.Spans(td)) != 2 {
				return errors.New("not yet")
			}
			return nil
		})
		spans := byName(t, td)
		server := spans["etcdserverpb.KV/"+c.method]
		require.NotNil(t, server)
		assert.Equal(t, c.client[:], server.GetParentSpanId())
		assert.Equal(t, tracepb.Span_SPAN_KIND_SERVER, server.GetKind())
		assert.Equal(t, tracepb.Span_SPAN_KIND_CLIENT, spans["call "+c.method].GetKind())
		assert.Equal(t, c.method, attr(server, "rpc.method"))
		assert.Equal(t, "etcdserverpb.KV", attr(server, "rpc.service"))
		assert.Less(t, server.GetStartTimeUnixNano(), server.GetEndTimeUnixNano())
		assert.Equal(t, map[string]string{"etcdserverpb.KV/" + c.method: "etcd", "call " + c.method: "app"}, services(td))
	}
}

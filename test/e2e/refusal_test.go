package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
	"github.com/jaegertracing/jaeger-idl/proto-gen/api_v2"
	"github.com/jaegertracing/jaeger-idl/thrift-gen/jaeger"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bramble-tracing/bramble/test/harness"
)

// counts is what a client saw.
type counts struct{ refused, other, accepted atomic.Int64 }

// retry is the SDK's own retry, quicker than by default so that the test is.
const (
	firstRetry = 20 * time.Millisecond
	lastRetry  = 200 * time.Millisecond
	giveUp     = 2 * time.Minute
)

// countingExporters are the SDK's exporters with an eye on the answers.
var countingExporters = map[string]func(t *testing.T, b *harness.Bramble, c *counts) sdktrace.SpanExporter{
	"grpc": func(t *testing.T, b *harness.Bramble, c *counts) sdktrace.SpanExporter {
		t.Helper()
		watch := func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			err := invoke(ctx, method, req, reply, cc, opts...)
			switch status.Code(err) {
			case codes.OK:
				c.accepted.Add(1)
			case codes.Unavailable:
				c.refused.Add(1)
			default:
				c.other.Add(1)
			}
			return err
		}
		e, err := otlptracegrpc.New(t.Context(), otlptracegrpc.WithEndpoint(b.GRPC()), otlptracegrpc.WithInsecure(),
			otlptracegrpc.WithTimeout(giveUp), otlptracegrpc.WithDialOption(grpc.WithUnaryInterceptor(watch)),
			otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{Enabled: true, InitialInterval: firstRetry, MaxInterval: lastRetry, MaxElapsedTime: giveUp}))
		require.NoError(t, err)
		return e
	},
	"http": func(t *testing.T, b *harness.Bramble, c *counts) sdktrace.SpanExporter {
		t.Helper()
		e, err := otlptracehttp.New(t.Context(), otlptracehttp.WithEndpoint(b.HTTP()), otlptracehttp.WithInsecure(),
			otlptracehttp.WithTimeout(giveUp), otlptracehttp.WithHTTPClient(&http.Client{Transport: watchingTransport{c}}),
			otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: firstRetry, MaxInterval: lastRetry, MaxElapsedTime: giveUp}))
		require.NoError(t, err)
		return e
	},
}

type watchingTransport struct{ c *counts }

func (w watchingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := http.DefaultTransport.RoundTrip(r)
	switch {
	case err != nil:
		w.c.other.Add(1)
	case res.StatusCode == http.StatusOK:
		w.c.accepted.Add(1)
	case res.StatusCode == http.StatusServiceUnavailable:
		w.c.refused.Add(1)
	default:
		w.c.other.Add(1)
	}
	return res, err
}

// TestDiskFull fills the disk under a running store. The Go SDK is told something that it retries, nothing that was
// acknowledged is lost, also not by a kill while the disk is full, and when there is space again everything goes on
// without a restart and without a span lost.
func TestDiskFull(t *testing.T) {
	for name, newExporter := range countingExporters {
		t.Run(name, func(t *testing.T) {
			dir := harness.Tmpfs(t, 96)
			b := harness.Start(t, harness.Config{
				Files: []string{"config/local.yaml"}, Data: dir,
				// Nothing may be deleted to make room.
				Overlay: harness.Set("extensions::trace_store::retention::min_free_percentage", 0,
					"extensions::trace_store::memory::limit_mib", 64),
			})
			var seen counts
			acks := &harness.Acks{}
			exp := &harness.AckExporter{SpanExporter: newExporter(t, b, &seen), Acks: acks, Failed: func(n int, err error) {
				assert.NoError(t, err, "the SDK gave up %d spans", n)
			}}
			tp := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exp, sdktrace.WithBlocking(), sdktrace.WithBatchTimeout(10*time.Millisecond)))
			tracer := tp.Tracer("disk-full")
			const before, during = 2000, 20_000
			endSpans(t.Context(), tracer, before)
			require.NoError(t, tp.ForceFlush(t.Context()))
			require.Equal(t, before, acks.Spans())
			require.Zero(t, seen.refused.Load())

			empty := harness.Fill(t, dir, 64<<10)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				endSpans(t.Context(), tracer, during)
			}()
			harness.Poll(t, time.Minute, "refusals", func() error {
				if n := seen.refused.Load(); n < 5 {
					return assert.AnError
				}
				return nil
			})
			stuck := acks.Spans()
			require.Less(t, stuck, before+during, "spans that were acknowledged while the disk was full")
			assert.True(t, b.Running())
			missing, examples := acks.Missing(t, b)
			require.Zero(t, missing, "with the disk full, of %d acknowledged spans are missing, such as %v", acks.Spans(), examples)

			empty()
			<-ended
			require.NoError(t, tp.Shutdown(t.Context()))
			assert.Equal(t, before+during, acks.Spans(), "every span that was ended is acknowledged in the end")
			assert.Zero(t, seen.other.Load(), "answers that are neither success nor retryable")
			missing, examples = acks.Missing(t, b)
			require.Zero(t, missing, "with space again, of %d acknowledged spans are missing, such as %v", acks.Spans(), examples)
			b.Kill()
			b.Restart()
			missing, examples = acks.Missing(t, b)
			require.Zero(t, missing, "after a kill, of %d acknowledged spans are missing, such as %v", acks.Spans(), examples)
			t.Logf("%d spans: %d before the disk was full, %d refusals that the SDK retried, all %d acknowledged and there in the end",
				before+during, stuck, seen.refused.Load(), acks.Spans())
		})
	}
}

// TestDiskFullForOtherClients looks at the answers that clients of Jaeger and Zipkin get while the disk is full. They do
// not send again, but they are told.
func TestDiskFullForOtherClients(t *testing.T) {
	dir := harness.Tmpfs(t, 96)
	b := harness.Start(t, harness.Config{
		Files: []string{"config/local.yaml"}, Data: dir,
		Overlay: harness.Set("extensions::trace_store::retention::min_free_percentage", 0,
			"extensions::trace_store::memory::limit_mib", 64),
	})
	empty := harness.Fill(t, dir, 0)
	// What the log's open segment still takes is used up first.
	client := coltracepb.NewTraceServiceClient(harness.Dial(t, b.GRPC()))
	harness.Poll(t, time.Minute, "a refusal", func() error {
		_, err := client.Export(t.Context(), &coltracepb.ExportTraceServiceRequest{ResourceSpans: everyField(t).GetResourceSpans()})
		if status.Code(err) != codes.Unavailable {
			return fmt.Errorf("OTLP answers %w", err)
		}
		return nil
	})
	zipkinURL := "http://" + b.Addr("receivers::zipkin") + "/api/v2/spans"
	traceID := randomHex(t, 16)
	zipkinSpan := `[{"traceId":"` + traceID + `","id":"00000000000000aa","name":"` + strings.Repeat("z", 1<<20) + `"}]`
	r := b.Do(http.MethodPost, zipkinURL, strings.NewReader(zipkinSpan), "Content-Type", "application/json")
	assert.Equal(t, http.StatusServiceUnavailable, r.Status, "Zipkin: %s", r.Body)

	j := newJaegerTrace(t)
	big := strings.Repeat("x", 1<<20)
	j.batch.Spans[1].Tags = append(j.batch.Spans[1].Tags, &jaeger.Tag{Key: "big", VType: jaeger.TagType_STRING, VStr: &big})
	buf := thrift.NewTMemoryBuffer()
	require.NoError(t, j.batch.Write(t.Context(), thrift.NewTBinaryProtocolConf(buf, nil)))
	r = b.Do(http.MethodPost, "http://"+b.Addr("receivers::jaeger::protocols::thrift_http")+"/api/traces", buf, "Content-Type", "application/x-thrift")
	assert.Equal(t, http.StatusServiceUnavailable, r.Status, "Jaeger over HTTP: %s", r.Body)
	_, err := api_v2.NewCollectorServiceClient(harness.Dial(t, b.Addr("receivers::jaeger::protocols::grpc"))).PostSpans(
		t.Context(), &api_v2.PostSpansRequest{Batch: modelBatch(j)})
	assert.Equal(t, codes.Unavailable, status.Code(err), "Jaeger over gRPC: %v", err)
	assert.Nil(t, b.Trace(j.id()), "nothing of a refused request is stored")
	assert.Nil(t, b.Trace(unhex(t, traceID)), "nothing of a refused request is stored")

	empty()
	r = b.Do(http.MethodPost, zipkinURL, strings.NewReader(zipkinSpan), "Content-Type", "application/json")
	assert.Equal(t, http.StatusAccepted, r.Status, "Zipkin: %s", r.Body)
	require.NotNil(t, b.Trace(unhex(t, traceID)))
}

// TestKillWhileFull kills the process while the disk is full: it starts again on the full disk, and everything that was
// acknowledged is there.
func TestKillWhileFull(t *testing.T) {
	dir := harness.Tmpfs(t, 96)
	b := harness.Start(t, harness.Config{
		Files: []string{"config/local.yaml"}, Data: dir,
		Overlay: harness.Set("extensions::trace_store::retention::min_free_percentage", 0,
			"extensions::trace_store::memory::limit_mib", 64),
	})
	acks := &harness.Acks{}
	var seen counts
	exp := &harness.AckExporter{SpanExporter: countingExporters["grpc"](t, b, &seen), Acks: acks}
	ctx, cancel := context.WithCancel(t.Context())
	tp := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exp, sdktrace.WithBlocking(), sdktrace.WithBatchTimeout(10*time.Millisecond)))
	endSpans(t.Context(), tp.Tracer("t"), 2000)
	require.NoError(t, tp.ForceFlush(t.Context()))
	empty := harness.Fill(t, dir, 64<<10)
	go endSpans(ctx, tp.Tracer("t"), 5000)
	harness.Poll(t, time.Minute, "refusals", func() error {
		if seen.refused.Load() < 2 {
			return assert.AnError
		}
		return nil
	})
	b.Kill()
	acked := acks.Spans()
	b.Restart()
	missing, examples := acks.Missing(t, b)
	require.Zero(t, missing, "of %d acknowledged spans are missing, such as %v", acked, examples)
	empty()
	cancel()
	require.NoError(t, tp.Shutdown(t.Context()))
	missing, examples = acks.Missing(t, b)
	require.Zero(t, missing, "of %d acknowledged spans are missing, such as %v", acks.Spans(), examples)
}

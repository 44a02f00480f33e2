package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/bramble-tracing/bramble/test/harness"
)

// exporters makes the Go SDK's OTLP exporters for host:port, with the SDK's own retry.
var exporters = map[string]func(t *testing.T, b *harness.Bramble) sdktrace.SpanExporter{
	"grpc": func(t *testing.T, b *harness.Bramble) sdktrace.SpanExporter {
		t.Helper()
		e, err := otlptracegrpc.New(t.Context(), otlptracegrpc.WithEndpoint(b.GRPC()), otlptracegrpc.WithInsecure())
		require.NoError(t, err)
		return e
	},
	"http": func(t *testing.T, b *harness.Bramble) sdktrace.SpanExporter {
		t.Helper()
		e, err := otlptracehttp.New(t.Context(), otlptracehttp.WithEndpoint(b.HTTP()), otlptracehttp.WithInsecure())
		require.NoError(t, err)
		return e
	},
	"http gzip": func(t *testing.T, b *harness.Bramble) sdktrace.SpanExporter {
		t.Helper()
		e, err := otlptracehttp.New(t.Context(), otlptracehttp.WithEndpoint(b.HTTP()), otlptracehttp.WithInsecure(),
			otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
		require.NoError(t, err)
		return e
	},
}

// TestGoSDK makes spans with the OpenTelemetry Go SDK and finds them as the SDK had them.
func TestGoSDK(t *testing.T) {
	b := local(t)
	for name, newExporter := range exporters {
		t.Run(name, func(t *testing.T) {
			acks := &harness.Acks{}
			tp := sdktrace.NewTracerProvider(
				sdktrace.WithBatcher(&harness.AckExporter{SpanExporter: newExporter(t, b), Acks: acks}),
				sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "go-"+name), attribute.Int("pid", 7))))
			tracer := tp.Tracer("lib", trace.WithInstrumentationVersion("1.2.3"), trace.WithInstrumentationAttributes(attribute.String("scope.attr", "x")))
			ctx, root := tracer.Start(t.Context(), "root", trace.WithSpanKind(trace.SpanKindServer))
			_, child := tracer.Start(ctx, "child", trace.WithSpanKind(trace.SpanKindClient), trace.WithLinks(
				trace.Link{SpanContext: root.SpanContext(), Attributes: []attribute.KeyValue{attribute.String("why", "test")}}))
			child.SetAttributes(attribute.String("s", "v"), attribute.Int64("i", -1), attribute.Float64("f", 0.5), attribute.Bool("b", true),
				attribute.StringSlice("ss", []string{"x", "y"}), attribute.Int64Slice("is", []int64{1, 2}))
			child.AddEvent("event", trace.WithAttributes(attribute.String("e", "v")))
			child.RecordError(errors.New("broken"))
			child.SetStatus(codes.Error, "it broke")
			child.End()
			root.End()
			require.NoError(t, tp.Shutdown(t.Context()))
			require.Equal(t, 2, acks.Spans())

			traceID := root.SpanContext().TraceID()
			td := b.Trace(traceID[:])
			spans := byName(t, td)
			require.Len(t, spans, 2)
			assert.Equal(t, map[string]string{"root": "go-" + name, "child": "go-" + name}, services(td))
			got := spans["child"]
			rootID, childID := root.SpanContext().SpanID(), child.SpanContext().SpanID()
			assert.Equal(t, childID[:], got.GetSpanId())
			assert.Equal(t, rootID[:], got.GetParentSpanId())
			assert.Empty(t, spans["root"].GetParentSpanId())
			assert.Equal(t, tracepb.Span_SPAN_KIND_SERVER, spans["root"].GetKind())
			assert.Equal(t, tracepb.Span_SPAN_KIND_CLIENT, got.GetKind())
			assert.Equal(t, tracepb.Status_STATUS_CODE_ERROR, got.GetStatus().GetCode())
			assert.Equal(t, "it broke", got.GetStatus().GetMessage())
			assert.Len(t, got.GetAttributes(), 6)
			assert.Equal(t, "v", attr(got, "s"))
			require.Len(t, got.GetEvents(), 2)
			assert.Equal(t, "event", got.GetEvents()[0].GetName())
			assert.Equal(t, "exception", got.GetEvents()[1].GetName())
			require.Len(t, got.GetLinks(), 1)
			assert.Equal(t, rootID[:], got.GetLinks()[0].GetSpanId())
			ro, ok := child.(sdktrace.ReadOnlySpan)
			require.True(t, ok)
			assert.Equal(t, uint64(ro.StartTime().UnixNano()), got.GetStartTimeUnixNano())
			assert.Equal(t, uint64(ro.EndTime().UnixNano()), got.GetEndTimeUnixNano())
			scope := td.GetResourceSpans()[0].GetScopeSpans()[0].GetScope()
			assert.Equal(t, "lib", scope.GetName())
			assert.Equal(t, "1.2.3", scope.GetVersion())
			require.Len(t, scope.GetAttributes(), 1)
			assert.Equal(t, "scope.attr", scope.GetAttributes()[0].GetKey())
		})
	}
}

// TestTelemetrygen sends with the Collector's own load generator, over gRPC and HTTP, and finds every span.
func TestTelemetrygen(t *testing.T) {
	const traces, perTrace = 200, 10
	b := local(t)
	for _, protocol := range []string{"grpc", "http"} {
		t.Run(protocol, func(t *testing.T) {
			acks := &harness.Acks{}
			args := []string{
				"--traces", strconv.Itoa(traces), "--child-spans", strconv.Itoa(perTrace - 1), "--rate", "0", "--status-code", "Error",
				"--span-links", "1", "--otlp-attributes", `deployment.environment.name="e2e"`, "--telemetry-attributes", "answer=42",
			}
			if protocol == "grpc" {
				args = append(args, "--otlp-endpoint", harness.GRPCRecorder(t, b.GRPC(), acks))
			} else {
				args = append(args, "--otlp-endpoint", harness.HTTPRecorder(t, b.HTTP(), acks), "--otlp-http")
			}
			harness.StartTelemetrygen(t, args...).Wait(time.Minute)
			// The generator itself drops spans when its queue of 2,048 is full: what it did send counts.
			require.GreaterOrEqual(t, acks.Spans(), traces*perTrace/2)
			missing, examples := acks.Missing(t, b)
			assert.Zero(t, missing, "of %d acknowledged spans are missing, such as %v", acks.Spans(), examples)
			t.Logf("%d spans of %d traces were acknowledged, none is missing", acks.Spans(), acks.Traces())
		})
	}
}

// TestTelemetrygenUnproxied sends without the recording proxy in between and counts by the process's own metrics, under
// the names that users watch.
func TestTelemetrygenUnproxied(t *testing.T) {
	b := local(t)
	const spans = 500
	harness.StartTelemetrygen(t, "--otlp-endpoint", b.GRPC(), "--traces", "50", "--child-spans", "9", "--rate", "0").Wait(time.Minute)
	harness.StartTelemetrygen(t, "--otlp-endpoint", b.HTTP(), "--otlp-http", "--traces", "50", "--child-spans", "9", "--rate", "0").Wait(time.Minute)
	m := metrics(t, b)
	assert.InDelta(t, spans, m.value("otelcol_receiver_accepted_spans", `receiver="otlp"`, `transport="grpc"`), 0)
	assert.InDelta(t, spans, m.value("otelcol_receiver_accepted_spans", `receiver="otlp"`, `transport="http"`), 0)
	assert.InDelta(t, 2*spans, m.value("otelcol_exporter_sent_spans", `exporter="trace_store"`), 0)
}

// exposition is a Prometheus exposition in text.
type exposition string

// metrics reads the process's own metrics.
func metrics(t *testing.T, b *harness.Bramble) exposition {
	t.Helper()
	r := b.Do(http.MethodGet, "http://"+b.Addr("service::telemetry::metrics")+"/metrics", http.NoBody)
	require.Equal(t, http.StatusOK, r.Status)
	return exposition(r.Body)
}

// value returns the sum of the series of a metric that have all of the labels, and -1 if there are none.
func (e exposition) value(name string, labels ...string) float64 {
	sum, found := 0.0, false
next:
	for line := range strings.Lines(string(e)) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || !strings.HasPrefix(rest, "{") && !strings.HasPrefix(rest, " ") {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(rest, l) {
				continue next
			}
		}
		var v float64
		if _, err := fmt.Sscan(rest[strings.LastIndex(rest, " ")+1:], &v); err == nil {
			sum, found = sum+v, true
		}
	}
	if !found {
		return -1
	}
	return sum
}

// waitMetric waits until the series have a sum that is at least v.
func waitMetric(t *testing.T, b *harness.Bramble, v float64, name string, labels ...string) {
	t.Helper()
	harness.Poll(t, 30*time.Second, fmt.Sprintf("%s%v to be %v", name, labels, v), func() error {
		if got := metrics(t, b).value(name, labels...); got < v {
			return fmt.Errorf("it is %v", got)
		}
		return nil
	})
}

// endSpans starts and ends n spans in traces of up to twenty, and returns how many it ended.
func endSpans(ctx context.Context, tracer trace.Tracer, n int) {
	for done := 0; done < n; {
		ctx, root := tracer.Start(ctx, "root", trace.WithNewRoot())
		for range min(19, n-done-1) {
			_, s := tracer.Start(ctx, "child", trace.WithAttributes(attribute.String("payload", strings.Repeat("x", 200))))
			s.End()
			done++
		}
		root.End()
		done++
	}
}

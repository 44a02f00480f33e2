package e2e

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/bramble-tracing/bramble/test/harness"
)

// startNode runs a service with automatic instrumentation and returns its URL.
func startNode(t *testing.T, b *harness.Bramble, name string, env ...string) string {
	t.Helper()
	node := program(t, "node", "install Node.js 20 or newer")
	dir := harness.Root(t, "test", "e2e", "node")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "express")); err != nil {
		const how = "run `npm ci --prefix test/e2e/node` (40 s, 121 MB)"
		if full() {
			t.Fatalf("the packages of the Node.js services are missing: %s", how)
		}
		t.Skipf("the packages of the Node.js services are missing: %s", how)
	}
	cmd := exec.Command(node, "--require", "@opentelemetry/auto-instrumentations-node/register", "service.js")
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(),
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://"+b.HTTP(), "OTEL_SERVICE_NAME="+name, "OTEL_METRICS_EXPORTER=none", "OTEL_LOGS_EXPORTER=none",
		"OTEL_BSP_SCHEDULE_DELAY=100", "OTEL_NODE_RESOURCE_DETECTORS=env,process"), env...)
	log := harness.NewLog()
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // It may have ended meanwhile.
		_ = cmd.Wait()         // With the signal as an error.
		if t.Failed() {
			t.Logf("the output of %s:\n%s", name, log.Tail(20))
		}
	})
	var port int
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, log.WaitFor(ctx, "port "))
	harness.Poll(t, time.Minute, "the port of "+name, func() error {
		_, err := fmt.Sscanf(log.String()[bytes.Index([]byte(log.String()), []byte("port ")):], "port %d\n", &port)
		return err
	})
	return fmt.Sprintf("http://127.0.0.1:%d", port)
}

// TestNodeServices lets two Node.js services call each other, instrumented by packages that nobody here wrote, and
// starts the trace itself with a W3C traceparent: the spans of both are one tree below it.
func TestNodeServices(t *testing.T) {
	b := local(t)
	back := startNode(t, b, "prices")
	front := startNode(t, b, "carts", "BACKEND="+back)

	traceID, caller := randomHex(t, 16), randomHex(t, 8)
	r := b.Do(http.MethodGet, front+"/cart/7", http.NoBody, "traceparent", "00-"+traceID+"-"+caller+"-01", "tracestate", "vendor=x")
	require.Equal(t, http.StatusOK, r.Status, "%s", r.Body)
	require.JSONEq(t, `{"cart":"7","price":42}`, string(r.Body))

	// The services export in the background: wait until the server spans of both are there.
	var td *tracepb.TracesData
	servers := map[string]*tracepb.Span{}
	harness.Poll(t, 30*time.Second, "the server spans of both services", func() error {
		td = b.Trace(unhex(t, traceID))
		for _, rs := range td.GetResourceSpans() {
			for _, a := range rs.GetResource().GetAttributes() {
				if a.GetKey() != "service.name" {
					continue
				}
				for _, s := range harness.Spans(&tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{rs}}) {
					if s.GetKind() == tracepb.Span_SPAN_KIND_SERVER {
						servers[a.GetValue().GetStringValue()] = s
					}
				}
			}
		}
		if len(servers) < 2 {
			return fmt.Errorf("%d services are there", len(servers))
		}
		return nil
	})
	spans := map[string]*tracepb.Span{}
	for _, s := range harness.Spans(td) {
		spans[hex.EncodeToString(s.GetSpanId())] = s
		assert.Equal(t, unhex(t, traceID), s.GetTraceId())
		assert.Equal(t, "vendor=x", s.GetTraceState())
	}
	entry, inner := servers["carts"], servers["prices"]
	assert.Equal(t, unhex(t, caller), entry.GetParentSpanId(), "the span of the caller is the parent of the first service's")
	client := spans[hex.EncodeToString(inner.GetParentSpanId())]
	require.NotNil(t, client, "the parent of the second service's span")
	assert.Equal(t, tracepb.Span_SPAN_KIND_CLIENT, client.GetKind())
	assert.LessOrEqual(t, client.GetStartTimeUnixNano(), client.GetEndTimeUnixNano())
	for s := client; ; { // Up to the first service.
		parent := hex.EncodeToString(s.GetParentSpanId())
		if parent == hex.EncodeToString(entry.GetSpanId()) {
			break
		}
		s = spans[parent]
		require.NotNil(t, s, "span %s between the client and the server span", parent)
	}
	assert.GreaterOrEqual(t, len(spans), 3)
	t.Logf("%d spans of two services in one trace", len(spans))

	// An error in a handler is the status of its span.
	failing := randomHex(t, 16)
	r = b.Do(http.MethodGet, back+"/fail", http.NoBody, "traceparent", "00-"+failing+"-"+caller+"-01")
	require.Equal(t, http.StatusInternalServerError, r.Status)
	harness.Poll(t, 30*time.Second, "a span with an error", func() error {
		for _, s := range harness.Spans(b.Trace(unhex(t, failing))) {
			if s.GetKind() == tracepb.Span_SPAN_KIND_SERVER && s.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR {
				return nil
			}
		}
		return assert.AnError
	})
}

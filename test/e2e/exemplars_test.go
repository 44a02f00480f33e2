package e2e

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/test/harness"
)

// exemplarsConfig samples everything away once it has left a window of two seconds.
const exemplarsConfig = `yaml:
receivers:
  otlp: {protocols: {grpc: {endpoint: localhost:4317}, http: {endpoint: localhost:4318}}}
processors:
  tail_sampling:
    store: trace_store
    policies:
      - {name: nothing, type: string_attribute, string_attribute: {key: no.such.attribute, values: [x]}}
connectors:
  trace_metrics: {metrics_flush_interval: 1s, node: n}
exporters:
  trace_store: {}
  prometheus: {endpoint: localhost:8889, enable_open_metrics: true}
extensions:
  trace_store: {directory: ./data, memory: {limit_mib: 16}, retention: {recent: 2s}, compaction: {min_blocks: 2, cpu_limit_percentage: 100}}
  trace_query: {endpoint: localhost:3200}
service:
  extensions: [trace_store, trace_query]
  pipelines:
    traces: {receivers: [otlp], processors: [tail_sampling], exporters: [trace_store, trace_metrics]}
    metrics: {receivers: [trace_metrics], exporters: [prometheus]}
`

var exemplarTrace = regexp.MustCompile(`# \{[^}]*trace_id="([0-9a-f]{32})"`)

// TestExemplarsNeverDangle: when sampling has removed every trace that it may, the trace of each exemplar is still
// there, because it was pinned.
func TestExemplarsNeverDangle(t *testing.T) {
	b := harness.Start(t, harness.Config{Files: []string{exemplarsConfig}})
	g := testkit.NewGenerator(21)
	send := func(spans int) (ids [][]byte) {
		g.SetTime(time.Now().Add(-time.Second))
		td := g.Traces(spans)
		seen := map[string]bool{}
		for _, rs := range td.ResourceSpans().All() {
			for _, ss := range rs.ScopeSpans().All() {
				for _, s := range ss.Spans().All() {
					if id := s.TraceID(); !seen[id.String()] {
						seen[id.String()] = true
						ids = append(ids, id[:])
					}
				}
			}
		}
		body, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
		require.NoError(t, err)
		harness.Poll(t, time.Minute, "the acknowledgement", func() error {
			if r := b.Do(http.MethodPost, b.TracesURL(), bytes.NewReader(body), "Content-Type", "application/x-protobuf"); r.Status != http.StatusOK {
				return fmt.Errorf("status %d", r.Status)
			}
			return nil
		})
		return ids
	}
	first := send(3000)
	exemplars := map[string]bool{}
	harness.Poll(t, time.Minute, "exemplars", func() error {
		r := b.Do(http.MethodGet, "http://"+b.Addr("exporters::prometheus")+"/metrics", http.NoBody, "Accept", "application/openmetrics-text; version=1.0.0")
		for _, m := range exemplarTrace.FindAllSubmatch(r.Body, -1) {
			exemplars[string(m[1])] = true
		}
		if len(exemplars) == 0 {
			return fmt.Errorf("none of %d bytes", len(r.Body))
		}
		return nil
	})
	require.LessOrEqual(t, len(exemplars), 40, "some flushes pin so many")

	// More spans push the first ones out of memory and of the window.
	left := 0
	harness.Poll(t, 2*time.Minute, "sampling to remove all other traces", func() error {
		send(3000)
		left = 0
		for _, id := range first {
			if !exemplars[hex.EncodeToString(id)] && b.Trace(id) != nil {
				left++
			}
		}
		// Those of later flushes were pinned meanwhile, too.
		r := b.Do(http.MethodGet, "http://"+b.Addr("exporters::prometheus")+"/metrics", http.NoBody, "Accept", "application/openmetrics-text; version=1.0.0")
		for _, m := range exemplarTrace.FindAllSubmatch(r.Body, -1) {
			exemplars[string(m[1])] = true
		}
		if left > 0 {
			return fmt.Errorf("%d are left", left)
		}
		return nil
	})
	for id := range exemplars {
		assert.NotNil(t, b.Trace(unhex(t, id)), "trace %s of an exemplar", id)
	}
	b.Kill()
	b.Restart()
	for id := range exemplars {
		assert.NotNil(t, b.Trace(unhex(t, id)), "trace %s of an exemplar, after a crash", id)
	}
	gone := 0
	for _, id := range first {
		if !exemplars[hex.EncodeToString(id)] {
			gone++
		}
	}
	require.Positive(t, gone)
	t.Logf("of %d traces %d were sampled away; %d traces, later ones included, are kept for exemplars", len(first), gone, len(exemplars))
}

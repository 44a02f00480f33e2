package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/test/harness"
)

// sameConfig counts all spans and samples them by everything that policies look at. %s is the first processor.
const sameConfig = `yaml:
receivers:
  otlp: {protocols: {grpc: {endpoint: localhost:4317}, http: {endpoint: localhost:4318}}}
processors:
  pii: {}
  attributes/nothing: {actions: [{key: no.such.attribute, action: delete}]}
  tail_sampling:
    decision_wait: 1s
    policies:
      - {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}
      - {name: slow, type: latency, latency: {threshold_ms: 1500}}
      - {name: share, type: probabilistic, probabilistic: {sampling_percentage: 10}}
      - {name: pod, type: string_attribute, string_attribute: {key: k8s.pod.name, values: [shop-a-.*], enabled_regex_matching: true, invert_match: true}}
      - {name: route, type: string_attribute, string_attribute: {key: http.route, values: ["/api/v1/search.*"], enabled_regex_matching: true}}
      - {name: status, type: numeric_attribute, numeric_attribute: {key: http.response.status_code, min_value: 500, max_value: 599}}
      - {name: length, type: span_count, span_count: {min_spans: 40}}
connectors:
  trace_metrics: {store: "", node: n, metrics_flush_interval: 1s, span_metrics: {dimensions: [k8s.pod.name, http.route]}}
exporters:
  trace_store: {}
  prometheus: {endpoint: localhost:8889}
extensions:
  trace_store: {directory: ./data}
  trace_query: {endpoint: localhost:3200}
service:
  extensions: [trace_store, trace_query]
  pipelines:
    traces/counted: {receivers: [otlp], processors: [%[1]s], exporters: [trace_metrics]}
    traces/sampled: {receivers: [otlp], processors: [%[1]s, tail_sampling], exporters: [trace_store]}
    metrics: {receivers: [trace_metrics], exporters: [prometheus]}
`

// TestSameWhenScrubbed: with and without pii, the same spans make the same span metrics and the same service graph, and
// tail sampling keeps the same traces. Only sizes of spans differ, as they should.
func TestSameWhenScrubbed(t *testing.T) {
	g := testkit.NewGenerator(11)
	g.SetTime(time.Now().Add(-5 * time.Second)) // Metrics are of spans that have just ended.
	td := g.Traces(3000)
	ids := map[string]bool{}
	secrets := 0
	for _, rs := range td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				ids[s.TraceID().String()] = true
				s.Attributes().PutStr("user.mail", fmt.Sprintf("user%d@example.com", secrets))
				s.Status().SetMessage("password=hunter2")
				s.TraceState().FromRaw("v=alice@example.com,ot=th:c")
				secrets++
			}
		}
	}
	body, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	require.NoError(t, err)
	run := func(first string) (series, traces []string) {
		b := harness.Start(t, harness.Config{Files: []string{fmt.Sprintf(sameConfig, first)}})
		r := b.Do(http.MethodPost, b.TracesURL(), bytes.NewReader(body), "Content-Type", "application/x-protobuf")
		require.Equal(t, http.StatusOK, r.Status, "%s", r.Body)
		waitMetric(t, b, float64(len(ids)), "otelcol_processor_tail_sampling_global_count_traces_sampled")
		// A scrape may meet an export half way: everything is there when two more have ended, of which one began later.
		exports, exported := -1, 0.0
		harness.Poll(t, time.Minute, "metrics of the spans", func() error {
			series = nil
			calls := 0.0
			points := metrics(t, b).value("otelcol_exporter_sent_metric_points", "exporter", "prometheus")
			for line := range strings.Lines(string(b.Do(http.MethodGet, "http://"+b.Addr("exporters::prometheus")+"/metrics", http.NoBody).Body)) {
				if strings.HasPrefix(line, "traces_") && !strings.HasPrefix(line, "traces_spanmetrics_size_total") {
					series = append(series, line)
				}
				if strings.HasPrefix(line, "traces_spanmetrics_calls_total{") {
					v, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]), 64)
					require.NoError(t, err)
					calls += v
				}
			}
			// Each stands for four, as its tracestate says (th:c).
			if want := 4 * td.SpanCount(); int(calls) != want {
				return fmt.Errorf("%v of %d spans are counted", calls, want)
			}
			if points != exported {
				exports, exported = exports+1, points
			}
			if exports < 2 {
				return errors.New("the metrics may be incomplete")
			}
			return nil
		})
		for id := range ids {
			if b.Trace(unhex(t, id)) != nil {
				traces = append(traces, id)
			}
		}
		slices.Sort(series)
		slices.Sort(traces)
		return series, traces
	}
	wantSeries, wantTraces := run("attributes/nothing")
	gotSeries, gotTraces := run("pii")
	assert.Equal(t, wantSeries, gotSeries)
	assert.Equal(t, wantTraces, gotTraces)
	assert.Contains(t, strings.Join(gotSeries, ""), "traces_service_graph_request_total")
	assert.NotEmpty(t, gotTraces)
	assert.Less(t, len(gotTraces), len(ids))
	t.Logf("%d series, %d sampled traces of %d, %d spans", len(gotSeries), len(gotTraces), len(ids), td.SpanCount())
}

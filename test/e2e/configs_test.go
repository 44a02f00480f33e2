package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/bramble-tracing/bramble/test/harness"
)

// shipped returns the shipped configurations.
func shipped(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(harness.Root(t, "config", "*.yaml"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 3)
	return files
}

// TestValidateShipped lets the binary check every shipped configuration as a user would, with no variable set but those
// that Kubernetes sets.
func TestValidateShipped(t *testing.T) {
	t.Setenv("KUBE_NODE_NAME", "node")
	for _, f := range shipped(t) {
		t.Run(filepath.Base(f), func(t *testing.T) {
			code, output := harness.Command(t, "validate", "--config", f)
			assert.Zero(t, code, "%s", output)
		})
	}
}

// TestValidateUnknownField puts a misspelt field into each kind of component: validate refuses it and says where.
func TestValidateUnknownField(t *testing.T) {
	for _, c := range []struct{ name, overlay, path, field string }{
		{"receiver", `receivers: {otlp: {protocols: {grpc: {endpiont: "x"}}}}`, "receivers", "endpiont"},
		{"processor", `processors: {memory_limiter: {limit_procentage: 5}}`, "processors", "limit_procentage"},
		{"exporter", `exporters: {trace_store: {sotre: x}}`, "exporters", "sotre"},
		{"store", `extensions: {trace_store: {direktory: x}}`, "extensions", "direktory"},
		{"nested in the store", `extensions: {trace_store: {retention: {max_agee: 1h}}}`, "retention", "max_agee"},
		{"query", `extensions: {trace_query: {endpiont: x}}`, "extensions", "endpiont"},
		{"service", `service: {pipelnies: {}}`, "service", "pipelnies"},
		{"section", `recievers: {}`, "", "recievers"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, output := harness.Command(t, "validate", "--config", harness.Root(t, "config", "local.yaml"), "--config", "yaml:"+c.overlay)
			assert.NotZero(t, code)
			assert.Contains(t, output, c.field)
			assert.Contains(t, output, c.path)
			t.Logf("%s", output)
		})
	}
}

// TestValidateOtherErrors checks that the message says what is wrong for errors that users make.
func TestValidateOtherErrors(t *testing.T) {
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "config.yaml")
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		return name
	}
	for name, c := range map[string]struct{ config, want string }{
		"a key twice":             {file("receivers: {}\nreceivers: {}\n"), "already"},
		"no YAML":                 {file("receivers: ["), "yaml"},
		"unknown component":       {"yaml:receivers: {otpl: {}}", `unknown type: "otpl"`},
		"component not defined":   {"yaml:service: {pipelines: {traces: {receivers: [otlp/other]}}}", "otlp/other"},
		"a value out of range":    {"yaml:extensions: {trace_store: {retention: {min_free_percentage: 99}}}", "min_free_percentage"},
		"a value of another type": {"yaml:extensions: {trace_store: {wal: {sync_interval: fast}}}", "sync_interval"},
		"no such file":            {"/no/such/file.yaml", "/no/such/file.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			code, output := harness.Command(t, "validate", "--config", harness.Root(t, "config", "local.yaml"), "--config", c.config)
			assert.NotZero(t, code)
			assert.Contains(t, output, c.want)
			assert.NotContains(t, output, "panic")
		})
	}
}

// decideSoon lets tail_sampling decide at once instead of after ten seconds, and pii change nothing, so that what
// arrives can be compared with what was sent.
func decideSoon() map[string]any {
	return map[string]any{"processors": map[string]any{
		"tail_sampling": map[string]any{"decision_wait": "100ms"},
		"pii":           map[string]any{"mode": "report"},
	}}
}

// withoutSchemas returns the trace as contrib's tail_sampling passes it on: without the schema URLs of resources and
// scopes, which it loses.
func withoutSchemas(td *tracepb.TracesData) *tracepb.TracesData {
	td = proto.CloneOf(td)
	for _, rs := range td.GetResourceSpans() {
		rs.SchemaUrl = ""
		for _, ss := range rs.GetScopeSpans() {
			ss.SchemaUrl = ""
		}
	}
	return td
}

// TestClassic runs the textbook order: spans are there some time after they were acknowledged.
func TestClassic(t *testing.T) {
	b := harness.Start(t, harness.Config{
		Files: []string{"config/classic.yaml"}, Overlay: harness.Set("processors::pii::mode", "report"),
	})
	td := everyField(t)
	sendGRPC(t, b, td)
	requireSame(t, td, b.WaitTrace(harness.Spans(td)[0].GetTraceId(), len(harness.Spans(td))))
}

// TestClassicWarns wants one warning that clients are answered before their spans are stored.
func TestClassicWarns(t *testing.T) {
	b := harness.Start(t, harness.Config{Files: []string{"config/classic.yaml"}})
	assert.Len(t, b.Log.Lines("warn", "before"), 1)
}

// TestForward runs the configuration for a central Tempo, whose place is taken by a second process, and takes that
// away: clients do not notice, the queue is on disk, and after a restart of both everything arrives.
func TestForward(t *testing.T) {
	tempo := startTempo(t)
	agent := harness.Start(t, harness.Config{
		Files: []string{"config/forward.yaml"}, Env: []string{"TEMPO_OTLP_GRPC_ENDPOINT=" + tempo.GRPC()}, Overlay: decideSoon(),
	})
	first := everyField(t)
	sendGRPC(t, agent, first)
	requireSame(t, first, agent.Trace(harness.Spans(first)[0].GetTraceId()))
	requireSame(t, withoutSchemas(first), tempo.WaitTrace(harness.Spans(first)[0].GetTraceId(), len(harness.Spans(first))))

	tempo.Stop()
	var sent []*tracepb.TracesData
	for range 5 {
		td := everyField(t)
		sendGRPC(t, agent, td)
		requireSame(t, td, agent.Trace(harness.Spans(td)[0].GetTraceId()))
		sent = append(sent, td)
	}
	// When tail_sampling has decided and batch has sent, the requests are in the queue on disk.
	waitMetric(t, agent, 1, "otelcol_exporter_queue_size", `exporter="otlp_grpc/tempo"`)
	waitMetric(t, agent, 6, "otelcol_processor_tail_sampling_global_count_traces_sampled")
	waitMetric(t, agent, float64(6*len(harness.Spans(first))), "otelcol_processor_batch_batch_send_size_sum")
	agent.Kill()
	tempo.Restart()
	agent.Restart()
	for _, td := range sent {
		requireSame(t, withoutSchemas(td), tempo.WaitTrace(harness.Spans(td)[0].GetTraceId(), len(harness.Spans(td))))
	}
}

// TestTracez sends a span and looks at zPages, which users open to see whether anything arrives.
func TestTracez(t *testing.T) {
	b := local(t)
	sendGRPC(t, b, everyField(t))
	zpages := "http://" + b.Addr("extensions::zpages")
	for path, want := range map[string]string{
		"/debug/tracez": "TraceService/Export", "/debug/servicez": "bramble", "/debug/pipelinez": "trace_store",
		"/debug/extensionz": "trace_query", "/debug/featurez": "Feature",
	} {
		t.Run(path, func(t *testing.T) {
			r := b.Do(http.MethodGet, zpages+path, http.NoBody)
			assert.Equal(t, http.StatusOK, r.Status)
			assert.Contains(t, string(r.Body), want)
		})
	}
}

// TestHealthCheck asks the address that Kubernetes probes.
func TestHealthCheck(t *testing.T) {
	b := local(t)
	r := b.Do(http.MethodGet, "http://"+b.Addr("extensions::health_check")+"/", http.NoBody)
	assert.Equal(t, http.StatusOK, r.Status)
}

// TestMetricNames looks for the metrics of the process that users watch, under the names that they have.
func TestMetricNames(t *testing.T) {
	b := local(t)
	sendGRPC(t, b, everyField(t))
	m := metrics(t, b)
	for _, name := range []string{
		"otelcol_receiver_accepted_spans", "otelcol_receiver_refused_spans", "otelcol_exporter_sent_spans", "otelcol_exporter_send_failed_spans",
		"otelcol_processor_incoming_items", "otelcol_processor_outgoing_items", "otelcol_process_uptime", "otelcol_process_memory_rss",
	} {
		if name == "otelcol_exporter_send_failed_spans" && m.value(name) < 0 {
			continue // It appears with the first failure.
		}
		assert.GreaterOrEqual(t, m.value(name), 0.0, name)
	}
}

// TestREDMetrics sends spans and scrapes the metrics that are made from them, under the names that Grafana asks for.
func TestREDMetrics(t *testing.T) {
	b := harness.Start(t, harness.Config{
		Files: []string{"config/local.yaml"}, Overlay: harness.Set("connectors::trace_metrics::metrics_flush_interval", "1s"),
	})
	shop(t, b)
	scrape := func() exposition {
		r := b.Do(http.MethodGet, "http://"+b.Addr("exporters::prometheus")+"/metrics", http.NoBody)
		require.Equal(t, http.StatusOK, r.Status)
		return exposition(r.Body)
	}
	harness.Poll(t, 30*time.Second, "span metrics of both services", func() error {
		m := scrape()
		calls := []float64{
			m.value("traces_spanmetrics_calls_total", `service="my-service"`), m.value("traces_spanmetrics_calls_total", `service="backstage"`),
			m.value("traces_spanmetrics_latency_count", `service="db"`, `status_code="STATUS_CODE_ERROR"`),
		}
		if !slices.Equal(calls, []float64{2, 1, 1}) {
			return fmt.Errorf("they are %v", calls)
		}
		return nil
	})
}

// TestReload sends SIGHUP, on which the Collector stops all components and builds them anew: what was acknowledged is
// still there, in the same process, and it takes spans again.
func TestReload(t *testing.T) {
	b := local(t)
	pid := b.PID()
	before := everyField(t)
	sendGRPC(t, b, before)
	const ready = "Everything is ready"
	for n := 2; n <= 4; n++ {
		b.Signal(syscall.SIGHUP)
		harness.Poll(t, 30*time.Second, "the reload", func() error {
			if got := len(b.Log.Lines(ready)); got < n {
				return fmt.Errorf("%d times ready", got)
			}
			return nil
		})
		requireSame(t, before, b.Trace(harness.Spans(before)[0].GetTraceId()))
		after := everyField(t)
		sendGRPC(t, b, after)
		requireSame(t, after, b.Trace(harness.Spans(after)[0].GetTraceId()))
	}
	assert.Equal(t, pid, b.PID())
	b.Stop()
}

package tracequeryextension

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/collector/component"

	"github.com/bramble-tracing/bramble/internal/query"
)

// metrics is what /metrics shows (H-05): this process and this extension, and what the Collector's own telemetry has
// on its port (8888) about receivers, processors, exporters and the store, if the configuration says where that is.
type metrics struct {
	registry *prometheus.Registry
	gather   prometheus.Gatherers
	duration *prometheus.HistogramVec
	wait     *prometheus.HistogramVec
	spans    *prometheus.CounterVec
	bytes    *prometheus.CounterVec
}

// seconds are the bounds of histograms of time.
var seconds = []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 25, 50}

func newMetrics(build component.BuildInfo, s *query.Service, telemetryEndpoint string) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "bramble_request_duration_seconds",
			Help:    "Time to answer requests to the query API, by endpoint, method (or gRPC) and status.",
			Buckets: seconds,
		}, []string{"route", "method", "status_code"}),
		wait: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "bramble_query_wait_seconds", Help: "Time that queries waited for their turn.", Buckets: seconds,
		}, []string{"kind"}),
		spans: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bramble_query_inspected_spans_total", Help: "Spans that queries looked at.",
		}, []string{"kind"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bramble_query_inspected_bytes_total", Help: "Bytes of values that queries read.",
		}, []string{"kind"}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "bramble_build_info",
		Help:        "Always 1; the labels describe the binary.",
		ConstLabels: prometheus.Labels{"version": build.Version, "command": build.Command, "goversion": runtime.Version()},
	})
	info.Set(1)
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), info, m.duration, m.wait, m.spans, m.bytes)
	for _, g := range []struct {
		name, kind, help string
		value            func(query.Load) int
	}{
		{"bramble_queries_running", "lookup", "Queries that run now.", func(l query.Load) int { return l.Lookups }},
		{"bramble_queries_running", "scan", "Queries that run now.", func(l query.Load) int { return l.Scans }},
		{"bramble_queries_waiting", "lookup", "Queries that wait for their turn.", func(l query.Load) int { return l.WaitingLookups }},
		{"bramble_queries_waiting", "scan", "Queries that wait for their turn.", func(l query.Load) int { return l.WaitingScans }},
	} {
		m.registry.MustRegister(prometheus.NewGaugeFunc(
			prometheus.GaugeOpts{Name: g.name, Help: g.help, ConstLabels: prometheus.Labels{"kind": g.kind}},
			func() float64 { return float64(g.value(s.Load())) }))
	}
	m.gather = prometheus.Gatherers{m.registry}
	if telemetryEndpoint != "" {
		t := newTelemetry(telemetryEndpoint)
		m.registry.MustRegister(t.up)
		m.gather = prometheus.Gatherers{t, m.registry}
	}
	return m
}

// Observe implements tempoapi.Observer.
func (m *metrics) Observe(route, method, status string, d time.Duration) {
	m.duration.WithLabelValues(route, method, status).Observe(d.Seconds())
}

// query counts what a query cost.
func (m *metrics) query(d query.Done) {
	m.wait.WithLabelValues(d.Kind).Observe(d.Wait.Seconds())
	m.spans.WithLabelValues(d.Kind).Add(float64(d.Stats.Spans))
	m.bytes.WithLabelValues(d.Kind).Add(float64(d.Stats.Bytes))
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.gather, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

package tracemetricsconnector

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/exporter/prometheusexporter"
	"github.com/open-telemetry/opentelemetry-collector-contrib/exporter/prometheusremotewriteexporter"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exportertest"

	dto "github.com/prometheus/client_model/go"

	"github.com/bramble-tracing/bramble/internal/store"
)

// scrapeExporter starts contrib's prometheus exporter with its defaults and returns it and its address.
func scrapeExporter(t *testing.T) (exporter.Metrics, string) {
	t.Helper()
	f := prometheusexporter.NewFactory()
	addr := freeAddress(t)
	cfg := f.CreateDefaultConfig()
	require.NoError(t, confmap.NewFromStringMap(map[string]any{"endpoint": addr}).Unmarshal(cfg))
	exp, err := f.CreateMetrics(t.Context(), exportertest.NewNopSettings(f.Type()), cfg)
	require.NoError(t, err)
	require.NoError(t, exp.Start(t.Context(), componenttest.NewNopHost()))
	t.Cleanup(func() { require.NoError(t, exp.Shutdown(context.Background())) })
	return exp, "http://" + addr + "/metrics"
}

// remoteWriteExporter starts contrib's prometheus_remote_write exporter with its defaults but the queue, so that an error
// is seen at once.
func remoteWriteExporter(t *testing.T, endpoint string) exporter.Metrics {
	t.Helper()
	return remoteWrite(t, map[string]any{
		"endpoint": endpoint, "remote_write_queue": map[string]any{"enabled": false}, "retry_on_failure": map[string]any{"enabled": false},
	})
}

func remoteWrite(t *testing.T, settings map[string]any) exporter.Metrics {
	t.Helper()
	f := prometheusremotewriteexporter.NewFactory()
	cfg := f.CreateDefaultConfig()
	require.NoError(t, confmap.NewFromStringMap(settings).Unmarshal(cfg))
	exp, err := f.CreateMetrics(t.Context(), exportertest.NewNopSettings(f.Type()), cfg)
	require.NoError(t, err)
	require.NoError(t, exp.Start(t.Context(), componenttest.NewNopHost()))
	t.Cleanup(func() { require.NoError(t, exp.Shutdown(context.Background())) })
	return exp
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

func get(t *testing.T, address string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, res.StatusCode, "%s: %s", address, body)
	return body
}

func scrape(t *testing.T, address string) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(get(t, address))))
	require.NoError(t, err)
	return families
}

func labelsOf(m *dto.Metric) map[string]string {
	out := make(map[string]string)
	for _, l := range m.GetLabel() {
		if l.GetValue() != "" { // An empty label is no label to Prometheus.
			out[l.GetName()] = l.GetValue()
		}
	}
	return out
}

// allOn switches on what has further names.
func allOn(cfg *Config) {
	cfg.Store = ""
	cfg.Processors = append(cfg.Processors, "host-info")
	cfg.SpanMetrics.EnableTargetInfo = true
	cfg.SpanMetrics.Dimensions = []string{"http.route"}
	cfg.ServiceGraph.EnableMessagingSystemLatencyHistogram = true
	cfg.ServiceGraph.EnableVirtualNodeLabel = true
	cfg.ServiceGraph.EnableClientServerPrefix = true
	cfg.ServiceGraph.Dimensions = []string{"service.namespace"}
}

var wantNames = map[string]dto.MetricType{
	"traces_spanmetrics_calls_total":                        dto.MetricType_COUNTER,
	"traces_spanmetrics_size_total":                         dto.MetricType_COUNTER,
	"traces_spanmetrics_latency":                            dto.MetricType_HISTOGRAM,
	"traces_service_graph_request_total":                    dto.MetricType_COUNTER,
	"traces_service_graph_request_failed_total":             dto.MetricType_COUNTER,
	"traces_service_graph_request_server_seconds":           dto.MetricType_HISTOGRAM,
	"traces_service_graph_request_client_seconds":           dto.MetricType_HISTOGRAM,
	"traces_service_graph_request_messaging_system_seconds": dto.MetricType_HISTOGRAM,
	"traces_target_info":                                    dto.MetricType_GAUGE,
	"traces_host_info":                                      dto.MetricType_GAUGE,
}

// TestScrapedNames: N-01, N-02, N-03, N-05, N-08, N-20, N-21, N-42 through contrib's prometheus exporter.
func TestScrapedNames(t *testing.T) {
	exp, address := scrapeExporter(t)
	c := start(t, componenttest.NewNopHost(), allOn, exp)
	td := recent(1).Traces(800)
	require.NoError(t, c.ConsumeTraces(t.Context(), td))
	require.NoError(t, c.flush(t.Context(), false))
	defer func() { require.NoError(t, c.Shutdown(context.Background())) }()

	families := scrape(t, address)
	assert.ElementsMatch(t, slices.Collect(maps.Keys(wantNames)), slices.Collect(maps.Keys(families)), "exactly these and no target_info")
	total, requests := 0.0, 0.0
	for name, f := range families {
		assert.Equal(t, wantNames[name], f.GetType(), name)
		for _, m := range f.GetMetric() {
			assert.Equal(t, "node-a", labelsOf(m)["node"], "%s has the node label (N-42)", name)
		}
	}
	for _, m := range families["traces_spanmetrics_calls_total"].GetMetric() {
		l := labelsOf(m)
		total += m.GetCounter().GetValue()
		for _, label := range []string{"service", "span_name", "span_kind", "status_code", "job"} {
			assert.NotEmpty(t, l[label], label)
		}
		assert.Regexp(t, "^SPAN_KIND_", l["span_kind"])
		assert.Regexp(t, "^STATUS_CODE_(UNSET|OK|ERROR)$", l["status_code"])
	}
	assert.InDelta(t, td.SpanCount(), total, 0)
	for _, m := range families["traces_service_graph_request_total"].GetMetric() {
		requests += m.GetCounter().GetValue()
	}
	assert.Positive(t, requests)

	h := families["traces_spanmetrics_latency"].GetMetric()[0].GetHistogram()
	assert.Len(t, h.GetBucket(), 15)
	assert.InDelta(t, 0.002, h.GetBucket()[0].GetUpperBound(), 1e-12)
	assert.InDelta(t, 16.384, h.GetBucket()[13].GetUpperBound(), 1e-9)
	g := families["traces_service_graph_request_server_seconds"].GetMetric()[0].GetHistogram()
	assert.Len(t, g.GetBucket(), 9)
	assert.InDelta(t, 12.8, g.GetBucket()[7].GetUpperBound(), 1e-9)
}

// TestWhatCannotBeScraped holds the documentation to what it says about contrib's exporter: of both kinds of histograms
// under one name it shows one, and series with a label that begins with two underscores it leaves out.
func TestWhatCannotBeScraped(t *testing.T) {
	families := func(change func(*Config)) map[string]*dto.MetricFamily {
		exp, address := scrapeExporter(t)
		c := start(t, componenttest.NewNopHost(), func(cfg *Config) { cfg.Store = ""; change(cfg) }, exp)
		batch := recent(1).Batch(300)
		for i := range batch.Spans {
			batch.Spans[i].Attrs = append(batch.Spans[i].Attrs, store.Attr{Key: "service", Value: store.String("x")})
		}
		c.Accepted(batch)
		require.NoError(t, c.flush(t.Context(), false))
		require.NoError(t, c.Shutdown(context.Background()))
		return scrape(t, address)
	}
	both := families(func(cfg *Config) { cfg.NativeHistograms = "both" })
	classic := 0
	for _, m := range both["traces_spanmetrics_latency"].GetMetric() {
		if len(m.GetHistogram().GetBucket()) > 1 {
			classic++
		}
	}
	assert.Less(t, classic, len(both["traces_spanmetrics_calls_total"].GetMetric()))

	collides := families(func(cfg *Config) { cfg.SpanMetrics.Dimensions = []string{"service"} })
	assert.NotContains(t, collides, "traces_spanmetrics_calls_total")
	assert.Contains(t, collides, "traces_service_graph_request_total")
}

// TestZeroBeforeScrape: with zero_sample: before a scrape between two flushes sees the zero (N-41).
func TestZeroBeforeScrape(t *testing.T) {
	exp, address := scrapeExporter(t)
	c := start(t, componenttest.NewNopHost(), func(cfg *Config) { cfg.Store, cfg.ZeroSample = "", "before" }, exp)
	td := recent(1).Traces(300)
	require.NoError(t, c.ConsumeTraces(t.Context(), td))
	sum := func() (v float64) {
		for _, m := range scrape(t, address)["traces_spanmetrics_calls_total"].GetMetric() {
			v += m.GetCounter().GetValue()
		}
		return v
	}
	require.NoError(t, c.flush(t.Context(), false))
	assert.Zero(t, sum())
	require.NoError(t, c.flush(t.Context(), false))
	assert.InDelta(t, td.SpanCount(), sum(), 0)
	require.NoError(t, c.Shutdown(context.Background()))
}

// TestStaleSeriesLeaveTheScrape: N-42 through contrib's exporter, for several series of one metric at once.
func TestStaleSeriesLeaveTheScrape(t *testing.T) {
	exp, address := scrapeExporter(t)
	c := start(t, componenttest.NewNopHost(), func(cfg *Config) { cfg.Store = "" }, exp)
	require.NoError(t, c.ConsumeTraces(t.Context(), recent(1).Traces(300)))
	require.NoError(t, c.flush(t.Context(), false))
	assert.Greater(t, len(scrape(t, address)["traces_spanmetrics_calls_total"].GetMetric()), 10)
	col := c.aggregator.Collect(time.Now().Add(time.Hour), false)
	require.NoError(t, exp.ConsumeMetrics(t.Context(), col.Metrics))
	assert.Empty(t, scrape(t, address))
	require.NoError(t, c.Shutdown(context.Background()))
}

// prometheus starts a real Prometheus that takes remote writes and keeps exemplars, and returns its URL.
func prometheus(t *testing.T) string {
	t.Helper()
	binary, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("the binary `prometheus` is not installed; on Debian: apt-get install prometheus")
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte("global: {scrape_interval: 1h}\nstorage: {exemplars: {max_exemplars: 100000}}\n"), 0o600))
	addr := freeAddress(t)
	logs, err := os.Create(filepath.Join(dir, "log"))
	require.NoError(t, err)
	cmd := exec.Command(binary, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"), //nolint:gosec // A test.
		"--web.listen-address="+addr, "--web.enable-remote-write-receiver", "--enable-feature=exemplar-storage,native-histograms")
	cmd.Stdout, cmd.Stderr = logs, logs
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(logs.Name())
			t.Logf("prometheus said:\n%s", text)
		}
		_ = logs.Close()
	})
	require.Eventually(t, func() bool {
		res, err := http.Get("http://" + addr + "/-/ready") //nolint:noctx // Polls until the server is up.
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	}, 60*time.Second, 50*time.Millisecond)
	return "http://" + addr
}

type promSeries struct {
	Metric map[string]string `json:"metric"`
	Value  [2]any            `json:"value"`
}

func (s *promSeries) number(t *testing.T) float64 {
	t.Helper()
	var f float64
	_, err := fmt.Sscan(s.Value[1].(string), &f)
	require.NoError(t, err)
	return f
}

func query(t *testing.T, base, promQL string) []promSeries {
	t.Helper()
	var answer struct {
		Data struct {
			Result []promSeries `json:"result"`
		} `json:"data"`
	}
	body := get(t, base+"/api/v1/query?query="+url.QueryEscape(promQL))
	require.NoError(t, json.Unmarshal(body, &answer), "%s", body)
	return answer.Data.Result
}

// TestRealPrometheus sends what the connector makes by contrib's remote-write exporter to a real Prometheus, and asks it
// what Grafana asks.
func TestRealPrometheus(t *testing.T) {
	base := prometheus(t)
	exp := remoteWriteExporter(t, base+"/api/v1/write")
	c := start(t, componenttest.NewNopHost(), func(cfg *Config) { allOn(cfg); cfg.SpanMetrics.EnableTargetInfo = false }, exp)
	g := recent(1)
	batch := g.Batch(800)
	kinds := make(map[int32]int)
	ids := make(map[string]bool)
	for i := range batch.Spans {
		kinds[batch.Spans[i].Kind]++
		ids[batch.Spans[i].TraceID.String()] = true
	}
	c.Accepted(batch)
	require.NoError(t, c.flush(t.Context(), false))
	t.Cleanup(func() { require.NoError(t, c.Shutdown(context.Background())) })

	var names struct {
		Data []string `json:"data"`
	}
	require.NoError(t, json.Unmarshal(get(t, base+"/api/v1/label/__name__/values?match[]="+url.QueryEscape(`{__name__=~"traces_.*"}`)), &names))
	var want []string
	for name, kind := range wantNames {
		switch {
		case name == "traces_target_info":
		case kind == dto.MetricType_HISTOGRAM:
			want = append(want, name+"_bucket", name+"_count", name+"_sum")
		default:
			want = append(want, name)
		}
	}
	assert.ElementsMatch(t, want, names.Data)

	t.Run("the first increment counts", func(t *testing.T) { // N-41
		got := query(t, base, `sum(increase(traces_spanmetrics_calls_total[1h]))`)
		require.Len(t, got, 1)
		// increase() extrapolates; raw deltas are exact.
		assert.Positive(t, got[0].number(t))
		got = query(t, base, `sum(traces_spanmetrics_calls_total) - sum(min_over_time(traces_spanmetrics_calls_total[1h]))`)
		require.Len(t, got, 1)
		assert.InDelta(t, len(batch.Spans), got[0].number(t), 0)
		got = query(t, base, `sum by (span_kind) (traces_spanmetrics_latency_bucket{le="+Inf"} - min_over_time(traces_spanmetrics_latency_bucket{le="+Inf"}[1h]))`)
		assert.Len(t, got, len(kinds))
		for _, s := range got {
			kind := slices.Index([]string{"", "SPAN_KIND_INTERNAL", "SPAN_KIND_SERVER", "SPAN_KIND_CLIENT", "SPAN_KIND_PRODUCER", "SPAN_KIND_CONSUMER"}, s.Metric["span_kind"])
			assert.InDelta(t, kinds[int32(kind)], s.number(t), 0, s.Metric["span_kind"]) //nolint:gosec // An index.
		}
	})
	t.Run("service graph of the reference topology", func(t *testing.T) { serviceGraphOfReference(t, base, batch) })
	t.Run("service graph", func(t *testing.T) {
		for _, q := range []string{
			`sum by (client, server, client_service_namespace, server_service_namespace) (rate(traces_service_graph_request_total[1h]))`,
			`sum by (client, server) (rate(traces_service_graph_request_server_seconds_sum[1h]))`,
			`histogram_quantile(0.9, sum by (le, client, server) (rate(traces_service_graph_request_server_seconds_bucket[1h])))`,
		} {
			assert.NotEmpty(t, query(t, base, q), q)
		}
		edges := query(t, base, `group by (client, connection_type, server) (traces_service_graph_request_total)`)
		seen := make(map[string]string)
		for _, e := range edges {
			seen[e.Metric["client"]+" "+e.Metric["server"]] = e.Metric["connection_type"]
		}
		assert.Equal(t, "virtual_node", seen["user web-gateway"])
		assert.Equal(t, "database", seen["web-gateway pg-0.db.example"])
		assert.Contains(t, slices.Collect(maps.Values(seen)), "", "A-33: plain calls have no connection_type")
		assert.Contains(t, slices.Collect(maps.Values(seen)), "messaging_system")
	})
	t.Run("span metrics table", func(t *testing.T) {
		assert.Len(t, query(t, base, `topk(5, sum(rate(traces_spanmetrics_calls_total{span_kind="SPAN_KIND_SERVER"}[1h])) by (span_name))`), 5)
		assert.NotEmpty(t, query(t, base, `topk(5, sum(rate(traces_spanmetrics_calls_total{status_code="STATUS_CODE_ERROR",service="web-gateway"}[1h])) by (span_name))`))
		assert.NotEmpty(t, query(t, base, `histogram_quantile(.9, sum(rate(traces_spanmetrics_latency_bucket{span_name=~"GET.*"}[1h])) by (le))`))
	})
	t.Run("exemplars", func(t *testing.T) { // N-40
		for _, metric := range []string{"traces_spanmetrics_latency_bucket", "traces_service_graph_request_server_seconds_bucket"} {
			var answer struct {
				Data []struct {
					Exemplars []struct {
						Labels map[string]string `json:"labels"`
					} `json:"exemplars"`
				} `json:"data"`
			}
			now := time.Now()
			body := get(t, fmt.Sprintf("%s/api/v1/query_exemplars?query=%s&start=%d&end=%d", base, metric, now.Add(-time.Hour).Unix(), now.Add(time.Hour).Unix()))
			require.NoError(t, json.Unmarshal(body, &answer))
			n := 0
			for _, s := range answer.Data {
				for _, e := range s.Exemplars {
					n++
					assert.True(t, ids[e.Labels["traceID"]], "label traceID is a trace of ours: %v", e.Labels)
				}
			}
			assert.Greater(t, n, 10, metric)
		}
	})
	t.Run("later flushes and failed ones", func(t *testing.T) {
		more := g.Batch(300)
		c.Accepted(more)
		require.NoError(t, c.flush(t.Context(), false))
		got := query(t, base, `sum(traces_spanmetrics_calls_total)`)
		assert.InDelta(t, len(batch.Spans)+len(more.Spans), got[0].number(t), 0)
		failed := query(t, base, `sum(traces_spanmetrics_calls_total{status_code="STATUS_CODE_ERROR"})`)
		want := 0
		for _, b := range []*store.Batch{batch, more} {
			for i := range b.Spans {
				if b.Spans[i].StatusCode == store.StatusError {
					want++
				}
			}
		}
		assert.InDelta(t, want, failed[0].number(t), 0)
	})
	t.Run("native histograms", func(t *testing.T) { nativeHistograms(t, base) }) // N-44, A-34
}

// nativeHistograms sends both kinds of histograms to a Prometheus that has series of others already.
func nativeHistograms(t *testing.T, base string) {
	exp := remoteWriteExporter(t, base+"/api/v1/write")
	c := start(t, componenttest.NewNopHost(), func(cfg *Config) { cfg.Store, cfg.NativeHistograms, cfg.Node = "", "both", "native" }, exp)
	batch := recent(1).Batch(500)
	c.Accepted(batch)
	require.NoError(t, c.Shutdown(context.Background()), "flushes")
	for _, metric := range []string{"traces_spanmetrics_latency", "traces_service_graph_request_server_seconds"} {
		got := query(t, base, `sum(histogram_count(`+metric+`{node="native"}))`)
		require.Len(t, got, 1, metric)
		classic := query(t, base, `sum(`+metric+`_count{node="native"})`)
		require.Len(t, classic, 1, metric)
		assert.InDelta(t, classic[0].number(t), got[0].number(t), 0, metric)
		quantile := query(t, base, `histogram_quantile(0.9, sum(rate(`+metric+`{node="native"}[1h])))`)
		require.Len(t, quantile, 1, metric)
		assert.Positive(t, quantile[0].number(t))
	}
	got := query(t, base, `sum(traces_spanmetrics_latency_count{node="native"})`)
	assert.InDelta(t, len(batch.Spans), got[0].number(t), 0)
}

// TestOutage: while the remote end is away flushes wait in the exporter's queue; afterwards Prometheus has every increment
// and refuses nothing.
func TestOutage(t *testing.T) {
	if os.Getenv("BRAMBLE_FULL") != "1" {
		t.Skip("waits for a Prometheus of its own; set BRAMBLE_FULL=1")
	}
	base := prometheus(t)
	target, err := url.Parse(base)
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	var away atomic.Bool
	var refused, bad atomic.Int64
	proxy.ModifyResponse = func(res *http.Response) error {
		if res.StatusCode >= 300 {
			bad.Add(1)
		}
		return nil
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if away.Load() {
			refused.Add(1)
			http.Error(w, "away", http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	exp := remoteWrite(t, map[string]any{
		"endpoint": server.URL + "/api/v1/write", "external_labels": map[string]any{"source": "tempo"},
		"retry_on_failure": map[string]any{"initial_interval": "10ms", "max_interval": "50ms"},
	})
	c := start(t, componenttest.NewNopHost(), func(cfg *Config) { cfg.Store = "" }, exp)
	t.Cleanup(func() { require.NoError(t, c.Shutdown(context.Background())) })
	g, truth := recent(1), 0
	for i := range 6 {
		away.Store(i == 1 || i == 2 || i == 3)
		batch := g.Batch(300)
		truth += len(batch.Spans)
		c.Accepted(batch)
		require.NoError(t, c.flush(t.Context(), false), "the queue takes it")
		if away.Load() {
			before := refused.Load()
			require.Eventually(t, func() bool { return refused.Load() > before }, 10*time.Second, time.Millisecond)
		}
	}
	require.Eventually(t, func() bool {
		got := query(t, base, `sum(traces_spanmetrics_calls_total)`)
		return len(got) == 1 && got[0].number(t) == float64(truth)
	}, 20*time.Second, 50*time.Millisecond)
	assert.InDelta(t, truth, deltas(t, base, `traces_spanmetrics_calls_total`), 0, "series that began in the outage have their zero, too")
	assert.Zero(t, bad.Load(), "Prometheus refused nothing")
	assert.Positive(t, refused.Load())
}

package tracemetricsconnector

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/bramble-tracing/bramble/components/tracemetricsconnector/internal/metadata"
)

func load(t *testing.T, name string) (*Config, error) {
	t.Helper()
	cm, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	sub, err := cm.Sub(component.MustNewIDWithName(metadata.Type.String(), name).String())
	require.NoError(t, err)
	cfg := createDefaultConfig()
	if err := sub.Unmarshal(cfg); err != nil {
		return nil, err
	}
	return cfg.(*Config), confmap.Validate(cfg)
}

func TestConfig(t *testing.T) {
	cfg, err := load(t, "")
	require.NoError(t, err)
	assert.Equal(t, createDefaultConfig(), cfg)
	assert.Equal(t, "trace_store", cfg.Store)

	cfg, err = load(t, "no_store")
	require.NoError(t, err)
	assert.Empty(t, cfg.Store)

	cfg, err = load(t, "all")
	require.NoError(t, err)
	assert.Equal(t, &Config{
		Store: "trace_store/other", Node: "node-7", NodeLabel: "k8s_node", FlushInterval: 30 * time.Second,
		IngestionTimeRangeSlack: 5 * time.Minute, Processors: []string{"span-metrics-count", "service-graphs", "host-info"},
		NativeHistograms: "both", NativeBucketFactor: 1.2, NativeMaxBuckets: 160, ZeroSample: "before", StaleDuration: time.Hour,
		MaxActiveSeries: 100, MaxCardinalityPerLabel: 10, MaxLabelNameLength: 64, MaxLabelValueLength: 128, TraceIDLabelName: "trace",
		Exemplars: ExemplarsConfig{Enabled: true, LatencyThreshold: 2 * time.Second, KeptPercentage: 10, HashSalt: "pepper", MaxPinnedPerFlush: 5},
		SpanMetrics: SpanMetricsConfig{
			HistogramBuckets:             []float64{0.1, 1, 10},
			IntrinsicDimensions:          IntrinsicDimensionsConfig{Service: true, SpanName: true, StatusCode: true, StatusMessage: true},
			Dimensions:                   []string{"http.route", "k8s.pod.name"},
			DimensionMappings:            []DimensionMappingConfig{{Name: "endpoint", SourceLabels: []string{"http.request.method", "http.route"}, Join: " "}},
			EnableTargetInfo:             true,
			TargetInfoExcludedDimensions: []string{"host.arch"},
			SpanMultiplierKey:            "sample.ratio",
		},
		ServiceGraph: ServiceGraphConfig{
			Wait: 20 * time.Second, MaxItems: 500, HistogramBuckets: []float64{1, 2}, Dimensions: []string{"service.namespace"},
			EnableClientServerPrefix: true, EnableMessagingSystemLatencyHistogram: true, EnableVirtualNodeLabel: true,
			PeerAttributes: []string{"peer.service"}, DatabaseNameAttributes: []string{"db.system.name"}, SpanMultiplierKey: "sample.ratio",
		},
		HostInfo: HostInfoConfig{HostIdentifiers: []string{"host.id"}, MetricName: "hosts"},
	}, cfg)
}

func TestConfigErrorsNameTheField(t *testing.T) {
	_, err := load(t, "bad")
	for _, want := range []string{
		"store: must name a trace_store extension or be empty",
		`node_label: must be letters, digits and underscores, is "a-b"`,
		"metrics_flush_interval: must be at least 1s, is 10ms",
		"metrics_ingestion_time_range_slack: must not be negative, is -1s",
		`processors: "local-blocks" is not one of`,
		`generate_native_histograms: must be classic, native or both, is "all"`,
		`zero_sample: must be with_first, before or off, is "maybe"`,
		"max_active_series: must not be negative, is -1",
		"exemplars::kept_percentage: must be from 0 to 100, is 101",
		"exemplars::max_pinned_per_flush: must be from 0 to 1000, is -1",
		"span_metrics::histogram_buckets: must be finite, ascending and not negative, is 1 after [1]",
		"service_graphs::wait: must be above 0, is 0s",
		"service_graphs::max_items: must be above 0, is 0",
	} {
		require.ErrorContains(t, err, want)
	}
	_, err = load(t, "twice")
	require.ErrorContains(t, err, `span_metrics::dimensions: two dimensions become the same label "a_b": remove one`)
	_, err = load(t, "unknown_field")
	require.ErrorContains(t, err, "dimension")
}

func TestNodeIsAlwaysKnown(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	t.Setenv("KUBE_NODE_NAME", "worker-3")
	node, err := cfg.node()
	require.NoError(t, err)
	assert.Equal(t, "worker-3", node)
	t.Setenv("KUBE_NODE_NAME", "")
	node, err = cfg.node()
	require.NoError(t, err)
	assert.NotEmpty(t, node, "the host's name")
	cfg.Node = "mine"
	node, err = cfg.node()
	require.NoError(t, err)
	assert.Equal(t, "mine", node)
}

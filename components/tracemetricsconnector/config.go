package tracemetricsconnector

import (
	"errors"
	"fmt"
	"os"
	"time"

	"go.opentelemetry.io/collector/component"

	"github.com/bramble-tracing/bramble/internal/tracemetrics"
)

// Config is the configuration of the connector. Names that Tempo's metrics generator has are the same and mean the same.
type Config struct {
	// Store is the id of the trace_store extension whose accepted spans are counted. Empty: count what the pipeline brings.
	Store string `mapstructure:"store"`
	// Node is the value of the node label. Empty: the environment variable KUBE_NODE_NAME, or the host's name.
	Node string `mapstructure:"node"`
	// NodeLabel is the name of the label that tells nodes apart. It is on every series.
	NodeLabel string `mapstructure:"node_label"`
	// FlushInterval is the time between two collections.
	FlushInterval time.Duration `mapstructure:"metrics_flush_interval"`
	// IngestionTimeRangeSlack: spans that ended longer ago, or that far in the future, are not counted. 0: no limit.
	IngestionTimeRangeSlack time.Duration `mapstructure:"metrics_ingestion_time_range_slack"`
	// Processors says what is produced.
	Processors []string `mapstructure:"processors"`
	// NativeHistograms is classic, native or both.
	NativeHistograms string `mapstructure:"generate_native_histograms"`
	// NativeBucketFactor bounds the growth from one bucket of a native histogram to the next.
	NativeBucketFactor float64 `mapstructure:"native_histogram_bucket_factor"`
	// NativeMaxBuckets is the largest number of buckets of a native histogram; beyond, its resolution is halved.
	NativeMaxBuckets int `mapstructure:"native_histogram_max_bucket_number"`
	// ZeroSample is with_first (for remote write), before (for scraping) or off.
	ZeroSample string `mapstructure:"zero_sample"`
	// StaleDuration: series without updates end after this time. 0: never.
	StaleDuration time.Duration `mapstructure:"stale_duration"`
	// MaxActiveSeries bounds the series of each metric. 0: no limit.
	MaxActiveSeries int `mapstructure:"max_active_series"`
	// MaxCardinalityPerLabel bounds the values of each label. 0: no limit.
	MaxCardinalityPerLabel int `mapstructure:"max_cardinality_per_label"`
	// MaxLabelNameLength cuts label names, in bytes.
	MaxLabelNameLength int `mapstructure:"max_label_name_length"`
	// MaxLabelValueLength cuts label values, in bytes.
	MaxLabelValueLength int `mapstructure:"max_label_value_length"`
	// TraceIDLabelName is the label of exemplars with the trace id.
	TraceIDLabelName string `mapstructure:"trace_id_label_name"`

	Exemplars    ExemplarsConfig    `mapstructure:"exemplars"`
	SpanMetrics  SpanMetricsConfig  `mapstructure:"span_metrics"`
	ServiceGraph ServiceGraphConfig `mapstructure:"service_graphs"`
	HostInfo     HostInfoConfig     `mapstructure:"host_info"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// ExemplarsConfig says which spans may be exemplars: those whose trace is certain to be kept by sampling.
type ExemplarsConfig struct {
	// Enabled switches exemplars.
	Enabled bool `mapstructure:"enabled"`
	// Errors: sampling keeps traces with an error.
	Errors bool `mapstructure:"errors"`
	// LatencyThreshold: sampling keeps traces with a span at least this long. 0: it does not decide by latency.
	LatencyThreshold time.Duration `mapstructure:"latency_threshold"`
	// KeptPercentage of traces is kept by their id, by the probabilistic policy of tail_sampling. 100 without sampling;
	// while a tail_sampling processor decides for the store, 100 says that it is not known what it keeps, and only traces
	// that were pinned are exemplars.
	KeptPercentage float64 `mapstructure:"kept_percentage"`
	// HashSalt is that of the probabilistic policy.
	HashSalt string `mapstructure:"hash_salt"`
	// MaxPinnedPerFlush is how many traces of each flush are pinned in the store, 0 to 1000: for histograms that had no
	// exemplar of a trace that is kept anyway for five minutes.
	MaxPinnedPerFlush int `mapstructure:"max_pinned_per_flush"`

	_ struct{}
}

// SpanMetricsConfig configures traces_spanmetrics_*.
type SpanMetricsConfig struct {
	// HistogramBuckets are upper bounds in seconds.
	HistogramBuckets []float64 `mapstructure:"histogram_buckets"`
	// IntrinsicDimensions switches the labels that every span has.
	IntrinsicDimensions IntrinsicDimensionsConfig `mapstructure:"intrinsic_dimensions"`
	// Dimensions are attributes, of the resource or else of the span, that become labels.
	Dimensions []string `mapstructure:"dimensions"`
	// DimensionMappings join several attributes into one label.
	DimensionMappings []DimensionMappingConfig `mapstructure:"dimension_mappings"`
	// EnableTargetInfo makes traces_target_info and adds the labels job and instance.
	EnableTargetInfo bool `mapstructure:"enable_target_info"`
	// TargetInfoExcludedDimensions are attributes that traces_target_info leaves out.
	TargetInfoExcludedDimensions []string `mapstructure:"target_info_excluded_dimensions"`
	// SpanMultiplierKey is an attribute with the sampling ratio of a span.
	SpanMultiplierKey string `mapstructure:"span_multiplier_key"`
	// EnableTraceStateSpanMultiplier uses the sampling threshold in the W3C tracestate.
	EnableTraceStateSpanMultiplier bool `mapstructure:"enable_tracestate_span_multiplier"`

	_ struct{}
}

// IntrinsicDimensionsConfig switches labels.
type IntrinsicDimensionsConfig struct {
	Service       bool `mapstructure:"service"`
	SpanName      bool `mapstructure:"span_name"`
	SpanKind      bool `mapstructure:"span_kind"`
	StatusCode    bool `mapstructure:"status_code"`
	StatusMessage bool `mapstructure:"status_message"`

	_ struct{}
}

// DimensionMappingConfig is one label made of several attributes.
type DimensionMappingConfig struct {
	// Name is the label.
	Name string `mapstructure:"name"`
	// SourceLabels are the attributes; those that are missing are left out.
	SourceLabels []string `mapstructure:"source_labels"`
	// Join stands between the values.
	Join string `mapstructure:"join"`

	_ struct{}
}

// ServiceGraphConfig configures traces_service_graph_*.
type ServiceGraphConfig struct {
	// Wait is how long a span waits for the other side of its call.
	Wait time.Duration `mapstructure:"wait"`
	// MaxItems bounds the spans that wait.
	MaxItems int `mapstructure:"max_items"`
	// HistogramBuckets are upper bounds in seconds.
	HistogramBuckets []float64 `mapstructure:"histogram_buckets"`
	// Dimensions are attributes, of the resource or else of the span, that become labels.
	Dimensions []string `mapstructure:"dimensions"`
	// EnableClientServerPrefix makes two labels of each dimension, client_ and server_.
	EnableClientServerPrefix bool `mapstructure:"enable_client_server_prefix"`
	// EnableMessagingSystemLatencyHistogram makes traces_service_graph_request_messaging_system_seconds.
	EnableMessagingSystemLatencyHistogram bool `mapstructure:"enable_messaging_system_latency_histogram"`
	// EnableVirtualNodeLabel adds the label virtual_node, client or server, to edges with a side that is not instrumented.
	EnableVirtualNodeLabel bool `mapstructure:"enable_virtual_node_label"`
	// PeerAttributes name a side that is not instrumented; the first that is there wins.
	PeerAttributes []string `mapstructure:"peer_attributes"`
	// DatabaseNameAttributes tell calls of databases; the first that is there wins.
	DatabaseNameAttributes []string `mapstructure:"database_name_attributes"`
	// SpanMultiplierKey is an attribute with the sampling ratio of a span.
	SpanMultiplierKey string `mapstructure:"span_multiplier_key"`
	// EnableTraceStateSpanMultiplier uses the sampling threshold in the W3C tracestate.
	EnableTraceStateSpanMultiplier bool `mapstructure:"enable_tracestate_span_multiplier"`

	_ struct{}
}

// HostInfoConfig configures traces_host_info, which the processor host-info makes.
type HostInfoConfig struct {
	// HostIdentifiers are resource attributes; the first that is there names the host.
	HostIdentifiers []string `mapstructure:"host_identifiers"`
	// MetricName is the name of the gauge.
	MetricName string `mapstructure:"metric_name"`

	_ struct{}
}

func createDefaultConfig() component.Config {
	d := tracemetrics.DefaultConfig()
	return &Config{
		Store:                   "trace_store",
		NodeLabel:               d.NodeLabel,
		FlushInterval:           15 * time.Second,
		IngestionTimeRangeSlack: d.IngestionTimeRangeSlack,
		Processors:              d.Processors,
		NativeHistograms:        string(d.Histograms),
		NativeBucketFactor:      d.NativeBucketFactor,
		NativeMaxBuckets:        d.NativeMaxBuckets,
		ZeroSample:              string(d.ZeroSample),
		StaleDuration:           d.StaleDuration,
		MaxActiveSeries:         d.MaxActiveSeries,
		MaxCardinalityPerLabel:  d.MaxCardinalityPerLabel,
		MaxLabelNameLength:      d.MaxLabelNameLength,
		MaxLabelValueLength:     d.MaxLabelValueLength,
		TraceIDLabelName:        d.TraceIDLabel,
		Exemplars: ExemplarsConfig{
			Enabled: d.Exemplars.Enabled, Errors: d.Exemplars.Errors, LatencyThreshold: d.Exemplars.Latency,
			KeptPercentage: d.Exemplars.KeptPercentage, MaxPinnedPerFlush: d.Exemplars.Pins,
		},
		SpanMetrics: SpanMetricsConfig{
			HistogramBuckets: d.SpanMetrics.Buckets,
			IntrinsicDimensions: IntrinsicDimensionsConfig{
				Service: true, SpanName: true, SpanKind: true, StatusCode: true,
			},
			EnableTraceStateSpanMultiplier: d.SpanMetrics.Weighting.TraceState,
		},
		ServiceGraph: ServiceGraphConfig{
			Wait: d.ServiceGraph.Wait, MaxItems: d.ServiceGraph.MaxItems, HistogramBuckets: d.ServiceGraph.Buckets,
			PeerAttributes: d.ServiceGraph.PeerAttributes, DatabaseNameAttributes: d.ServiceGraph.DatabaseAttributes,
			EnableTraceStateSpanMultiplier: d.ServiceGraph.Weighting.TraceState,
		},
		HostInfo: HostInfoConfig{HostIdentifiers: d.HostInfo.Identifiers, MetricName: d.HostInfo.MetricName},
	}
}

// Validate names the path of each field that is out of range.
func (c *Config) Validate() error {
	var errs []error
	if _, err := c.storeID(); err != nil {
		errs = append(errs, err)
	}
	if c.FlushInterval < time.Second {
		errs = append(errs, fmt.Errorf("metrics_flush_interval: must be at least 1s, is %s", c.FlushInterval))
	}
	if c.StaleDuration > 0 && c.StaleDuration < c.FlushInterval {
		errs = append(errs, fmt.Errorf("stale_duration: must not be below metrics_flush_interval (%s), is %s", c.FlushInterval, c.StaleDuration))
	}
	m := c.aggregation("any")
	errs = append(errs, m.Validate())
	return errors.Join(errs...)
}

// storeID is nil if there is no store.
func (c *Config) storeID() (*component.ID, error) {
	if c.Store == "" {
		return nil, nil //nolint:nilnil // Documented.
	}
	var id component.ID
	if err := id.UnmarshalText([]byte(c.Store)); err != nil {
		return nil, fmt.Errorf("store: must name a trace_store extension or be empty: %w", err)
	}
	return &id, nil
}

// node is the value of the node label.
func (c *Config) node() (string, error) {
	if c.Node != "" {
		return c.Node, nil
	}
	if n := os.Getenv("KUBE_NODE_NAME"); n != "" {
		return n, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("find the host's name for the node label (set `node`): %w", err)
	}
	return host, nil
}

// aggregation is what decides about the contents of series. A reload that changes it starts the counters anew.
func (c *Config) aggregation(node string) tracemetrics.Config {
	m := tracemetrics.Config{
		Node: node, NodeLabel: c.NodeLabel,
		Processors:              c.Processors,
		IngestionTimeRangeSlack: c.IngestionTimeRangeSlack,
		StaleDuration:           c.StaleDuration,
		MaxActiveSeries:         c.MaxActiveSeries, MaxCardinalityPerLabel: c.MaxCardinalityPerLabel,
		MaxLabelNameLength: c.MaxLabelNameLength, MaxLabelValueLength: c.MaxLabelValueLength,
		Histograms:         tracemetrics.Histograms(c.NativeHistograms),
		NativeBucketFactor: c.NativeBucketFactor, NativeMaxBuckets: c.NativeMaxBuckets,
		ZeroSample: tracemetrics.ZeroSample(c.ZeroSample), TraceIDLabel: c.TraceIDLabelName,
		Exemplars: tracemetrics.Exemplars{
			Enabled: c.Exemplars.Enabled, Errors: c.Exemplars.Errors, Latency: c.Exemplars.LatencyThreshold,
			KeptPercentage: c.Exemplars.KeptPercentage, HashSalt: c.Exemplars.HashSalt, Pins: c.Exemplars.MaxPinnedPerFlush,
		},
		HostInfo: tracemetrics.HostInfo{Identifiers: c.HostInfo.HostIdentifiers, MetricName: c.HostInfo.MetricName},
	}
	s, g := &c.SpanMetrics, &c.ServiceGraph
	m.SpanMetrics = tracemetrics.SpanMetrics{
		Buckets: s.HistogramBuckets, Dimensions: s.Dimensions,
		Intrinsic: tracemetrics.IntrinsicDimensions{
			Service: s.IntrinsicDimensions.Service, SpanName: s.IntrinsicDimensions.SpanName, SpanKind: s.IntrinsicDimensions.SpanKind,
			StatusCode: s.IntrinsicDimensions.StatusCode, StatusMessage: s.IntrinsicDimensions.StatusMessage,
		},
		TargetInfo: s.EnableTargetInfo, TargetInfoExcluded: s.TargetInfoExcludedDimensions,
		Weighting: tracemetrics.Weighting{MultiplierKey: s.SpanMultiplierKey, TraceState: s.EnableTraceStateSpanMultiplier},
	}
	for _, d := range s.DimensionMappings {
		m.SpanMetrics.Mappings = append(m.SpanMetrics.Mappings, tracemetrics.DimensionMapping{Name: d.Name, SourceLabels: d.SourceLabels, Join: d.Join})
	}
	m.ServiceGraph = tracemetrics.ServiceGraph{
		Wait: g.Wait, MaxItems: g.MaxItems, Buckets: g.HistogramBuckets, Dimensions: g.Dimensions,
		ClientServerPrefix: g.EnableClientServerPrefix, MessagingLatency: g.EnableMessagingSystemLatencyHistogram,
		VirtualNodeLabel: g.EnableVirtualNodeLabel, PeerAttributes: g.PeerAttributes, DatabaseAttributes: g.DatabaseNameAttributes,
		Weighting: tracemetrics.Weighting{MultiplierKey: g.SpanMultiplierKey, TraceState: g.EnableTraceStateSpanMultiplier},
	}
	return m
}

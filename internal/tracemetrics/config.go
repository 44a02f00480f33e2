package tracemetrics

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// Histograms says which kinds of histogram are made (N-44).
type Histograms string

// Kinds of histograms.
const (
	HistogramsClassic Histograms = "classic"
	HistogramsNative  Histograms = "native"
	HistogramsBoth    Histograms = "both"
)

func (h Histograms) classic() bool { return h != HistogramsNative }
func (h Histograms) native() bool  { return h == HistogramsNative || h == HistogramsBoth }

// ZeroSample says how a new series announces itself (N-41).
type ZeroSample string

// Kinds of zero samples. WithFirst sends a zero, timed at the previous collection, together with the first value: right
// for remote write. Before sends the zero in one collection and the value in the next: right for scraping, which sees
// only the latest point. Off sends none.
const (
	ZeroWithFirst ZeroSample = "with_first"
	ZeroBefore    ZeroSample = "before"
	ZeroOff       ZeroSample = "off"
)

// Config says what is counted and how. DefaultConfig has the defaults of the contract.
type Config struct {
	// Node is the value of the node label, which is on every series. NodeLabel is its name.
	Node, NodeLabel string
	// Processors names what is produced; see the Processor constants.
	Processors []string
	// IngestionTimeRangeSlack: spans that ended longer ago, or that far in the future, are not counted (N-07). 0: no limit.
	IngestionTimeRangeSlack time.Duration
	// StaleDuration: series that were not updated for so long end (N-42). 0: never.
	StaleDuration time.Duration
	// MaxActiveSeries bounds the series of each metric, MaxCardinalityPerLabel the values of each label. 0: no limit.
	MaxActiveSeries, MaxCardinalityPerLabel int
	// MaxLabelNameLength and MaxLabelValueLength cut label names and values, in bytes (N-42).
	MaxLabelNameLength, MaxLabelValueLength int
	// Histograms is the kind of histograms. NativeBucketFactor bounds the growth from one bucket of a native histogram to
	// the next, NativeMaxBuckets their number; with more the resolution is halved.
	Histograms         Histograms
	NativeBucketFactor float64
	NativeMaxBuckets   int
	ZeroSample         ZeroSample
	// TraceIDLabel is the exemplar label with the trace id in hex (N-40). Empty: only OTLP's own field is set.
	TraceIDLabel string

	SpanMetrics  SpanMetrics
	ServiceGraph ServiceGraph
	HostInfo     HostInfo
	Exemplars    Exemplars
}

// Names for Config.Processors (N-08). ProcessorSpanMetrics is all three of its parts.
const (
	ProcessorServiceGraphs      = "service-graphs"
	ProcessorSpanMetrics        = "span-metrics"
	ProcessorSpanMetricsLatency = "span-metrics-latency"
	ProcessorSpanMetricsCount   = "span-metrics-count"
	ProcessorSpanMetricsSize    = "span-metrics-size"
	ProcessorHostInfo           = "host-info"
)

var processors = []string{
	ProcessorServiceGraphs, ProcessorSpanMetrics, ProcessorSpanMetricsLatency, ProcessorSpanMetricsCount,
	ProcessorSpanMetricsSize, ProcessorHostInfo,
}

// Weighting says how many calls a sampled span stands for (N-06).
type Weighting struct {
	// MultiplierKey names an attribute with the sampling ratio r, 0 < r <= 1: the span counts 1/r.
	MultiplierKey string
	// TraceState uses the threshold `th` in the `ot` entry of the W3C tracestate.
	TraceState bool
}

// SpanMetrics configures N-01 to N-06.
type SpanMetrics struct {
	Buckets    []float64 // seconds, ascending
	Intrinsic  IntrinsicDimensions
	Dimensions []string
	Mappings   []DimensionMapping
	// TargetInfo makes traces_target_info and adds job and instance; TargetInfoExcluded names attributes it leaves out.
	TargetInfo         bool
	TargetInfoExcluded []string
	Weighting          Weighting
}

// IntrinsicDimensions switches the labels of N-02.
type IntrinsicDimensions struct {
	Service, SpanName, SpanKind, StatusCode, StatusMessage bool
}

// DimensionMapping joins several attributes into one label.
type DimensionMapping struct {
	Name         string
	SourceLabels []string
	Join         string
}

// ServiceGraph configures N-20 to N-30.
type ServiceGraph struct {
	// Wait is how long half an edge waits for its other half; MaxItems bounds the halves that wait.
	Wait     time.Duration
	MaxItems int
	Buckets  []float64 // seconds, ascending
	// Dimensions are attribute names, resource first. With ClientServerPrefix each is two labels, client_ and server_.
	Dimensions         []string
	ClientServerPrefix bool
	MessagingLatency   bool
	VirtualNodeLabel   bool
	// PeerAttributes name the missing side of an edge, DatabaseAttributes tell a database call; first found wins.
	PeerAttributes, DatabaseAttributes []string
	Weighting                          Weighting
}

// HostInfo configures traces_host_info (N-08).
type HostInfo struct {
	// Identifiers are resource attributes; the first one that a resource has names its host.
	Identifiers []string
	MetricName  string
}

// Exemplars says which spans may be exemplars: those whose trace is certain to be kept.
type Exemplars struct {
	Enabled bool
	// Errors: traces with an error are kept. Latency: traces with a span at least this long are kept (0: not by latency).
	Errors  bool
	Latency time.Duration
	// KeptPercentage of traces is kept by their id, by the hash of the probabilistic policy of tail_sampling with HashSalt.
	// 100 means that nothing is sampled away, unless Aggregator.SetSampled says that something is.
	KeptPercentage float64
	HashSalt       string
	// Pins is how many traces a collection may propose for pinning, so that histograms have exemplars whose own traces
	// are not certain to be kept. 0: none.
	Pins int
}

// pins reports whether traces may be proposed for pinning.
func (e *Exemplars) pins() bool { return e.Enabled && e.Pins > 0 }

// DefaultConfig has the defaults of the contract; Node must be set.
func DefaultConfig() Config {
	return Config{
		NodeLabel:               "node",
		Processors:              []string{ProcessorServiceGraphs, ProcessorSpanMetrics},
		IngestionTimeRangeSlack: 30 * time.Second,
		StaleDuration:           15 * time.Minute,
		MaxActiveSeries:         20_000,
		MaxCardinalityPerLabel:  2_000,
		MaxLabelNameLength:      1024,
		MaxLabelValueLength:     2048,
		Histograms:              HistogramsClassic,
		NativeBucketFactor:      1.1,
		NativeMaxBuckets:        100,
		ZeroSample:              ZeroWithFirst,
		TraceIDLabel:            "traceID",
		SpanMetrics: SpanMetrics{
			Buckets:   exponential(0.002, 14),
			Intrinsic: IntrinsicDimensions{Service: true, SpanName: true, SpanKind: true, StatusCode: true},
			Weighting: Weighting{TraceState: true},
		},
		ServiceGraph: ServiceGraph{
			Wait:               10 * time.Second,
			MaxItems:           10_000,
			Buckets:            exponential(0.1, 8),
			PeerAttributes:     []string{"peer.service", "db.name", "db.system", "db.system.name"},
			DatabaseAttributes: []string{"db.namespace", "db.name", "db.system", "db.system.name"},
			Weighting:          Weighting{TraceState: true},
		},
		HostInfo:  HostInfo{Identifiers: []string{"k8s.node.name", "host.id"}, MetricName: "traces_host_info"},
		Exemplars: Exemplars{Enabled: true, Errors: true, Latency: time.Second, KeptPercentage: 100, Pins: 20},
	}
}

// exponential is start * 2^k for k below n.
func exponential(start float64, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = start
		start *= 2
	}
	return out
}

// Validate names each field that is out of range, by its name in the connector's configuration.
func (c *Config) Validate() error {
	var errs []error
	add := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	add(c.NodeLabel == "" || c.NodeLabel != sanitize(c.NodeLabel), "node_label: must be letters, digits and underscores, is %q", c.NodeLabel)
	for _, p := range c.Processors {
		add(!slices.Contains(processors, p), "processors: %q is not one of %q", p, processors)
	}
	add(c.IngestionTimeRangeSlack < 0, "metrics_ingestion_time_range_slack: must not be negative, is %s", c.IngestionTimeRangeSlack)
	add(c.StaleDuration < 0, "stale_duration: must not be negative, is %s", c.StaleDuration)
	add(c.MaxActiveSeries < 0, "max_active_series: must not be negative, is %d", c.MaxActiveSeries)
	add(c.MaxCardinalityPerLabel < 0, "max_cardinality_per_label: must not be negative, is %d", c.MaxCardinalityPerLabel)
	add(c.MaxLabelNameLength < 16, "max_label_name_length: must be at least 16, is %d", c.MaxLabelNameLength)
	add(c.MaxLabelValueLength < 32, "max_label_value_length: must be at least 32, is %d", c.MaxLabelValueLength)
	switch c.Histograms {
	case HistogramsClassic, HistogramsNative, HistogramsBoth:
	default:
		add(true, "generate_native_histograms: must be classic, native or both, is %q", c.Histograms)
	}
	switch c.ZeroSample {
	case ZeroWithFirst, ZeroBefore, ZeroOff:
	default:
		add(true, "zero_sample: must be with_first, before or off, is %q", c.ZeroSample)
	}
	add(!(c.NativeBucketFactor > 1.0027 && c.NativeBucketFactor <= 65536),
		"native_histogram_bucket_factor: must be above 1.0027 and at most 65536, is %v", c.NativeBucketFactor)
	add(c.NativeMaxBuckets < 8 || c.NativeMaxBuckets > 1000, "native_histogram_max_bucket_number: must be from 8 to 1000, is %d", c.NativeMaxBuckets)
	add(!(c.Exemplars.KeptPercentage >= 0 && c.Exemplars.KeptPercentage <= 100),
		"exemplars::kept_percentage: must be from 0 to 100, is %v", c.Exemplars.KeptPercentage)
	add(c.Exemplars.Pins < 0 || c.Exemplars.Pins > maxPins, "exemplars::max_pinned_per_flush: must be from 0 to %d, is %d", maxPins, c.Exemplars.Pins)
	add(c.Exemplars.Latency < 0, "exemplars::latency_threshold: must not be negative, is %s", c.Exemplars.Latency)
	add(c.ServiceGraph.Wait <= 0, "service_graphs::wait: must be above 0, is %s", c.ServiceGraph.Wait)
	add(c.ServiceGraph.MaxItems <= 0, "service_graphs::max_items: must be above 0, is %d", c.ServiceGraph.MaxItems)
	errs = append(errs,
		checkBuckets("span_metrics::histogram_buckets", c.SpanMetrics.Buckets),
		checkBuckets("service_graphs::histogram_buckets", c.ServiceGraph.Buckets))
	if errors.Join(errs...) == nil {
		_, err := spanLabels(c)
		_, err2 := graphLabels(c)
		errs = append(errs, err, err2)
	}
	return errors.Join(errs...)
}

// maxPins bounds Exemplars.Pins: the store writes each set of pins to its disk.
const maxPins = 1000

// maxBuckets is how many buckets a bit mask of exemplars has room for, with the one to infinity.
const maxBuckets = 63

func checkBuckets(path string, bounds []float64) error {
	if len(bounds) == 0 || len(bounds) > maxBuckets {
		return fmt.Errorf("%s: must be 1 to %d bounds, are %d", path, maxBuckets, len(bounds))
	}
	for i, b := range bounds {
		if math.IsNaN(b) || math.IsInf(b, 0) || b < 0 || i > 0 && b <= bounds[i-1] {
			return fmt.Errorf("%s: must be finite, ascending and not negative, is %v after %v", path, b, bounds[:i])
		}
	}
	return nil
}

// produces reports whether one of the processors is switched on.
func (c *Config) produces(any ...string) bool {
	return slices.ContainsFunc(any, func(p string) bool { return slices.Contains(c.Processors, p) })
}

package sampling

import (
	"time"
)

// Types of policies. All but the last two are contrib's.
const (
	AlwaysSample     = "always_sample"
	Latency          = "latency"
	NumericAttribute = "numeric_attribute"
	Probabilistic    = "probabilistic"
	StatusCode       = "status_code"
	StringAttribute  = "string_attribute"
	BooleanAttribute = "boolean_attribute"
	RateLimiting     = "rate_limiting"
	BytesLimiting    = "bytes_limiting"
	SpanCount        = "span_count"
	TraceState       = "trace_state"
	TraceFlags       = "trace_flags"
	Composite        = "composite"
	And              = "and"
	Not              = "not"
	Drop             = "drop"
	OTTLCondition    = "ottl_condition" // refused: see Compile
	TraceQL          = "traceql"
	MinPerService    = "min_per_service"
)

// Config is a set of policies.
type Config struct {
	// Policies are asked in this order, those of type drop first. A trace is kept if one of them samples it and none
	// drops it. Without any nothing is kept.
	Policies []Policy `mapstructure:"policies"`
	// SampleOnFirstMatch ends the evaluation of a trace with the first policy that samples it, so that it uses up no
	// budget of later ones.
	SampleOnFirstMatch bool `mapstructure:"sample_on_first_match"`
}

// Policy is one policy, at the top or inside of another one. Only the field that is named like Type is read.
type Policy struct {
	// Name is what decisions, metrics and reports call the policy. It must be unique at the top.
	Name string `mapstructure:"name"`
	// Type is one of the constants of this package.
	Type string `mapstructure:"type"`

	Latency          LatencyConfig          `mapstructure:"latency"`
	NumericAttribute NumericAttributeConfig `mapstructure:"numeric_attribute"`
	Probabilistic    ProbabilisticConfig    `mapstructure:"probabilistic"`
	StatusCode       StatusCodeConfig       `mapstructure:"status_code"`
	StringAttribute  StringAttributeConfig  `mapstructure:"string_attribute"`
	BooleanAttribute BooleanAttributeConfig `mapstructure:"boolean_attribute"`
	RateLimiting     RateLimitingConfig     `mapstructure:"rate_limiting"`
	BytesLimiting    BytesLimitingConfig    `mapstructure:"bytes_limiting"`
	SpanCount        SpanCountConfig        `mapstructure:"span_count"`
	TraceState       TraceStateConfig       `mapstructure:"trace_state"`
	TraceQL          TraceQLConfig          `mapstructure:"traceql"`
	MinPerService    MinPerServiceConfig    `mapstructure:"min_per_service"`

	// Those that hold others; nil means without settings.
	Composite *CompositeConfig `mapstructure:"composite"`
	And       *AndConfig       `mapstructure:"and"`
	Not       *NotConfig       `mapstructure:"not"`
	Drop      *DropConfig      `mapstructure:"drop"`

	// Rest has the fields that no type above has. They are refused with a message that names them.
	Rest map[string]any `mapstructure:",remain"`
}

// LatencyConfig samples traces by the time from the earliest start to the latest end, in whole milliseconds.
type LatencyConfig struct {
	// ThresholdMs must be exceeded.
	ThresholdMs int64 `mapstructure:"threshold_ms"`
	// UpperThresholdMs must not be exceeded; 0 means no such limit.
	UpperThresholdMs int64 `mapstructure:"upper_threshold_ms"`
}

// NumericAttributeConfig samples traces with an integer attribute, of a span or resource, in a range. An attribute of
// another type counts as 0, as it does in contrib.
type NumericAttributeConfig struct {
	Key string `mapstructure:"key"`
	// MinValue and MaxValue are included; 0 means no such limit. One must be given.
	MinValue int64 `mapstructure:"min_value"`
	MaxValue int64 `mapstructure:"max_value"`
	// InvertMatch samples traces of which no value is in the range.
	InvertMatch bool `mapstructure:"invert_match"`
}

// ProbabilisticConfig samples a share of traces by a hash of their id.
type ProbabilisticConfig struct {
	// HashSalt makes instances with different salts choose independently. Instances with the same one choose the same
	// traces, those of contrib included.
	HashSalt string `mapstructure:"hash_salt"`
	// SamplingPercentage is 0 (the default) to 100.
	SamplingPercentage float64 `mapstructure:"sampling_percentage"`
}

// StatusCodeConfig samples traces with a span of one of the codes OK, ERROR and UNSET.
type StatusCodeConfig struct {
	StatusCodes []string `mapstructure:"status_codes"`
}

// StringAttributeConfig samples traces with an attribute, of a span or resource, that has one of the values.
type StringAttributeConfig struct {
	Key string `mapstructure:"key"`
	// Values are exact, or regular expressions that match anywhere in the value.
	Values               []string `mapstructure:"values"`
	EnabledRegexMatching bool     `mapstructure:"enabled_regex_matching"`
	// CacheMaxSize bounds for how many values the outcome of the expressions is remembered during an evaluation. 0 means
	// 128.
	CacheMaxSize int `mapstructure:"cache_max_size"`
	// InvertMatch samples traces of which no value matches.
	InvertMatch bool `mapstructure:"invert_match"`
}

// BooleanAttributeConfig samples traces with a boolean attribute, of a span or resource, of the value. An attribute of
// another type counts as false, as it does in contrib.
type BooleanAttributeConfig struct {
	Key   string `mapstructure:"key"`
	Value bool   `mapstructure:"value"`
	// InvertMatch samples traces of which no value matches.
	InvertMatch bool `mapstructure:"invert_match"`
}

// RateLimitingConfig samples traces while there is room.
type RateLimitingConfig struct {
	// SpansPerSecond is how many spans, of traces that start in one second, are kept.
	SpansPerSecond int64 `mapstructure:"spans_per_second"`
	// BurstCapacity is the size of the largest trace that can pass; 0 means twice SpansPerSecond. One trace that is larger
	// than SpansPerSecond passes per second, if it comes first.
	BurstCapacity int64 `mapstructure:"burst_capacity"`
}

// BytesLimitingConfig is RateLimitingConfig for bytes of OTLP, protobuf encoded.
type BytesLimitingConfig struct {
	BytesPerSecond int64 `mapstructure:"bytes_per_second"`
	BurstCapacity  int64 `mapstructure:"burst_capacity"`
}

// SpanCountConfig samples traces by their number of spans.
type SpanCountConfig struct {
	MinSpans int32 `mapstructure:"min_spans"`
	// MaxSpans is included; 0 means no such limit.
	MaxSpans int32 `mapstructure:"max_spans"`
}

// TraceStateConfig samples traces with a span whose W3C trace state has one of the values under the key.
type TraceStateConfig struct {
	Key    string   `mapstructure:"key"`
	Values []string `mapstructure:"values"`
}

// CompositeConfig asks sub-policies in their order and gives each a share of a budget.
type CompositeConfig struct {
	MaxTotalSpansPerSecond int64 `mapstructure:"max_total_spans_per_second"`
	// PolicyOrder has no effect, as it has none in contrib: sub-policies are asked in the order of CompositeSubPolicy.
	PolicyOrder    []string         `mapstructure:"policy_order"`
	SubPolicies    []Policy         `mapstructure:"composite_sub_policy"`
	RateAllocation []RateAllocation `mapstructure:"rate_allocation"`
}

// RateAllocation is the share of a sub-policy. One that has none samples nothing.
type RateAllocation struct {
	Policy string `mapstructure:"policy"`
	// Percent of MaxTotalSpansPerSecond; 0 means an equal share.
	Percent int64 `mapstructure:"percent"`
}

// AndConfig samples traces that all sub-policies sample.
type AndConfig struct {
	SubPolicies []Policy `mapstructure:"and_sub_policy"`
}

// NotConfig samples traces that the sub-policy does not.
type NotConfig struct {
	SubPolicy *Policy `mapstructure:"not_sub_policy"`
}

// DropConfig drops traces that all sub-policies sample, whatever other policies say.
type DropConfig struct {
	SubPolicies []Policy `mapstructure:"drop_sub_policy"`
}

// TraceQLConfig samples traces that a TraceQL query finds.
type TraceQLConfig struct {
	// Query is a spanset query, such as { span.http.route = "/pay" && duration > 1s }.
	Query string `mapstructure:"query"`
}

// MinPerServiceConfig guarantees quiet services some traces.
type MinPerServiceConfig struct {
	// Traces is how many traces of each service (resource attribute service.name) are kept per window at least, or all if
	// there are fewer. 1 or more.
	Traces int `mapstructure:"traces"`
	// Window is the length of a window, 1s or more. Windows begin at multiples of it since 1970. Default 1h. It should
	// not be longer than the store's retention::recent: the number is then guaranteed still, but may be exceeded.
	Window time.Duration `mapstructure:"window"`
}

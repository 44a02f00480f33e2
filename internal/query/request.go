package query

import (
	"time"

	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

// SearchRequest asks for traces with matching spans.
type SearchRequest struct {
	// Query is TraceQL. If it is empty Tags, MinDuration and MaxDuration count, the form that TraceQL replaced (S-02,
	// S-04).
	Query                    string
	Tags                     map[string]string
	MinDuration, MaxDuration time.Duration
	// StartNano and EndNano are the window that a trace has to overlap, in Unix nanoseconds.
	StartNano, EndNano uint64
	// Limit is the number of traces, SpansPerSpanSet the number of spans shown of each.
	Limit, SpansPerSpanSet int
	Client                 string
}

// TagNamesRequest asks which attributes there are.
type TagNamesRequest struct {
	// Scope is empty for all, or the name of one (G-03).
	Scope string
	// Query restricts to attributes of matching spans. It may be unfinished (G-20).
	Query              string
	StartNano, EndNano uint64
	// Limit is the number of names per scope; 0 means as many as the service allows.
	Limit  int
	Client string
}

// TagValuesRequest asks which values an attribute has.
type TagValuesRequest struct {
	// Name is a TraceQL attribute or intrinsic (V-03), or with Unscoped a bare key (V-01).
	Name     string
	Unscoped bool
	// Query, StartNano, EndNano and Limit are as in TagNamesRequest.
	Query              string
	StartNano, EndNano uint64
	Limit              int
	Client             string
}

// MetricsRequest asks for time series computed from spans.
type MetricsRequest struct {
	Query              string
	StartNano, EndNano uint64
	// Step is the time between samples. 0 means DefaultStep.
	Step time.Duration
	// Exemplars is how many to return, 0 meaning as many as the service allows; MaxSeries likewise.
	Exemplars, MaxSeries int
	// Instant asks for one value per series over the whole range.
	Instant bool
	Client  string
}

// DefaultStep returns the step for a range without one: about 240 samples, at round times (contract 6.4).
func DefaultStep(r time.Duration) time.Duration { return exec.DefaultStep(r) }

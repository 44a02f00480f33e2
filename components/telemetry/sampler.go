package telemetry

import (
	"fmt"
	"sync"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// rateSampler records the first perSecond spans of each second and drops the rest.
type rateSampler struct {
	perSecond int
	now       func() time.Time

	mu     sync.Mutex
	second int64
	used   int
}

func newRateSampler(perSecond int, now func() time.Time) *rateSampler {
	return &rateSampler{perSecond: perSecond, now: now}
}

// ShouldSample implements sdktrace.Sampler.
func (s *rateSampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	res := sdktrace.SamplingResult{Decision: sdktrace.Drop, Tracestate: trace.SpanContextFromContext(p.ParentContext).TraceState()}
	if s.take() {
		res.Decision = sdktrace.RecordAndSample
	}
	return res
}

// Description implements sdktrace.Sampler.
func (s *rateSampler) Description() string { return fmt.Sprintf("RateSampler{%d/s}", s.perSecond) }

func (s *rateSampler) take() bool {
	second := s.now().Unix()
	s.mu.Lock()
	defer s.mu.Unlock()
	if second != s.second {
		s.second, s.used = second, 0
	}
	if s.used >= s.perSecond {
		return false
	}
	s.used++
	return true
}

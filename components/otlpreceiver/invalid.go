package otlpreceiver

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// early is the time before which no span can have begun: OTLP is from 2019. Who sends seconds, milliseconds or
// microseconds where nanoseconds are asked for lands in January 1970.
var early = pcommon.NewTimestampFromTime(time.Date(1980, time.January, 1, 0, 0, 0, 0, time.UTC))

// errNoID is why spans are not taken. Ids are required and must not be all zeros (OTLP, Span.trace_id and Span.span_id);
// without them, all such spans would be one trace.
var errNoID = errors.New("a span needs a trace id and a span id that are not all zeros: in JSON traceId has 32 hex digits and spanId 16")

// findings is what a client is told about the spans of a request.
type findings struct {
	noID     int // spans that are not taken
	early    int // spans that are taken, and that no search for recent ones will find
	earliest pcommon.Timestamp
}

// inspect takes spans without ids out of td.
func inspect(td ptrace.Traces) findings {
	var f findings
	for _, rs := range td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				switch {
				case invalid(s):
					f.noID++
				case s.StartTimestamp() < early:
					if f.early == 0 || s.StartTimestamp() < f.earliest {
						f.earliest = s.StartTimestamp()
					}
					f.early++
				}
			}
		}
	}
	if f.noID > 0 {
		td.ResourceSpans().RemoveIf(func(rs ptrace.ResourceSpans) bool {
			rs.ScopeSpans().RemoveIf(func(ss ptrace.ScopeSpans) bool {
				ss.Spans().RemoveIf(invalid)
				return ss.Spans().Len() == 0
			})
			return rs.ScopeSpans().Len() == 0
		})
	}
	return f
}

func invalid(s ptrace.Span) bool { return s.TraceID().IsEmpty() || s.SpanID().IsEmpty() }

// String is the error_message of the answer (OTLP 1.x, "Partial Success"): empty if there is nothing to say.
func (f *findings) String() string {
	var parts []string
	if f.noID > 0 {
		parts = append(parts, fmt.Sprintf("not taken: %d without ids. %s", f.noID, errNoID))
	}
	if f.early > 0 {
		parts = append(parts, fmt.Sprintf("taken: %d that start before 1980, the first at %s; startTimeUnixNano and endTimeUnixNano are nanoseconds since 1970",
			f.early, f.earliest.AsTime().Format(time.RFC3339Nano)))
	}
	return strings.Join(parts, ". ")
}

package store

import "fmt"

// ColumnScope says where a column's values come from.
type ColumnScope uint8

// Scopes of columns. An unscoped column takes, per span, the value of the first of span, resource, event, link and
// instrumentation that has the key (E-03).
const (
	ScopeIntrinsic ColumnScope = iota
	ScopeSpan
	ScopeResource
	ScopeEvent
	ScopeLink
	ScopeInstrumentation
	ScopeUnscoped
)

var scopeNames = [...]string{"intrinsic", "span", "resource", "event", "link", "instrumentation", "unscoped"}

func (s ColumnScope) String() string {
	if int(s) < len(scopeNames) {
		return scopeNames[s]
	}
	return fmt.Sprintf("ColumnScope(%d)", uint8(s))
}

// Column names one value (or, for events and links, a list of values) per span.
type Column struct {
	Scope ColumnScope
	Name  string // the attribute's key, or one of the Intrinsic constants
}

// Multi reports whether a span can have several values in the column, one per event or link.
func (c Column) Multi() bool {
	return c.Scope == ScopeEvent || c.Scope == ScopeLink || c.Scope == ScopeUnscoped ||
		c.Scope == ScopeIntrinsic && (c.Name == EventName || c.Name == EventTimeSinceStart ||
			c.Name == LinkTraceID || c.Name == LinkSpanID)
}

// Names of intrinsic columns and the type of their values. Ids are TypeString in the text forms of C-22 and C-24.
// Times and durations that do not fit an int64 wrap around, as int64(x) does.
// A value is never absent unless the line says so.
const (
	SpanName            = "name"                    // string
	SpanKind            = "kind"                    // int, OTLP's number
	SpanStatus          = "status"                  // int, OTLP's number
	SpanStatusMessage   = "statusMessage"           // string
	SpanStart           = "start"                   // int, Unix nanoseconds
	SpanEnd             = "end"                     // int, Unix nanoseconds
	SpanDuration        = "duration"                // int, nanoseconds; 0 when end is before start
	SpanTraceID         = "trace:id"                // string, hex without leading zeros
	SpanID              = "span:id"                 // string, 16 hex digits
	SpanParentID        = "span:parentID"           // string, 16 hex digits; absent for roots
	SpanTraceState      = "traceState"              // string
	EventName           = "event:name"              // string, one per event
	EventTimeSinceStart = "event:timeSinceStart"    // int, nanoseconds, one per event; may be negative
	LinkTraceID         = "link:traceID"            // string, 32 hex digits, one per link
	LinkSpanID          = "link:spanID"             // string, 16 hex digits, one per link
	SpanFlags           = "span:flags"              // int, OTLP's flags: trace flags of W3C in the lowest 8 bits
	ScopeName           = "instrumentation:name"    // string
	ScopeVersion        = "instrumentation:version" // string
	ResourceRef         = "resourceRef"             // int, dense per part: equal for spans of an equal resource
)

// Intrinsics lists the intrinsic columns that every implementation has.
var Intrinsics = []string{
	SpanName, SpanKind, SpanStatus, SpanStatusMessage, SpanStart, SpanEnd, SpanDuration, SpanTraceID, SpanID,
	SpanParentID, SpanTraceState, SpanFlags, EventName, EventTimeSinceStart, LinkTraceID, LinkSpanID, ScopeName,
	ScopeVersion, ResourceRef,
}

// Intrinsic returns the column of an intrinsic name.
func Intrinsic(name string) Column { return Column{Scope: ScopeIntrinsic, Name: name} }

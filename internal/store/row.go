package store

import "github.com/bramble-tracing/bramble/internal/spanid"

// Batch is a set of spans with the resources and scopes they refer to: what one Append takes, what a WAL record
// holds and what a trace read answers with.
type Batch struct {
	Resources []Resource
	Scopes    []Scope
	Spans     []Span
}

// Reset empties the batch and keeps its memory. Strings of earlier contents are dropped, so that a pooled batch does
// not hold them.
func (b *Batch) Reset() {
	clear(b.Resources)
	clear(b.Scopes)
	clear(b.Spans)
	b.Resources, b.Scopes, b.Spans = b.Resources[:0], b.Scopes[:0], b.Spans[:0]
}

// Resource is an OTLP Resource with the schema URL of its ResourceSpans.
type Resource struct {
	Attrs        []Attr
	DroppedAttrs uint32
	SchemaURL    string
	// EntityRefs is the OTLP protobuf encoding of the repeated field entity_refs, opaque to the store.
	EntityRefs string
}

// Scope is an OTLP InstrumentationScope with the schema URL of its ScopeSpans.
type Scope struct {
	Name, Version string
	Attrs         []Attr
	DroppedAttrs  uint32
	SchemaURL     string
}

// Span is one OTLP span. Every field of trace.proto is kept, also values that the specification does not name
// (unknown kinds and status codes).
type Span struct {
	TraceID          spanid.TraceID
	SpanID, ParentID spanid.SpanID
	Resource, Scope  int32  // indexes into Batch.Resources and Batch.Scopes
	StartNano        uint64 // Unix time; may be zero or after EndNano, as clients send it
	EndNano          uint64
	Kind             int32
	StatusCode       int32
	Flags            uint32
	Name             string
	TraceState       string
	StatusMessage    string
	Attrs            []Attr
	Events           []Event
	Links            []Link
	DroppedAttrs     uint32
	DroppedEvents    uint32
	DroppedLinks     uint32
}

// DurationNano is end minus start, or 0 when the clocks of the client ran backwards.
func (s *Span) DurationNano() uint64 {
	if s.EndNano < s.StartNano {
		return 0
	}
	return s.EndNano - s.StartNano
}

// Event is one OTLP span event.
type Event struct {
	TimeNano     uint64
	Name         string
	Attrs        []Attr
	DroppedAttrs uint32
}

// Link is one OTLP span link.
type Link struct {
	TraceID      spanid.TraceID
	SpanID       spanid.SpanID
	TraceState   string
	Attrs        []Attr
	DroppedAttrs uint32
	Flags        uint32
}

// The values of Span.Kind and Span.StatusCode that OTLP names.
const (
	KindUnspecified = 0
	KindInternal    = 1
	KindServer      = 2
	KindClient      = 3
	KindProducer    = 4
	KindConsumer    = 5

	StatusUnset = 0
	StatusOK    = 1
	StatusError = 2
)

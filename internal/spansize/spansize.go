// Package spansize computes how large spans are as OTLP protobuf messages, without encoding them.
package spansize

import (
	"math/bits"

	"github.com/bramble-tracing/bramble/internal/store"
)

// Of is the size of the span as an OTLP protobuf message, without its tag and length (N-01). Field numbers of the
// Span message are below 16 but flags, so that a tag takes one byte and two.
func Of(s *store.Span) int {
	n := ID(16, s.TraceID.IsZero()) + ID(8, s.SpanID.IsZero()) + ID(8, s.ParentID.IsZero())
	n += Text(len(s.TraceState)) + Text(len(s.Name)) + attrsSize(s.Attrs)
	n += Number(uint64(int64(s.Kind))) //nolint:gosec // Negative enums are sign-extended on the wire.
	n += Fixed64(s.StartNano) + Fixed64(s.EndNano)
	n += Number(uint64(s.DroppedAttrs)) + Number(uint64(s.DroppedEvents)) + Number(uint64(s.DroppedLinks))
	for i := range s.Events {
		e := &s.Events[i]
		n += Message(Fixed64(e.TimeNano) + Text(len(e.Name)) + attrsSize(e.Attrs) + Number(uint64(e.DroppedAttrs)))
	}
	for i := range s.Links {
		l := &s.Links[i]
		size := ID(16, l.TraceID.IsZero()) + ID(8, l.SpanID.IsZero()) + Text(len(l.TraceState)) + attrsSize(l.Attrs) + Number(uint64(l.DroppedAttrs))
		n += Message(size + LinkFlags(l.Flags))
	}
	// The status message is written even when it is empty, as pdata does.
	n += Message(Text(len(s.StatusMessage)) + Number(uint64(int64(s.StatusCode)))) //nolint:gosec // As above.
	return n + SpanFlags(s.Flags)
}

// ID is the size of a field with a trace or span id of n bytes. pdata writes ids of zeros as an empty field.
func ID(n int, zero bool) int {
	if zero {
		return 2
	}
	return 2 + n
}

// Text is the size of a field with a text of n bytes; an empty one is left out.
func Text(n int) int {
	if n == 0 {
		return 0
	}
	return Message(n)
}

// Number is the size of a field with a varint; 0 is left out. Negative numbers of 32 bits are sign-extended.
func Number(n uint64) int {
	if n == 0 {
		return 0
	}
	return 1 + varintSize(n)
}

// Fixed64 is the size of a field with a time; 0 is left out.
func Fixed64(n uint64) int {
	if n == 0 {
		return 0
	}
	return 1 + 8
}

// Message is the size of a length-delimited field with n bytes, also of none.
func Message(n int) int { return 1 + varintSize(uint64(n)) + n } //nolint:gosec // A length.

// Attr is the size of a field with an attribute.
func Attr(key string, v *store.Value) int {
	// Most attributes are short: every length in them takes one byte.
	if v.Type == store.TypeString && len(key)+len(v.Str) < 100 && key != "" {
		return 8 + len(key) + len(v.Str)
	}
	return Message(Text(len(key)) + Message(valueSize(v, 0)))
}

// SpanFlags is the size of the field flags of a span.
func SpanFlags(flags uint32) int {
	if flags == 0 {
		return 0
	}
	return 2 + 4
}

// LinkFlags is the size of the field flags of a link.
func LinkFlags(flags uint32) int {
	if flags == 0 {
		return 0
	}
	return 1 + 4
}

func varintSize(n uint64) int {
	if n < 1<<7 {
		return 1
	}
	return (bits.Len64(n) + 6) / 7
}

func attrsSize(attrs []store.Attr) int {
	n := 0
	for i := range attrs {
		n += Attr(attrs[i].Key, &attrs[i].Value)
	}
	return n
}

// valueSize is that of an AnyValue without its tag and length.
func valueSize(v *store.Value, depth int) int {
	switch v.Type {
	case store.TypeString, store.TypeBytes:
		return Message(len(v.Str))
	case store.TypeInt:
		return 1 + varintSize(v.Num)
	case store.TypeFloat:
		return 1 + 8
	case store.TypeBool:
		return 2
	case store.TypeArray:
		elems, err := v.Elems()
		if err != nil || depth > store.MaxDepth {
			return 0
		}
		n := 0
		for i := range elems {
			n += Message(valueSize(&elems[i], depth+1))
		}
		return Message(n)
	case store.TypeMap:
		attrs, err := v.Attrs()
		if err != nil || depth > store.MaxDepth {
			return 0
		}
		n := 0
		for i := range attrs {
			n += Message(Text(len(attrs[i].Key)) + Message(valueSize(&attrs[i].Value, depth+1)))
		}
		return Message(n)
	}
	return 0
}

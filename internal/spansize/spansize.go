// Package spansize computes how large spans are as OTLP protobuf messages, without encoding them.
package spansize

import (
	"math/bits"

	"github.com/bramble-tracing/bramble/internal/store"
)

// Of is the size of the span as an OTLP protobuf message, without its tag and length (N-01). Field numbers of the
// Span message are below 16 but flags, so that a tag takes one byte and two.
func Of(s *store.Span) int {
	n := idSize(s.TraceID[:]) + idSize(s.SpanID[:]) + idSize(s.ParentID[:])
	n += stringSize(s.TraceState) + stringSize(s.Name) + attrsSize(s.Attrs)
	n += numberSize(uint64(int64(s.Kind))) //nolint:gosec // Negative enums are sign-extended on the wire.
	n += fixed64Size(s.StartNano) + fixed64Size(s.EndNano)
	n += numberSize(uint64(s.DroppedAttrs)) + numberSize(uint64(s.DroppedEvents)) + numberSize(uint64(s.DroppedLinks))
	for i := range s.Events {
		e := &s.Events[i]
		n += messageSize(fixed64Size(e.TimeNano) + stringSize(e.Name) + attrsSize(e.Attrs) + numberSize(uint64(e.DroppedAttrs)))
	}
	for i := range s.Links {
		l := &s.Links[i]
		size := idSize(l.TraceID[:]) + idSize(l.SpanID[:]) + stringSize(l.TraceState) + attrsSize(l.Attrs) + numberSize(uint64(l.DroppedAttrs))
		if l.Flags != 0 {
			size += 1 + 4
		}
		n += messageSize(size)
	}
	// The status message is written even when it is empty, as pdata does.
	n += messageSize(stringSize(s.StatusMessage) + numberSize(uint64(int64(s.StatusCode)))) //nolint:gosec // As above.
	if s.Flags != 0 {
		n += 2 + 4
	}
	return n
}

func varintSize(n uint64) int {
	if n < 1<<7 {
		return 1
	}
	return (bits.Len64(n) + 6) / 7
}

// messageSize is that of a length-delimited field with n bytes.
func messageSize(n int) int { return 1 + varintSize(uint64(n)) + n } //nolint:gosec // A length.

func stringSize(s string) int {
	if s == "" {
		return 0
	}
	return messageSize(len(s))
}

// idSize is that of an id field. pdata writes ids of zeros as an empty field.
func idSize(id []byte) int {
	for _, b := range id {
		if b != 0 {
			return 2 + len(id)
		}
	}
	return 2
}

func numberSize(n uint64) int {
	if n == 0 {
		return 0
	}
	return 1 + varintSize(n)
}

func fixed64Size(n uint64) int {
	if n == 0 {
		return 0
	}
	return 1 + 8
}

func attrsSize(attrs []store.Attr) int {
	n := 0
	for i := range attrs {
		a := &attrs[i]
		// Most attributes are short: every length in them takes one byte.
		if v := &a.Value; v.Type == store.TypeString && len(a.Key)+len(v.Str) < 100 && a.Key != "" {
			n += 8 + len(a.Key) + len(v.Str)
			continue
		}
		n += messageSize(stringSize(a.Key) + messageSize(valueSize(&a.Value, 0)))
	}
	return n
}

// valueSize is that of an AnyValue without its tag and length.
func valueSize(v *store.Value, depth int) int {
	switch v.Type {
	case store.TypeString, store.TypeBytes:
		return messageSize(len(v.Str))
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
			n += messageSize(valueSize(&elems[i], depth+1))
		}
		return messageSize(n)
	case store.TypeMap:
		attrs, err := v.Attrs()
		if err != nil || depth > store.MaxDepth {
			return 0
		}
		n := 0
		for i := range attrs {
			n += messageSize(stringSize(attrs[i].Key) + messageSize(valueSize(&attrs[i].Value, depth+1)))
		}
		return messageSize(n)
	}
	return 0
}

package otlpspan

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/bramble-tracing/bramble/internal/store"
)

// Guesses for the size of the length prefixes of embedded messages, which are moved when they were wrong.
const (
	guessGroup = 3 // ResourceSpans and ScopeSpans: 16 KiB to 2 MiB.
	guessSpan  = 2 // 128 B to 16 KiB.
	guessSmall = 1
)

// AppendProto appends b, encoded as an OTLP TracesData (equally ExportTraceServiceRequest), to dst. Spans are grouped by
// resource and scope in the order of first occurrence; resources and scopes without spans are left out. Every
// ResourceSpans carries a resource, every ScopeSpans a scope and every Span a status, if only an empty one (T-06). The
// error wraps store.ErrInvalid if b has an index out of range or a damaged value; dst is then returned as it was.
// Strings that are not UTF-8 are passed on as they are.
func AppendProto(dst []byte, b *store.Batch) ([]byte, error) {
	start := len(dst)
	order, err := grouped(b)
	if err != nil {
		return dst, fmt.Errorf("encode OTLP: %w", err)
	}
	mark := -1
	err = runs(b, order, func(r run) error {
		first := spanAt(b, order, r.lo)
		if r.newResource {
			if mark >= 0 {
				dst = closeMessage(dst, mark, guessGroup)
			}
			dst, mark = open(append(dst, tagResourceSpans), guessGroup)
			if dst, err = appendResource(dst, &b.Resources[first.Resource]); err != nil {
				return fmt.Errorf("resource %d: %w", first.Resource, err)
			}
		}
		return appendScopeSpans(&dst, b, order, r)
	})
	if err != nil {
		return dst[:start], fmt.Errorf("encode OTLP: %w", err)
	}
	if mark >= 0 {
		dst = closeMessage(dst, mark, guessGroup)
	}
	return dst, nil
}

// appendResource appends the fields of a ResourceSpans but its scope_spans.
func appendResource(dst []byte, r *store.Resource) (_ []byte, err error) {
	if r.SchemaURL != "" {
		dst = protowire.AppendString(append(dst, tagRSSchemaURL), r.SchemaURL)
	}
	dst, mark := open(append(dst, tagRSResource), guessSpan)
	if dst, err = appendAttrs(dst, tagResourceAttrs, r.Attrs); err != nil {
		return dst, err
	}
	dst = appendCount(dst, tagResourceDropped, r.DroppedAttrs)
	if _, err := parseEntityRefs(r.EntityRefs); err != nil {
		return dst, err
	}
	dst = append(dst, r.EntityRefs...)
	return closeMessage(dst, mark, guessSpan), nil
}

func appendScopeSpans(buf *[]byte, b *store.Batch, order []int, r run) (err error) {
	dst, mark := open(append(*buf, tagRSScopeSpans), guessGroup)
	defer func() { *buf = dst }()
	si := spanAt(b, order, r.lo).Scope
	if dst, err = appendScope(dst, &b.Scopes[si]); err != nil {
		return fmt.Errorf("scope %d: %w", si, err)
	}
	for i := r.lo; i < r.hi; i++ {
		s := spanAt(b, order, i)
		var m int
		dst, m = open(append(dst, tagSSSpans), guessSpan)
		if dst, err = appendSpan(dst, s); err != nil {
			return fmt.Errorf("span %s of trace %s: %w", s.SpanID, s.TraceID, err)
		}
		dst = closeMessage(dst, m, guessSpan)
	}
	dst = closeMessage(dst, mark, guessGroup)
	return nil
}

func appendScope(dst []byte, s *store.Scope) (_ []byte, err error) {
	if s.SchemaURL != "" {
		dst = protowire.AppendString(append(dst, tagSSSchemaURL), s.SchemaURL)
	}
	dst, mark := open(append(dst, tagSSScope), guessSmall)
	dst = appendString(dst, tagScopeName, s.Name)
	dst = appendString(dst, tagScopeVersion, s.Version)
	if dst, err = appendAttrs(dst, tagScopeAttrs, s.Attrs); err != nil {
		return dst, err
	}
	dst = appendCount(dst, tagScopeDropped, s.DroppedAttrs)
	return closeMessage(dst, mark, guessSmall), nil
}

func appendSpan(dst []byte, s *store.Span) (_ []byte, err error) {
	if !s.TraceID.IsZero() {
		dst = append(append(dst, tagSpanTraceID, 16), s.TraceID[:]...)
	}
	if !s.SpanID.IsZero() {
		dst = append(append(dst, tagSpanID, 8), s.SpanID[:]...)
	}
	dst = appendString(dst, tagSpanTraceState, s.TraceState)
	if !s.ParentID.IsZero() {
		dst = append(append(dst, tagSpanParent, 8), s.ParentID[:]...)
	}
	dst = appendString(dst, tagSpanName, s.Name)
	if s.Kind != 0 {
		dst = protowire.AppendVarint(append(dst, tagSpanKind), uint64(int64(s.Kind))) //nolint:gosec // Sign-extended.
	}
	if s.StartNano != 0 {
		dst = protowire.AppendFixed64(append(dst, tagSpanStart), s.StartNano)
	}
	if s.EndNano != 0 {
		dst = protowire.AppendFixed64(append(dst, tagSpanEnd), s.EndNano)
	}
	if dst, err = appendAttrs(dst, tagSpanAttrs, s.Attrs); err != nil {
		return dst, err
	}
	dst = appendCount(dst, tagSpanDroppedAttrs, s.DroppedAttrs)
	for i := range s.Events {
		if dst, err = appendEvent(dst, &s.Events[i]); err != nil {
			return dst, fmt.Errorf("event %d: %w", i, err)
		}
	}
	dst = appendCount(dst, tagSpanDroppedEvents, s.DroppedEvents)
	for i := range s.Links {
		if dst, err = appendLink(dst, &s.Links[i]); err != nil {
			return dst, fmt.Errorf("link %d: %w", i, err)
		}
	}
	dst = appendCount(dst, tagSpanDroppedLinks, s.DroppedLinks)
	dst = appendStatus(dst, s)
	if s.Flags != 0 {
		dst = protowire.AppendFixed32(append(dst, tagSpanFlags&0x7f|0x80, tagSpanFlags>>7), s.Flags)
	}
	return dst, nil
}

func appendStatus(dst []byte, s *store.Span) []byte {
	dst, mark := open(append(dst, tagSpanStatus), guessSmall)
	dst = appendString(dst, tagStatusMessage, s.StatusMessage)
	if s.StatusCode != 0 {
		dst = protowire.AppendVarint(append(dst, tagStatusCode), uint64(int64(s.StatusCode))) //nolint:gosec // Sign-extended.
	}
	return closeMessage(dst, mark, guessSmall)
}

func appendEvent(dst []byte, e *store.Event) (_ []byte, err error) {
	dst, mark := open(append(dst, tagSpanEvents), guessSmall)
	if e.TimeNano != 0 {
		dst = protowire.AppendFixed64(append(dst, tagEventTime), e.TimeNano)
	}
	dst = appendString(dst, tagEventName, e.Name)
	if dst, err = appendAttrs(dst, tagEventAttrs, e.Attrs); err != nil {
		return dst, err
	}
	dst = appendCount(dst, tagEventDropped, e.DroppedAttrs)
	return closeMessage(dst, mark, guessSmall), nil
}

func appendLink(dst []byte, l *store.Link) (_ []byte, err error) {
	dst, mark := open(append(dst, tagSpanLinks), guessSmall)
	if !l.TraceID.IsZero() {
		dst = append(append(dst, tagLinkTraceID, 16), l.TraceID[:]...)
	}
	if !l.SpanID.IsZero() {
		dst = append(append(dst, tagLinkSpanID, 8), l.SpanID[:]...)
	}
	dst = appendString(dst, tagLinkTraceState, l.TraceState)
	if dst, err = appendAttrs(dst, tagLinkAttrs, l.Attrs); err != nil {
		return dst, err
	}
	dst = appendCount(dst, tagLinkDropped, l.DroppedAttrs)
	if l.Flags != 0 {
		dst = protowire.AppendFixed32(append(dst, tagLinkFlags), l.Flags)
	}
	return closeMessage(dst, mark, guessSmall), nil
}

func appendString(dst []byte, tag byte, s string) []byte {
	if s == "" {
		return dst
	}
	return protowire.AppendString(append(dst, tag), s)
}

func appendCount(dst []byte, tag byte, n uint32) []byte {
	if n == 0 {
		return dst
	}
	return protowire.AppendVarint(append(dst, tag), uint64(n))
}

func appendAttrs(dst []byte, tag byte, attrs []store.Attr) (_ []byte, err error) {
	for i := range attrs {
		if dst, err = appendAttr(dst, tag, &attrs[i], 0); err != nil {
			return dst, fmt.Errorf("attribute %q: %w", attrs[i].Key, err)
		}
	}
	return dst, nil
}

// appendAttr appends a KeyValue inside depth arrays and maps. The sizes of scalars are known beforehand, so nothing
// is moved.
func appendAttr(dst []byte, tag byte, a *store.Attr, depth int) ([]byte, error) {
	n := scalarSize(&a.Value)
	if n < 0 {
		return appendContainerAttr(dst, tag, a, depth)
	}
	size := 1 + sizeVarint(n) + n
	if a.Key != "" {
		size += 1 + sizeVarint(len(a.Key)) + len(a.Key)
	}
	dst = protowire.AppendVarint(append(dst, tag), uint64(size)) //nolint:gosec // A length.
	dst = appendString(dst, tagKVKey, a.Key)
	dst = protowire.AppendVarint(append(dst, tagKVValue), uint64(n)) //nolint:gosec // A length.
	return appendScalar(dst, &a.Value), nil
}

func appendContainerAttr(dst []byte, tag byte, a *store.Attr, depth int) (_ []byte, err error) {
	dst, mark := open(append(dst, tag), guessSmall)
	dst = appendString(dst, tagKVKey, a.Key)
	dst, inner := open(append(dst, tagKVValue), guessSmall)
	if dst, err = appendValue(dst, &a.Value, depth); err != nil {
		return dst, err
	}
	return closeMessage(closeMessage(dst, inner, guessSmall), mark, guessSmall), nil
}

// scalarSize returns how many bytes the AnyValue's contents take, or -1 for arrays, maps and what is no type.
func scalarSize(v *store.Value) int {
	switch v.Type {
	case store.TypeAbsent, store.TypeEmpty:
		return 0
	case store.TypeString, store.TypeBytes:
		return 1 + sizeVarint(len(v.Str)) + len(v.Str)
	case store.TypeInt:
		return 1 + protowire.SizeVarint(v.Num)
	case store.TypeFloat:
		return 9
	case store.TypeBool:
		return 2
	}
	return -1
}

func appendScalar(dst []byte, v *store.Value) []byte {
	switch v.Type {
	case store.TypeString:
		return protowire.AppendString(append(dst, tagAnyString), v.Str)
	case store.TypeBytes:
		return protowire.AppendString(append(dst, tagAnyBytes), v.Str)
	case store.TypeInt:
		return protowire.AppendVarint(append(dst, tagAnyInt), v.Num)
	case store.TypeFloat:
		return protowire.AppendFixed64(append(dst, tagAnyDouble), v.Num)
	case store.TypeBool:
		return append(dst, tagAnyBool, byte(v.Num&1))
	}
	return dst
}

// appendValue appends the contents of an AnyValue of any type.
func appendValue(dst []byte, v *store.Value, depth int) (_ []byte, err error) {
	switch v.Type {
	case store.TypeArray:
		if depth++; depth > store.MaxDepth {
			return dst, errTooDeep()
		}
		elems, err := v.Elems()
		if err != nil {
			return dst, fmt.Errorf("%w: %w", store.ErrInvalid, err)
		}
		dst, mark := open(append(dst, tagAnyArray), guessSmall)
		for i := range elems {
			var inner int
			dst, inner = open(append(dst, tagListValues), guessSmall)
			if dst, err = appendValue(dst, &elems[i], depth); err != nil {
				return dst, err
			}
			dst = closeMessage(dst, inner, guessSmall)
		}
		return closeMessage(dst, mark, guessSmall), nil
	case store.TypeMap:
		if depth++; depth > store.MaxDepth {
			return dst, errTooDeep()
		}
		attrs, err := v.Attrs()
		if err != nil {
			return dst, fmt.Errorf("%w: %w", store.ErrInvalid, err)
		}
		dst, mark := open(append(dst, tagAnyKvlist), guessSmall)
		for i := range attrs {
			if dst, err = appendAttr(dst, tagListValues, &attrs[i], depth); err != nil {
				return dst, err
			}
		}
		return closeMessage(dst, mark, guessSmall), nil
	}
	if scalarSize(v) < 0 {
		return dst, fmt.Errorf("%w: value of %s", store.ErrInvalid, v.Type)
	}
	return appendScalar(dst, v), nil
}

package otlpspan

import (
	"fmt"
	"math"
	"slices"

	"github.com/bramble-tracing/bramble/internal/store"
)

// ReadProto appends the spans of an encoded TracesData or ExportTraceServiceRequest to dst, with fresh memory for
// their attributes. It may be given any bytes: what is malformed, has a known field of the wrong wire type, an id of
// the wrong length, or values nested deeper than store.MaxDepth is an error that wraps store.ErrInvalid, and dst is
// then as it was before. Fields that OTLP does not define are skipped, groups refused. data may be
// reused afterwards; the strings share one copy of it (see the package comment).
func ReadProto(data []byte, dst *store.Batch) error {
	var a Arena
	return a.ReadProto(data, dst)
}

// bytesPerAttr is the least that an attribute with a key usually takes, for the first size of a chunk.
const bytesPerAttr = 30

// ReadProto is the function ReadProto with the arena's memory.
func (a *Arena) ReadProto(data []byte, dst *store.Batch) error {
	nr, nc, ns := len(dst.Resources), len(dst.Scopes), len(dst.Spans)
	if cap(a.attrs) == 0 {
		reserve(&a.attrs, len(data)/bytesPerAttr)
	}
	r := reader{decoder: newDecoder(data), arena: a, dst: dst}
	for pos := 0; pos < len(data); {
		f, next, err := r.next(pos, len(data))
		if err == nil {
			pos = next
			if f.tag == tagResourceSpans {
				err = r.resourceSpans(f.lo, f.hi)
			} else {
				err = f.unknown("TracesData", 1)
			}
		}
		if err != nil {
			truncate(dst, nr, nc, ns)
			return fmt.Errorf("read OTLP: %w", err)
		}
	}
	return nil
}

// reader decodes one message into dst. Fields may come in any order and singular messages more than once, which merges
// them, as protobuf has it.
type reader struct {
	decoder
	arena *Arena
	dst   *store.Batch
}

func (r *reader) resourceSpans(pos, end int) error {
	ri, spans := len(r.dst.Resources), len(r.dst.Spans)
	r.dst.Resources = append(r.dst.Resources, store.Resource{})
	var entities []byte
	for pos < end {
		f, next, err := r.next(pos, end)
		if err != nil {
			return err
		}
		pos = next
		switch f.tag {
		case tagRSResource:
			entities, err = r.resource(f.lo, f.hi, &r.dst.Resources[ri], entities)
		case tagRSScopeSpans:
			err = r.scopeSpans(f.lo, f.hi, int32(ri)) //nolint:gosec // Bounded by the memory they take.
		case tagRSSchemaURL:
			r.dst.Resources[ri].SchemaURL = r.str[f.lo:f.hi]
		default:
			err = f.unknown("ResourceSpans", 3)
		}
		if err != nil {
			return err
		}
	}
	r.dst.Resources[ri].EntityRefs = string(entities)
	if len(r.dst.Spans) == spans {
		r.dst.Resources[ri] = store.Resource{}
		r.dst.Resources = r.dst.Resources[:ri]
	}
	return nil
}

func (r *reader) resource(pos, end int, res *store.Resource, entities []byte) ([]byte, error) {
	if res.Attrs == nil {
		n, err := r.count(pos, end, tagResourceAttrs)
		if err != nil {
			return nil, err
		}
		res.Attrs = take(&r.arena.attrs, n)
	}
	for pos < end {
		f, next, err := r.next(pos, end)
		if err != nil {
			return nil, err
		}
		pos = next
		switch f.tag {
		case tagResourceAttrs:
			res.Attrs, err = r.attr(f.lo, f.hi, res.Attrs, 0)
		case tagResourceDropped:
			res.DroppedAttrs = uint32(f.num) //nolint:gosec // Protobuf truncates uint32 varints.
		case tagResourceEntity:
			var e entityRef
			if e, err = r.entityRef(f.lo, f.hi); err == nil {
				entities = e.append(entities)
			}
		default:
			err = f.unknown("Resource", 3)
		}
		if err != nil {
			return nil, err
		}
	}
	return entities, nil
}

// count returns how many fields with the tag the message has.
func (r *reader) count(pos, end int, tag uint64) (n int, err error) {
	var f field
	for pos < end {
		if f, pos, err = r.next(pos, end); err != nil {
			return 0, err
		}
		if f.tag == tag {
			n++
		}
	}
	return n, nil
}

func (r *reader) scopeSpans(pos, end int, ri int32) error {
	n, err := r.count(pos, end, tagSSSpans)
	if err != nil {
		return err
	}
	r.dst.Spans = slices.Grow(r.dst.Spans, n)
	si := len(r.dst.Scopes)
	r.dst.Scopes = append(r.dst.Scopes, store.Scope{})
	for pos < end {
		f, next, err := r.next(pos, end)
		if err != nil {
			return err
		}
		pos = next
		switch f.tag {
		case tagSSScope:
			err = r.scope(f.lo, f.hi, &r.dst.Scopes[si])
		case tagSSSpans:
			r.dst.Spans = append(r.dst.Spans, store.Span{Resource: ri, Scope: int32(si)}) //nolint:gosec // As ri.
			err = r.span(f.lo, f.hi, &r.dst.Spans[len(r.dst.Spans)-1])
		case tagSSSchemaURL:
			r.dst.Scopes[si].SchemaURL = r.str[f.lo:f.hi]
		default:
			err = f.unknown("ScopeSpans", 3)
		}
		if err != nil {
			return err
		}
	}
	if n == 0 {
		r.dst.Scopes[si] = store.Scope{}
		r.dst.Scopes = r.dst.Scopes[:si]
	}
	return nil
}

func (r *reader) scope(pos, end int, s *store.Scope) error {
	if s.Attrs == nil {
		n, err := r.count(pos, end, tagScopeAttrs)
		if err != nil {
			return err
		}
		s.Attrs = take(&r.arena.attrs, n)
	}
	for pos < end {
		f, next, err := r.next(pos, end)
		if err != nil {
			return err
		}
		pos = next
		switch f.tag {
		case tagScopeName:
			s.Name = r.str[f.lo:f.hi]
		case tagScopeVersion:
			s.Version = r.str[f.lo:f.hi]
		case tagScopeAttrs:
			s.Attrs, err = r.attr(f.lo, f.hi, s.Attrs, 0)
		case tagScopeDropped:
			s.DroppedAttrs = uint32(f.num) //nolint:gosec // Protobuf truncates uint32 varints.
		default:
			err = f.unknown("InstrumentationScope", 4)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// reserveSpan counts the lists of a span, so that each becomes one contiguous piece of the arena whatever the order of
// the fields.
func (r *reader) reserveSpan(pos, end int, s *store.Span) (err error) {
	var f field
	var attrs, events, links int
	for pos < end {
		if f, pos, err = r.next(pos, end); err != nil {
			return err
		}
		switch f.tag {
		case tagSpanAttrs:
			attrs++
		case tagSpanEvents:
			events++
		case tagSpanLinks:
			links++
		}
	}
	s.Attrs, s.Events, s.Links = take(&r.arena.attrs, attrs), take(&r.arena.events, events), take(&r.arena.links, links)
	return nil
}

func (r *reader) span(pos, end int, s *store.Span) error {
	if err := r.reserveSpan(pos, end, s); err != nil {
		return err
	}
	for pos < end {
		f, next, err := r.next(pos, end)
		if err != nil {
			return err
		}
		pos = next
		switch f.tag {
		case tagSpanAttrs:
			s.Attrs, err = r.attr(f.lo, f.hi, s.Attrs, 0)
		case tagSpanTraceID:
			err = r.id(s.TraceID[:], f)
		case tagSpanID:
			err = r.id(s.SpanID[:], f)
		case tagSpanParent:
			err = r.id(s.ParentID[:], f)
		case tagSpanName:
			s.Name = r.str[f.lo:f.hi]
		case tagSpanKind:
			s.Kind = int32(f.num) //nolint:gosec // Enums are int32, sign-extended to 64 bits.
		case tagSpanStart:
			s.StartNano = f.num
		case tagSpanEnd:
			s.EndNano = f.num
		case tagSpanStatus:
			err = r.status(f.lo, f.hi, s)
		case tagSpanFlags:
			s.Flags = uint32(f.num) //nolint:gosec // A fixed32.
		default:
			err = r.spanRest(f, s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// spanRest takes the rarer fields of a span.
func (r *reader) spanRest(f field, s *store.Span) error {
	switch f.tag {
	case tagSpanTraceState:
		s.TraceState = r.str[f.lo:f.hi]
	case tagSpanEvents:
		s.Events = append(s.Events, store.Event{})
		return r.event(f.lo, f.hi, &s.Events[len(s.Events)-1])
	case tagSpanLinks:
		s.Links = append(s.Links, store.Link{})
		return r.link(f.lo, f.hi, &s.Links[len(s.Links)-1])
	case tagSpanDroppedAttrs:
		s.DroppedAttrs = uint32(f.num) //nolint:gosec // Protobuf truncates uint32 varints.
	case tagSpanDroppedEvents:
		s.DroppedEvents = uint32(f.num) //nolint:gosec // As above.
	case tagSpanDroppedLinks:
		s.DroppedLinks = uint32(f.num) //nolint:gosec // As above.
	default:
		return f.unknown("Span", 16)
	}
	return nil
}

// id reads an identifier, which may be left empty to mean the all-zero one.
func (r *reader) id(dst []byte, f field) error {
	switch f.hi - f.lo {
	case len(dst):
		copy(dst, r.data[f.lo:f.hi])
	case 0:
		clear(dst)
	default:
		return fmt.Errorf("%w: id of %d bytes at byte %d, want %d", store.ErrInvalid, f.hi-f.lo, f.lo, len(dst))
	}
	return nil
}

func (r *reader) status(pos, end int, s *store.Span) error {
	for pos < end {
		f, next, err := r.next(pos, end)
		if err != nil {
			return err
		}
		pos = next
		switch f.tag {
		case tagStatusMessage:
			s.StatusMessage = r.str[f.lo:f.hi]
		case tagStatusCode:
			s.StatusCode = int32(f.num) //nolint:gosec // Enums are int32, sign-extended to 64 bits.
		default:
			if f.tag>>3 == 1 { // Reserved: the deprecated code of OTLP 0.x.
				continue
			}
			if err := f.unknown("Status", 3); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *reader) event(pos, end int, e *store.Event) error {
	n, err := r.count(pos, end, tagEventAttrs)
	if err != nil {
		return err
	}
	e.Attrs = take(&r.arena.attrs, n)
	for pos < end {
		f, next, err := r.next(pos, end)
		if err != nil {
			return err
		}
		pos = next
		switch f.tag {
		case tagEventTime:
			e.TimeNano = f.num
		case tagEventName:
			e.Name = r.str[f.lo:f.hi]
		case tagEventAttrs:
			e.Attrs, err = r.attr(f.lo, f.hi, e.Attrs, 0)
		case tagEventDropped:
			e.DroppedAttrs = uint32(f.num) //nolint:gosec // Protobuf truncates uint32 varints.
		default:
			err = f.unknown("Event", 4)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) link(pos, end int, l *store.Link) error {
	n, err := r.count(pos, end, tagLinkAttrs)
	if err != nil {
		return err
	}
	l.Attrs = take(&r.arena.attrs, n)
	for pos < end {
		f, next, err := r.next(pos, end)
		if err != nil {
			return err
		}
		pos = next
		switch f.tag {
		case tagLinkTraceID:
			err = r.id(l.TraceID[:], f)
		case tagLinkSpanID:
			err = r.id(l.SpanID[:], f)
		case tagLinkTraceState:
			l.TraceState = r.str[f.lo:f.hi]
		case tagLinkAttrs:
			l.Attrs, err = r.attr(f.lo, f.hi, l.Attrs, 0)
		case tagLinkDropped:
			l.DroppedAttrs = uint32(f.num) //nolint:gosec // Protobuf truncates uint32 varints.
		case tagLinkFlags:
			l.Flags = uint32(f.num) //nolint:gosec // A fixed32.
		default:
			err = f.unknown("Link", 6)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// attr reads a KeyValue inside depth arrays and maps and appends it.
func (r *reader) attr(pos, end int, dst []store.Attr, depth int) ([]store.Attr, error) {
	dst = append(dst, store.Attr{Value: store.Empty()})
	a := &dst[len(dst)-1]
	for pos < end {
		f, next, err := r.next(pos, end)
		if err != nil {
			return nil, err
		}
		pos = next
		switch f.tag {
		case tagKVKey:
			a.Key = r.str[f.lo:f.hi]
		case tagKVValue:
			err = r.value(f.lo, f.hi, &a.Value, depth)
		case tagKVStrindex: // For profiles only.
		default:
			err = f.unknown("KeyValue", 3)
		}
		if err != nil {
			return nil, err
		}
	}
	return dst, nil
}

// value reads an AnyValue into v, which the caller set to empty; the last case given wins.
func (r *reader) value(pos, end int, v *store.Value, depth int) error {
	for pos < end {
		f, next, err := r.next(pos, end)
		if err != nil {
			return err
		}
		pos = next
		switch f.tag {
		case tagAnyString:
			*v = store.String(r.str[f.lo:f.hi])
		case tagAnyBool:
			*v = store.Bool(f.num != 0)
		case tagAnyInt:
			*v = store.Int(int64(f.num)) //nolint:gosec // Two's complement.
		case tagAnyDouble:
			*v = store.Float(math.Float64frombits(f.num))
		case tagAnyBytes:
			*v = store.Bytes(r.str[f.lo:f.hi])
		case tagAnyArray:
			err = r.array(f.lo, f.hi, v, depth+1)
		case tagAnyKvlist:
			err = r.kvlist(f.lo, f.hi, v, depth+1)
		case tagAnyStrindex: // For profiles only; "treat as unset" elsewhere.
			*v = store.Empty()
		default:
			err = f.unknown("AnyValue", 8)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) array(pos, end int, v *store.Value, depth int) error {
	if depth > store.MaxDepth {
		return errTooDeep()
	}
	var elems []store.Value
	for pos < end {
		f, next, err := r.next(pos, end)
		if err != nil {
			return err
		}
		pos = next
		if f.tag != tagListValues {
			if err := f.unknown("ArrayValue", 1); err != nil {
				return err
			}
			continue
		}
		elems = append(elems, store.Empty())
		if err := r.value(f.lo, f.hi, &elems[len(elems)-1], depth); err != nil {
			return err
		}
	}
	*v = store.Array(elems...)
	return nil
}

func (r *reader) kvlist(pos, end int, v *store.Value, depth int) error {
	if depth > store.MaxDepth {
		return errTooDeep()
	}
	var attrs []store.Attr
	for pos < end {
		f, next, err := r.next(pos, end)
		if err != nil {
			return err
		}
		pos = next
		if f.tag != tagListValues {
			if err := f.unknown("KeyValueList", 1); err != nil {
				return err
			}
			continue
		}
		if attrs, err = r.attr(f.lo, f.hi, attrs, depth); err != nil {
			return err
		}
	}
	*v = store.Map(attrs...)
	return nil
}

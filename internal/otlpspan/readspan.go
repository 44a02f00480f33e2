package otlpspan

import (
	"fmt"

	"github.com/bramble-tracing/bramble/internal/store"
)

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

package otlpspan

import (
	"fmt"
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

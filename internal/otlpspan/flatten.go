package otlpspan

import (
	"fmt"
	"slices"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/xpdata/entity"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// Flatten appends the spans of td to dst as rows, with fresh memory for their attributes. The error wraps
// store.ErrInvalid if values nest deeper than store.MaxDepth; dst is then as it was before. See the package comment
// for the lifetime of strings.
func Flatten(td ptrace.Traces, dst *store.Batch) error {
	var a Arena
	return a.Flatten(td, dst)
}

// Flatten is the function Flatten with the arena's memory.
func (a *Arena) Flatten(td ptrace.Traces, dst *store.Batch) error {
	nr, nc, ns := len(dst.Resources), len(dst.Scopes), len(dst.Spans)
	a.reserveFor(td, dst)
	rss := td.ResourceSpans()
	for i := range rss.Len() {
		if err := a.flattenResource(rss.At(i), dst); err != nil {
			truncate(dst, nr, nc, ns)
			return fmt.Errorf("flatten resource_spans %d: %w", i, err)
		}
	}
	return nil
}

func truncate(b *store.Batch, resources, scopes, spans int) {
	clear(b.Resources[resources:])
	clear(b.Scopes[scopes:])
	clear(b.Spans[spans:])
	b.Resources, b.Scopes, b.Spans = b.Resources[:resources], b.Scopes[:scopes], b.Spans[:spans]
}

// reserveFor counts what td holds, so that one chunk of each kind suffices.
func (a *Arena) reserveFor(td ptrace.Traces, dst *store.Batch) {
	var attrs, events, links, spans int
	rss := td.ResourceSpans()
	for i := range rss.Len() {
		rs := rss.At(i)
		attrs += rs.Resource().Attributes().Len()
		sss := rs.ScopeSpans()
		for j := range sss.Len() {
			ss := sss.At(j)
			attrs += ss.Scope().Attributes().Len()
			ps := ss.Spans()
			spans += ps.Len()
			for k := range ps.Len() {
				p := ps.At(k)
				attrs += p.Attributes().Len()
				events += p.Events().Len()
				links += p.Links().Len()
			}
		}
	}
	dst.Spans = slices.Grow(dst.Spans, spans)
	reserve(&a.attrs, attrs)
	reserve(&a.events, events)
	reserve(&a.links, links)
}

func (a *Arena) flattenResource(rs ptrace.ResourceSpans, dst *store.Batch) error {
	first := true
	sss := rs.ScopeSpans()
	for j := range sss.Len() {
		ss := sss.At(j)
		if ss.Spans().Len() == 0 {
			continue
		}
		if first {
			first = false
			attrs, err := a.flattenMap(rs.Resource().Attributes())
			if err != nil {
				return fmt.Errorf("resource: %w", err)
			}
			dst.Resources = append(dst.Resources, store.Resource{
				Attrs:        attrs,
				DroppedAttrs: rs.Resource().DroppedAttributesCount(),
				SchemaURL:    rs.SchemaUrl(),
				EntityRefs:   flattenEntityRefs(entity.ResourceEntityRefs(rs.Resource())),
			})
		}
		if err := a.flattenScope(ss, dst); err != nil {
			return fmt.Errorf("scope_spans %d: %w", j, err)
		}
	}
	return nil
}

func (a *Arena) flattenScope(ss ptrace.ScopeSpans, dst *store.Batch) error {
	scope := ss.Scope()
	attrs, err := a.flattenMap(scope.Attributes())
	if err != nil {
		return fmt.Errorf("scope: %w", err)
	}
	dst.Scopes = append(dst.Scopes, store.Scope{
		Name:         scope.Name(),
		Version:      scope.Version(),
		Attrs:        attrs,
		DroppedAttrs: scope.DroppedAttributesCount(),
		SchemaURL:    ss.SchemaUrl(),
	})
	ri, si := int32(len(dst.Resources)-1), int32(len(dst.Scopes)-1) //nolint:gosec // Bounded by the memory they take.
	ps := ss.Spans()
	for k := range ps.Len() {
		dst.Spans = append(dst.Spans, store.Span{Resource: ri, Scope: si})
		if err := a.flattenSpan(ps.At(k), &dst.Spans[len(dst.Spans)-1]); err != nil {
			return fmt.Errorf("span %d: %w", k, err)
		}
	}
	return nil
}

func (a *Arena) flattenSpan(p ptrace.Span, s *store.Span) (err error) {
	s.TraceID, s.SpanID, s.ParentID = spanid.TraceID(p.TraceID()), spanid.SpanID(p.SpanID()), spanid.SpanID(p.ParentSpanID())
	s.StartNano, s.EndNano = uint64(p.StartTimestamp()), uint64(p.EndTimestamp())
	s.Kind, s.StatusCode, s.StatusMessage = int32(p.Kind()), int32(p.Status().Code()), p.Status().Message()
	s.Name, s.Flags, s.TraceState = p.Name(), p.Flags(), p.TraceState().AsRaw()
	s.DroppedAttrs, s.DroppedEvents, s.DroppedLinks = p.DroppedAttributesCount(), p.DroppedEventsCount(), p.DroppedLinksCount()
	if s.Attrs, err = a.flattenMap(p.Attributes()); err != nil {
		return err
	}
	events := p.Events()
	s.Events = take(&a.events, events.Len())
	for i := range events.Len() {
		e := events.At(i)
		attrs, err := a.flattenMap(e.Attributes())
		if err != nil {
			return fmt.Errorf("event %d: %w", i, err)
		}
		s.Events = append(s.Events, store.Event{
			TimeNano: uint64(e.Timestamp()), Name: e.Name(), Attrs: attrs, DroppedAttrs: e.DroppedAttributesCount(),
		})
	}
	links := p.Links()
	s.Links = take(&a.links, links.Len())
	for i := range links.Len() {
		l := links.At(i)
		attrs, err := a.flattenMap(l.Attributes())
		if err != nil {
			return fmt.Errorf("link %d: %w", i, err)
		}
		s.Links = append(s.Links, store.Link{
			TraceID: spanid.TraceID(l.TraceID()), SpanID: spanid.SpanID(l.SpanID()), TraceState: l.TraceState().AsRaw(),
			Attrs: attrs, DroppedAttrs: l.DroppedAttributesCount(), Flags: l.Flags(),
		})
	}
	return nil
}

func (a *Arena) flattenMap(m pcommon.Map) ([]store.Attr, error) {
	out := take(&a.attrs, m.Len())
	for k, v := range m.All() {
		value, err := flattenValue(v, 0)
		if err != nil {
			return nil, fmt.Errorf("attribute %q: %w", k, err)
		}
		out = append(out, store.Attr{Key: k, Value: value})
	}
	return out, nil
}

// flattenValue converts a value inside depth arrays and maps.
func flattenValue(v pcommon.Value, depth int) (store.Value, error) {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		return store.String(v.Str()), nil
	case pcommon.ValueTypeInt:
		return store.Int(v.Int()), nil
	case pcommon.ValueTypeDouble:
		return store.Float(v.Double()), nil
	case pcommon.ValueTypeBool:
		return store.Bool(v.Bool()), nil
	case pcommon.ValueTypeBytes:
		return store.Bytes(string(v.Bytes().AsRaw())), nil
	case pcommon.ValueTypeSlice:
		return flattenArray(v.Slice(), depth+1)
	case pcommon.ValueTypeMap:
		return flattenKvlist(v.Map(), depth+1)
	}
	return store.Empty(), nil
}

func flattenArray(s pcommon.Slice, depth int) (store.Value, error) {
	if depth > store.MaxDepth {
		return store.Value{}, errTooDeep()
	}
	if s == (pcommon.Slice{}) { // An array_value that was set to nil.
		return store.Array(), nil
	}
	elems := make([]store.Value, 0, s.Len())
	for i := range s.Len() {
		e, err := flattenValue(s.At(i), depth)
		if err != nil {
			return store.Value{}, err
		}
		elems = append(elems, e)
	}
	return store.Array(elems...), nil
}

func flattenKvlist(m pcommon.Map, depth int) (store.Value, error) {
	if depth > store.MaxDepth {
		return store.Value{}, errTooDeep()
	}
	if m == (pcommon.Map{}) { // A kvlist_value that was set to nil.
		return store.Map(), nil
	}
	attrs := make([]store.Attr, 0, m.Len())
	for k, v := range m.All() {
		e, err := flattenValue(v, depth)
		if err != nil {
			return store.Value{}, err
		}
		attrs = append(attrs, store.Attr{Key: k, Value: e})
	}
	return store.Map(attrs...), nil
}

func errTooDeep() error {
	return fmt.Errorf("%w: arrays and maps nest more than %d deep", store.ErrInvalid, store.MaxDepth)
}

package otlpspan

import (
	"fmt"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/xpdata"
	"go.opentelemetry.io/collector/pdata/xpdata/entity"

	"github.com/bramble-tracing/bramble/internal/store"
)

// Build makes pdata of a batch. Spans are grouped by resource and scope in the order of first occurrence; attributes
// keep their order and their duplicates. Resources and scopes without spans are left out. The error wraps
// store.ErrInvalid if b has an index out of range or a damaged value.
func Build(b *store.Batch) (ptrace.Traces, error) {
	td := ptrace.NewTraces()
	order, err := grouped(b)
	if err != nil {
		return td, fmt.Errorf("build traces: %w", err)
	}
	var rs ptrace.ResourceSpans
	err = runs(b, order, func(r run) error {
		first := spanAt(b, order, r.lo)
		if r.newResource {
			rs = td.ResourceSpans().AppendEmpty()
			if err := buildResource(&b.Resources[first.Resource], rs); err != nil {
				return fmt.Errorf("resource %d: %w", first.Resource, err)
			}
		}
		ss := rs.ScopeSpans().AppendEmpty()
		if err := buildScope(&b.Scopes[first.Scope], ss); err != nil {
			return fmt.Errorf("scope %d: %w", first.Scope, err)
		}
		ss.Spans().EnsureCapacity(r.hi - r.lo)
		for i := r.lo; i < r.hi; i++ {
			s := spanAt(b, order, i)
			if err := buildSpan(s, ss.Spans().AppendEmpty()); err != nil {
				return fmt.Errorf("span %s of trace %s: %w", s.SpanID, s.TraceID, err)
			}
		}
		return nil
	})
	if err != nil {
		return ptrace.NewTraces(), fmt.Errorf("build traces: %w", err)
	}
	return td, nil
}

func buildResource(r *store.Resource, dst ptrace.ResourceSpans) error {
	dst.SetSchemaUrl(r.SchemaURL)
	res := dst.Resource()
	res.SetDroppedAttributesCount(r.DroppedAttrs)
	if err := buildEntityRefs(r.EntityRefs, entity.ResourceEntityRefs(res)); err != nil {
		return err
	}
	return buildMap(r.Attrs, res.Attributes(), 0)
}

func buildScope(s *store.Scope, dst ptrace.ScopeSpans) error {
	dst.SetSchemaUrl(s.SchemaURL)
	scope := dst.Scope()
	scope.SetName(s.Name)
	scope.SetVersion(s.Version)
	scope.SetDroppedAttributesCount(s.DroppedAttrs)
	return buildMap(s.Attrs, scope.Attributes(), 0)
}

func buildSpan(s *store.Span, dst ptrace.Span) error {
	dst.SetTraceID(pcommon.TraceID(s.TraceID))
	dst.SetSpanID(pcommon.SpanID(s.SpanID))
	dst.SetParentSpanID(pcommon.SpanID(s.ParentID))
	dst.SetStartTimestamp(pcommon.Timestamp(s.StartNano))
	dst.SetEndTimestamp(pcommon.Timestamp(s.EndNano))
	dst.SetKind(ptrace.SpanKind(s.Kind))
	dst.Status().SetCode(ptrace.StatusCode(s.StatusCode))
	dst.Status().SetMessage(s.StatusMessage)
	dst.SetName(s.Name)
	dst.SetFlags(s.Flags)
	dst.TraceState().FromRaw(s.TraceState)
	dst.SetDroppedAttributesCount(s.DroppedAttrs)
	dst.SetDroppedEventsCount(s.DroppedEvents)
	dst.SetDroppedLinksCount(s.DroppedLinks)
	dst.Events().EnsureCapacity(len(s.Events))
	for i := range s.Events {
		e, out := &s.Events[i], dst.Events().AppendEmpty()
		out.SetTimestamp(pcommon.Timestamp(e.TimeNano))
		out.SetName(e.Name)
		out.SetDroppedAttributesCount(e.DroppedAttrs)
		if err := buildMap(e.Attrs, out.Attributes(), 0); err != nil {
			return fmt.Errorf("event %d: %w", i, err)
		}
	}
	dst.Links().EnsureCapacity(len(s.Links))
	for i := range s.Links {
		l, out := &s.Links[i], dst.Links().AppendEmpty()
		out.SetTraceID(pcommon.TraceID(l.TraceID))
		out.SetSpanID(pcommon.SpanID(l.SpanID))
		out.TraceState().FromRaw(l.TraceState)
		out.SetDroppedAttributesCount(l.DroppedAttrs)
		out.SetFlags(l.Flags)
		if err := buildMap(l.Attrs, out.Attributes(), 0); err != nil {
			return fmt.Errorf("link %d: %w", i, err)
		}
	}
	return buildMap(s.Attrs, dst.Attributes(), 0)
}

// buildMap fills dst, which must be empty. The builder keeps duplicate keys, which Map.Put would merge.
func buildMap(attrs []store.Attr, dst pcommon.Map, depth int) error {
	if len(attrs) == 0 {
		return nil
	}
	var mb xpdata.MapBuilder
	mb.EnsureCapacity(len(attrs))
	for i := range attrs {
		if err := buildValue(&attrs[i].Value, mb.AppendEmpty(attrs[i].Key), depth); err != nil {
			return fmt.Errorf("attribute %q: %w", attrs[i].Key, err)
		}
	}
	mb.UnsafeIntoMap(dst)
	return nil
}

func buildValue(v *store.Value, dst pcommon.Value, depth int) error {
	switch v.Type {
	case store.TypeAbsent, store.TypeEmpty:
	case store.TypeString:
		dst.SetStr(v.Str)
	case store.TypeInt:
		dst.SetInt(v.Int())
	case store.TypeFloat:
		dst.SetDouble(v.Float())
	case store.TypeBool:
		dst.SetBool(v.Bool())
	case store.TypeBytes:
		dst.SetEmptyBytes().FromRaw([]byte(v.Str))
	case store.TypeArray, store.TypeMap:
		return buildContainer(v, dst, depth+1)
	default:
		return fmt.Errorf("%w: value of %s", store.ErrInvalid, v.Type)
	}
	return nil
}

func buildContainer(v *store.Value, dst pcommon.Value, depth int) error {
	if depth > store.MaxDepth {
		return errTooDeep()
	}
	if v.Type == store.TypeMap {
		attrs, err := v.Attrs()
		if err != nil {
			return fmt.Errorf("%w: %w", store.ErrInvalid, err)
		}
		return buildMap(attrs, dst.SetEmptyMap(), depth)
	}
	elems, err := v.Elems()
	if err != nil {
		return fmt.Errorf("%w: %w", store.ErrInvalid, err)
	}
	s := dst.SetEmptySlice()
	s.EnsureCapacity(len(elems))
	for i := range elems {
		if err := buildValue(&elems[i], s.AppendEmpty(), depth); err != nil {
			return err
		}
	}
	return nil
}

package oracle

import "github.com/bramble-tracing/bramble/internal/store"

// ValuesOf returns the values that a span has in a column, none if it is absent, in the order of events and links. It
// defines the columns of package store:
//
//   - Of a key that occurs twice in one list the first value counts.
//   - An attribute that is present and empty is a value (store.TypeEmpty).
//   - Times and durations that do not fit an int64 wrap around.
//   - store.ResourceRef is a property of the part and has no value here; nor has an intrinsic that does not exist.
func ValuesOf(s *store.Span, r *store.Resource, sc *store.Scope, c store.Column) []store.Value {
	switch c.Scope {
	case store.ScopeIntrinsic:
		return intrinsic(s, sc, c.Name)
	case store.ScopeSpan:
		return first(s.Attrs, c.Name)
	case store.ScopeResource:
		return first(r.Attrs, c.Name)
	case store.ScopeInstrumentation:
		return first(sc.Attrs, c.Name)
	case store.ScopeEvent:
		var out []store.Value
		for i := range s.Events {
			out = append(out, first(s.Events[i].Attrs, c.Name)...)
		}
		return out
	case store.ScopeLink:
		var out []store.Value
		for i := range s.Links {
			out = append(out, first(s.Links[i].Attrs, c.Name)...)
		}
		return out
	case store.ScopeUnscoped:
		for _, scope := range []store.ColumnScope{ // E-03.
			store.ScopeSpan, store.ScopeResource, store.ScopeEvent, store.ScopeLink, store.ScopeInstrumentation,
		} {
			if v := ValuesOf(s, r, sc, store.Column{Scope: scope, Name: c.Name}); len(v) > 0 {
				return v
			}
		}
	}
	return nil
}

func first(attrs []store.Attr, key string) []store.Value {
	for i := range attrs {
		if attrs[i].Key == key {
			return []store.Value{attrs[i].Value}
		}
	}
	return nil
}

func intrinsic(s *store.Span, sc *store.Scope, name string) []store.Value {
	one := func(v store.Value) []store.Value { return []store.Value{v} }
	switch name {
	case store.SpanName:
		return one(store.String(s.Name))
	case store.SpanKind:
		return one(store.Int(int64(s.Kind)))
	case store.SpanStatus:
		return one(store.Int(int64(s.StatusCode)))
	case store.SpanStatusMessage:
		return one(store.String(s.StatusMessage))
	case store.SpanStart:
		return one(store.Int(int64(s.StartNano))) //nolint:gosec // Wraps, as documented.
	case store.SpanEnd:
		return one(store.Int(int64(s.EndNano))) //nolint:gosec // As above.
	case store.SpanDuration:
		return one(store.Int(int64(s.DurationNano()))) //nolint:gosec // As above.
	case store.SpanTraceID:
		return one(store.String(s.TraceID.Short()))
	case store.SpanID:
		return one(store.String(s.SpanID.String()))
	case store.SpanParentID:
		if s.ParentID.IsZero() {
			return nil
		}
		return one(store.String(s.ParentID.String()))
	case store.SpanTraceState:
		return one(store.String(s.TraceState))
	case store.SpanFlags:
		return one(store.Int(int64(s.Flags)))
	case store.ScopeName:
		return one(store.String(sc.Name))
	case store.ScopeVersion:
		return one(store.String(sc.Version))
	}
	return eventOrLink(s, name)
}

func eventOrLink(s *store.Span, name string) (out []store.Value) {
	switch name {
	case store.EventName:
		for i := range s.Events {
			out = append(out, store.String(s.Events[i].Name))
		}
	case store.EventTimeSinceStart:
		for i := range s.Events {
			out = append(out, store.Int(int64(s.Events[i].TimeNano-s.StartNano))) //nolint:gosec // Wraps; may be negative.
		}
	case store.LinkTraceID:
		for i := range s.Links {
			out = append(out, store.String(s.Links[i].TraceID.String()))
		}
	case store.LinkSpanID:
		for i := range s.Links {
			out = append(out, store.String(s.Links[i].SpanID.String()))
		}
	}
	return out
}

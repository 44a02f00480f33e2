package traceqltest

import (
	"slices"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

// attr looks up the value of an attribute or intrinsic.
func (n *Naive) attr(a ast.Attr, i int) nval {
	s := n.spans[i]
	resource, scope := &n.batch.Resources[s.Resource], &n.batch.Scopes[s.Scope]
	switch a.Scope {
	case ast.ScopeIntrinsic:
		return n.intrinsic(a.Intrinsic, i)
	case ast.ScopeSpan:
		return lookup(s.Attrs, a.Name)
	case ast.ScopeResource:
		v := lookup(resource.Attrs, a.Name)
		if v == nil && a.Name == "service.name" {
			return ""
		}
		return v
	case ast.ScopeInstrumentation:
		return lookup(scope.Attrs, a.Name)
	case ast.ScopeEvent:
		return eventValues(s, a.Name)
	case ast.ScopeLink:
		return linkValues(s, a.Name)
	}
	// Unscoped (E-03): the first scope that has the key counts, even with a value that queries cannot see.
	var events, links []store.Attr
	for k := range s.Events {
		events = append(events, s.Events[k].Attrs...)
	}
	for k := range s.Links {
		links = append(links, s.Links[k].Attrs...)
	}
	switch {
	case has(s.Attrs, a.Name):
		return lookup(s.Attrs, a.Name)
	case has(resource.Attrs, a.Name):
		return lookup(resource.Attrs, a.Name)
	case has(events, a.Name):
		return eventValues(s, a.Name)
	case has(links, a.Name):
		return linkValues(s, a.Name)
	}
	return lookup(scope.Attrs, a.Name)
}

func has(attrs []store.Attr, key string) bool {
	return slices.ContainsFunc(attrs, func(kv store.Attr) bool { return kv.Key == key })
}

func lookup(attrs []store.Attr, key string) nval {
	for _, kv := range attrs {
		if kv.Key == key {
			return fromStore(kv.Value)
		}
	}
	return nil
}

func fromStore(v store.Value) nval {
	switch v.Type {
	case store.TypeString:
		return v.Str
	case store.TypeInt:
		return v.Int()
	case store.TypeFloat:
		return v.Float()
	case store.TypeBool:
		return v.Bool()
	case store.TypeArray:
		elems, _ := v.Elems()
		out := make([]nval, len(elems))
		for i, e := range elems {
			out[i] = fromStore(e)
		}
		return out
	}
	return nil
}

// oneOrMany returns the values of events or links: several become one list.
func oneOrMany(values []nval) nval {
	values = slices.DeleteFunc(values, func(v nval) bool { return v == nil })
	switch len(values) {
	case 0:
		return nil
	case 1:
		return values[0]
	}
	out := []nval{}
	for _, v := range values {
		if list, ok := v.([]nval); ok {
			out = append(out, list...)
			continue
		}
		out = append(out, v)
	}
	return out
}

func eventValues(s *store.Span, key string) nval {
	var out []nval
	for i := range s.Events {
		out = append(out, lookup(s.Events[i].Attrs, key))
	}
	return oneOrMany(out)
}

func linkValues(s *store.Span, key string) nval {
	var out []nval
	for i := range s.Links {
		out = append(out, lookup(s.Links[i].Attrs, key))
	}
	return oneOrMany(out)
}

func (n *Naive) intrinsic(in ast.Intrinsic, i int) nval {
	s := n.spans[i]
	var items []nval
	switch in {
	case ast.Name:
		return s.Name
	case ast.StatusCode:
		return nstatus(s.StatusCode)
	case ast.StatusMessage:
		return s.StatusMessage
	case ast.SpanKind:
		return nkind(s.Kind)
	case ast.SpanDuration:
		return nduration(s.DurationNano()) //nolint:gosec // Small.
	case ast.TraceID:
		return s.TraceID.Short()
	case ast.SpanID:
		return s.SpanID.String()
	case ast.ParentID:
		if s.ParentID.IsZero() {
			return nil
		}
		return s.ParentID.String()
	case ast.ScopeName:
		return n.batch.Scopes[s.Scope].Name
	case ast.ScopeVersion:
		return n.batch.Scopes[s.Scope].Version
	case ast.EventName:
		for k := range s.Events {
			items = append(items, s.Events[k].Name)
		}
		return oneOrMany(items)
	case ast.EventTimeSinceStart:
		for k := range s.Events {
			items = append(items, nduration(s.Events[k].TimeNano-s.StartNano)) //nolint:gosec // May be negative.
		}
		return oneOrMany(items)
	case ast.LinkTraceID:
		for k := range s.Links {
			items = append(items, s.Links[k].TraceID.String())
		}
		return oneOrMany(items)
	case ast.LinkSpanID:
		for k := range s.Links {
			items = append(items, s.Links[k].SpanID.String())
		}
		return oneOrMany(items)
	}
	return n.traceIntrinsic(in, i)
}

func (n *Naive) traceIntrinsic(in ast.Intrinsic, i int) nval {
	switch in {
	case ast.TraceDuration:
		start, end := n.spans[0].StartNano, uint64(0)
		for _, s := range n.spans {
			start, end = min(start, s.StartNano), max(end, s.EndNano, s.StartNano)
		}
		return nduration(end - start) //nolint:gosec // Small.
	case ast.RootName, ast.RootService:
		var root *store.Span
		for _, s := range n.spans {
			later := root == nil || s.StartNano > root.StartNano ||
				s.StartNano == root.StartNano && s.SpanID.String() >= root.SpanID.String()
			if s.ParentID.IsZero() && later {
				root = s
			}
		}
		switch {
		case root == nil:
			return ""
		case in == ast.RootName:
			return root.Name
		}
		v, _ := lookup(n.batch.Resources[root.Resource].Attrs, "service.name").(string)
		return v
	case ast.ChildCount:
		children := int64(0)
		for j := range n.spans {
			if n.parent(j) == i {
				children++
			}
		}
		return children
	case ast.NestedSetLeft, ast.NestedSetRight:
		left, right := n.left(i)
		if in == ast.NestedSetLeft {
			return int64(left)
		}
		return int64(right)
	case ast.NestedSetParent:
		if !n.numbered(i) {
			return int64(0)
		}
		p := n.parent(i)
		if p < 0 {
			return int64(-1)
		}
		left, _ := n.left(p)
		return int64(left)
	}
	return nil
}

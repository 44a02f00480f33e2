package gathered

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/bramble-tracing/bramble/internal/store"
)

func known(intrinsic string) bool { return slices.Contains(store.Intrinsics, intrinsic) }

// numeric tells the intrinsics that every span has and that are numbers.
func numeric(c store.Column) bool {
	if c.Scope != store.ScopeIntrinsic {
		return false
	}
	switch c.Name {
	case store.SpanKind, store.SpanStatus, store.SpanStart, store.SpanEnd, store.SpanDuration, store.ResourceRef:
		return true
	}
	return false
}

// values appends what a row has in a column. Times and durations that do not fit wrap, as the contract says.
func (p *part) values(dst []store.Value, row int, c store.Column) []store.Value {
	s := &p.batch.Spans[row]
	switch c.Scope {
	case store.ScopeIntrinsic:
		return p.intrinsic(dst, s, c.Name)
	case store.ScopeSpan:
		return first(dst, s.Attrs, c.Name)
	case store.ScopeResource:
		return first(dst, p.batch.Resources[s.Resource].Attrs, c.Name)
	case store.ScopeInstrumentation:
		return first(dst, p.batch.Scopes[s.Scope].Attrs, c.Name)
	case store.ScopeEvent:
		for i := range s.Events {
			dst = first(dst, s.Events[i].Attrs, c.Name)
		}
	case store.ScopeLink:
		for i := range s.Links {
			dst = first(dst, s.Links[i].Attrs, c.Name)
		}
	case store.ScopeUnscoped:
		n := len(dst)
		for _, scope := range [...]store.ColumnScope{ // E-03.
			store.ScopeSpan, store.ScopeResource, store.ScopeEvent, store.ScopeLink, store.ScopeInstrumentation,
		} {
			if dst = p.values(dst, row, store.Column{Scope: scope, Name: c.Name}); len(dst) > n {
				break
			}
		}
	}
	return dst
}

// first appends the first value of a key.
func first(dst []store.Value, attrs []store.Attr, key string) []store.Value {
	for i := range attrs {
		if attrs[i].Key == key {
			return append(dst, attrs[i].Value)
		}
	}
	return dst
}

func (p *part) intrinsic(dst []store.Value, s *store.Span, name string) []store.Value {
	switch name {
	case store.SpanName:
		return append(dst, store.String(s.Name))
	case store.SpanKind:
		return append(dst, store.Int(int64(s.Kind)))
	case store.SpanStatus:
		return append(dst, store.Int(int64(s.StatusCode)))
	case store.SpanStatusMessage:
		return append(dst, store.String(s.StatusMessage))
	case store.SpanStart:
		return append(dst, store.Int(int64(s.StartNano))) //nolint:gosec // Wraps.
	case store.SpanEnd:
		return append(dst, store.Int(int64(s.EndNano))) //nolint:gosec // Wraps.
	case store.SpanDuration:
		return append(dst, store.Int(int64(s.DurationNano()))) //nolint:gosec // Wraps.
	case store.SpanTraceID:
		return append(dst, store.String(s.TraceID.Short()))
	case store.SpanID:
		return append(dst, store.String(s.SpanID.String()))
	case store.SpanParentID:
		if s.ParentID.IsZero() {
			return dst
		}
		return append(dst, store.String(s.ParentID.String()))
	case store.SpanTraceState:
		return append(dst, store.String(s.TraceState))
	case store.SpanFlags:
		return append(dst, store.Int(int64(s.Flags)))
	case store.ScopeName:
		return append(dst, store.String(p.batch.Scopes[s.Scope].Name))
	case store.ScopeVersion:
		return append(dst, store.String(p.batch.Scopes[s.Scope].Version))
	case store.ResourceRef: // Merge made equal resources one.
		return append(dst, store.Int(int64(s.Resource)))
	}
	return eventOrLink(dst, s, name)
}

func eventOrLink(dst []store.Value, s *store.Span, name string) []store.Value {
	switch name {
	case store.EventName:
		for i := range s.Events {
			dst = append(dst, store.String(s.Events[i].Name))
		}
	case store.EventTimeSinceStart:
		for i := range s.Events {
			dst = append(dst, store.Int(int64(s.Events[i].TimeNano-s.StartNano))) //nolint:gosec // Wraps; may be negative.
		}
	case store.LinkTraceID:
		for i := range s.Links {
			dst = append(dst, store.String(s.Links[i].TraceID.String()))
		}
	case store.LinkSpanID:
		for i := range s.Links {
			dst = append(dst, store.String(s.Links[i].SpanID.String()))
		}
	}
	return dst
}

// Attributes lists the columns with the types of their values, and no values.
func (p *part) Attributes(ctx context.Context) ([]store.AttributeInfo, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("list attributes: %w", context.Cause(ctx))
	}
	type line struct {
		column store.Column
		typ    store.ValueType
	}
	counts := map[line]int{}
	seen := map[string]bool{}
	add := func(scope store.ColumnScope, attrs []store.Attr, times int) {
		clear(seen)
		for i := range attrs {
			if !seen[attrs[i].Key] { // Of a key that occurs twice the first counts.
				seen[attrs[i].Key] = true
				counts[line{store.Column{Scope: scope, Name: attrs[i].Key}, attrs[i].Value.Type}] += times
			}
		}
	}
	resources, scopes := make([]int, len(p.batch.Resources)), make([]int, len(p.batch.Scopes))
	for i := range p.batch.Spans {
		s := &p.batch.Spans[i]
		resources[s.Resource]++
		scopes[s.Scope]++
		add(store.ScopeSpan, s.Attrs, 1)
		for k := range s.Events {
			add(store.ScopeEvent, s.Events[k].Attrs, 1)
		}
		for k := range s.Links {
			add(store.ScopeLink, s.Links[k].Attrs, 1)
		}
	}
	for i, n := range resources {
		if n > 0 {
			add(store.ScopeResource, p.batch.Resources[i].Attrs, n)
		}
	}
	for i, n := range scopes {
		if n > 0 {
			add(store.ScopeInstrumentation, p.batch.Scopes[i].Attrs, n)
		}
	}
	out := make([]store.AttributeInfo, 0, len(counts))
	for l, n := range counts {
		out = append(out, store.AttributeInfo{Column: l.column, Type: l.typ, Rows: n})
	}
	slices.SortFunc(out, func(a, b store.AttributeInfo) int {
		return cmp.Or(cmp.Compare(a.Column.Scope, b.Column.Scope), cmp.Compare(a.Column.Name, b.Column.Name), cmp.Compare(a.Type, b.Type))
	})
	return out, nil
}

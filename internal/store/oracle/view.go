package oracle

import (
	"context"
	"fmt"
	"slices"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// View is a snapshot of a Store.
type View struct {
	rows  store.Batch
	parts []store.Part
	split traceSet
}

type traceSet map[spanid.TraceID]struct{}

func (s traceSet) Has(id spanid.TraceID) bool { _, ok := s[id]; return ok }
func (s traceSet) Len() int                   { return len(s) }

func newView(rows store.Batch, partRows int) *View {
	v := &View{rows: rows, split: traceSet{}}
	if partRows <= 0 {
		partRows = max(1, len(rows.Spans))
	}
	partOf := map[spanid.TraceID]int{}
	for lo := 0; lo < len(rows.Spans); lo += partRows {
		n := len(v.parts)
		p := newPart(rows, lo, min(lo+partRows, len(rows.Spans)), n)
		v.parts = append(v.parts, p)
		for i := range p.rows.Spans {
			id := p.rows.Spans[i].TraceID
			if other, ok := partOf[id]; ok && other != n {
				v.split[id] = struct{}{}
			}
			partOf[id] = n
		}
	}
	slices.Reverse(v.parts) // Newest first.
	return v
}

// Parts returns the parts, newest first.
func (v *View) Parts() []store.Part { return v.parts }

// Split returns the traces that have spans in more than one part.
func (v *View) Split() store.TraceSet { return v.split }

// Release does nothing: the garbage collector frees views.
func (v *View) Release() {}

// Trace returns the spans of a trace. Of duplicates the one appended first is returned. The weight of a span is the
// number of bytes in its strings and numbers; a span that does not fit into maxBytes and those after it are cut.
func (v *View) Trace(ctx context.Context, id spanid.TraceID, maxBytes int64) (*store.Trace, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read trace %s: %w", id, err)
	}
	type identity struct {
		id   spanid.SpanID
		kind int32
	}
	seen := map[identity]bool{}
	out := &store.Trace{}
	var rows []int
	var size int64
	for i := range v.rows.Spans {
		s := &v.rows.Spans[i]
		key := identity{s.SpanID, s.Kind}
		if s.TraceID != id {
			continue
		}
		w := weight(s)
		out.InspectedBytes += uint64(w) //nolint:gosec // Positive.
		if seen[key] || out.Partial != "" {
			continue
		}
		seen[key] = true
		if size += w; maxBytes > 0 && size > maxBytes {
			out.Partial = fmt.Sprintf("the trace is larger than the limit of %d bytes", maxBytes)
			continue
		}
		rows = append(rows, i)
	}
	if len(seen) == 0 {
		return nil, fmt.Errorf("read trace %s: %w", id, store.ErrNotFound)
	}
	appendRows(&out.Batch, &v.rows, len(rows), func(i int) int { return rows[i] })
	return out, nil
}

func weight(s *store.Span) int64 {
	n := 64 + len(s.Name) + len(s.TraceState) + len(s.StatusMessage) + weightAttrs(s.Attrs)
	for i := range s.Events {
		n += 8 + len(s.Events[i].Name) + weightAttrs(s.Events[i].Attrs)
	}
	for i := range s.Links {
		n += 24 + len(s.Links[i].TraceState) + weightAttrs(s.Links[i].Attrs)
	}
	return int64(n)
}

func weightAttrs(attrs []store.Attr) (n int) {
	for i := range attrs {
		n += len(attrs[i].Key) + len(attrs[i].Value.Str) + 8
	}
	return n
}

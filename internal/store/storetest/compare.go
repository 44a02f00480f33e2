package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/store"
)

// Canonical returns a text that is equal for two spans if and only if they are equal with their resources and scopes,
// whatever the order of attributes with different keys.
func Canonical(b *store.Batch, i int) string {
	s := &b.Spans[i]
	r, c := &b.Resources[s.Resource], &b.Scopes[s.Scope]
	var w strings.Builder
	fmt.Fprintf(&w, "span %s %s parent=%s start=%d end=%d kind=%d status=%d,%q flags=%x name=%q state=%q dropped=%d,%d,%d",
		s.TraceID, s.SpanID, s.ParentID, s.StartNano, s.EndNano, s.Kind, s.StatusCode, s.StatusMessage, s.Flags, s.Name,
		s.TraceState, s.DroppedAttrs, s.DroppedEvents, s.DroppedLinks)
	writeAttrs(&w, s.Attrs)
	for i := range s.Events {
		e := &s.Events[i]
		fmt.Fprintf(&w, "\n event %d %q dropped=%d", e.TimeNano, e.Name, e.DroppedAttrs)
		writeAttrs(&w, e.Attrs)
	}
	for i := range s.Links {
		l := &s.Links[i]
		fmt.Fprintf(&w, "\n link %s %s %q flags=%x dropped=%d", l.TraceID, l.SpanID, l.TraceState, l.Flags, l.DroppedAttrs)
		writeAttrs(&w, l.Attrs)
	}
	fmt.Fprintf(&w, "\n resource %q entities=%q dropped=%d", r.SchemaURL, r.EntityRefs, r.DroppedAttrs)
	writeAttrs(&w, r.Attrs)
	fmt.Fprintf(&w, "\n scope %q %q %q dropped=%d", c.Name, c.Version, c.SchemaURL, c.DroppedAttrs)
	writeAttrs(&w, c.Attrs)
	return w.String()
}

func writeAttrs(w *strings.Builder, attrs []store.Attr) {
	sorted := slices.Clone(attrs)
	slices.SortStableFunc(sorted, func(a, b store.Attr) int { return strings.Compare(a.Key, b.Key) })
	for _, a := range sorted {
		text := fmt.Sprintf("%q", a.Value.Str)
		if len(text) > 2000 { // Keep failures readable; the hash still tells huge values apart.
			text = fmt.Sprintf("%s… (%d bytes, %x)", text[:200], len(a.Value.Str), fnv(a.Value.Str))
		}
		fmt.Fprintf(w, "\n  %q=%s:%x:%s", a.Key, a.Value.Type, a.Value.Num, text)
	}
}

// fnv is FNV-1a.
func fnv(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// AllCanonical returns the canonical texts of all spans, sorted.
func AllCanonical(b *store.Batch) []string {
	out := make([]string, len(b.Spans))
	for i := range b.Spans {
		out[i] = Canonical(b, i)
	}
	slices.Sort(out)
	return out
}

// RequireSameSpans fails unless both hold the same spans the same number of times.
func RequireSameSpans(t testing.TB, want, got *store.Batch) {
	t.Helper()
	w, g := AllCanonical(want), AllCanonical(got)
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			require.Equal(t, w[i], g[i], "the first span that differs, of %d wanted and %d got", len(w), len(g))
		}
	}
	require.Len(t, g, len(w), "number of spans")
}

package storetest

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

func testEmpty(t *testing.T, s store.Store) {
	v := view(t, s)
	require.Empty(t, everything(t, v).Spans)
	require.Zero(t, v.Split().Len())
	_, err := v.Trace(t.Context(), spanid.TraceID{1}, 0)
	require.ErrorIs(t, err, store.ErrNotFound)

	appendBatch(t, s, &store.Batch{})
	appendBatch(t, s, &store.Batch{Resources: make([]store.Resource, 1), Scopes: make([]store.Scope, 1)})
	require.Empty(t, everything(t, view(t, s)).Spans, "a batch without spans stores nothing")
	v.Release()
	v.Release() // "Further calls do nothing."
}

func testVisible(t *testing.T, s store.Store) {
	want := &store.Batch{}
	for i, g := 0, testkit.NewNasty(11); i < 5; i++ {
		b := g.Batch(1 + 40*i)
		appendBatch(t, s, b)
		merge(want, b)
		RequireSameSpans(t, want, everything(t, view(t, s)))
	}
}

// merge appends src to dst.
func merge(dst, src *store.Batch) {
	nr, ns := int32(len(dst.Resources)), int32(len(dst.Scopes)) //nolint:gosec // Small.
	dst.Resources = append(dst.Resources, src.Resources...)
	dst.Scopes = append(dst.Scopes, src.Scopes...)
	for _, s := range src.Spans {
		s.Resource += nr
		s.Scope += ns
		dst.Spans = append(dst.Spans, s)
	}
}

// testInvalid checks that an index out of range is a permanent error and that nothing of such a batch is stored.
func testInvalid(t *testing.T, s store.Store) {
	for name, spoil := range map[string]func(*store.Span){
		"resource too large": func(p *store.Span) { p.Resource = 100 },
		"resource negative":  func(p *store.Span) { p.Resource = -1 },
		"scope too large":    func(p *store.Span) { p.Scope = 100 },
		"scope negative":     func(p *store.Span) { p.Scope = -1 },
	} {
		b := testkit.NewNasty(12).Batch(30)
		spoil(&b.Spans[29])
		err := s.Append(t.Context(), b)
		require.ErrorIs(t, err, store.ErrInvalid, name)
		require.False(t, store.Retryable(err), name)
		require.Empty(t, everything(t, view(t, s)).Spans, name)
	}
	err := s.Append(t.Context(), &store.Batch{Spans: make([]store.Span, 1)})
	require.ErrorIs(t, err, store.ErrInvalid, "no resource at all")
}

// testOwnership overwrites a batch after Append and appends it again, as a pooled batch is.
func testOwnership(t *testing.T, s store.Store) {
	b := testkit.NewNasty(13).Batch(50)
	want := &store.Batch{}
	appendBatch(t, s, b)
	merge(want, testkit.NewNasty(13).Batch(50))
	for i := range b.Spans {
		p := &b.Spans[i]
		clear(p.Attrs)
		for j := range p.Events {
			clear(p.Events[j].Attrs)
		}
		for j := range p.Links {
			clear(p.Links[j].Attrs)
		}
		clear(p.Events)
		clear(p.Links)
	}
	for i := range b.Resources {
		clear(b.Resources[i].Attrs)
	}
	for i := range b.Scopes {
		clear(b.Scopes[i].Attrs)
	}
	b.Reset()
	RequireSameSpans(t, want, everything(t, view(t, s)))
}

func testImmutable(t *testing.T, s store.Store) {
	g := testkit.NewNasty(14)
	first := g.Batch(100)
	appendBatch(t, s, first)
	old := view(t, s)
	split := old.Split().Len()
	for range 20 {
		appendBatch(t, s, g.Batch(100))
	}
	RequireSameSpans(t, first, everything(t, old))
	require.Equal(t, split, old.Split().Len())
	for _, id := range traceIDs(first) {
		tr, err := old.Trace(t.Context(), id, 0)
		require.NoError(t, err)
		requireTrace(t, first, id, tr)
	}
	require.Len(t, everything(t, view(t, s)).Spans, 2100)
}

// traceIDs returns the trace ids of a batch, each once.
func traceIDs(b *store.Batch) []spanid.TraceID {
	var out []spanid.TraceID
	seen := map[spanid.TraceID]bool{}
	for i := range b.Spans {
		if id := b.Spans[i].TraceID; !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}

// identity is what makes two spans of a trace the same one (T-08).
type identity struct {
	id   spanid.SpanID
	kind int32
}

// requireTrace checks that tr holds each span of the trace in all once, whichever of two copies.
func requireTrace(t testing.TB, all *store.Batch, id spanid.TraceID, tr *store.Trace) {
	t.Helper()
	copies := map[identity][]string{}
	for i := range all.Spans {
		if s := &all.Spans[i]; s.TraceID == id {
			k := identity{s.SpanID, s.Kind}
			copies[k] = append(copies[k], Canonical(all, i))
		}
	}
	seen := map[identity]bool{}
	for i := range tr.Spans {
		s := &tr.Spans[i]
		k := identity{s.SpanID, s.Kind}
		require.False(t, seen[k], "span %s of kind %d occurs twice in trace %s", s.SpanID, s.Kind, id)
		seen[k] = true
		require.Contains(t, copies[k], Canonical(&tr.Batch, i), "a span that was never appended")
	}
	if tr.Partial == "" {
		require.Len(t, seen, len(copies), "spans of trace %s", id)
	}
}

func testTrace(t *testing.T, s store.Store) {
	all := testkit.NewGenerator(15).Batch(600)
	// Each append holds a piece of many traces.
	for lo := range 7 {
		b := &store.Batch{Resources: all.Resources, Scopes: all.Scopes}
		for i := lo; i < len(all.Spans); i += 7 {
			b.Spans = append(b.Spans, all.Spans[i])
		}
		appendBatch(t, s, b)
	}
	v := view(t, s)
	for _, id := range traceIDs(all) {
		tr, err := v.Trace(t.Context(), id, 0)
		require.NoError(t, err)
		require.Empty(t, tr.Partial)
		require.Positive(t, tr.InspectedBytes)
		requireTrace(t, all, id, tr)
	}
	_, err := v.Trace(t.Context(), spanid.TraceID{1, 2, 3}, 0)
	require.ErrorIs(t, err, store.ErrNotFound)
	checkSplit(t, v)
}

// checkSplit compares View.Split with the rows of the parts.
func checkSplit(t testing.TB, v store.View) {
	t.Helper()
	in := map[spanid.TraceID]int{}
	for _, p := range v.Parts() {
		b := &store.Batch{}
		require.NoError(t, p.Spans(t.Context(), allRows(p.Info().Rows), b))
		for _, id := range traceIDs(b) {
			in[id]++
		}
	}
	n := 0
	for id, parts := range in {
		require.Equal(t, parts > 1, v.Split().Has(id), "trace %s is in %d parts", id, parts)
		if parts > 1 {
			n++
		}
	}
	require.Equal(t, n, v.Split().Len())
}

func testTraceDuplicates(t *testing.T, s store.Store) {
	id := spanid.TraceID{15: 1}
	span := func(n byte, kind int32, name string) store.Span {
		return store.Span{TraceID: id, SpanID: spanid.SpanID{7: n}, Kind: kind, Name: name, StartNano: 5, EndNano: 9}
	}
	one := func(spans ...store.Span) *store.Batch {
		return &store.Batch{Resources: make([]store.Resource, 1), Scopes: make([]store.Scope, 1), Spans: spans}
	}
	server, client := span(1, store.KindServer, "shared"), span(1, store.KindClient, "shared")
	appendBatch(t, s, one(server, client, server, span(2, store.KindInternal, "once")))
	appendBatch(t, s, one(server, client))
	tr, err := view(t, s).Trace(t.Context(), id, 0)
	require.NoError(t, err)
	want := one(server, client, span(2, store.KindInternal, "once")) // T-08: a shared id of another kind is another span.
	RequireSameSpans(t, want, &tr.Batch)
	require.Len(t, everything(t, view(t, s)).Spans, 6, "parts keep what was appended")
}

func testTraceLimit(t *testing.T, s store.Store) {
	id := spanid.TraceID{9}
	b := &store.Batch{Resources: make([]store.Resource, 1), Scopes: make([]store.Scope, 1)}
	for i := range 200 {
		b.Spans = append(b.Spans, store.Span{
			TraceID: id, SpanID: spanid.SpanID{6: 1, 7: byte(i)}, Name: strings.Repeat("n", 1000), StartNano: uint64(i), //nolint:gosec // Small.
		})
	}
	appendBatch(t, s, b)
	v := view(t, s)
	for _, limit := range []int64{1, 50_000} {
		tr, err := v.Trace(t.Context(), id, limit)
		require.NoError(t, err)
		require.NotEmpty(t, tr.Partial, "limit %d", limit)
		require.Less(t, len(tr.Spans), 200)
		requireTrace(t, b, id, tr)
	}
	tr, err := v.Trace(t.Context(), id, 50<<20)
	require.NoError(t, err)
	require.Empty(t, tr.Partial)
	require.Len(t, tr.Spans, 200)
}

func testBadArguments(t *testing.T, s store.Store) {
	appendBatch(t, s, testkit.NewNasty(16).Batch(10))
	for _, p := range view(t, s).Parts() {
		info := p.Info()
		require.NotEmpty(t, info.ID)
		require.Error(t, p.Spans(t.Context(), []uint32{uint32(info.Rows)}, &store.Batch{}), "a row too many") //nolint:gosec // A row.
		exists := &store.Predicate{Column: store.Intrinsic(store.SpanName)}
		var sel store.Bitmap
		var vec store.Vector
		for _, granule := range []int{-1, info.Granules()} {
			require.Error(t, p.Filter(t.Context(), granule, exists, &sel), "granule %d", granule)
			require.Error(t, p.Read(t.Context(), granule, exists.Column, &sel, &vec), "granule %d", granule)
		}
		sel.Fill(info.GranuleLen(0))
		unknown := &store.Predicate{Column: store.Intrinsic("no such intrinsic")}
		require.ErrorIs(t, p.Filter(t.Context(), 0, unknown, &sel), store.ErrUnsupported)
		require.ErrorIs(t, p.Read(t.Context(), 0, unknown.Column, &sel, &vec), store.ErrUnsupported)
		require.True(t, p.MayMatch(0, unknown), "only Filter may refuse")
		rows, err := p.TraceRows(t.Context(), spanid.TraceID{1, 2, 3}, []uint32{7})
		require.NoError(t, err)
		require.True(t, slices.Equal([]uint32{7}, rows), "TraceRows appends")
	}
}

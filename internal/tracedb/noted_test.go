package tracedb

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/head"
)

// TestNotedPartDoesWhatHeadsDo: what a head can tell without reading rows, the part of a view can that stands for it.
func TestNotedPartDoesWhatHeadsDo(t *testing.T) {
	h := head.New("h", head.Options{})
	b := testkit.NewGenerator(1).Batch(500)
	_, err := h.Append(b)
	require.NoError(t, err)
	inner := h.Part(store.KindHead)
	var outer store.Part = &notedPart{inner, nil}

	names, complete, err := outer.(store.Lister).Distinct(t.Context(), store.Intrinsic(store.SpanName))
	require.NoError(t, err)
	require.True(t, complete)
	want := map[string]bool{}
	for i := range b.Spans {
		want[b.Spans[i].Name] = true
	}
	got := map[string]bool{}
	for _, v := range names {
		got[v.Str] = true
	}
	require.Equal(t, want, got)

	lo, hi, ok := outer.(store.Ranger).Range(0, store.Intrinsic(store.SpanStart))
	require.True(t, ok)
	info := outer.Info()
	require.Equal(t, []int64{int64(info.MinStartNano), int64(info.MaxStartNano)}, []int64{lo, hi})

	for name, has := range map[string]func(p store.Part) bool{
		"Lister":      func(p store.Part) bool { _, ok := p.(store.Lister); return ok },
		"Ranger":      func(p store.Part) bool { _, ok := p.(store.Ranger); return ok },
		"TraceLister": func(p store.Part) bool { _, ok := p.(store.TraceLister); return ok },
		"TraceReader": func(p store.Part) bool { _, ok := p.(store.TraceReader); return ok },
		"Picker":      func(p store.Part) bool { _, ok := p.(store.Picker); return ok },
		"Sizer":       func(p store.Part) bool { _, ok := p.(store.Sizer); return ok },
	} {
		require.Equal(t, has(inner), has(outer), name)
	}
}

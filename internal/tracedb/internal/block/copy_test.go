package block

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/storetest"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/compact"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/index"
)

// aligned orders a batch so that granules end with a trace, and returns where traces begin.
func aligned(b *store.Batch, groups []int) *store.Batch {
	sortRows(b)
	var sizes, starts []int
	for i := range b.Spans {
		if i == 0 || b.Spans[i].TraceID != b.Spans[i-1].TraceID {
			sizes, starts = append(sizes, 0), append(starts, i)
		}
		sizes[len(sizes)-1]++
	}
	out := &store.Batch{Resources: b.Resources, Scopes: b.Scopes}
	for _, t := range compact.Align(sizes, groups) {
		out.Spans = append(out.Spans, b.Spans[starts[t]:starts[t]+sizes[t]]...)
	}
	return out
}

// rowsOf returns all spans of a block in row order.
func rowsOf(tb testing.TB, b *Block) *store.Batch {
	tb.Helper()
	rows := make([]uint32, b.meta.Rows)
	for i := range rows {
		rows[i] = uint32(i)
	}
	out := &store.Batch{}
	require.NoError(tb, b.Spans(context.Background(), rows, out))
	return out
}

// traceEntries returns the trace index of a block in row order.
func traceEntries(tb testing.TB, b *Block) []index.Trace {
	tb.Helper()
	var out []index.Trace
	for p := range b.traces.Pages() {
		var err error
		out, err = b.traces.Page(p, out)
		require.NoError(tb, err)
	}
	slices.SortFunc(out, func(a, b index.Trace) int { return int(a.Row) - int(b.Row) })
	return out
}

// mergeByPlan merges blocks as tracedb does, in a simpler way, and returns how many row groups were copied.
func mergeByPlan(tb testing.TB, fsys fsx.FS, parent, id string, hidden map[spanid.TraceID]bool, blocks ...*Block) (copied []compact.Copy) {
	tb.Helper()
	var inputs []compact.Input
	for _, b := range blocks {
		in := compact.Input{Traces: traceEntries(tb, b), Hidden: func(id spanid.TraceID) bool { return hidden[id] }}
		for _, g := range b.meta.Groups {
			in.Groups = append(in.Groups, g.Rows)
		}
		inputs = append(inputs, in)
	}
	plan := compact.Merge(inputs)
	w, err := NewWriter(fsys, parent, WriterOptions{ID: id, Level: 1, Zstd: 3})
	require.NoError(tb, err)
	for _, c := range plan.Copies {
		require.NoError(tb, w.CopyGroup(context.Background(), blocks[c.Input], c.Group, c.Traces))
	}
	for i := range plan.Traces {
		t := &store.Batch{}
		for _, p := range plan.Pieces(&plan.Traces[i]) {
			var rows []uint32
			for r := range p.Spans {
				rows = append(rows, p.Row+r)
			}
			require.NoError(tb, blocks[p.Input].Spans(context.Background(), rows, t))
		}
		require.NoError(tb, w.Append(context.Background(), t))
	}
	_, err = w.Finish(context.Background())
	require.NoError(tb, err)
	return plan.Copies
}

// TestCopyGroup merges blocks whose row groups can mostly be copied: pages are the same to the byte, and the block
// answers like one that was written span by span.
func TestCopyGroup(t *testing.T) {
	fsys := fsx.NewMem()
	require.NoError(t, fsys.MkdirAll("blocks"))
	r, err := NewReader(fsys, NewLRU(64<<20), 2)
	require.NoError(t, err)
	t.Cleanup(r.Close)
	openBlock := func(id string) *Block {
		b, err := r.Open("blocks/" + id)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, b.Release()) })
		return b
	}
	groups := []int{1, 1, 1, 1}
	var blocks []*Block
	all := &store.Batch{}
	for i, id := range []string{"A", "B"} {
		b := aligned(testkit.NewGenerator(uint64(i+1)).Batch(3*store.GranuleRows+500), groups)
		for j := range b.Scopes { // The generator's are the same each time, with the same numbers.
			b.Scopes[j].Version += " of " + id
			b.Scopes[j].Attrs = append(b.Scopes[j].Attrs, store.Attr{Key: "block", Value: store.String(id)})
		}
		// A column that the other block does not have, one of another type, and one too many values for a dictionary.
		for j := range b.Spans {
			b.Spans[j].Attrs = append(b.Spans[j].Attrs, store.Attr{Key: "only." + id, Value: store.Bool(j%3 == 0)})
			if i == 0 {
				b.Spans[j].Attrs = append(b.Spans[j].Attrs, store.Attr{Key: "mixed", Value: store.Int(int64(j))})
			} else {
				b.Spans[j].Attrs = append(b.Spans[j].Attrs, store.Attr{Key: "mixed", Value: store.String("m")}, store.Attr{Key: "mixed", Value: store.String("again")})
			}
		}
		writeBlock(t, fsys, id, b, WriterOptions{FirstGroups: groups})
		blocks = append(blocks, openBlock(id))
		mergeBatch(all, b)
	}
	copies := mergeByPlan(t, fsys, "blocks", "M", nil, blocks...)
	require.Greater(t, len(copies), 3, "row groups were copied")
	m := openBlock("M")
	require.NoError(t, m.Verify(t.Context(), nil))
	storetest.RequireSameSpans(t, all, rowsOf(t, m))
	for g, c := range copies {
		requireSameChunks(t, m, g, blocks[c.Input], c.Group)
	}

	// The same rows, written one by one.
	writeBlock(t, fsys, "W", rowsOf(t, m), WriterOptions{})
	whole := openBlock("W")
	want, err := whole.Attributes(t.Context())
	require.NoError(t, err)
	got, err := m.Attributes(t.Context())
	require.NoError(t, err)
	require.Len(t, got, len(want))
	for i := range want {
		require.Equal(t, want[i].Column, got[i].Column)
		require.Equal(t, want[i].Type, got[i].Type)
		require.Equal(t, want[i].Rows, got[i].Rows, "%v", want[i].Column)
		if want[i].Complete {
			require.True(t, got[i].Complete)
			require.Equal(t, want[i].Top, got[i].Top, "%v", want[i].Column)
		}
		require.Equal(t, len(want[i].Top) > 0, len(got[i].Top) > 0, "%v", want[i].Column)
	}
	a, b := whole.meta, m.meta
	require.Equal(t, []uint64{a.MinStart, a.MaxStart, a.MaxEnd}, []uint64{b.MinStart, b.MaxStart, b.MaxEnd})
	require.Equal(t, []int{a.Rows, a.Traces, a.Events, a.Links}, []int{b.Rows, b.Traces, b.Events, b.Links})
	require.Equal(t, traceEntries(t, whole), traceEntries(t, m))
	requireSameRefs(t, whole, m)
}

// requireSameChunks compares what two row groups have on disk.
func requireSameChunks(t *testing.T, a *Block, ga int, b *Block, gb int) {
	t.Helper()
	for _, file := range []int{fileSpans, fileEvents, fileLinks} {
		if file != fileSpans && sum(b.meta.Groups[gb].childRows(file)) == 0 {
			continue
		}
		ta, err := a.tableFile(file)
		require.NoError(t, err)
		tb, err := b.tableFile(file)
		require.NoError(t, err)
		na, nb := ga, gb
		if file != fileSpans {
			na, nb = a.childGroup(file, ga), b.childGroup(file, gb)
		}
		for col := range tb.Columns() {
			name := tb.Spec(col).Name
			to, ok := ta.Column(name)
			require.True(t, ok, name)
			var x, y column.Chunk
			require.NoError(t, ta.ReadChunk(na, to, &x))
			require.NoError(t, tb.ReadChunk(nb, col, &y))
			require.Equal(t, y, x, "column %s of row group %d", name, gb)
		}
	}
}

// requireSameRefs checks that equal resources have equal references in both.
func requireSameRefs(t *testing.T, a, b *Block) {
	t.Helper()
	same := map[int64]int64{}
	for g := range a.first[len(a.first)-1] {
		var sel store.Bitmap
		info := a.Info()
		sel.Fill(info.GranuleLen(g))
		var x, y store.Vector
		require.NoError(t, a.Read(t.Context(), g, store.Intrinsic(store.ResourceRef), &sel, &x))
		require.NoError(t, b.Read(t.Context(), g, store.Intrinsic(store.ResourceRef), &sel, &y))
		for i := range x.Ints {
			want, ok := same[x.Ints[i]]
			if !ok {
				want = y.Ints[i]
				same[x.Ints[i]] = want
			}
			require.Equal(t, want, y.Ints[i])
		}
	}
}

// TestCopyHidden leaves a trace out: what only it had is nowhere in the files.
func TestCopyHidden(t *testing.T) {
	fsys := fsx.NewMem()
	require.NoError(t, fsys.MkdirAll("blocks"))
	r, err := NewReader(fsys, NewLRU(64<<20), 2)
	require.NoError(t, err)
	t.Cleanup(r.Close)
	groups := []int{1, 1, 1}
	b := aligned(testkit.NewGenerator(1).Batch(2*store.GranuleRows+900), groups)
	b.Resources = append(b.Resources, store.Resource{Attrs: []store.Attr{{Key: "service.name", Value: store.String("secret-service")}}})
	victim := b.Spans[0].TraceID
	n := 0
	for i := range b.Spans {
		if s := &b.Spans[i]; s.TraceID == victim {
			s.Resource = int32(len(b.Resources) - 1)
			s.Attrs = append(slices.Clone(s.Attrs), store.Attr{Key: "secret", Value: store.String("hush")})
			n++
		}
	}
	writeBlock(t, fsys, "A", b, WriterOptions{FirstGroups: groups})
	src, err := r.Open("blocks/A")
	require.NoError(t, err)
	copies := mergeByPlan(t, fsys, "blocks", "M", map[spanid.TraceID]bool{victim: true}, src)
	require.NotEmpty(t, copies)
	require.NoError(t, src.Release())
	m, err := r.Open("blocks/M")
	require.NoError(t, err)
	defer func() { require.NoError(t, m.Release()) }()
	require.Equal(t, len(b.Spans)-n, m.meta.Rows)
	refs, err := m.resources()
	require.NoError(t, err)
	for _, res := range refs.resources {
		for _, a := range res.Attrs {
			require.NotEqual(t, "secret-service", a.Value.Str)
		}
	}
	infos, err := m.Attributes(t.Context())
	require.NoError(t, err)
	for _, a := range infos {
		require.NotEqual(t, "secret", a.Column.Name)
		for _, v := range a.Top {
			require.NotEqual(t, "secret-service", v.Value.Str)
		}
	}
}

// TestCopyGroupRefuses says why a row group cannot be copied, and leaves the writer usable.
func TestCopyGroupRefuses(t *testing.T) {
	fsys := fsx.NewMem()
	require.NoError(t, fsys.MkdirAll("blocks"))
	r, err := NewReader(fsys, NewLRU(1<<20), 2)
	require.NoError(t, err)
	t.Cleanup(r.Close)
	batch := testkit.NewGenerator(1).Batch(100)
	sortRows(batch)
	writeBlock(t, fsys, "A", batch, WriterOptions{})
	src, err := r.Open("blocks/A")
	require.NoError(t, err)
	defer func() { require.NoError(t, src.Release()) }()
	w, err := NewWriter(fsys, "blocks", WriterOptions{ID: "M"})
	require.NoError(t, err)
	require.ErrorIs(t, w.CopyGroup(t.Context(), src, 0, nil), store.ErrInvalid, "half a granule")
	patched := src.WithOverlay(&Overlay{Block: "A", Patches: []Patch{{ID: 0}}})
	require.ErrorIs(t, w.CopyGroup(t.Context(), patched, 0, nil), ErrPatched)
	require.NoError(t, w.Append(t.Context(), batch))
	_, err = w.Finish(t.Context())
	require.NoError(t, err)
}

package block

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

// TestCountsOfPatchedBlock: what an overlay puts in the place of resources is counted, and roots are not taken from the
// block, whose services may be others now.
func TestCountsOfPatchedBlock(t *testing.T) {
	fs := fsx.NewMem()
	batch := testkit.NewGenerator(1).Batch(500)
	sortRows(batch)
	w, err := NewWriter(fs, "blocks", WriterOptions{ID: "x"})
	require.NoError(t, err)
	require.NoError(t, w.Append(t.Context(), batch))
	_, err = w.Finish(t.Context())
	require.NoError(t, err)
	b, err := newTestReader(t, fs).Open("blocks/x")
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Release()) }()

	services := func(b *Block) (spans map[string]uint32, roots []store.RootCount) {
		require.Len(t, b.Ranges(), 1)
		counts, err := b.Counts(t.Context(), 0)
		require.NoError(t, err)
		require.NotNil(t, counts)
		spans = map[string]uint32{}
		for _, c := range counts.Columns {
			if c.Column == (store.Column{Scope: store.ScopeResource, Name: "service.name"}) {
				for i, v := range c.Values {
					spans[v.Str] += c.Counts[i].Spans
				}
			}
		}
		return spans, counts.Roots
	}
	before, roots := services(b)
	require.NotEmpty(t, roots)
	require.NotContains(t, before, "patched")
	o := &Overlay{Block: "x", Seq: 1, Patches: []Patch{{Resource: store.Resource{Attrs: []store.Attr{{Key: "service.name", Value: store.String("patched")}}}}}}
	after, roots := services(b.WithOverlay(o))
	require.Empty(t, roots)
	require.Positive(t, after["patched"])
	total := func(m map[string]uint32) (n uint32) {
		for _, k := range m {
			n += k
		}
		return n
	}
	require.EqualValues(t, len(batch.Spans), total(before))
	require.Equal(t, total(before), total(after))
}

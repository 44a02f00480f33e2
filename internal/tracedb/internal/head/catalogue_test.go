package head_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/head"
)

// TestCatalogueMovesOn asks for the attributes between appends, and parts that are older than the last answer: each gets
// what a head that has just its rows answers.
func TestCatalogueMovesOn(t *testing.T) {
	for _, columns := range []int{0, 5} {
		h := head.New("h1", head.Options{MaxColumns: columns})
		g := testkit.NewNasty(11)
		var batches []*store.Batch
		var parts []*head.Part
		for i := range 12 {
			b := g.Batch(1 + 7*i)
			batches = append(batches, b)
			appendTo(t, h, b)
			p := h.Part(store.KindHead)
			if parts = append(parts, p); i%3 != 0 {
				requireCatalogue(t, columns, batches, p)
			}
		}
		for i, p := range parts {
			requireCatalogue(t, columns, batches[:i+1], p)
		}
	}
}

func requireCatalogue(t *testing.T, columns int, batches []*store.Batch, p *head.Part) {
	t.Helper()
	fresh := head.New("h2", head.Options{MaxColumns: columns})
	for _, b := range batches {
		appendTo(t, fresh, b)
	}
	want, err := fresh.Part(store.KindHead).Attributes(t.Context())
	require.NoError(t, err)
	got, err := p.Attributes(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// TestCatalogueOfIDs does not count values that are all different, but knows how many there are.
func TestCatalogueOfIDs(t *testing.T) {
	h := head.New("h1", head.Options{})
	b := &store.Batch{Resources: []store.Resource{{}}, Scopes: []store.Scope{{}}}
	for i := range 3000 {
		b.Spans = append(b.Spans, store.Span{Attrs: []store.Attr{
			{Key: "id", Value: store.String(fmt.Sprint("id-", i))},
			{Key: "n", Value: store.Int(int64(i))},
			{Key: "few", Value: store.Int(int64(i % 7))},
		}})
	}
	appendTo(t, h, b)
	infos, err := h.Part(store.KindHead).Attributes(t.Context())
	require.NoError(t, err)
	require.Len(t, infos, 3)
	for _, info := range infos {
		require.Equal(t, 3000, info.Rows)
		require.Equal(t, info.Column.Name == "few", info.Complete, info.Column.Name)
	}
	require.Len(t, infos[0].Top, 7)
	require.Empty(t, infos[1].Top)
}

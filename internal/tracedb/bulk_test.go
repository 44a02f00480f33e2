package tracedb_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb"
)

// TestLargeValuesAreNotMerged merges ordinary blocks and leaves those as they are whose large values would be in memory
// together while a merged block is written, however small they are on disk.
func TestLargeValuesAreNotMerged(t *testing.T) {
	db := open(t, tracedb.Options{FS: fsx.NewMem(), Dir: "data", MemoryBytes: 64 << 20, Compaction: tracedb.CompactionOptions{Off: true}})
	g := testkit.NewGenerator(1)
	for n := range 12 {
		b := g.Batch(200)
		if n%2 == 0 {
			b.Spans[0].Attrs = append(b.Spans[0].Attrs, store.Attr{Key: "large", Value: store.String(strings.Repeat("x", 10<<20))})
		}
		require.NoError(t, db.Append(t.Context(), b))
		require.NoError(t, db.Cut())
		require.NoError(t, db.Flush())
	}
	require.Equal(t, 12, db.Stats().Blocks)
	spans := db.Stats().Spans
	db.CompactionOn()
	require.NoError(t, db.Compact(t.Context()))
	require.Equal(t, 7, db.Stats().Blocks, "six with large values, and the rest as one")
	require.Equal(t, spans, db.Stats().Spans)
}

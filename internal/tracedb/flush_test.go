package tracedb_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/storetest"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb"
)

// TestFlush goes all the way: heads become blocks, the log is freed, queries run over blocks, a restart changes nothing.
func TestFlush(t *testing.T) {
	fsys := fsx.NewMem()
	opts := tracedb.Options{FS: fsys, Dir: "data"}
	db := open(t, opts)
	g := testkit.NewGenerator(1)
	want := &store.Batch{}
	for range 3 {
		for range 4 {
			b := g.Batch(200)
			require.NoError(t, db.Append(t.Context(), b))
			merge(want, b)
		}
		require.NoError(t, db.Cut())
		require.NoError(t, db.Flush())
	}
	check := func(db *tracedb.DB) {
		t.Helper()
		st := db.Stats()
		require.Equal(t, 3, st.Blocks)
		require.Equal(t, 1, st.Heads)
		require.Zero(t, st.WALLag)
		require.Less(t, st.WALBytes, int64(1<<10), "the log of flushed heads is freed")
		require.Positive(t, st.BlockBytes)
		got, _ := everything(t, db)
		storetest.RequireSameSpans(t, want, got)
		checkSplit(t, db)
	}
	check(db)
	require.NoError(t, db.Close(context.Background()))
	db = open(t, opts)
	check(db)
	b := g.Batch(100)
	require.NoError(t, db.Append(t.Context(), b))
	merge(want, b)
	got, _ := everything(t, db)
	storetest.RequireSameSpans(t, want, got)
}

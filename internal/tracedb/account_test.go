package tracedb_test

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb"
)

// requireAccounts checks that every byte and every span is accounted for, in the store's own sums and, if nothing was
// damaged behind its back, on the disk. Each test that opens a store ends with it.
func requireAccounts(tb testing.TB, db *tracedb.DB, fsys fsx.FS, dir string) {
	tb.Helper()
	if _, err := db.Account(); errors.Is(err, store.ErrClosed) {
		return
	}
	quiet := db.Quietly(func() {
		a, err := db.Account()
		require.NoError(tb, err)
		require.NoError(tb, a.Check())
		st := db.Stats()
		if st.Corruptions+st.Repaired+st.RefusedBatches+st.FlushFailures > 0 || st.QuarantinedBytes > 0 {
			return // Files were changed by somebody else, or a failing disk left some.
		}
		log, blocks := onDisk(tb, fsys, dir)
		require.Equal(tb, log, a.Log.Now, "the log on disk: %+v", a)
		require.Equal(tb, blocks, a.Blocks.Now, "blocks on disk: %+v", a)
	})
	if !quiet {
		tb.Log("the accounts were not checked: the flusher is held")
	}
}

// onDisk measures the log and the files of blocks.
func onDisk(tb testing.TB, fsys fsx.FS, dir string) (log, blocks int64) {
	tb.Helper()
	for _, part := range []string{"wal", "blocks"} {
		if _, err := fsys.Stat(filepath.Join(dir, part)); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		for _, path := range files(tb, fsys, filepath.Join(dir, part)) {
			info, err := fsys.Stat(path)
			require.NoError(tb, err)
			switch {
			case part == "wal":
				log += info.Size
			case strings.HasSuffix(path, ".parquet") || strings.HasSuffix(path, ".idx"):
				blocks += info.Size
			}
		}
	}
	return log, blocks
}

// TestAccount follows spans and bytes through the life of a store: received, written, merged, deleted, quarantined and
// dropped, with a restart between.
func TestAccount(t *testing.T) {
	fsys := fsx.NewMem()
	opts := tracedb.Options{FS: fsys, Dir: "data", Scrub: fastScrub, Compaction: tracedb.CompactionOptions{Off: true}}
	db := open(t, opts)
	account := func() tracedb.Account {
		t.Helper()
		a, err := db.Account()
		require.NoError(t, err)
		require.NoError(t, a.Check())
		return a
	}
	require.Zero(t, account().Received)
	g := testkit.NewGenerator(1)
	want := fill(t, db, g, 3, 200)
	b := g.Batch(50)
	require.NoError(t, db.Append(t.Context(), b))
	a := account()
	n := int64(len(want.Spans))
	require.Equal(t, n+int64(len(b.Spans)), a.Spans.Appended)
	require.Greater(t, a.Received, uint64(100*n))
	require.Positive(t, a.Log.Freed)
	require.Positive(t, a.ByLevel[0])
	require.Zero(t, a.ByLevel[1])
	require.Positive(t, a.Heads)

	held, err := db.View()
	require.NoError(t, err)
	deleted, err := db.DeleteTrace(t.Context(), want.Spans[0].TraceID)
	require.NoError(t, err)
	require.NoError(t, db.Rewrite(t.Context()))
	a = account()
	require.Equal(t, int64(deleted), a.Spans.Deleted)
	require.Positive(t, a.Doomed, "a view uses the old block")
	held.Release()
	require.NoError(t, db.Flush())
	a = account()
	require.Zero(t, a.Doomed)
	require.Positive(t, a.Blocks.Freed)
	require.NoError(t, db.Close(context.Background()))

	db = open(t, opts)
	a = account()
	require.Equal(t, n+int64(len(b.Spans)-deleted), a.Spans.Opened+a.Spans.Replayed)
	blocks, err := fsys.ReadDir(filepath.Join("data", "blocks"))
	require.NoError(t, err)
	damage(t, fsys, filepath.Join("data", "blocks", blocks[0].Name, "resources.parquet"), "cut")
	_, err = db.Scrub(t.Context())
	require.NoError(t, err)
	require.NoError(t, db.Flush())
	a = account()
	require.Positive(t, a.Spans.Quarantined)
	require.Positive(t, a.Blocks.Moved)
	require.Positive(t, a.Quarantined)
	require.Less(t, a.Quarantined, a.Blocks.Moved, "half of a file is missing")

	wrong := a
	wrong.Spans.Now++
	wrong.Log.Freed--
	err = wrong.Check()
	require.ErrorContains(t, err, "spans")
	require.ErrorContains(t, err, "bytes of the log")
}

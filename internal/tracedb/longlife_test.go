package tracedb_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb"
)

// TestLongLife lets a day go by on a fake clock, at 10,000 spans/s scaled down: memory stays flat, files stay few, the
// disk stays below its limit, traces are decided about, and nothing is left over at the end. (The package's leak check
// sees to goroutines.)
func TestLongLife(t *testing.T) {
	hours, perCut := 4, 300
	if full() {
		hours, perCut = 24, 3000
	}
	const limit = 2 << 20
	fsys := fsx.OS{} // The one in memory remembers what a crash could undo.
	dir := t.TempDir()
	now := &clock{}
	now.Set(time.Date(2026, 3, 4, 5, 0, 0, 0, time.UTC))
	opts := tracedb.Options{
		FS: fsys, Dir: dir, Clock: now.Now, MaintenanceInterval: time.Hour, MemoryBytes: 64 << 20,
		WAL:       tracedb.WALOptions{Sync: tracedb.SyncOff},
		Retention: tracedb.Retention{Recent: time.Hour, MaxAge: 12 * time.Hour, MaxSizeBytes: int64(perCut) / 300 * limit},
	}
	db := open(t, opts)
	k := newKeeper(t)
	_, err := db.SetDecider(k)
	require.NoError(t, err)
	g := testkit.NewGenerator(1)
	var heap []uint64
	most := 0
	for range hours {
		for range 30 { // A head every two minutes.
			b := g.Batch(perCut)
			shift(b, now.Now())
			require.NoError(t, db.Append(t.Context(), b))
			now.Advance(2 * time.Minute)
			require.NoError(t, db.Cut())
			require.NoError(t, db.Flush())
			require.NoError(t, db.Compact(t.Context()))
			db.Tick()
			require.NoError(t, db.Flush())
			st := db.Stats()
			require.LessOrEqual(t, st.BlockBytes+st.WALBytes+st.DoomedBytes, opts.Retention.MaxSizeBytes)
			most = max(most, len(files(t, fsys, dir)))
		}
		clear(k.asked)
		clear(k.spans)
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		heap = append(heap, m.HeapAlloc)
	}
	st := db.Stats()
	t.Logf("%d blocks %v, at most %d files, heap per hour %v, %d decided, %d kept, %d dropped spans",
		st.Blocks, levels(t, db), most, heap, st.DecidedTraces, st.KeptTraces, st.DroppedSpans)
	require.Less(t, most, 8*(4+16+8+hours), "files")
	require.Less(t, heap[len(heap)-1], heap[1]+(8<<20), "memory")
	require.Positive(t, st.DecidedTraces)
	require.Less(t, st.KeptTraces, st.DecidedTraces)
	require.Zero(t, st.Corruptions)
	require.Zero(t, st.MergeFailures)
}

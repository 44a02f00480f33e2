package tracedb_test

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/storetest"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb"
)

// damage changes a file: a flipped bit in the middle, half of it missing, all of it missing, or no file.
func damage(tb testing.TB, fsys fsx.FS, path, how string) {
	tb.Helper()
	data, err := fsx.ReadFile(fsys, path)
	require.NoError(tb, err)
	switch how {
	case "flipped":
		data[len(data)/2] ^= 4
	case "cut":
		data = data[:len(data)/2]
	case "empty":
		data = nil
	case "missing":
		require.NoError(tb, fsys.Remove(path))
		return
	}
	require.NoError(tb, fsx.WriteFileAtomic(fsys, path, data))
}

// rebuildable reports whether a block's file can be made again from the others.
func rebuildable(path string) bool {
	return strings.HasSuffix(path, ".idx") || strings.HasSuffix(path, ".json")
}

// TestDamagedBlocks damages each file of a block in several ways. What can be made again is, and nothing is lost; else
// the block goes to quarantine, with a reason, and the rest goes on.
func TestDamagedBlocks(t *testing.T) {
	base := fsx.NewMem()
	opts := tracedb.Options{FS: base, Dir: "data", PurgeAfter: time.Hour}
	db := open(t, opts)
	all := fill(t, db, testkit.NewGenerator(3), 2, 60)
	n, err := db.DeleteTrace(t.Context(), all.Spans[0].TraceID) // A repaired block must not bring it back.
	require.NoError(t, err)
	require.NoError(t, db.Close(t.Context()))
	want, _ := everything(t, open(t, tracedb.Options{FS: base.CrashClone(rand.New(rand.NewPCG(1, 1))), Dir: "data", PurgeAfter: time.Hour}))
	require.Len(t, want.Spans, len(all.Spans)-n)
	rng := rand.New(rand.NewPCG(1, 2))
	for _, path := range files(t, base, filepath.Join("data", "blocks")) {
		if strings.HasPrefix(filepath.Base(path), "overlay-") {
			continue // TestDamagedOverlay
		}
		for _, how := range []string{"flipped", "cut", "missing", "empty"} {
			t.Run(filepath.Base(path)+" "+how, func(t *testing.T) {
				fsys := base.CrashClone(rng)
				damage(t, fsys, path, how)
				damagedBlock(t, fsys, path, want)
			})
		}
	}
}

func damagedBlock(t *testing.T, fsys fsx.FS, path string, want *store.Batch) {
	t.Helper()
	var repaired []tracedb.BlockRepaired
	var mu sync.Mutex
	db := open(t, tracedb.Options{FS: fsys, Dir: "data", PurgeAfter: time.Hour, Scrub: fastScrub, Listener: &tracedb.Listener{
		BlockRepaired: func(e tracedb.BlockRepaired) {
			mu.Lock()
			defer mu.Unlock()
			repaired = append(repaired, e)
		},
	}})
	_, err := db.Scrub(t.Context())
	require.NoError(t, err)
	require.NoError(t, db.Flush())
	st := db.Stats()
	got, _ := everything(t, db)
	checkSplit(t, db)
	if rebuildable(path) || st.Quarantined == 0 {
		require.Zero(t, st.Quarantined)
		storetest.RequireSameSpans(t, want, got)
		require.Equal(t, uint64(1), st.Repaired)
		require.Len(t, repaired, 1)
		require.ErrorContains(t, repaired[0].Err, filepath.Base(path))
		require.Empty(t, missing(t, db))
		again, err := db.Scrub(t.Context())
		require.NoError(t, err)
		require.Equal(t, 2, again.Blocks)
		require.Zero(t, again.Damaged, "the repair is complete")
		require.NotEmpty(t, attributes(t, db))
		return
	}
	require.Equal(t, uint64(1), st.Quarantined)
	require.Equal(t, 1, st.Blocks)
	require.Len(t, got.Spans, st.Spans)
	require.Less(t, st.Spans, len(want.Spans))
	require.Positive(t, st.QuarantinedBytes)
	require.Contains(t, missing(t, db), "damaged")
	reasons := 0
	for _, f := range files(t, fsys, filepath.Join("data", "quarantine")) {
		if filepath.Base(f) == "reason.txt" {
			reasons++
			text, err := fsx.ReadFile(fsys, f)
			require.NoError(t, err)
			require.Contains(t, string(text), filepath.Base(path))
		}
	}
	require.Equal(t, 1, reasons)
	require.NoError(t, db.Close(t.Context()))
	again := open(t, tracedb.Options{FS: fsys, Dir: "data"})
	require.Contains(t, missing(t, again), "damaged", "a restart does not make it whole")
	require.Equal(t, st.QuarantinedBytes, again.Stats().QuarantinedBytes)
}

// fastScrub is for tests that scrub by themselves.
var fastScrub = tracedb.ScrubOptions{Interval: -1, BytesPerSecond: 1 << 40}

// missing returns what a view says that it lacks.
func missing(tb testing.TB, s store.Viewer) string {
	tb.Helper()
	v, err := s.View()
	require.NoError(tb, err)
	defer v.Release()
	return v.(store.Incomplete).Missing(0, 0)
}

// TestDamagedOverlay loses what says which traces of a block are deleted. Nothing else knows it, so that the block must
// not be shown.
func TestDamagedOverlay(t *testing.T) {
	fsys := fsx.NewMem()
	opts := tracedb.Options{FS: fsys, Dir: "data", PurgeAfter: time.Hour}
	db := open(t, opts)
	all := fill(t, db, testkit.NewGenerator(4), 1, 60)
	_, err := db.DeleteTrace(t.Context(), all.Spans[0].TraceID)
	require.NoError(t, err)
	b := testkit.NewGenerator(5).Batch(20)
	require.NoError(t, db.Append(t.Context(), b))
	require.NoError(t, db.Cut())
	require.NoError(t, db.Flush()) // The log of the deletion is freed.
	require.NoError(t, db.Close(t.Context()))
	for _, path := range files(t, fsys, filepath.Join("data", "blocks")) {
		if strings.HasPrefix(filepath.Base(path), "overlay-") {
			damage(t, fsys, path, "flipped")
		}
	}
	db = open(t, opts)
	require.Equal(t, uint64(1), db.Stats().Quarantined)
	got, _ := everything(t, db)
	storetest.RequireSameSpans(t, b, got)
}

// TestDamageWhileReading damages a table under an open store: the read fails, the next view does without the block and
// says so, and so does the trace that was in it.
func TestDamageWhileReading(t *testing.T) {
	fsys := fsx.NewMem()
	db := open(t, tracedb.Options{FS: fsys, Dir: "data", Scrub: fastScrub})
	g := testkit.NewGenerator(6)
	want := fill(t, db, g, 1, 60)
	lost := g.Batch(60)
	require.NoError(t, db.Append(t.Context(), lost))
	require.NoError(t, db.Cut())
	require.NoError(t, db.Flush())
	resume := sync.OnceFunc(db.HoldFlush())
	defer resume()
	blocks, err := fsys.ReadDir(filepath.Join("data", "blocks"))
	require.NoError(t, err)
	path := filepath.Join("data", "blocks", blocks[1].Name, "resources.parquet") // Not open yet.
	damage(t, fsys, path, "cut")

	before, err := db.View()
	require.NoError(t, err)
	defer before.Release()
	require.Empty(t, before.(store.Incomplete).Missing(0, 0))
	rows := []uint32{0}
	var corrupt *store.CorruptionError
	require.ErrorAs(t, before.Parts()[0].Spans(t.Context(), rows, &store.Batch{}), &corrupt)

	check := func() {
		t.Helper()
		v, err := db.View()
		require.NoError(t, err)
		defer v.Release()
		require.Len(t, v.Parts(), 1)
		in := v.(store.Incomplete)
		require.Contains(t, in.Missing(0, 0), blocks[1].Name)
		start := lost.Spans[0].StartNano
		require.NotEmpty(t, in.Missing(start, start))
		require.Empty(t, in.Missing(1, 2), "another time")
		got, _ := everything(t, db)
		storetest.RequireSameSpans(t, want, got)
		tr, err := v.Trace(t.Context(), lost.Spans[0].TraceID, 0)
		require.NoError(t, err)
		require.Empty(t, tr.Spans)
		require.Contains(t, tr.Missing, "damaged")
		tr, err = v.Trace(t.Context(), want.Spans[0].TraceID, 0)
		require.NoError(t, err)
		require.NotEmpty(t, tr.Spans)
	}
	check()
	resume()
	require.NoError(t, db.Flush())
	require.Equal(t, uint64(1), db.Stats().Quarantined)
	check()
}

// TestScrubSchedule lets the scrub run by itself: a pass each interval, at the given rate, that goes on after a restart
// where it was.
func TestScrubSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := fsx.NewMem()
		passes := make(chan tracedb.Scrubbed, 10)
		opts := tracedb.Options{
			FS: fsys, Dir: "data", Scrub: tracedb.ScrubOptions{Interval: time.Hour, BytesPerSecond: 4 << 10}, Compaction: tracedb.CompactionOptions{Off: true},
			Listener: &tracedb.Listener{Scrubbed: func(s tracedb.Scrubbed) { passes <- s }},
		}
		db := open(t, opts)
		fill(t, db, testkit.NewGenerator(7), 3, 300)
		bytes := db.Stats().BlockBytes
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		require.Empty(t, passes, "none is due")
		time.Sleep(time.Duration(bytes/(4<<10))*time.Second + 2*time.Minute)
		synctest.Wait()
		first := <-passes
		require.Equal(t, 3, first.Blocks)
		require.Equal(t, bytes, first.Bytes)
		require.Zero(t, first.Damaged)
		require.GreaterOrEqual(t, first.Duration, time.Duration(bytes/(4<<10))*time.Second, "no faster than allowed")

		// In the middle of the second pass.
		for db.Stats().ScrubbedBlocks < 4 {
			time.Sleep(time.Second)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		require.NoError(t, db.Close(context.Background()))
		blocks, err := fsys.ReadDir(filepath.Join("data", "blocks"))
		require.NoError(t, err)
		damage(t, fsys, filepath.Join("data", "blocks", blocks[2].Name, "attrs.idx"), "flipped")
		db = open(t, opts)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		second := <-passes
		require.Equal(t, 3, second.Blocks, "with the one of before the restart")
		require.Equal(t, uint64(2), db.Stats().ScrubbedBlocks)
		require.Equal(t, 1, second.Damaged)
		require.Equal(t, uint64(1), db.Stats().Repaired)
		require.NoError(t, db.Close(context.Background()))
	})
}

// TestQuarantineIsBounded drops quarantined blocks when they are too old, and before anything else when the store is too
// large.
func TestQuarantineIsBounded(t *testing.T) {
	for name, r := range map[string]tracedb.Retention{"age": {MaxAge: 24 * time.Hour}, "size": {MaxSizeBytes: 1}} {
		t.Run(name, func(t *testing.T) {
			now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			var mu sync.Mutex
			clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
			fsys := fsx.NewMem()
			opts := tracedb.Options{FS: fsys, Dir: "data", Scrub: fastScrub, Clock: clock, MaintenanceInterval: time.Hour}
			db := open(t, opts)
			g := testkit.NewGenerator(8)
			g.SetTime(now)
			fill(t, db, g, 2, 100)
			require.NoError(t, db.Close(t.Context()))
			blocks, err := fsys.ReadDir(filepath.Join("data", "blocks"))
			require.NoError(t, err)
			damage(t, fsys, filepath.Join("data", "blocks", blocks[0].Name, "spans.parquet"), "cut")
			db = open(t, opts)
			bad, good := db.Stats().QuarantinedBytes, db.Stats().BlockBytes
			require.Positive(t, bad)
			require.NoError(t, db.Close(t.Context()))

			var gone []tracedb.QuarantineDropped
			opts.Retention = r
			if name == "size" {
				opts.Retention.MaxSizeBytes = good + bad/2 + 4096
			}
			opts.Listener = &tracedb.Listener{QuarantineDropped: func(e tracedb.QuarantineDropped) {
				mu.Lock()
				defer mu.Unlock()
				gone = append(gone, e)
			}}
			mu.Lock()
			if name == "age" {
				now = now.Add(23 * time.Hour)
			}
			mu.Unlock()
			db = open(t, opts)
			db.Tick()
			if name == "age" {
				require.Equal(t, bad, db.Stats().QuarantinedBytes)
				mu.Lock()
				now = now.Add(2 * time.Hour)
				mu.Unlock()
				db.Tick()
			}
			require.Zero(t, db.Stats().QuarantinedBytes)
			require.Empty(t, missing(t, db))
			mu.Lock()
			require.Len(t, gone, 1)
			require.Equal(t, blocks[0].Name, gone[0].ID)
			require.Equal(t, bad, gone[0].Bytes)
			mu.Unlock()
			if name == "size" {
				require.Equal(t, 1, db.Stats().Blocks, "what can be read stays")
			}
			left, err := fsys.ReadDir(filepath.Join("data", "quarantine"))
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

// TestTraceInDamagedBlock asks for traces by id after a restart, or two, on a damaged block: those that were in it are not
// said to be unknown, nor those of another block to be incomplete, as long as the trace index can be read. Without it nobody
// knows, so that every trace may be incomplete.
func TestTraceInDamagedBlock(t *testing.T) {
	base := fsx.NewMem()
	opts := tracedb.Options{FS: base, Dir: "data", PurgeAfter: time.Hour}
	db := open(t, opts)
	g := testkit.NewGenerator(9)
	lost, kept := fill(t, db, g, 1, 60), fill(t, db, g, 1, 60)
	require.NoError(t, db.Close(t.Context()))
	blocks, err := base.ReadDir(filepath.Join("data", "blocks"))
	require.NoError(t, err)
	dir := filepath.Join("data", "blocks", blocks[0].Name)
	for name, tc := range map[string]struct {
		files []string // damaged ones
		known bool     // which traces were in the block
	}{
		"spans":           {[]string{"spans.parquet"}, true},
		"resources":       {[]string{"resources.parquet"}, true},
		"spans and index": {[]string{"spans.parquet", "traces.idx"}, false},
		"spans and metas": {[]string{"spans.parquet", "meta.json", "meta.copy.json"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			again := opts
			fsys := base.CrashClone(rand.New(rand.NewPCG(1, 1)))
			again.FS = fsys
			for _, file := range tc.files {
				damage(t, fsys, filepath.Join(dir, file), "cut")
			}
			for range 3 {
				db := open(t, again)
				requireLost(t, db, lost.Spans[0].TraceID, kept.Spans[0].TraceID, tc.known)
				require.NoError(t, db.Close(t.Context()))
			}
		})
	}
	require.NoError(t, base.RemoveAll(dir))
	for range 3 {
		db := open(t, opts)
		requireLost(t, db, lost.Spans[0].TraceID, kept.Spans[0].TraceID, false)
		require.NoError(t, db.Close(t.Context()))
	}
}

// TestQuarantineOnBadDisk cannot write the reason, or cannot move the block, when it finds damage. The block's files are not
// removed, and answers are partial.
func TestQuarantineOnBadDisk(t *testing.T) {
	for name, fault := range map[string]fsx.Fault{
		"reason": {Op: fsx.OpWrite, Path: "reason.txt", Times: -1, Err: syscall.ENOSPC},
		"rename": {Op: fsx.OpRename, Path: "quarantine", Times: -1, Err: syscall.EIO},
	} {
		t.Run(name, func(t *testing.T) {
			faulty := fsx.NewFaulty(fsx.NewMem())
			opts := tracedb.Options{FS: faulty, Dir: "data"}
			db := open(t, opts)
			all := fill(t, db, testkit.NewGenerator(9), 1, 60)
			require.NoError(t, db.Close(t.Context()))
			blocks, err := faulty.ReadDir(filepath.Join("data", "blocks"))
			require.NoError(t, err)
			damage(t, faulty, filepath.Join("data", "blocks", blocks[0].Name, "spans.parquet"), "cut")
			faulty.Inject(fault)
			db = open(t, opts)
			require.Equal(t, uint64(1), db.Stats().Quarantined)
			require.Contains(t, missing(t, db), "damaged")
			left := 0
			for _, path := range files(t, faulty, "data") {
				if filepath.Base(path) == "traces.idx" {
					left++
				}
			}
			require.Equal(t, 1, left, "the block is somewhere")
			faulty.Clear()
			require.NoError(t, db.Close(t.Context()))
			if name == "reason" {
				again := open(t, opts)
				require.Contains(t, missing(t, again), "damaged")
				v, err := again.View()
				require.NoError(t, err)
				defer v.Release()
				tr, err := v.Trace(t.Context(), all.Spans[0].TraceID, 0)
				require.NoError(t, err)
				require.Contains(t, tr.Why(), "damaged")
			}
		})
	}
}

func requireLost(t *testing.T, db *tracedb.DB, lost, kept spanid.TraceID, known bool) {
	t.Helper()
	require.Equal(t, 1, db.Stats().Blocks)
	require.Contains(t, missing(t, db), "damaged")
	v, err := db.View()
	require.NoError(t, err)
	defer v.Release()
	tr, err := v.Trace(t.Context(), lost, 0)
	require.NoError(t, err)
	require.Empty(t, tr.Spans)
	require.Contains(t, tr.Why(), "damaged")
	tr, err = v.Trace(t.Context(), kept, 0)
	require.NoError(t, err)
	require.NotEmpty(t, tr.Spans)
	never, err := v.Trace(t.Context(), spanid.TraceID{1}, 0)
	if known {
		require.Empty(t, tr.Why())
		require.ErrorIs(t, err, store.ErrNotFound)
		return
	}
	require.Contains(t, tr.Why(), "damaged")
	require.NoError(t, err)
	require.Contains(t, never.Why(), "damaged")
}

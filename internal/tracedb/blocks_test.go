package tracedb_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/storetest"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb"
)

// files returns the paths of all files below dir.
func files(tb testing.TB, fsys fsx.FS, dir string) []string {
	tb.Helper()
	list, err := fsys.ReadDir(dir)
	require.NoError(tb, err)
	var out []string
	for _, e := range list {
		path := filepath.Join(dir, e.Name)
		if e.Dir {
			out = append(out, files(tb, fsys, path)...)
		} else {
			out = append(out, path)
		}
	}
	return out
}

// fill appends batches that are written as so many blocks, and returns all spans.
func fill(tb testing.TB, db *tracedb.DB, g *testkit.Generator, blocks, spans int) *store.Batch {
	tb.Helper()
	all := &store.Batch{}
	for range blocks {
		b := g.Batch(spans)
		require.NoError(tb, db.Append(tb.Context(), b))
		merge(all, b)
		require.NoError(tb, db.Cut())
		require.NoError(tb, db.Flush())
	}
	return all
}

// TestFlushFaults makes each file operation of a flush fail once: the head stays readable, the next attempt succeeds,
// and nothing is lost or doubled, neither then nor after a power cut at the moment of the fault.
func TestFlushFaults(t *testing.T) {
	for _, op := range []fsx.Op{fsx.OpCreate, fsx.OpWrite, fsx.OpSync, fsx.OpSyncDir, fsx.OpRename, fsx.OpRemove, fsx.OpMkdir, fsx.OpClose} {
		t.Run(op.String(), func(t *testing.T) {
			first, stride := 0, 1
			if !full() {
				if op != fsx.OpRename {
					t.Skip("set BRAMBLE_FULL=1 for every call of every kind")
				}
				first, stride = 4, 1<<10
			}
			for after, hit := first, true; hit; after += stride {
				hit = flushFault(t, op, after)
			}
		})
	}
}

func flushFault(t *testing.T, op fsx.Op, after int) (hit bool) {
	t.Helper()
	name := fmt.Sprintf("%s %d", op, after)
	mem := fsx.NewMem()
	faulty := fsx.NewFaulty(mem)
	var failures []tracedb.FlushFailed
	var mu sync.Mutex
	opts := tracedb.Options{
		FS: faulty, Dir: "data", WAL: tracedb.WALOptions{Sync: tracedb.SyncAlways}, PurgeAfter: time.Hour,
		Listener: &tracedb.Listener{FlushFailed: func(e tracedb.FlushFailed) {
			mu.Lock()
			defer mu.Unlock()
			failures = append(failures, e)
		}},
	}
	db := open(t, opts)
	g := testkit.NewGenerator(1)
	want := fill(t, db, g, 1, 150)
	victim := want.Spans[0].TraceID
	b := g.Batch(60)
	require.NoError(t, db.Append(t.Context(), b))
	merge(want, b)
	resume := db.HoldFlush()
	require.NoError(t, db.Cut())
	calls := faulty.Calls(op)
	broken := errors.New("broken for once")
	faulty.Inject(fsx.Fault{Op: op, After: after, Err: broken, Short: 3})
	_, err := db.DeleteTrace(t.Context(), victim) // Overlay and manifest.
	if err != nil {
		require.ErrorIs(t, err, broken, name)
		_, err = db.DeleteTrace(t.Context(), victim)
	}
	require.NoError(t, err, name)
	kept := &store.Batch{Resources: want.Resources, Scopes: want.Scopes}
	for _, s := range want.Spans {
		if s.TraceID != victim {
			kept.Spans = append(kept.Spans, s)
		}
	}
	check := func(db *tracedb.DB) {
		t.Helper()
		got, _ := everything(t, db)
		require.Len(t, got.Spans, len(kept.Spans), name)
		storetest.RequireSameSpans(t, kept, got)
		checkSplit(t, db)
	}
	crash := func() {
		t.Helper()
		again := opts
		again.FS, again.Listener = mem.CrashClone(rand.New(rand.NewPCG(uint64(after), uint64(op)))), nil
		again.Cut.Age = time.Hour
		other, err := tracedb.Open(t.Context(), again)
		require.NoError(t, err, name)
		check(other)
		require.NoError(t, other.Close(context.Background()), name)
	}
	crash()
	resume()
	_ = db.Flush() // It may meet the fault, or the flusher does.
	check(db)
	crash()
	require.NoError(t, db.Flush(), name)
	_ = db.Rewrite(t.Context())
	check(db)
	crash()
	require.NoError(t, db.Rewrite(t.Context()), name)
	check(db)
	st := db.Stats()
	require.Equal(t, 2, st.Blocks, name)
	require.Zero(t, st.Quarantined, name)
	hit = faulty.Calls(op)-calls > after
	faulty.Clear()
	require.NoError(t, db.Close(context.Background()), name)
	crash()
	return hit
}

// TestDeletedBytesAreGone looks for the bytes of a deleted trace in all files, before and after a rewrite.
func TestDeletedBytesAreGone(t *testing.T) {
	fsys := fsx.NewMem()
	var events []tracedb.DropReason
	db := open(t, tracedb.Options{FS: fsys, Dir: "data", PurgeAfter: time.Hour, Listener: &tracedb.Listener{
		BlockDropped: func(e tracedb.BlockDropped) { events = append(events, e.Reason) },
	}})
	g := testkit.NewGenerator(2)
	id := spanid.TraceID{0: 0xde, 15: 0xad}
	secret := func(n byte) *store.Batch {
		return &store.Batch{Resources: make([]store.Resource, 1), Scopes: make([]store.Scope, 1), Spans: []store.Span{{
			TraceID: id, SpanID: spanid.SpanID{n, 0xbe, 0xef}, Name: "secret name", StartNano: 1,
		}}}
	}
	require.NoError(t, db.Append(t.Context(), secret(1)))
	want := fill(t, db, g, 2, 50)
	require.NoError(t, db.Append(t.Context(), secret(2)))
	found := func() (n int) {
		for _, f := range files(t, fsys, "data") {
			data, err := fsx.ReadFile(fsys, f)
			require.NoError(t, err)
			n += bytes.Count(data, id[:]) + bytes.Count(data, []byte("secret"))
		}
		return n
	}
	require.Positive(t, found())
	n, err := db.DeleteTrace(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	before, err := db.View()
	require.NoError(t, err)
	require.NoError(t, db.Rewrite(t.Context()))
	before.Release()
	require.NoError(t, db.Flush()) // What the view held.
	require.Zero(t, found())
	require.Equal(t, []tracedb.DropReason{tracedb.DropRewritten}, events)
	got, _ := everything(t, db)
	storetest.RequireSameSpans(t, want, got)
	require.Equal(t, uint64(1), db.Stats().Rewrites)
}

// TestBadManifest loses the manifest in several ways: it is made again from the blocks, without loss or doubles.
func TestBadManifest(t *testing.T) {
	base := fsx.NewMem()
	opts := tracedb.Options{FS: base, Dir: "data", WAL: tracedb.WALOptions{Sync: tracedb.SyncAlways}, PurgeAfter: time.Hour}
	db := open(t, opts)
	g := testkit.NewGenerator(4)
	want := fill(t, db, g, 3, 40)
	b := g.Batch(40)
	require.NoError(t, db.Append(t.Context(), b))
	merge(want, b)
	victim := want.Spans[0].TraceID
	n, err := db.DeleteTrace(t.Context(), victim)
	require.NoError(t, err)
	require.NoError(t, db.Close(t.Context()))
	path := filepath.Join("data", "manifest.json")
	good, err := fsx.ReadFile(base, path)
	require.NoError(t, err)
	for name, data := range map[string][]byte{
		"good": good, "missing": nil, "empty": {}, "cut": good[:len(good)/2], "garbage": []byte("garbage"),
		"flipped": bytes.Replace(good, []byte("level"), []byte("Level"), 1),
	} {
		t.Run(name, func(t *testing.T) {
			again := opts
			again.FS = base.CrashClone(rand.New(rand.NewPCG(1, 1)))
			if data == nil {
				require.NoError(t, again.FS.Remove(path))
			} else {
				require.NoError(t, fsx.WriteFileAtomic(again.FS, path, data))
			}
			db := open(t, again)
			require.Equal(t, len(want.Spans)-n, db.Stats().Spans)
			require.Equal(t, 3, db.Stats().Blocks)
			require.NoError(t, db.Close(t.Context()))
			require.Equal(t, len(want.Spans)-n, open(t, again).Stats().Spans)
		})
	}
	newer := bytes.Replace(good, []byte(`"version":1`), []byte(`"version":2`), 1)
	require.NoError(t, fsx.WriteFileAtomic(base, path, newer))
	_, err = tracedb.Open(t.Context(), opts)
	require.ErrorContains(t, err, "use the version that wrote it")
	left, err := fsx.ReadFile(base, path)
	require.NoError(t, err)
	require.Equal(t, newer, left)
}

// TestBadManifestAfterMerge loses the manifest while the blocks that were merged, and one that was written anew after a
// deletion, are still there, because a view uses them: they are left out.
func TestBadManifestAfterMerge(t *testing.T) {
	fsys := fsx.NewMem()
	opts := tracedb.Options{
		FS: fsys, Dir: "data", WAL: tracedb.WALOptions{Sync: tracedb.SyncAlways}, PurgeAfter: time.Hour,
		Compaction: tracedb.CompactionOptions{MinBlocks: 3, Off: true},
	}
	db := open(t, opts)
	g := testkit.NewGenerator(4)
	all := fill(t, db, g, 3, 40)
	held, err := db.View()
	require.NoError(t, err)
	defer held.Release()
	db.CompactionOn()
	require.NoError(t, db.Compact(t.Context()))
	merge(all, fill(t, db, g, 1, 40))
	later, err := db.View()
	require.NoError(t, err)
	defer later.Release()
	victim := all.Spans[len(all.Spans)-1].TraceID
	_, err = db.DeleteTrace(t.Context(), victim)
	require.NoError(t, err)
	require.NoError(t, db.Rewrite(t.Context()))
	list, err := fsys.ReadDir(filepath.Join("data", "blocks"))
	require.NoError(t, err)
	require.Len(t, list, 3+1+1+1, "merged, the result, written anew, the result")
	want := pick(all, func(s *store.Span) bool { return s.TraceID != victim })

	again := opts
	again.FS = fsys.CrashClone(rand.New(rand.NewPCG(1, 1)))
	require.NoError(t, again.FS.Remove(filepath.Join("data", "manifest.json")))
	rebuilt := open(t, again)
	require.Equal(t, 2, rebuilt.Stats().Blocks)
	got, _ := everything(t, rebuilt)
	storetest.RequireSameSpans(t, want, got)
}

// TestBadManifestWithLog loses the manifest while the log of a block is still there: its spans are not there twice.
func TestBadManifestWithLog(t *testing.T) {
	mem := fsx.NewMem()
	faulty := fsx.NewFaulty(mem)
	opts := tracedb.Options{FS: faulty, Dir: "data", WAL: tracedb.WALOptions{Sync: tracedb.SyncAlways}}
	db := open(t, opts)
	g := testkit.NewGenerator(4)
	all := fill(t, db, g, 1, 40)
	var found []*fsx.Mem
	var mu sync.Mutex
	faulty.Before(func(op fsx.Op, path string) { // The block is complete, the manifest is about to name it.
		if op == fsx.OpRename && strings.Contains(path, "manifest.json") {
			mu.Lock()
			defer mu.Unlock()
			found = append(found, mem.CrashClone(rand.New(rand.NewPCG(1, 1))))
		}
	})
	merge(all, fill(t, db, g, 1, 40))
	faulty.Before(nil)
	require.NotEmpty(t, found)
	for _, fsys := range found {
		again := opts
		again.FS = fsys
		require.NoError(t, fsys.Remove(filepath.Join("data", "manifest.json")))
		rebuilt := open(t, again)
		require.Equal(t, 2, rebuilt.Stats().Blocks)
		got, _ := everything(t, rebuilt)
		storetest.RequireSameSpans(t, all, got)
	}
}

// TestFlushKeepsFailing has a disk on which no block can be written: appends wait and are refused in the end, all stays
// readable, and it goes on when the disk does.
func TestFlushKeepsFailing(t *testing.T) {
	faulty := fsx.NewFaulty(fsx.NewMem())
	db := open(t, tracedb.Options{FS: faulty, Dir: "data", Cut: tracedb.CutOptions{Spans: 50}})
	faulty.Inject(fsx.Fault{Op: fsx.OpWrite, Path: "blocks", Times: -1, Err: syscall.ENOSPC})
	g := testkit.NewGenerator(5)
	want := &store.Batch{}
	var err error
	for range 20 {
		b := g.Batch(60)
		// Only the append that waits for the flush may run into this, however busy the machine is.
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		err = db.Append(ctx, b)
		cancel()
		if err != nil {
			break
		}
		merge(want, b)
	}
	require.ErrorIs(t, err, store.ErrFull)
	require.True(t, store.Retryable(err))
	require.ErrorIs(t, db.Flush(), syscall.ENOSPC)
	got, _ := everything(t, db)
	storetest.RequireSameSpans(t, want, got)
	faulty.Clear()
	require.NoError(t, db.Flush())
	b := g.Batch(60)
	require.NoError(t, db.Append(t.Context(), b))
	merge(want, b)
	got, _ = everything(t, db)
	storetest.RequireSameSpans(t, want, got)
}

// TestSevenDays runs a store for simulated days (seven, and one more so that the age of seven days is reached; half of one by
// default, with a limit that is reached) under the usual limits, their sizes divided as the traffic is. Whenever something was
// written, merges included, the log and the blocks on disk are below the limit, and what is young enough is there.
func TestSevenDays(t *testing.T) {
	hours, scale := 8*24, int64(1<<11)
	if !full() {
		hours, scale = 18, 1<<12
	}
	for name, r := range map[string]tracedb.Retention{
		"72 h and 10 GiB": {MaxAge: 72 * time.Hour, MaxSizeBytes: 10 << 30 / scale},
		"7 days":          {MaxAge: 7 * 24 * time.Hour},
		"50 GB":           {MaxSizeBytes: 50_000_000_000 / (4 * scale)}, // So that it is reached.
	} {
		if name == "72 h and 10 GiB" || full() {
			t.Run(name, func(t *testing.T) { simulateDays(t, hours, r) })
		}
	}
}

// diskPeak is the largest size of the log and of blocks, finished or not, after each file that was completed.
type diskPeak struct {
	mem *fsx.Mem

	mu   sync.Mutex
	peak int64
}

func (d *diskPeak) look(op fsx.Op, _ string) {
	if op != fsx.OpRename && op != fsx.OpSyncDir {
		return
	}
	n := d.size("data")
	d.mu.Lock()
	defer d.mu.Unlock()
	d.peak = max(d.peak, n)
}

// size leaves out what does not grow with the spans: meta.json, the manifest. A file may disappear meanwhile.
func (d *diskPeak) size(dir string) (n int64) {
	list, _ := d.mem.ReadDir(dir)
	for _, e := range list {
		path := filepath.Join(dir, e.Name)
		if e.Dir {
			n += d.size(path)
		} else if ext := filepath.Ext(path); ext == ".parquet" || ext == ".idx" || filepath.Base(dir) == "wal" {
			info, _ := d.mem.Stat(path)
			n += info.Size
		}
	}
	return n
}

func simulateDays(t *testing.T, hours int, r tracedb.Retention) {
	t.Helper()
	const heads = 15 // an hour
	now := &clock{}
	now.Set(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	disk := &diskPeak{mem: fsx.NewMem()}
	faulty := fsx.NewFaulty(disk.mem)
	db := open(t, tracedb.Options{
		FS: faulty, Clock: now.Now, Retention: r, MaintenanceInterval: time.Hour, WAL: tracedb.WALOptions{Sync: tracedb.SyncOff},
		Compaction: tracedb.CompactionOptions{MaxBlockBytes: max(r.MaxSizeBytes, 8<<20) / 8},
	})
	faulty.Before(disk.look)
	g := testkit.NewGenerator(8)
	for range hours {
		for range heads {
			now.Advance(time.Hour / heads)
			g.SetTime(now.Now())
			require.NoError(t, db.Append(t.Context(), g.Batch(50)))
			db.Tick()
			require.NoError(t, db.Cut())
			require.NoError(t, db.Flush())
		}
		require.NoError(t, db.Compact(t.Context()))
		db.Tick()
		require.NoError(t, db.Flush())
		if st := db.Stats(); r.MaxAge > 0 && st.Spans > 0 {
			require.Less(t, now.Now().Sub(time.Unix(0, int64(st.OldestNano))), r.MaxAge+26*time.Hour, "blocks of a day go as a whole")
		}
	}
	faulty.Before(nil)
	st := db.Stats()
	t.Logf("%d spans, %d dropped, %d merges, at most %d bytes on disk, limit %d", st.AppendedSpans, st.DroppedSpans, st.Merges, disk.peak, r.MaxSizeBytes)
	if r.MaxSizeBytes > 0 {
		require.LessOrEqual(t, disk.peak, r.MaxSizeBytes)
		require.Greater(t, disk.peak, r.MaxSizeBytes*3/4, "no more is dropped than needed")
		require.Greater(t, st.WALBytes+st.BlockBytes, r.MaxSizeBytes/2)
	}
	require.Positive(t, st.DroppedSpans)
	require.Positive(t, st.Merges)
	require.Equal(t, st.AppendedSpans, uint64(st.Spans)+st.DroppedSpans)
	require.Zero(t, st.DoomedBytes)
}

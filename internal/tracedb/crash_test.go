package tracedb_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/storetest"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb"
)

// crash is a file system as it could be found after a power cut, and how much was safe and begun at that moment.
type crash struct {
	fs          *fsx.Mem
	safe, begun int // batches
}

// TestCrashPoints cuts the power in the middle of file operations, of the log as well as of blocks and the manifest that
// are being written meanwhile, chosen at random, and opens what is left. With sync
// always every batch that was acknowledged must be there; with interval every batch that was acknowledged before the
// last Sync. Batches may follow that were begun, each as a whole.
func TestCrashPoints(t *testing.T) {
	rounds := 1
	if full() {
		rounds = 60
	}
	points := 0
	for _, mode := range []tracedb.SyncMode{tracedb.SyncAlways, tracedb.SyncInterval, tracedb.SyncOff} {
		t.Run(string(mode), func(t *testing.T) {
			for seed := range uint64(rounds) {
				points += crashPoints(t, mode, seed)
			}
		})
	}
	want := 100
	if full() {
		want = 1000
	}
	t.Logf("%d crash points", points)
	require.GreaterOrEqual(t, points, want, "crash points")
}

const batchesPerCrash = 25

func crashPoints(t *testing.T, mode tracedb.SyncMode, seed uint64) int {
	t.Helper()
	sizes, rng := rand.New(rand.NewPCG(seed, 98)), rand.New(rand.NewPCG(seed, 99))
	mem := fsx.NewMem()
	faulty := fsx.NewFaulty(mem)
	var mu sync.Mutex // The log's goroutines call the hook too. It guards rng and what follows.
	var crashes []crash
	var safe, begun, written int
	clone := func() {
		mu.Lock()
		defer mu.Unlock()
		crashes = append(crashes, crash{fs: mem.CrashClone(rng), safe: safe, begun: begun})
	}
	faulty.Before(func(fsx.Op, string) {
		mu.Lock()
		due := rng.IntN(2) == 0 && len(crashes) < 60 && (full() || len(crashes)-written < 12)
		mu.Unlock()
		if due {
			clone()
		}
	})
	opts := tracedb.Options{
		Dir: "data", FS: faulty, Cut: tracedb.CutOptions{Spans: 45, MaxFrozen: 1},
		WAL: tracedb.WALOptions{Sync: mode, SegmentBytes: 16 << 10},
		// Merges make one of copies of a span, and this counts spans. They have tests of their own.
		Compaction: tracedb.CompactionOptions{Off: true},
	}
	db, err := tracedb.Open(t.Context(), opts)
	require.NoError(t, err)
	gen := testkit.NewNasty(seed)
	gen.MaxString = 200
	var batches []*store.Batch
	for i := range batchesPerCrash {
		b := gen.Batch(1 + sizes.IntN(8))
		batches = append(batches, b)
		mu.Lock()
		begun = i + 1
		mu.Unlock()
		require.NoError(t, db.Append(t.Context(), b))
		mu.Lock()
		written = i + 1
		mu.Unlock()
		if mode != tracedb.SyncAlways && i%7 == 6 {
			require.NoError(t, db.Sync())
		}
		if mode == tracedb.SyncAlways || i%7 == 6 {
			mu.Lock()
			safe = i + 1
			mu.Unlock()
		}
		clone()
	}
	require.NoError(t, db.Close(t.Context()))
	mu.Lock()
	safe = written
	mu.Unlock()
	clone() // Close syncs in every mode.
	for i, c := range crashes {
		reopen(t, c, opts, batches, fmt.Sprintf("%s seed %d crash %d", mode, seed, i))
	}
	return len(crashes)
}

// reopen opens a crashed file system and compares what is there with the batches.
func reopen(t *testing.T, c crash, opts tracedb.Options, batches []*store.Batch, name string) {
	t.Helper()
	opts.FS = c.fs
	db, err := tracedb.Open(t.Context(), opts)
	require.NoError(t, err, name)
	defer func() { require.NoError(t, db.Close(context.Background()), name) }()
	require.Zero(t, db.Stats().Corruptions, name)
	got, _ := everything(t, db)
	ends := map[int]int{0: 0} // Spans after so many batches.
	sum := 0
	for i, b := range batches {
		sum += len(b.Spans)
		ends[sum] = i + 1
	}
	n, whole := ends[len(got.Spans)]
	require.True(t, whole, "%s: %d spans are not a number of whole batches", name, len(got.Spans))
	require.GreaterOrEqual(t, n, c.safe, "%s: acknowledged batches are missing", name)
	require.LessOrEqual(t, n, c.begun, "%s: more than was appended", name)
	want := &store.Batch{}
	for _, b := range batches[:n] {
		merge(want, b)
	}
	storetest.RequireSameSpans(t, want, got)
	// The store goes on.
	require.NoError(t, db.Append(t.Context(), batches[0]), name)
	after, _ := everything(t, db)
	require.Len(t, after.Spans, len(got.Spans)+len(batches[0].Spans), name)
}

// TestLossWithinInterval cuts the power at random moments of a fake clock while a batch is appended every few milliseconds
// with sync interval: what was acknowledged longer ago than the interval is there.
func TestLossWithinInterval(t *testing.T) {
	const interval = 100 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		mem := fsx.NewMem()
		opts := tracedb.Options{
			FS: mem, Dir: "data", Cut: tracedb.CutOptions{Spans: 400}, Compaction: tracedb.CompactionOptions{Off: true},
			WAL: tracedb.WALOptions{Sync: tracedb.SyncInterval, SyncInterval: interval, SegmentBytes: 64 << 10},
		}
		db := open(t, opts)
		gen, rng := testkit.NewGenerator(1), rand.New(rand.NewPCG(1, 1))
		var at []time.Time // of the acknowledgements
		var batches []*store.Batch
		lost := 0
		for range 60 {
			b := gen.Batch(1 + rng.IntN(10))
			require.NoError(t, db.Append(t.Context(), b))
			at, batches = append(at, time.Now()), append(batches, b)
			time.Sleep(time.Duration(rng.IntN(30)) * time.Millisecond)
			synctest.Wait()
			if rng.IntN(8) > 0 {
				continue
			}
			safe := 0
			for _, acknowledged := range at {
				if time.Since(acknowledged) > interval {
					safe++
				}
			}
			reopen(t, crash{fs: mem.CrashClone(rng), safe: safe, begun: len(batches)}, opts, batches, fmt.Sprintf("batch %d", len(batches)))
			lost += len(batches) - safe
		}
		require.Positive(t, lost, "something may be lost")
	})
}

// merge appends src to dst.
func merge(dst, src *store.Batch) {
	nr, ns := int32(len(dst.Resources)), int32(len(dst.Scopes))
	dst.Resources = append(dst.Resources, src.Resources...)
	dst.Scopes = append(dst.Scopes, src.Scopes...)
	for _, s := range src.Spans {
		s.Resource += nr
		s.Scope += ns
		dst.Spans = append(dst.Spans, s)
	}
}

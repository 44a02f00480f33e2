package wal

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
)

func crashPoints() int {
	if os.Getenv("BRAMBLE_FULL") == "1" {
		return 5000
	}
	return 240
}

// journal is what the writers of a crash test were told.
type journal struct {
	mu    sync.Mutex
	acked map[uint64]string
}

func (j *journal) add(seq uint64, p string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.acked[seq] = p
}

func (j *journal) copy() map[uint64]string {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := make(map[uint64]string, len(j.acked))
	maps.Copy(c, j.acked)
	return c
}

// runWriters appends with several writers until they are done and calls crash at moments in between.
func runWriters(t *testing.T, w *WAL, j *journal, rng *rand.Rand, writers, records int, crash func()) {
	t.Helper()
	var wg sync.WaitGroup
	tick := make(chan struct{})
	for i := range writers {
		seed := rng.Uint64()
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			for range records {
				p := payload(r.Uint64(), r.IntN(3000))
				if seq, err := w.Append(context.Background(), []byte(p)); assert.NoError(t, err) {
					j.add(seq, p)
				}
				tick <- struct{}{}
				if r.IntN(20) == 0 {
					assert.NoError(t, w.Rotate())
				}
				if r.IntN(20) == 0 {
					assert.NoError(t, w.TruncateBefore(0))
				}
			}
		})
	}
	go func() { wg.Wait(); close(tick) }()
	every := 1 + rng.IntN(20)
	n := 0
	for range tick {
		if n++; n%every == 0 {
			crash()
		}
	}
}

// checkClone opens what a crash left and checks that every record of must is there, that every other one is a record
// that some writer appended, and that the log goes on working. It returns the opened log.
func checkClone(t *testing.T, fsys fsx.FS, opts Options, must map[uint64]string) *WAL {
	t.Helper()
	w, err := Open(fsys, "wal", opts)
	require.NoError(t, err)
	got, st := replayAll(t, w)
	seen := make(map[uint64]string, len(got))
	last := uint64(0)
	for _, e := range got {
		require.Greater(t, e.seq, last, "ascending")
		last = e.seq
		seen[e.seq] = e.payload
	}
	for seq, p := range must {
		if seen[seq] != p {
			_ = w.Close()
			require.Failf(t, "record lost or changed", "record %d of %d must, %d found, stats %+v", seq, len(must), len(got), st)
		}
	}
	require.LessOrEqual(t, last, w.LastSeq())
	return w
}

func TestCrashPoints(t *testing.T) {
	for _, mode := range []SyncMode{SyncAlways, SyncInterval} {
		t.Run(mode.String(), func(t *testing.T) {
			opts := Options{Sync: mode, SegmentBytes: 48 << 10, SyncInterval: time.Millisecond}
			points, segments := 0, 0
			for seed := uint64(0); points < crashPoints(); seed++ {
				rng := rand.New(rand.NewPCG(seed, 7))
				fsys := fsx.NewMem()
				w, err := Open(fsys, "wal", opts)
				require.NoError(t, err)
				all := &journal{acked: make(map[uint64]string)}
				crash := func() {
					points++
					must := all.copy()
					if mode != SyncAlways {
						synced := w.SyncedSeq()
						for seq := range must {
							if seq > synced {
								delete(must, seq)
							}
						}
					}
					c := fsys.CrashClone(rng)
					c2 := crashAgain(t, c, opts, must, rng)
					w3 := checkClone(t, c2, opts, must)
					_, st := replayAll(t, w3)
					segments = max(segments, st.Segments)
					require.NoError(t, w3.Close())
				}
				runWriters(t, w, all, rng, 3, 30, crash)
				require.NoError(t, w.Close())
			}
			assert.Greater(t, segments, 2, "the test must cross segments")
			t.Log("crash points:", points)
		})
	}
}

// crashAgain opens a clone, appends to it and crashes it again. must is extended by what was made durable.
func crashAgain(t *testing.T, c *fsx.Mem, opts Options, must map[uint64]string, rng *rand.Rand) *fsx.Mem {
	t.Helper()
	w := checkClone(t, c, opts, must)
	for i := range rng.IntN(10) {
		p := fmt.Sprintf("second life %d %s", i, payload(rng.Uint64(), rng.IntN(5000)))
		must[add(t, w, p)] = p
	}
	if opts.Sync != SyncAlways {
		require.NoError(t, w.Sync())
	}
	c2 := c.CrashClone(rng)
	require.NoError(t, w.Close())
	return c2
}

// TestCrashDuringOpen cuts the power while the repair of an earlier crash is under way.
func TestCrashDuringOpen(t *testing.T) {
	opts := Options{Sync: SyncAlways, SegmentBytes: 16 << 10}
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 3))
		fsys := fsx.NewMem()
		w, err := Open(fsys, "wal", opts)
		require.NoError(t, err)
		must := make(map[uint64]string)
		for i := range 20 {
			p := payload(seed*100+uint64(i), rng.IntN(2000))
			must[add(t, w, p)] = p
		}
		// An unfinished write behind the last record.
		f, err := fsys.OpenReadWrite(w.cur.path)
		require.NoError(t, err)
		_, err = f.Write([]byte(payload(seed, 1+rng.IntN(3000))))
		require.NoError(t, err)
		clone := fsys.CrashClone(rng)
		require.NoError(t, f.Close())
		require.NoError(t, w.Close())

		faulty := fsx.NewFaulty(clone)
		var clones []*fsx.Mem
		faulty.Before(func(fsx.Op, string) { clones = append(clones, clone.CrashClone(rng)) })
		w, err = Open(faulty, "wal", opts)
		require.NoError(t, err)
		must[add(t, w, "after")] = "after"
		require.NoError(t, w.Close())
		delete(must, 21)
		for _, c := range clones {
			require.NoError(t, checkClone(t, c, opts, must).Close())
		}
	}
}

// TestCrashDuringTruncate checks that segments vanish from the old end only.
func TestCrashDuringTruncate(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 30 {
		mem := fsx.NewMem()
		faulty := fsx.NewFaulty(mem)
		w, err := Open(faulty, "wal", Options{})
		require.NoError(t, err)
		for range 5 {
			add(t, w, "x")
			require.NoError(t, w.Rotate())
		}
		var clones []*fsx.Mem
		faulty.Before(func(fsx.Op, string) { clones = append(clones, mem.CrashClone(rng)) })
		require.NoError(t, w.TruncateBefore(5))
		faulty.Before(nil)
		require.NoError(t, w.Close())
		require.NotEmpty(t, clones)
		for _, c := range clones {
			w := checkClone(t, c, Options{}, map[uint64]string{5: "x"})
			_, st := replayAll(t, w)
			assert.True(t, st.Healthy(), "%+v", st)
			require.NoError(t, w.Close())
		}
	}
}

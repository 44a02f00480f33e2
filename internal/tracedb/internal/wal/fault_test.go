package wal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
)

// reopen opens the log of a file system without faults and returns its records.
func reopen(t *testing.T, fsys fsx.FS) ([]entry, ReplayStats) {
	t.Helper()
	w, err := Open(fsys, "wal", Options{})
	require.NoError(t, err)
	got, st := replayAll(t, w)
	require.NoError(t, w.Close())
	return got, st
}

func TestOneFault(t *testing.T) {
	cases := []struct {
		name     string
		faults   []fsx.Fault
		modes    []SyncMode
		segments int // after the fault and the next append
	}{
		{"write", []fsx.Fault{{Op: fsx.OpWrite, Err: syscall.ENOSPC}}, nil, 1},
		{"short write", []fsx.Fault{{Op: fsx.OpWrite, Err: syscall.ENOSPC, Short: 30}}, nil, 1},
		{"whole write", []fsx.Fault{{Op: fsx.OpWrite, Err: syscall.EIO, Short: 1000}}, nil, 1},
		{"write and truncate", []fsx.Fault{
			{Op: fsx.OpWrite, Err: syscall.EIO, Short: 1000},
			{Op: fsx.OpTruncate, Err: syscall.EIO},
		}, nil, 2},
		{"write, truncate and create", []fsx.Fault{
			{Op: fsx.OpWrite, Err: syscall.EIO, Short: 1000},
			{Op: fsx.OpTruncate, Err: syscall.EIO},
			{Op: fsx.OpCreate, Err: syscall.EIO},
		}, nil, 2},
		{"write, truncate and header", []fsx.Fault{
			{Op: fsx.OpWrite, Err: syscall.EIO, Short: 1000},
			{Op: fsx.OpTruncate, Err: syscall.EIO},
			{Op: fsx.OpWrite, Path: "00000002", Err: syscall.EIO, Short: 20},
		}, nil, 2},
		{"write, truncate, directory and remove", []fsx.Fault{
			{Op: fsx.OpWrite, Err: syscall.EIO, Short: 1000},
			{Op: fsx.OpTruncate, Err: syscall.EIO},
			{Op: fsx.OpSyncDir, Err: syscall.EIO},
			{Op: fsx.OpRemove, Err: syscall.EIO},
		}, nil, 2},
		{"write and sync of the cut", []fsx.Fault{
			{Op: fsx.OpWrite, Err: syscall.EIO, Short: 1000},
			{Op: fsx.OpSync, Err: syscall.EIO},
		}, nil, 2},
		{"sync", []fsx.Fault{{Op: fsx.OpSync, Err: syscall.EIO}}, []SyncMode{SyncAlways}, 2},
		{"sync and truncate", []fsx.Fault{
			{Op: fsx.OpSync, Err: syscall.EIO},
			{Op: fsx.OpTruncate, Err: syscall.EIO},
		}, []SyncMode{SyncAlways}, 2},
	}
	for _, tc := range cases {
		modes := tc.modes
		if modes == nil {
			modes = []SyncMode{SyncAlways, SyncInterval, SyncOff}
		}
		for _, mode := range modes {
			t.Run(tc.name+"/"+mode.String(), func(t *testing.T) {
				mem := fsx.NewMem()
				faulty := fsx.NewFaulty(mem)
				w := open(t, faulty, Options{Sync: mode, SyncInterval: time.Hour})
				add(t, w, "one")
				add(t, w, "two")
				for _, f := range tc.faults {
					faulty.Inject(f)
				}
				_, err := w.Append(t.Context(), []byte("refused"))
				require.ErrorIs(t, err, tc.faults[0].Err)
				assert.Equal(t, errors.Is(err, syscall.ENOSPC), errors.Is(err, store.ErrFull))
				assert.Equal(t, uint64(2), w.LastSeq())
				assert.Equal(t, uint64(3), add(t, w, "three"), "the number of a refused record is given again")
				want := []entry{{1, "one"}, {2, "two"}, {3, "three"}}
				got, st := replayAll(t, w)
				assert.Equal(t, want, got)
				assert.True(t, st.Healthy(), "%+v", st)
				assert.Equal(t, tc.segments, st.Segments)
				require.NoError(t, w.Close())
				got, st = reopen(t, mem)
				assert.Equal(t, want, got)
				assert.True(t, st.Healthy(), "%+v", st)
			})
		}
	}
}

// TestRefusedThenCrash cuts the power right after the error was returned, before anything else is appended.
func TestRefusedThenCrash(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 0))
		mem := fsx.NewMem()
		faulty := fsx.NewFaulty(mem)
		w, err := Open(faulty, "wal", Options{Sync: SyncAlways})
		require.NoError(t, err)
		add(t, w, "one")
		switch seed % 3 {
		case 0:
			faulty.Inject(fsx.Fault{Op: fsx.OpWrite, Err: syscall.EIO, Short: 1000})
		case 1:
			faulty.Inject(fsx.Fault{Op: fsx.OpSync, Err: syscall.EIO})
		case 2:
			faulty.Inject(fsx.Fault{Op: fsx.OpSync, Err: syscall.EIO})
			faulty.Inject(fsx.Fault{Op: fsx.OpTruncate, Err: syscall.EIO})
		}
		_, err = w.Append(t.Context(), []byte("refused"))
		require.Error(t, err)
		got, _ := reopen(t, mem.CrashClone(rng))
		assert.Equal(t, []entry{{1, "one"}}, got)
		require.NoError(t, w.Close())
	}
}

// TestIntervalSyncFailure: the writers were answered before, so the log says so by an event and Sync, leaves the file
// and goes on.
func TestIntervalSyncFailure(t *testing.T) {
	mem := fsx.NewMem()
	faulty := fsx.NewFaulty(mem)
	var mu sync.Mutex
	var kinds []EventKind
	w := open(t, faulty, Options{SyncInterval: time.Hour, OnEvent: func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		kinds = append(kinds, e.Kind)
	}})
	add(t, w, "one")
	faulty.Inject(fsx.Fault{Op: fsx.OpSync, Err: syscall.EIO})
	require.ErrorIs(t, w.Sync(), syscall.EIO)
	require.ErrorIs(t, w.Sync(), syscall.EIO, "a second sync does not hide the first one's failure")
	assert.Equal(t, uint64(0), w.SyncedSeq())
	assert.Equal(t, uint64(2), add(t, w, "two"))
	require.NoError(t, w.Sync())
	assert.Equal(t, uint64(2), w.SyncedSeq())
	got, st := replayAll(t, w)
	assert.Equal(t, []entry{{1, "one"}, {2, "two"}}, got, "what was accepted is not revoked")
	assert.Equal(t, 2, st.Segments)
	assert.True(t, st.Healthy())
	mu.Lock()
	defer mu.Unlock()
	assert.Equal(t, []EventKind{SegmentCreated, SyncFailed, SegmentCreated, SegmentLeft, Synced}, kinds)
}

// TestRandomFaults runs writers on a disk on which everything fails now and then, and cuts the power: what was
// acknowledged is there, what was refused is not.
func TestRandomFaults(t *testing.T) {
	ops := []fsx.Op{fsx.OpWrite, fsx.OpSync, fsx.OpTruncate, fsx.OpCreate, fsx.OpSyncDir, fsx.OpRemove}
	failures := 0
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 0))
		mem := fsx.NewMem()
		faulty := fsx.NewFaulty(mem)
		opts := Options{Sync: SyncAlways, SegmentBytes: 16 << 10}
		w, err := Open(faulty, "wal", opts)
		require.NoError(t, err)
		acked := &journal{acked: make(map[uint64]string)}
		for round := range 5 {
			for range rng.IntN(8) {
				faulty.Inject(fsx.Fault{
					Op: ops[rng.IntN(len(ops))], After: rng.IntN(30), Times: 1 + rng.IntN(3), Err: syscall.ENOSPC, Short: rng.IntN(4000),
				})
			}
			var wg sync.WaitGroup
			var mu sync.Mutex
			for i := range 4 {
				seeds := rng.Uint64()
				wg.Go(func() {
					r := rand.New(rand.NewPCG(seeds, 0))
					for j := range 8 {
						p := fmt.Sprintf("%d/%d/%d %s", round, i, j, payload(r.Uint64(), r.IntN(2500)))
						seq, err := w.Append(context.Background(), []byte(p))
						if err == nil {
							acked.add(seq, p)
							continue
						}
						mu.Lock()
						failures++
						mu.Unlock()
						assert.ErrorIs(t, err, syscall.ENOSPC)
					}
				})
			}
			wg.Wait()
			faulty.Clear()
			p := fmt.Sprintf("the disk is well after round %d", round)
			acked.add(add(t, w, p), p)
			got, st := reopen(t, mem.CrashClone(rng))
			require.Len(t, got, len(acked.acked), "seed %d round %d: %+v", seed, round, st)
			for _, e := range got {
				require.Equal(t, acked.acked[e.seq], e.payload)
			}
			require.True(t, st.Healthy(), "%+v", st)
		}
		require.NoError(t, w.Close())
	}
	assert.Greater(t, failures, 100, "the faults must hit")
}

func TestGroupCommitAndCancel(t *testing.T) {
	mem := fsx.NewMem()
	faulty := fsx.NewFaulty(mem)
	w := open(t, faulty, Options{Sync: SyncAlways})
	add(t, w, "one")
	reached, proceed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	faulty.Before(func(op fsx.Op, _ string) {
		if op == fsx.OpSync {
			once.Do(func() {
				close(reached)
				<-proceed
			})
		}
	})
	writes, syncs := faulty.Calls(fsx.OpWrite), faulty.Calls(fsx.OpSync)
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	wg.Go(func() {
		_, err := w.Append(ctx, []byte("two"))
		assert.NoError(t, err, "it was being written when ctx ended, so the result counts")
	})
	<-reached
	waiting := func(n int) {
		for {
			w.q.mu.Lock()
			got := len(w.q.waiting)
			w.q.mu.Unlock()
			if got == n {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
	for range 7 {
		wg.Go(func() { add(t, w, "group") })
	}
	waiting(7)
	wg.Go(func() {
		_, err := w.Append(ctx, []byte("given up"))
		assert.ErrorIs(t, err, context.Canceled)
	})
	waiting(8)
	cancel()
	waiting(7)
	close(proceed)
	wg.Wait()
	assert.Equal(t, 2, faulty.Calls(fsx.OpWrite)-writes, "seven writers, one write")
	assert.Equal(t, 2, faulty.Calls(fsx.OpSync)-syncs, "and one sync")
	got, _ := reopen(t, mem.CrashClone(rand.New(rand.NewPCG(1, 1))))
	require.Len(t, got, 9)
	for _, e := range got[2:] {
		assert.Equal(t, "group", e.payload)
	}
	_, err := w.Append(ctx, []byte("late"))
	require.ErrorIs(t, err, context.Canceled)
}

// fillAndFree appends until the disk is full, lets free make space and expects that the log goes on.
func fillAndFree(t *testing.T, fsys fsx.FS, dir string, opts Options, free func()) {
	t.Helper()
	w, err := Open(fsys, dir, opts)
	require.NoError(t, err)
	var want []entry
	fill := func() {
		refused := 0
		for i := 0; refused < 5; i++ {
			require.Less(t, i, 10_000, "the disk never gets full")
			b := make([]byte, 700)
			rng := rand.New(rand.NewPCG(uint64(len(want)), uint64(i)))
			for k := range b {
				b[k] = byte(rng.Uint32())
			}
			seq, err := w.Append(t.Context(), b)
			if err == nil {
				want = append(want, entry{seq, string(b)})
				continue
			}
			require.ErrorIs(t, err, store.ErrFull)
			require.ErrorIs(t, err, syscall.ENOSPC)
			refused++
		}
	}
	fill()
	n := len(want)
	free()
	fill()
	assert.Greater(t, len(want), n+10, "it recovers by itself")
	got, st := replayAll(t, w)
	assert.Equal(t, want, got)
	assert.True(t, st.Healthy(), "%+v", st)
	require.NoError(t, w.Close())
	w, err = Open(fsys, dir, opts)
	require.NoError(t, err, "a full disk does not keep the log from opening")
	got, st = replayAll(t, w)
	assert.Equal(t, want, got)
	assert.True(t, st.Healthy(), "%+v", st)
	require.NoError(t, w.TruncateBefore(want[len(want)-1].seq))
	require.NoError(t, w.Close())
}

func TestFullDisk(t *testing.T) {
	for _, mode := range []SyncMode{SyncInterval, SyncAlways} {
		for _, segment := range []int64{16 << 10, 1 << 20} {
			t.Run(fmt.Sprintf("%s/%d", mode, segment), func(t *testing.T) {
				mem := fsx.NewMem()
				mem.SetCapacity(200_000)
				fillAndFree(t, mem, "wal", Options{Sync: mode, SegmentBytes: segment}, func() { mem.SetCapacity(300_000) })
			})
		}
	}
}

// TestFailedRotate: what is left of a segment that could not be created must not revoke what is appended later.
func TestFailedRotate(t *testing.T) {
	mem := fsx.NewMem()
	faulty := fsx.NewFaulty(mem)
	w := open(t, faulty, Options{})
	add(t, w, "one")
	faulty.Inject(fsx.Fault{Op: fsx.OpSyncDir, Err: syscall.EIO})
	faulty.Inject(fsx.Fault{Op: fsx.OpRemove, Err: syscall.EIO})
	require.ErrorIs(t, w.Rotate(), syscall.EIO)
	add(t, w, "two")
	require.NoError(t, w.Close())
	got, st := reopen(t, mem)
	assert.Equal(t, []entry{{1, "one"}, {2, "two"}}, got)
	assert.True(t, st.Healthy())
}

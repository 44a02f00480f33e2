package wal

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
)

// entry is one record as Replay returns it.
type entry struct {
	seq     uint64
	payload string
}

func open(t testing.TB, fsys fsx.FS, opts Options) *WAL {
	t.Helper()
	w, err := Open(fsys, "wal", opts)
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func add(t testing.TB, w *WAL, payload string) uint64 {
	t.Helper()
	seq, err := w.Append(context.Background(), []byte(payload))
	require.NoError(t, err)
	return seq
}

func replayAll(t testing.TB, w *WAL) ([]entry, ReplayStats) {
	t.Helper()
	var out []entry
	st, err := w.Replay(func(seq uint64, p []byte) error {
		out = append(out, entry{seq, string(p)})
		return nil
	})
	require.NoError(t, err)
	assert.Equal(t, uint64(len(out)), st.Records)
	return out, st
}

// payload returns n bytes that depend on seed; half of them compress.
func payload(seed uint64, n int) string {
	rng := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, 0, n+8)
	for len(b) < n {
		if rng.IntN(2) == 0 {
			b = append(b, "resource.service.name=cart "...)
		} else {
			b = binary.LittleEndian.AppendUint64(b, rng.Uint64())
		}
	}
	return string(b[:n])
}

func TestAppendAndReplay(t *testing.T) {
	for _, mode := range []SyncMode{SyncInterval, SyncAlways, SyncOff} {
		t.Run(mode.String(), func(t *testing.T) {
			fsys := fsx.NewMem()
			opts := Options{Sync: mode, SegmentBytes: 128 << 10}
			w := open(t, fsys, opts)
			assert.Equal(t, uint64(0), w.LastSeq())
			var want []entry
			for i, n := range []int{0, 1, 63, 64, 65, 1000, pageBytes - 100, pageBytes, 3*pageBytes + 17, 100_000, 5, 150_000, 90_000} {
				p := payload(uint64(i), n)
				want = append(want, entry{add(t, w, p), p})
			}
			got, st := replayAll(t, w)
			assert.Equal(t, want, got, "of an open log")
			assert.True(t, st.Healthy())
			require.NoError(t, w.Close())
			w = open(t, fsys, opts)
			assert.Equal(t, uint64(len(want)), w.LastSeq())
			got, st = replayAll(t, w)
			assert.Equal(t, want, got, "after reopening")
			assert.True(t, st.Healthy(), "%+v", st)
			assert.Greater(t, st.Segments, 1)
			assert.Zero(t, st.Torn)
			p := payload(99, 500)
			want = append(want, entry{add(t, w, p), p})
			assert.Equal(t, uint64(len(want)), w.LastSeq())
			got, _ = replayAll(t, w)
			assert.Equal(t, want, got, "after appending to a reopened log")
		})
	}
}

func TestManyWriters(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "wal")
	w, err := Open(fsx.OS{}, dir, Options{Sync: SyncAlways, SegmentBytes: 64 << 10})
	require.NoError(t, err)
	var mu sync.Mutex
	want := make(map[uint64]string)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 30 {
				p := payload(uint64(i*1000+j), 50+j*100)
				seq, err := w.Append(context.Background(), []byte(p))
				if !assert.NoError(t, err) {
					return
				}
				mu.Lock()
				want[seq] = p
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	assert.Len(t, want, 240, "numbers are given once")
	require.NoError(t, w.Close())
	require.NoError(t, w.Close(), "again")
	_, err = w.Append(context.Background(), nil)
	require.ErrorIs(t, err, store.ErrClosed)
	require.ErrorIs(t, w.Sync(), store.ErrClosed)
	require.ErrorIs(t, w.Rotate(), store.ErrClosed)
	w, err = Open(fsx.OS{}, dir, Options{})
	require.NoError(t, err)
	got, st := replayAll(t, w)
	assert.True(t, st.Healthy())
	require.Len(t, got, len(want))
	for i, e := range got {
		assert.Equal(t, uint64(i+1), e.seq)
		assert.Equal(t, want[e.seq], e.payload)
	}
	require.NoError(t, w.Close())
}

func TestIntervalSyncs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, err := Open(fsx.NewMem(), "wal", Options{SyncInterval: time.Second})
		require.NoError(t, err)
		add(t, w, "a")
		assert.Equal(t, uint64(0), w.SyncedSeq())
		time.Sleep(time.Second / 2)
		add(t, w, "b")
		assert.Equal(t, uint64(0), w.SyncedSeq())
		time.Sleep(time.Second/2 + 1)
		synctest.Wait()
		assert.Equal(t, uint64(2), w.SyncedSeq())
		add(t, w, "c")
		require.NoError(t, w.Sync())
		assert.Equal(t, uint64(3), w.SyncedSeq())
		require.NoError(t, w.Close())
	})
}

func TestTruncateBefore(t *testing.T) {
	fsys := fsx.NewMem()
	w := open(t, fsys, Options{})
	for range 3 {
		for range 10 {
			add(t, w, "x")
		}
		require.NoError(t, w.Rotate())
		require.NoError(t, w.Rotate(), "an empty segment is not rotated")
	}
	segments := func() int {
		entries, err := fsys.ReadDir("wal")
		require.NoError(t, err)
		return len(entries)
	}
	first := func() uint64 {
		got, st := replayAll(t, w)
		assert.True(t, st.Healthy(), "%+v", st)
		if len(got) == 0 {
			return 0
		}
		return got[0].seq
	}
	require.Equal(t, 4, segments())
	require.NoError(t, w.TruncateBefore(10))
	require.Equal(t, 4, segments(), "record 10 is still needed")
	size := w.Bytes()
	require.NoError(t, w.TruncateBefore(11))
	assert.Less(t, w.Bytes(), size)
	assert.Equal(t, uint64(11), first())
	require.NoError(t, w.Close())

	w = open(t, fsys, Options{})
	require.NoError(t, w.TruncateBefore(25))
	require.Equal(t, 2, segments(), "after a restart as well")
	assert.Equal(t, uint64(21), first())
	require.NoError(t, w.TruncateBefore(31))
	require.Equal(t, 1, segments(), "the newest stays")
	assert.Equal(t, uint64(0), first())
	require.NoError(t, w.Close())
	w = open(t, fsys, Options{})
	assert.Equal(t, uint64(30), w.LastSeq(), "an empty log remembers the numbers")
	assert.Equal(t, uint64(31), add(t, w, "y"))
}

func TestFirstSeq(t *testing.T) {
	fsys := fsx.NewMem()
	w := open(t, fsys, Options{})
	add(t, w, "a")
	require.NoError(t, w.Close())
	w = open(t, fsys, Options{FirstSeq: 100})
	assert.Equal(t, uint64(99), w.LastSeq())
	assert.Equal(t, uint64(100), add(t, w, "b"))
	got, st := replayAll(t, w)
	assert.Equal(t, []entry{{1, "a"}, {100, "b"}}, got)
	assert.True(t, st.Healthy(), "the jump is not a loss: %+v", st)
	assert.Zero(t, st.Gaps)
}

// TestFirstSeqWithoutRecord: a crash came after the segment was begun and before its first record.
func TestFirstSeqWithoutRecord(t *testing.T) {
	fsys := fsx.NewMem()
	put(t, fsys, "00000001", segmentHeader{number: 1, prevSeq: 0, firstSeq: 100}.encode())
	w := open(t, fsys, Options{})
	assert.Equal(t, uint64(99), w.LastSeq())
	assert.Equal(t, uint64(100), add(t, w, "a"))
	got, _ := replayAll(t, w)
	assert.Equal(t, []entry{{100, "a"}}, got)
}

func TestTooLarge(t *testing.T) {
	w := open(t, fsx.NewMem(), Options{SegmentBytes: MinSegmentBytes})
	rng := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, MinSegmentBytes)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	_, err := w.Append(t.Context(), b)
	require.ErrorIs(t, err, store.ErrTooLarge)
	assert.Equal(t, uint64(1), add(t, w, string(bytes.Repeat([]byte("a"), 2*MinSegmentBytes))), "compressed it fits")
	largest := MinSegmentBytes - segmentHeaderBytes - fragmentBytes - recordHeaderBytes
	assert.Equal(t, uint64(2), add(t, w, string(b[:largest])))
	_, err = w.Append(t.Context(), b[:largest+1])
	require.ErrorIs(t, err, store.ErrTooLarge)
	got, _ := replayAll(t, w)
	assert.Len(t, got, 2)
}

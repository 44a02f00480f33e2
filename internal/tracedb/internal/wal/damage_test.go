package wal

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
)

// put writes a file of a log that is not open, durably.
func put(t testing.TB, fsys fsx.FS, name string, data []byte) {
	t.Helper()
	require.NoError(t, fsys.MkdirAll("wal"))
	require.NoError(t, fsx.WriteFileAtomic(fsys, filepath.Join("wal", name), data))
}

func get(t testing.TB, fsys fsx.FS, name string) []byte {
	t.Helper()
	data, err := fsx.ReadFile(fsys, filepath.Join("wal", name))
	require.NoError(t, err)
	return data
}

// smallLog makes a log of two segments, of which the first has several pages, and returns its records.
func smallLog(t testing.TB, fsys fsx.FS) []entry {
	t.Helper()
	w := open(t, fsys, Options{Sync: SyncOff})
	var want []entry
	rng := rand.New(rand.NewPCG(5, 5))
	for i, n := range []int{10, 200, 70, 0, 33} {
		if i == 3 {
			require.NoError(t, w.Rotate())
		}
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		want = append(want, entry{add(t, w, string(p)), string(p)})
	}
	require.NoError(t, w.Close())
	return want
}

// requireSubset checks that got consists of records of want, in order and unchanged.
func requireSubset(t *testing.T, want, got []entry, msg string) {
	t.Helper()
	i := 0
	for _, g := range got {
		for i < len(want) && want[i] != g {
			i++
		}
		require.Less(t, i, len(want), "%s: record %d is not a true one or out of order", msg, g.seq)
		i++
	}
}

func TestFlippedBits(t *testing.T) {
	origin := fsx.NewMem()
	want := smallLog(t, origin)
	for _, name := range []string{"00000001", "00000002"} {
		data := get(t, origin, name)
		for i := range data {
			for bit := range 8 {
				fsys := origin.CrashClone(rand.New(rand.NewPCG(0, 0)))
				bad := bytes.Clone(data)
				bad[i] ^= 1 << bit
				put(t, fsys, name, bad)
				w, err := Open(fsys, "wal", Options{Sync: SyncOff})
				if errors.Is(err, ErrVersion) {
					continue
				}
				require.NoError(t, err)
				got, st := replayAll(t, w)
				requireSubset(t, want, got, name)
				if name == "00000001" {
					assert.False(t, st.Healthy(), "byte %d bit %d: damage in an older segment is noticed: %+v", i, bit, st)
				} else {
					assert.True(t, !st.Healthy() || st.Torn.Bytes > 0, "byte %d bit %d is noticed", i, bit)
				}
				if i >= segmentHeaderBytes {
					assert.Less(t, len(got), len(want))
					assert.LessOrEqual(t, uint64(len(want)-len(got)), st.Lost+2, "counted, but for a torn tail")
				} else {
					assert.Len(t, got, len(want), "a damaged header costs no record")
				}
				require.NoError(t, w.Close())
			}
		}
	}
}

func TestTornAtEveryByte(t *testing.T) {
	origin := fsx.NewMem()
	want := smallLog(t, origin)
	data := get(t, origin, "00000002")
	for cut := range data {
		for _, tail := range [][]byte{nil, make([]byte, 50), bytes.Repeat([]byte{0xff}, 9)} {
			fsys := origin.CrashClone(rand.New(rand.NewPCG(0, 0)))
			put(t, fsys, "00000002", append(bytes.Clone(data[:cut]), tail...))
			w := open(t, fsys, Options{Sync: SyncOff})
			got, st := replayAll(t, w)
			require.Equal(t, want[:len(got)], got, "a prefix")
			require.GreaterOrEqual(t, len(got), 3)
			require.True(t, st.Healthy(), "a torn tail is normal: cut %d: %+v", cut, st)
			seq := add(t, w, "next")
			require.Equal(t, uint64(len(got)+1), seq)
			require.NoError(t, w.Close())
			w = open(t, fsys, Options{Sync: SyncOff})
			again, st := replayAll(t, w)
			require.Equal(t, append(got, entry{seq, "next"}), again)
			require.True(t, st.Healthy(), "also once it is not the newest any more")
			require.Zero(t, st.Torn)
			require.NoError(t, w.Close())
		}
	}
}

func TestDamageInTheMiddle(t *testing.T) {
	fsys := fsx.NewMem()
	w := open(t, fsys, Options{})
	rng := rand.New(rand.NewPCG(5, 5))
	var want []entry
	for range 60 {
		p := make([]byte, 5000)
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		want = append(want, entry{add(t, w, string(p)), string(p)})
	}
	require.NoError(t, w.Close())
	data := get(t, fsys, "00000001")
	data[4*pageBytes+100] ^= 0x10
	put(t, fsys, "00000001", data)
	w = open(t, fsys, Options{})
	got, st := replayAll(t, w)
	requireSubset(t, want, got, "one page damaged")
	assert.Equal(t, uint64(len(want)-len(got)), st.Lost)
	assert.Positive(t, st.Lost)
	assert.LessOrEqual(t, st.Lost, uint64(8), "only what touches the page")
	assert.Equal(t, 1, st.Gaps)
	assert.Equal(t, 1, st.Damaged)
	require.Len(t, st.Corruptions, 1)
	assert.ErrorIs(t, st.Corruptions[0], errFragmentCRC)
	assert.Equal(t, want[59], got[len(got)-1])
	assert.Zero(t, st.Torn)
}

func TestMissingSegment(t *testing.T) {
	fsys := fsx.NewMem()
	w := open(t, fsys, Options{})
	for range 4 {
		add(t, w, "a")
		add(t, w, "b")
		require.NoError(t, w.Rotate())
	}
	require.NoError(t, w.Close())
	require.NoError(t, fsys.Remove("wal/00000002"))
	require.NoError(t, fsys.Remove("wal/00000003"))
	w = open(t, fsys, Options{})
	got, st := replayAll(t, w)
	assert.Equal(t, []entry{{1, "a"}, {2, "b"}, {7, "a"}, {8, "b"}}, got)
	assert.Equal(t, uint64(2), st.MissingSegments)
	assert.Equal(t, []uint64{2, 3}, st.Missing)
	assert.Equal(t, uint64(4), st.Lost)
	assert.False(t, st.Healthy())
}

func TestUnknownVersion(t *testing.T) {
	fsys := fsx.NewMem()
	smallLog(t, fsys)
	for _, intact := range []bool{true, false} {
		h := segmentHeader{number: 3, prevSeq: 5, firstSeq: 6}.encode()
		h[8] = 2
		if intact {
			h = fixHeaderCRC(h)
		}
		put(t, fsys, "00000003", append(h, "what version 2 writes"...))
		_, err := Open(fsys, "wal", Options{})
		require.ErrorIs(t, err, ErrVersion)
		require.ErrorContains(t, err, "00000003")
		assert.NotEmpty(t, get(t, fsys, "00000003"), "it is not removed")
	}
}

func TestOpenTrouble(t *testing.T) {
	t.Run("leftovers", func(t *testing.T) {
		fsys := fsx.NewMem()
		put(t, fsys, "00000001.tmp", []byte("x"))
		put(t, fsys, "notes", []byte("x"))
		put(t, fsys, "1", []byte("x"))
		w := open(t, fsys, Options{})
		add(t, w, "a")
		_, err := fsys.Stat("wal/00000001.tmp")
		require.Error(t, err)
		assert.NotEmpty(t, get(t, fsys, "notes"), "foreign files stay")
	})
	t.Run("directory as segment", func(t *testing.T) {
		fsys := fsx.NewMem()
		require.NoError(t, fsys.MkdirAll("wal/00000001"))
		_, err := Open(fsys, "wal", Options{})
		require.ErrorContains(t, err, "is a directory")
	})
	t.Run("file as directory", func(t *testing.T) {
		fsys := fsx.NewMem()
		require.NoError(t, fsx.WriteFileAtomic(fsys, "wal", []byte("x")))
		_, err := Open(fsys, "wal", Options{})
		require.ErrorContains(t, err, "not a directory")
	})
	t.Run("unreadable", func(t *testing.T) {
		fsys := fsx.NewMem()
		want := smallLog(t, fsys)
		faulty := fsx.NewFaulty(fsys)
		faulty.Inject(fsx.Fault{Op: fsx.OpRead, Path: "00000002", After: 1, Err: io.ErrNoProgress})
		_, err := Open(faulty, "wal", Options{})
		require.ErrorIs(t, err, io.ErrNoProgress, "a disk that cannot be read is not a torn tail")
		got, _ := replayAll(t, open(t, faulty, Options{}))
		assert.Equal(t, want, got)
	})
	for _, bad := range []Options{{SegmentBytes: 1}, {SegmentBytes: MaxSegmentBytes + 1}, {SyncInterval: -1}, {Sync: 9}} {
		_, err := Open(fsx.NewMem(), "wal", bad)
		require.Error(t, err, "%+v", bad)
	}
}

func TestReplayStops(t *testing.T) {
	fsys := fsx.NewMem()
	smallLog(t, fsys)
	w := open(t, fsys, Options{})
	boom := errors.New("boom")
	n := 0
	_, err := w.Replay(func(uint64, []byte) error {
		if n++; n == 2 {
			return boom
		}
		return nil
	})
	require.ErrorIs(t, err, boom)
	assert.Equal(t, 2, n)
}

// TestCorruptionNamesThePlace checks what an operator gets to see.
func TestCorruptionNamesThePlace(t *testing.T) {
	fsys := fsx.NewMem()
	smallLog(t, fsys)
	data := get(t, fsys, "00000001")
	data[segmentHeaderBytes] ^= 1
	put(t, fsys, "00000001", data)
	_, st := replayAll(t, open(t, fsys, Options{}))
	var ce *store.CorruptionError
	require.Len(t, st.Corruptions, 1)
	require.ErrorAs(t, st.Corruptions[0], &ce)
	assert.Equal(t, "wal/00000001", ce.Path)
	assert.Equal(t, int64(segmentHeaderBytes), ce.Offset)
	assert.Equal(t, uint64(3), st.Lost)
}

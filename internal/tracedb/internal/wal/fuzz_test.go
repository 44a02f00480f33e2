package wal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
)

// fixChecksums gives whatever looks like fragments the right checksums, so that the fuzzer gets behind them.
func fixChecksums(data []byte, number uint64) {
	if len(data) >= segmentHeaderBytes {
		copy(data, fixHeaderCRC(data))
	}
	for off := segmentHeaderBytes; off+minFragment <= len(data); {
		left := pageBytes - off%pageBytes
		n := int(binary.LittleEndian.Uint16(data[off+4:]))
		if left < minFragment || n == 0 || fragmentBytes+n > left || off+fragmentBytes+n > len(data) {
			off += left
			continue
		}
		crc := fragmentCRC(number, int64(off), data[off+6], data[off+fragmentBytes:off+fragmentBytes+n])
		binary.LittleEndian.PutUint32(data[off:], crc)
		off += fragmentBytes + n
	}
}

// checksumsHold checks the fragments from begin to end by the words of docs/format/wal.md.
func checksumsHold(data []byte, number uint64, begin, end int64) bool {
	for off := begin; off < end; {
		if left := pageBytes - off%pageBytes; left < minFragment {
			off += left
			continue
		}
		n := int64(binary.LittleEndian.Uint16(data[off+4:]))
		if off+fragmentBytes+n > end {
			return false
		}
		frag := data[off+fragmentBytes : off+fragmentBytes+n]
		if fragmentCRC(number, off, data[off+6], frag) != binary.LittleEndian.Uint32(data[off:]) {
			return false
		}
		off += fragmentBytes + n
	}
	return true
}

// fuzzSeeds returns segment files of a small log.
func fuzzSeeds(f *testing.F) [][]byte {
	f.Helper()
	fsys := fsx.NewMem()
	w := open(f, fsys, Options{Sync: SyncOff})
	for i, n := range []int{0, 10, 100, 500, 40_000, 3} {
		add(f, w, payload(uint64(i), n))
	}
	require.NoError(f, w.Close())
	data := get(f, fsys, "00000001")
	return [][]byte{nil, data[:segmentHeaderBytes], data[:200], data}
}

func FuzzReader(f *testing.F) {
	for _, s := range fuzzSeeds(f) {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, data []byte, fix bool) {
		if fix {
			fixChecksums(data, 1)
		}
		places := 0
		r := newSegmentReader(bytes.NewReader(data), int64(len(data)), 1, func(off int64, err error) {
			places++
			require.Error(t, err)
			require.LessOrEqual(t, off, int64(len(data)))
		})
		var buf []byte
		end := int64(0)
		for n := 0; ; n++ {
			rec, err := r.next()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			require.LessOrEqual(t, n, len(data)/minFragment, "it must come to an end")
			require.GreaterOrEqual(t, r.begin, end, "records do not overlap")
			end = r.end
			require.True(t, checksumsHold(data, 1, r.begin, r.end))
			if rec.raw > 1<<20 {
				continue // Memory of the fuzzer.
			}
			var p []byte
			if p, buf, err = rec.payload(buf); err == nil {
				require.Len(t, p, int(rec.raw))
			}
		}
		require.LessOrEqual(t, places, 1+len(data)/minFragment)
	})
}

func FuzzOpen(f *testing.F) {
	for _, s := range fuzzSeeds(f) {
		f.Add(s, s, true)
		f.Add(s, []byte("garbage"), false)
	}
	f.Fuzz(func(t *testing.T, first, second []byte, fix bool) {
		if fix {
			fixChecksums(first, 1)
			fixChecksums(second, 2)
		}
		fsys := fsx.NewMem()
		put(t, fsys, "00000001", first)
		put(t, fsys, "00000002", second)
		w, err := Open(fsys, "wal", Options{Sync: SyncOff})
		if err != nil {
			require.ErrorIs(t, err, ErrVersion)
			return
		}
		defer w.Close() //nolint:errcheck // In memory.
		if w.LastSeq() > 1<<63 {
			return // No log gets there.
		}
		before, _ := replayAll(t, w)
		seq, err := w.Append(context.Background(), []byte("new"))
		require.NoError(t, err)
		after, _ := replayAll(t, w)
		require.Equal(t, append(before, entry{seq, "new"}), after)
	})
}

// FuzzSegmentName checks that names and numbers go together.
func FuzzSegmentName(f *testing.F) {
	for _, s := range []string{"00000001", "1", "00000000", "99999999", "100000000", "+0000001", "18446744073709551615"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if n, ok := parseSegmentName(name); ok {
			require.Equal(t, name, segmentName(n))
			require.Equal(t, name, filepath.Base(name))
		}
	})
}

package wal

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
)

// BenchmarkAppend appends records of 100 KB. The log is cut off now and then so that the disk does not fill.
func BenchmarkAppend(b *testing.B) {
	for _, mode := range []SyncMode{SyncOff, SyncInterval, SyncAlways} {
		for _, writers := range []int{1, 8} {
			b.Run(fmt.Sprintf("%s/writers=%d", mode, writers), func(b *testing.B) {
				w, err := Open(fsx.OS{}, filepath.Join(b.TempDir(), "wal"), Options{Sync: mode})
				require.NoError(b, err)
				p := []byte(payload(1, 100_000))
				b.SetBytes(int64(len(p)))
				b.ReportAllocs()
				b.SetParallelism(writers)
				appendOne := func() {
					seq, err := w.Append(context.Background(), p)
					if err != nil {
						b.Error(err)
					} else if seq%1024 == 0 {
						if err := w.TruncateBefore(seq); err != nil {
							b.Error(err)
						}
					}
				}
				if writers == 1 {
					for b.Loop() {
						appendOne()
					}
				} else {
					b.RunParallel(func(pb *testing.PB) {
						for pb.Next() {
							appendOne()
						}
					})
				}
				b.StopTimer()
				require.NoError(b, w.Close())
			})
		}
	}
}

// BenchmarkFloor is what Append cannot be faster than: S2 and one checksum.
func BenchmarkFloor(b *testing.B) {
	p := []byte(payload(1, 100_000))
	dst := make([]byte, s2.MaxEncodedLen(len(p)))
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		out := s2.Encode(dst, p)
		n = len(out)
		fragmentCRC(1, 40, fragFull, out[:min(n, pageBytes)])
		fragmentCRC(1, 40, fragFull, out[min(n, pageBytes):])
	}
	b.ReportMetric(float64(n), "compressed-B")
}

// BenchmarkFloorWrite is BenchmarkFloor with the write to a file.
func BenchmarkFloorWrite(b *testing.B) {
	p := []byte(payload(1, 100_000))
	dst := make([]byte, s2.MaxEncodedLen(len(p)))
	f, err := fsx.OS{}.Create(filepath.Join(b.TempDir(), "f"))
	require.NoError(b, err)
	b.SetBytes(int64(len(p)))
	for i := 0; b.Loop(); i++ {
		out := s2.Encode(dst, p)
		fragmentCRC(1, 40, fragFull, out[:min(len(out), pageBytes)])
		if _, err := f.Write(out); err != nil {
			b.Fatal(err)
		}
		if i%2048 == 2047 {
			if err := f.Truncate(0); err != nil {
				b.Fatal(err)
			}
		}
	}
	require.NoError(b, f.Close())
}

// BenchmarkReplay reads a full segment.
func BenchmarkReplay(b *testing.B) {
	w, err := Open(fsx.OS{}, filepath.Join(b.TempDir(), "wal"), Options{Sync: SyncOff})
	require.NoError(b, err)
	p := payload(1, 100_000)
	for w.Bytes() < 60<<20 {
		add(b, w, p)
	}
	b.SetBytes(w.Bytes())
	b.ReportAllocs()
	for b.Loop() {
		_, err := w.Replay(func(uint64, []byte) error { return nil })
		require.NoError(b, err)
	}
	require.NoError(b, w.Close())
}

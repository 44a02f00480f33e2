package index

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkFind looks up another trace each time, in a file that the system has in memory.
func BenchmarkFind(b *testing.B) {
	entries := randomTraces(1, 50_000)
	path := filepath.Join(b.TempDir(), "traces.idx")
	f, err := os.Create(path)
	require.NoError(b, err)
	defer f.Close()
	ids := make([]Trace, len(entries))
	copy(ids, entries)
	size, _, err := WriteTraces(f, entries)
	require.NoError(b, err)
	x, err := OpenTraces(f, path, size, len(entries))
	require.NoError(b, err)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i = (i + 7919) % len(ids)
		if _, ok, err := x.Find(ids[i].ID); err != nil || !ok {
			b.Fatal(err)
		}
	}
}

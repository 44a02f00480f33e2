package harness

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Fill writes a file to dir until at most leave bytes of its file system are free, and returns a function that frees
// them again.
func Fill(tb testing.TB, dir string, leave int64) (empty func()) {
	tb.Helper()
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	require.NoError(tb, err)
	zeros := make([]byte, 1<<16)
	for {
		n := Available(tb, dir) - leave
		if n <= 0 {
			break
		}
		if _, err := f.Write(zeros[:min(n, int64(len(zeros)))]); err != nil {
			break // The disk is full: what was asked for.
		}
	}
	require.NoError(tb, f.Close())
	return func() {
		tb.Helper()
		require.NoError(tb, os.Remove(name))
	}
}

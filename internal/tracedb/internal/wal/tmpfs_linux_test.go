package wal

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
)

// TestFullTmpfs fills a real file system.
func TestFullTmpfs(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a tmpfs")
	}
	for _, segment := range []int64{64 << 10, 8 << 20} {
		dir := t.TempDir()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
			t.Skip("cannot mount a tmpfs:", err)
		}
		t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
		ballast := filepath.Join(dir, "ballast")
		require.NoError(t, os.WriteFile(ballast, make([]byte, 300<<10), 0o600))
		fillAndFree(t, fsx.OS{}, filepath.Join(dir, "wal"), Options{Sync: SyncAlways, SegmentBytes: segment}, func() {
			require.NoError(t, os.Remove(ballast))
		})
	}
}

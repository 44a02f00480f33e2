package harness

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// mntDetach is MNT_DETACH of umount(2): unmount when the last user is gone.
const mntDetach = 2

// Tmpfs mounts an empty file system of the given size in MiB and returns its directory. The test's cleanup unmounts
// it. Without the right to mount (root has it) the test is skipped.
func Tmpfs(tb testing.TB, mib int) string {
	tb.Helper()
	dir := tb.TempDir()
	err := syscall.Mount("bramble-test", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mib))
	if os.IsPermission(err) {
		tb.Skip("a disk that fills up is a small tmpfs, and mounting it needs root: run the test as root")
	}
	require.NoError(tb, err)
	tb.Cleanup(func() {
		// Detached, because a process that was killed may hold its files a moment longer.
		require.NoError(tb, syscall.Unmount(dir, mntDetach))
	})
	return dir
}

// Available returns the bytes that can still be written to the file system of dir.
func Available(tb testing.TB, dir string) int64 {
	tb.Helper()
	var st syscall.Statfs_t
	require.NoError(tb, syscall.Statfs(dir, &st))
	return int64(st.Bavail) * st.Bsize
}

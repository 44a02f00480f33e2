package manifests

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/test/harness"
)

// TestPrepareDirectory runs what the init container of components/hostpath runs.
func TestPrepareDirectory(t *testing.T) {
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		uid, gid = 65532, 65531
	}
	owner := []string{"--owner=" + strconv.Itoa(uid), "--group=" + strconv.Itoa(gid)}
	dir := filepath.Join(t.TempDir(), "data")
	run := func(args ...string) (int, string) {
		return harness.Command(t, append(append([]string{"prepare-directory"}, args...), owner...)...)
	}
	require.NoError(t, os.Mkdir(dir, 0o700)) // as the kubelet has made it, with another mode
	for _, want := range []string{"now", "already"} {
		code, out := run(dir)
		require.Zero(t, code, out)
		assert.Contains(t, out, want)
		info, err := os.Stat(dir)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o750), info.Mode().Perm())
		sys, ok := info.Sys().(*syscall.Stat_t)
		require.True(t, ok)
		assert.Equal(t, []int{uid, gid}, []int{int(sys.Uid), int(sys.Gid)})
	}
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for arg, want := range map[string]string{file: "is no directory", "relative": "absolute path", filepath.Join(dir, "a", "b"): "no such file"} {
		code, out := run(arg)
		assert.NotZero(t, code, arg)
		assert.Contains(t, out, want)
	}
}

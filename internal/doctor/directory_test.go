package doctor

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/bramble-tracing/bramble/internal/selfcheck"
	"github.com/bramble-tracing/bramble/internal/volume"
)

func look(t *testing.T, dir Directory) selfcheck.Check {
	t.Helper()
	dir.From = "extensions::trace_store::directory"
	return directory(dir).run(t.Context())[0]
}

func TestDirectory(t *testing.T) {
	t.Setenv(volume.Env, string(volume.Persistent))
	dir := t.TempDir()
	c := look(t, Directory{Path: dir})
	assert.Equal(t, selfcheck.OK, c.State, "%+v", c)
	assert.Contains(t, c.Detail, "can be written")
	c = look(t, Directory{Path: filepath.Join(dir, "data")})
	assert.Equal(t, selfcheck.OK, c.State)
	assert.Contains(t, c.Detail, "can be made")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, entries, "nothing is left behind")

	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for path, want := range map[string]string{
		file:                          "is no directory",
		filepath.Join(dir, "a", "b"):  "nor does the directory that it would be made in",
		filepath.Join(file, "inside"): "not a directory",
	} {
		c = look(t, Directory{Path: path})
		assert.Equal(t, selfcheck.Fail, c.State, path)
		assert.Contains(t, c.Detail, want)
		assert.NotEmpty(t, c.Fix)
	}
	c = look(t, Directory{Path: dir, MinFree: 101})
	assert.Equal(t, selfcheck.Fail, c.State, "a store that has too little room refuses spans")
	assert.Contains(t, c.Detail, "min_free_percentage (101 %)")
	c = look(t, Directory{Path: dir, MaxMiB: 1 << 40})
	assert.Equal(t, selfcheck.Warn, c.State)
	assert.Contains(t, c.Fix, "lower retention::max_size_mib")
	t.Setenv(volume.Env, string(volume.EmptyDir))
	c = look(t, Directory{Path: dir})
	assert.Equal(t, selfcheck.Warn, c.State)
	assert.Contains(t, c.Detail, "the data dies with the pod")
}

// TestUnwritableDirectory is a hostPath as the kubelet makes it: root's, and this is somebody else.
func TestUnwritableDirectory(t *testing.T) {
	if os.Getenv("BRAMBLE_TEST_UNWRITABLE") != "" {
		c := look(t, Directory{Path: os.Getenv("BRAMBLE_TEST_UNWRITABLE")})
		assert.Equal(t, selfcheck.Fail, c.State, "%+v", c)
		assert.Contains(t, c.Detail, "permission denied")
		assert.Contains(t, c.Fix, "this process is uid "+strconv.Itoa(os.Getuid()))
		assert.Contains(t, c.Fix, "belongs to 0:0 with the mode 0755")
		assert.Contains(t, c.Fix, "manifests/components/hostpath")
		return
	}
	if os.Getuid() != 0 {
		t.Skip("only root can make directories of root's")
	}
	dir, err := os.MkdirTemp("/", "bramble-doctor-test-") //nolint:usetesting // Others must be able to enter it.
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	data := filepath.Join(dir, "data")
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.Mkdir(data, 0o755))
	self := filepath.Join(dir, "test")
	binary, err := os.ReadFile("/proc/self/exe")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(self, binary, 0o755))
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		t.Skip("setpriv is not installed")
	}
	cmd := exec.CommandContext(t.Context(), setpriv, "--reuid=65532", "--regid=65532", "--clear-groups", self, "-test.run=^TestUnwritableDirectory$", "-test.v")
	cmd.Dir, cmd.Env = "/", append(os.Environ(), "BRAMBLE_TEST_UNWRITABLE="+data)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: TestUnwritableDirectory")
}

// TestFullDirectory fills a file system of its own.
func TestFullDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("mounting is not allowed here: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	for i := 0; ; i++ {
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), make([]byte, 4<<10), 0o600); err != nil {
			break
		}
	}
	c := look(t, Directory{Path: dir, MinFree: 5})
	assert.Equal(t, selfcheck.Fail, c.State, "%+v", c)
	assert.Contains(t, c.Detail, "no space left on device")
	assert.Contains(t, c.Fix, "the disk is full")
}

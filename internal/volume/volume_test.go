package volume

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pod is the mount table of a container as containerd makes it, shortened.
const pod = `1000 900 0:300 / / ro,relatime master:1 - overlay overlay rw,lowerdir=/a,upperdir=/b,workdir=/c
1001 1000 0:301 / /proc rw,nosuid - proc proc rw
1010 1000 8:1 /var/lib/kubelet/pods/5f6c/volumes/kubernetes.io~empty-dir/data /var/lib/bramble rw,relatime - ext4 /dev/sda1 rw
1011 1000 8:17 /pods/5f6c/volumes/kubernetes.io~empty-dir/tmp /tmp rw,relatime shared:3 master:4 - xfs /dev/sdb1 rw
1012 1000 0:400 / /cache rw,relatime - tmpfs tmpfs rw,size=65536k
1013 1000 8:1 /var/lib/bramble /host/data rw,relatime - ext4 /dev/sda1 rw
1014 1000 8:33 /pvc-1 /claim\040with\040blanks rw - ext4 /dev/sdc rw
1015 1000 8:33 / /over rw - ext4 /dev/sdc rw
1016 1015 0:401 / /over rw - tmpfs tmpfs rw
not a line
1017 1000 8:33 / relative rw - ext4 /dev/sdc rw
`

func TestFind(t *testing.T) {
	for path, want := range map[string]Kind{
		"/var/lib/bramble":          EmptyDir,
		"/var/lib/bramble/a/b":      EmptyDir,
		"/var/lib/bramble2":         ContainerRoot,
		"/tmp/x":                    EmptyDir,
		"/cache":                    Memory,
		"/host/data":                Persistent,
		"/claim with blanks/sub":    Persistent,
		"/over/x":                   Memory,
		"/data":                     ContainerRoot,
		"/":                         ContainerRoot,
		"/claim\\040with\\040blank": ContainerRoot,
	} {
		m, err := find(strings.NewReader(pod), path)
		require.NoError(t, err)
		assert.Equal(t, want, m.kind(), path)
	}
	_, err := find(strings.NewReader("nothing\n"), "/data")
	require.ErrorContains(t, err, "no mount for /data")
	_, err = find(strings.NewReader(strings.Repeat("x", maxMountLine+1)), "/data")
	require.ErrorContains(t, err, "read the mount table")
	m, err := find(strings.NewReader("1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"), "/data")
	require.NoError(t, err)
	assert.Equal(t, Persistent, m.kind(), "a machine's own disk")
}

func TestEveryKindThatLosesSaysSo(t *testing.T) {
	for _, k := range []Kind{EmptyDir, Memory, ContainerRoot} {
		assert.Contains(t, k.Lost(), "the data dies with")
	}
	assert.Empty(t, Persistent.Lost()+Unknown.Lost())
}

func TestDetect(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no mount table")
	}
	kind, err := Detect(filepath.Join(t.TempDir(), "not", "yet", "there"))
	require.NoError(t, err)
	assert.NotEqual(t, Unknown, kind)
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		link := filepath.Join(t.TempDir(), "link")
		require.NoError(t, os.Symlink("/dev/shm", link))
		kind, err := Detect(link)
		require.NoError(t, err)
		assert.Equal(t, Memory, kind, "through a symbolic link")
	}
}

func TestTold(t *testing.T) {
	t.Setenv(Env, "emptyDir")
	kind, err := Detect(t.TempDir())
	require.NoError(t, err)
	assert.Equal(t, EmptyDir, kind)
	t.Setenv(Env, "pvc")
	_, err = Detect(t.TempDir())
	require.ErrorContains(t, err, `BRAMBLE_DATA_VOLUME is "pvc": it must be emptyDir`)
}

func FuzzFind(f *testing.F) {
	f.Add([]byte(pod), "/var/lib/bramble")
	f.Add([]byte("1 2 3 4\\ / 6 - \\777"), "/")
	f.Fuzz(func(t *testing.T, table []byte, path string) {
		m, err := find(strings.NewReader(string(table)), path)
		if err == nil && !below(path, m.point) {
			t.Fatalf("%q is not below %q", path, m.point)
		}
	})
}

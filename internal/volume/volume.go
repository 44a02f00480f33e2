package volume

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Kind is a kind of storage.
type Kind string

// The kinds. All but Persistent and Unknown lose what is in them.
const (
	// EmptyDir dies with the pod.
	EmptyDir Kind = "emptyDir"
	// Memory is a tmpfs: it dies with the pod or the machine, and its pages count as memory.
	Memory Kind = "memory"
	// ContainerRoot is the container's own file system: it dies with the container.
	ContainerRoot Kind = "container"
	// Persistent is something else that is mounted, or a machine's own disk.
	Persistent Kind = "persistent"
	// Unknown: there is no mount table, or it does not say.
	Unknown Kind = "unknown"
)

// Env is the environment variable that says the kind where it cannot be found out, and that is believed where it is set.
const Env = "BRAMBLE_DATA_VOLUME"

// Lost says when what is in storage of this kind is gone, and nothing for kinds that keep it.
func (k Kind) Lost() string {
	switch k {
	case EmptyDir:
		return "it is an emptyDir: the data dies with the pod"
	case Memory:
		return "it is in memory (tmpfs): the data dies with the pod or the machine, and counts as memory"
	case ContainerRoot:
		return "it is in the container's own file system, not on a volume: the data dies with the container"
	}
	return ""
}

// Detect returns the kind of storage that directory is on; a directory that is missing is judged by the nearest above it.
// The error says why the kind is Unknown, or that the environment variable has no kind in it.
func Detect(directory string) (Kind, error) {
	if told := os.Getenv(Env); told != "" {
		for _, k := range []Kind{EmptyDir, Memory, ContainerRoot, Persistent} {
			if told == string(k) {
				return k, nil
			}
		}
		return Unknown, fmt.Errorf("the environment variable %s is %q: it must be %s, %s, %s or %s", Env, told, EmptyDir, Memory, ContainerRoot, Persistent)
	}
	path, err := resolve(directory)
	if err != nil {
		return Unknown, err
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return Unknown, fmt.Errorf("read the mount table: %w", err)
	}
	defer f.Close()
	m, err := find(f, path)
	if err != nil {
		return Unknown, err
	}
	return m.kind(), nil
}

// resolve makes the path absolute and free of symbolic links, as mount points are.
func resolve(directory string) (string, error) {
	path, err := filepath.Abs(directory)
	if err != nil {
		return "", fmt.Errorf("find the directory %s: %w", directory, err)
	}
	for {
		real, err := filepath.EvalSymlinks(path)
		if err == nil {
			return real, nil
		}
		up := filepath.Dir(path)
		if up == path || !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("find the directory %s: %w", directory, err)
		}
		path = up
	}
}

// mount is a line of the mount table, as far as it is needed.
type mount struct {
	root   string // the directory of the file system that is mounted
	point  string
	fstype string
}

// emptyDirPath is in the path of every emptyDir below a kubelet's directory, whatever that is.
const emptyDirPath = "/volumes/kubernetes.io~empty-dir/"

func (m *mount) kind() Kind {
	switch {
	case strings.Contains(m.root, emptyDirPath), strings.Contains(m.point, emptyDirPath):
		if m.fstype == "tmpfs" {
			return Memory
		}
		return EmptyDir
	case m.fstype == "tmpfs" || m.fstype == "ramfs":
		return Memory
	case m.point == "/" && (m.fstype == "overlay" || m.fstype == "aufs" || m.fstype == "fuse.fuse-overlayfs"):
		return ContainerRoot
	}
	return Persistent
}

// maxMountLine bounds a line; paths are shorter than 4096 bytes each.
const maxMountLine = 64 << 10

// find returns the mount that the path is in: of those with the longest mount point the last, which hides the others.
func find(table io.Reader, path string) (mount, error) {
	var best mount
	lines := bufio.NewScanner(table)
	lines.Buffer(nil, maxMountLine)
	for lines.Scan() {
		m, ok := parse(lines.Bytes())
		if ok && below(path, m.point) && len(m.point) >= len(best.point) {
			best = m
		}
	}
	if err := lines.Err(); err != nil {
		return mount{}, fmt.Errorf("read the mount table: %w", err)
	}
	if best.point == "" {
		return mount{}, fmt.Errorf("the mount table has no mount for %s", path)
	}
	return best, nil
}

// parse reads one line: ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG...] - FSTYPE SOURCE SUPER.
func parse(line []byte) (mount, bool) {
	const root, point, options = 3, 4, 5
	fields := bytes.Fields(line)
	for i := options + 1; i+1 < len(fields); i++ {
		if string(fields[i]) == "-" {
			m := mount{root: unescape(fields[root]), point: unescape(fields[point]), fstype: string(fields[i+1])}
			return m, strings.HasPrefix(m.point, "/")
		}
	}
	return mount{}, false
}

// unescape replaces octal escapes of blanks and backslashes.
func unescape(b []byte) string {
	const digits = 3
	var out strings.Builder
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' && i+digits < len(b) {
			n := 0
			for _, c := range b[i+1 : i+1+digits] {
				if c < '0' || c > '7' {
					n = -1
					break
				}
				n = n*8 + int(c-'0')
			}
			if n >= 0 && n <= 0xff {
				out.WriteByte(byte(n))
				i += digits
				continue
			}
		}
		out.WriteByte(b[i])
	}
	return out.String()
}

func below(path, point string) bool {
	return point == "/" || path == point || strings.HasPrefix(path, point+"/")
}

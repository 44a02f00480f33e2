package fsx

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Mem is a file system in memory that knows what a power cut would leave of it; see CrashClone. It is meant for
// tests. It is safe for concurrent use.
type Mem struct {
	mu   sync.Mutex
	root *node
	// names are the changes of directories that are not durable yet, oldest first.
	names []*nameOp
	locks map[*node]bool
	// capacity is the size of the disk in bytes, 0 for no limit.
	capacity int64
}

var _ FS = (*Mem)(nil)

// node is a file or directory. Mem.mu guards it.
type node struct {
	dir     bool
	modTime time.Time
	// children are a directory's names as processes see them, disk those that survive a power cut.
	children, disk map[string]*node
	// data is a file's contents as processes see it, synced what is on the disk, pending what leads from there.
	data, synced []byte
	pending      []dataOp
}

// dataOp is a write of data at off or, if data is nil, a truncation to off bytes.
type dataOp struct {
	off  int64
	data []byte
}

// nameOp is an atomic change of names.
type nameOp struct{ edits []nameEdit }

// nameEdit gives a name in dir to target, or to nothing; moved is the node that had or gets it.
type nameEdit struct {
	dir    *node
	name   string
	target *node
	moved  *node
}

// NewMem returns an empty file system.
func NewMem() *Mem { return &Mem{root: newDir(), locks: make(map[*node]bool)} }

func newDir() *node {
	return &node{dir: true, modTime: time.Now(), children: make(map[string]*node), disk: make(map[string]*node)}
}

// SetCapacity limits the sum of the files' sizes: writes beyond it are cut short and fail with ENOSPC. 0 means no
// limit.
func (m *Mem) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity = bytes
}

func splitPath(path string) []string {
	clean := filepath.ToSlash(filepath.Clean(string(filepath.Separator) + path))
	return strings.FieldsFunc(clean, func(r rune) bool { return r == '/' })
}

// walk finds a node. m.mu is held.
func (m *Mem) walk(op, path string) (*node, error) {
	n := m.root
	for _, name := range splitPath(path) {
		if !n.dir {
			return nil, &fs.PathError{Op: op, Path: path, Err: syscall.ENOTDIR}
		}
		c := n.children[name]
		if c == nil {
			return nil, &fs.PathError{Op: op, Path: path, Err: syscall.ENOENT}
		}
		n = c
	}
	return n, nil
}

// parent finds the directory that holds or would hold path, and the last element. m.mu is held.
func (m *Mem) parent(op, path string) (dir *node, name string, err error) {
	parts := splitPath(path)
	if len(parts) == 0 {
		return nil, "", &fs.PathError{Op: op, Path: path, Err: syscall.EBUSY}
	}
	last := len(parts) - 1
	dir, err = m.walk(op, strings.Join(parts[:last], "/"))
	if err != nil {
		return nil, "", &fs.PathError{Op: op, Path: path, Err: err.(*fs.PathError).Err} //nolint:errorlint,forcetypeassert // walk returns nothing else.
	}
	if !dir.dir {
		return nil, "", &fs.PathError{Op: op, Path: path, Err: syscall.ENOTDIR}
	}
	return dir, parts[last], nil
}

// change does an operation on names and remembers it. m.mu is held.
func (m *Mem) change(edits ...nameEdit) {
	for _, e := range edits {
		e.apply(e.dir.children)
		e.dir.modTime = time.Now()
	}
	m.names = append(m.names, &nameOp{edits: edits})
}

func (e *nameEdit) apply(to map[string]*node) {
	if e.target == nil {
		delete(to, e.name)
	} else {
		to[e.name] = e.target
	}
}

// Create implements FS.
func (m *Mem) Create(path string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, name, err := m.parent("open", path)
	if err != nil {
		return nil, err
	}
	n := dir.children[name]
	switch {
	case n == nil:
		n = &node{modTime: time.Now()}
		m.change(nameEdit{dir: dir, name: name, target: n, moved: n})
	case n.dir:
		return nil, &fs.PathError{Op: "open", Path: path, Err: syscall.EISDIR}
	default:
		n.truncate(0)
	}
	return &memFile{m: m, n: n, path: path, writable: true}, nil
}

func (m *Mem) open(path string, writable bool) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.walk("open", path)
	if err != nil {
		return nil, err
	}
	if n.dir {
		return nil, &fs.PathError{Op: "open", Path: path, Err: syscall.EISDIR}
	}
	return &memFile{m: m, n: n, path: path, writable: writable}, nil
}

// Open implements FS. Other than OS it refuses directories.
func (m *Mem) Open(path string) (File, error) { return m.open(path, false) }

// OpenReadWrite implements FS.
func (m *Mem) OpenReadWrite(path string) (File, error) { return m.open(path, true) }

// Rename implements FS.
func (m *Mem) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	fail := func(err error) error { return &os.LinkError{Op: "rename", Old: from, New: to, Err: err} }
	fromDir, fromName, err := m.parent("rename", from)
	if err != nil {
		return fail(err.(*fs.PathError).Err) //nolint:errorlint,forcetypeassert // parent returns nothing else.
	}
	toDir, toName, err := m.parent("rename", to)
	if err != nil {
		return fail(err.(*fs.PathError).Err) //nolint:errorlint,forcetypeassert // parent returns nothing else.
	}
	n, old := fromDir.children[fromName], toDir.children[toName]
	switch {
	case n == nil:
		return fail(syscall.ENOENT)
	case n == old:
		return nil
	case n.dir && n.contains(toDir):
		return fail(syscall.EINVAL)
	case old != nil && old.dir && !n.dir:
		return fail(syscall.EISDIR)
	case old != nil && !old.dir && n.dir:
		return fail(syscall.ENOTDIR)
	case old != nil && old.dir && len(old.children) > 0:
		return fail(syscall.ENOTEMPTY)
	}
	m.change(
		nameEdit{dir: fromDir, name: fromName, moved: n},
		nameEdit{dir: toDir, name: toName, target: n, moved: n},
	)
	return nil
}

func (n *node) contains(o *node) bool {
	if n == o {
		return true
	}
	for _, c := range n.children {
		if c.dir && c.contains(o) {
			return true
		}
	}
	return false
}

// Remove implements FS.
func (m *Mem) Remove(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, name, err := m.parent("remove", path)
	if err != nil {
		return err
	}
	n := dir.children[name]
	switch {
	case n == nil:
		return &fs.PathError{Op: "remove", Path: path, Err: syscall.ENOENT}
	case len(n.children) > 0:
		return &fs.PathError{Op: "remove", Path: path, Err: syscall.ENOTEMPTY}
	}
	m.change(nameEdit{dir: dir, name: name, moved: n})
	return nil
}

// RemoveAll implements FS.
func (m *Mem) RemoveAll(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, name, err := m.parent("unlinkat", path)
	if err != nil {
		if os.IsNotExist(err) {
			return nil
		}
		return err
	}
	m.removeTree(dir, name)
	return nil
}

// removeTree removes a name, children first, as rm does. m.mu is held.
func (m *Mem) removeTree(dir *node, name string) {
	n := dir.children[name]
	if n == nil {
		return
	}
	for _, c := range sortedNames(n.children) {
		m.removeTree(n, c)
	}
	m.change(nameEdit{dir: dir, name: name, moved: n})
}

// MkdirAll implements FS.
func (m *Mem) MkdirAll(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.root
	for _, name := range splitPath(path) {
		c := n.children[name]
		if c == nil {
			c = newDir()
			m.change(nameEdit{dir: n, name: name, target: c, moved: c})
		}
		if !c.dir {
			return &fs.PathError{Op: "mkdir", Path: path, Err: syscall.ENOTDIR}
		}
		n = c
	}
	return nil
}

// ReadDir implements FS.
func (m *Mem) ReadDir(path string) ([]Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.walk("open", path)
	if err != nil {
		return nil, err
	}
	if !n.dir {
		return nil, &fs.PathError{Op: "readdir", Path: path, Err: syscall.ENOTDIR}
	}
	out := make([]Info, 0, len(n.children))
	for _, name := range sortedNames(n.children) {
		out = append(out, n.children[name].info(name))
	}
	return out, nil
}

func sortedNames(nodes map[string]*node) []string {
	names := make([]string, 0, len(nodes))
	for name := range nodes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (n *node) info(name string) Info {
	return Info{Name: name, Size: int64(len(n.data)), Dir: n.dir, ModTime: n.modTime}
}

// Stat implements FS.
func (m *Mem) Stat(path string) (Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.walk("stat", path)
	if err != nil {
		return Info{}, err
	}
	return n.info(filepath.Base(path)), nil
}

// Lock implements FS.
func (m *Mem) Lock(dir string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.walk("lock", dir)
	if err != nil {
		return nil, err
	}
	if !n.dir {
		return nil, &fs.PathError{Op: "lock", Path: dir, Err: syscall.ENOTDIR}
	}
	if m.locks[n] {
		return nil, &LockedError{Dir: dir, PID: os.Getpid()}
	}
	if n.children[LockFile] == nil {
		f := &node{modTime: time.Now()}
		m.change(nameEdit{dir: n, name: LockFile, target: f, moved: f})
	}
	m.locks[n] = true
	return &memLock{m: m, n: n}, nil
}

type memLock struct {
	m *Mem
	n *node
}

func (l *memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	delete(l.m.locks, l.n)
	return nil
}

// FreeBytes implements FS. Without a capacity there are always 2^40 bytes left.
func (m *Mem) FreeBytes(path string) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.walk("statfs", path); err != nil {
		return 0, err
	}
	return uint64(m.free()), nil //nolint:gosec // free is not negative.
}

// free returns the bytes that can still be written. m.mu is held.
func (m *Mem) free() int64 {
	if m.capacity == 0 {
		return 1 << 40
	}
	return max(0, m.capacity-m.root.size())
}

func (n *node) size() int64 {
	sum := int64(len(n.data))
	for _, c := range n.children {
		sum += c.size()
	}
	return sum
}

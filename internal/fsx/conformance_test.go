package fsx

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// each runs a test on every implementation, with a directory of its own.
func each(t *testing.T, test func(t *testing.T, fsys FS, dir string)) {
	t.Helper()
	t.Run("OS", func(t *testing.T) { test(t, OS{}, t.TempDir()) })
	t.Run("Mem", func(t *testing.T) {
		m := NewMem()
		require.NoError(t, m.MkdirAll("/work"))
		test(t, m, "/work")
	})
	t.Run("Faulty", func(t *testing.T) {
		m := NewMem()
		require.NoError(t, m.MkdirAll("/work"))
		test(t, NewFaulty(m), "/work")
	})
}

func write(t *testing.T, fsys FS, path, data string) {
	t.Helper()
	f, err := fsys.Create(path)
	require.NoError(t, err)
	n, err := f.Write([]byte(data))
	require.NoError(t, err)
	require.Equal(t, len(data), n)
	require.NoError(t, f.Close())
}

func read(t *testing.T, fsys FS, path string) string {
	t.Helper()
	data, err := ReadFile(fsys, path)
	require.NoError(t, err)
	return string(data)
}

func TestFiles(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		path := filepath.Join(dir, "f")
		_, err := fsys.Open(path)
		require.ErrorIs(t, err, fs.ErrNotExist)
		_, err = fsys.OpenReadWrite(path)
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.ErrorContains(t, err, path)

		f, err := fsys.Create(path)
		require.NoError(t, err)
		_, err = f.Write([]byte("hello "))
		require.NoError(t, err)
		_, err = f.Write([]byte("world"))
		require.NoError(t, err)
		require.NoError(t, f.Truncate(5))
		_, err = f.Write([]byte("!"))
		require.NoError(t, err)
		assert.Equal(t, "hello!", read(t, fsys, path), "writes go to the end after a truncation too")
		require.NoError(t, f.Truncate(8))
		assert.Equal(t, "hello!\x00\x00", read(t, fsys, path), "extended with zeros")
		require.NoError(t, f.Truncate(6))
		size, err := f.Size()
		require.NoError(t, err)
		assert.Equal(t, int64(6), size)
		require.NoError(t, f.Sync())
		require.Error(t, f.Truncate(-1))
		require.NoError(t, f.Close())
		require.ErrorIs(t, f.Close(), fs.ErrClosed)
		_, err = f.Write([]byte("x"))
		require.ErrorIs(t, err, fs.ErrClosed)

		f, err = fsys.OpenReadWrite(path)
		require.NoError(t, err)
		_, err = f.Write([]byte("?"))
		require.NoError(t, err)
		require.NoError(t, f.Close())
		f, err = fsys.Open(path)
		require.NoError(t, err)
		_, err = f.Write([]byte("x"))
		require.ErrorIs(t, err, syscall.EBADF, "opened for reading")
		b := make([]byte, 4)
		n, err := f.ReadAt(b, 5)
		require.ErrorIs(t, err, io.EOF)
		assert.Equal(t, "!?", string(b[:n]))
		_, err = f.ReadAt(b, 7)
		require.ErrorIs(t, err, io.EOF)
		_, err = f.ReadAt(b, -1)
		require.Error(t, err)
		all, err := io.ReadAll(f)
		require.NoError(t, err)
		assert.Equal(t, "hello!?", string(all))
		require.NoError(t, f.Close())

		write(t, fsys, path, "new")
		assert.Equal(t, "new", read(t, fsys, path), "Create empties")
	})
}

func TestNames(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		p := func(s ...string) string { return filepath.Join(append([]string{dir}, s...)...) }
		require.NoError(t, MkdirAllSync(fsys, p("a", "b")))
		require.NoError(t, MkdirAllSync(fsys, p("a", "b")))
		require.NoError(t, fsys.MkdirAll(p("c")))
		write(t, fsys, p("a", "f"), "1")
		write(t, fsys, p("g"), "22")
		require.Error(t, fsys.MkdirAll(p("g", "x")))
		require.ErrorIs(t, fsys.Remove(p("a")), syscall.ENOTEMPTY)
		require.ErrorIs(t, fsys.Remove(p("none")), fs.ErrNotExist)
		_, err := fsys.Stat(p("none"))
		require.ErrorIs(t, err, fs.ErrNotExist)
		_, err = fsys.Stat(p("g", "none"))
		require.ErrorIs(t, err, syscall.ENOTDIR)
		_, err = fsys.Create(p("none", "f"))
		require.ErrorIs(t, err, fs.ErrNotExist)
		_, err = fsys.Create(p("a"))
		require.ErrorIs(t, err, syscall.EISDIR)

		entries, err := fsys.ReadDir(dir)
		require.NoError(t, err)
		var names []string
		for _, e := range entries {
			names = append(names, e.Name)
			assert.Equal(t, e.Name != "g", e.Dir)
		}
		assert.Equal(t, []string{"a", "c", "g"}, names)
		assert.Equal(t, int64(2), entries[2].Size)
		assert.False(t, entries[2].ModTime.IsZero())
		_, err = fsys.ReadDir(p("none"))
		require.ErrorIs(t, err, fs.ErrNotExist)
		_, err = fsys.ReadDir(p("g"))
		require.ErrorIs(t, err, syscall.ENOTDIR)

		require.NoError(t, fsys.Rename(p("g"), p("a", "f")), "replaces a file")
		assert.Equal(t, "22", read(t, fsys, p("a", "f")))
		require.ErrorIs(t, fsys.Rename(p("g"), p("h")), fs.ErrNotExist)
		require.Error(t, fsys.Rename(p("a", "f"), p("c")), "a file does not replace a directory")
		require.Error(t, fsys.Rename(p("a"), p("a", "b", "a")), "nor goes a directory into itself")
		require.NoError(t, fsys.Rename(p("a"), p("c", "a")))
		assert.Equal(t, "22", read(t, fsys, p("c", "a", "f")))
		st, err := fsys.Stat(p("c", "a", "f"))
		require.NoError(t, err)
		assert.Equal(t, "f", st.Name)

		f, err := fsys.Open(p("c", "a", "f"))
		require.NoError(t, err)
		require.NoError(t, fsys.RemoveAll(p("c")))
		require.NoError(t, fsys.RemoveAll(p("c")), "again")
		b := make([]byte, 2)
		_, err = f.ReadAt(b, 0)
		require.NoError(t, err, "an open file outlives its name")
		assert.Equal(t, "22", string(b))
		require.NoError(t, f.Close())
		_, err = fsys.Stat(p("c"))
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.NoError(t, fsys.SyncDir(dir))
		require.ErrorIs(t, fsys.SyncDir(p("none")), fs.ErrNotExist)
		free, err := fsys.FreeBytes(dir)
		require.NoError(t, err)
		assert.Positive(t, free)
		_, err = fsys.FreeBytes(p("none"))
		require.ErrorIs(t, err, fs.ErrNotExist)
	})
}

func TestLock(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		l, err := fsys.Lock(dir)
		require.NoError(t, err)
		_, err = fsys.Lock(dir)
		require.ErrorIs(t, err, ErrLocked)
		var le *LockedError
		require.ErrorAs(t, err, &le)
		assert.Equal(t, dir, le.Dir)
		assert.Equal(t, os.Getpid(), le.PID)
		require.ErrorContains(t, err, dir)
		_, err = fsys.Stat(filepath.Join(dir, LockFile))
		require.NoError(t, err)
		require.NoError(t, l.Close())
		l, err = fsys.Lock(dir)
		require.NoError(t, err, "free again")
		require.NoError(t, l.Close())
		_, err = fsys.Lock(filepath.Join(dir, "none"))
		require.ErrorIs(t, err, fs.ErrNotExist)
	})
}

// TestLockOtherProcess lets a child hold the lock, and kills it.
func TestLockOtherProcess(t *testing.T) {
	const key = "FSX_TEST_LOCK_DIR"
	if dir := os.Getenv(key); dir != "" {
		if _, err := (OS{}).Lock(dir); err != nil {
			t.Fatal(err)
		}
		_, _ = os.Stdout.WriteString("locked\n")
		_, _ = io.Copy(io.Discard, os.Stdin) // Until it is killed.
		return
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestLockOtherProcess$") //nolint:gosec // This test.
	cmd.Env = append(os.Environ(), key+"="+dir)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	b := make([]byte, len("locked\n"))
	_, err = io.ReadFull(out, b)
	require.NoError(t, err)
	require.Equal(t, "locked\n", string(b))
	_, err = (OS{}).Lock(dir)
	var le *LockedError
	require.ErrorAs(t, err, &le)
	assert.Equal(t, cmd.Process.Pid, le.PID)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	_ = in.Close()
	l, err := (OS{}).Lock(dir)
	require.NoError(t, err, "a lock dies with its process")
	require.NoError(t, l.Close())
}

func TestConcurrentUse(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				path := filepath.Join(dir, strings.Repeat("x", i+1))
				for range 20 {
					assert.NoError(t, WriteFileAtomic(fsys, path, []byte(path)))
					data, err := ReadFile(fsys, path)
					assert.NoError(t, err)
					assert.Equal(t, path, string(data))
					_, err = fsys.ReadDir(dir)
					assert.NoError(t, err)
				}
				assert.NoError(t, fsys.Remove(path))
			})
		}
		wg.Wait()
		entries, err := fsys.ReadDir(dir)
		require.NoError(t, err)
		assert.Empty(t, entries)
	})
}

func TestFaults(t *testing.T) {
	m := NewMem()
	f := NewFaulty(m)
	f.Inject(Fault{Op: OpWrite, Path: "a", After: 1, Times: 2, Err: syscall.ENOSPC, Short: 2})
	file, err := f.Create("a")
	require.NoError(t, err)
	other, err := f.Create("b")
	require.NoError(t, err)
	for i, want := range []int{5, 2, 2, 5} {
		n, err := file.Write([]byte("12345"))
		assert.Equal(t, want, n)
		assert.Equal(t, want != 5, errors.Is(err, syscall.ENOSPC), "write %d: %v", i, err)
		_, err = other.Write([]byte("x"))
		require.NoError(t, err)
	}
	assert.Equal(t, "12345121212345", read(t, f, "a"))
	assert.Equal(t, 8, f.Calls(OpWrite))
	calls := map[Op]func() error{
		OpCreate:   func() error { _, err := f.Create("c"); return err },
		OpOpen:     func() error { _, err := f.Open("a"); return err },
		OpRename:   func() error { return f.Rename("a", "d") },
		OpRemove:   func() error { return f.Remove("a") },
		OpMkdir:    func() error { return f.MkdirAll("e") },
		OpReadDir:  func() error { _, err := f.ReadDir("/"); return err },
		OpStat:     func() error { _, err := f.Stat("a"); return err },
		OpSyncDir:  func() error { return f.SyncDir("/") },
		OpLock:     func() error { _, err := f.Lock("/"); return err },
		OpFree:     func() error { _, err := f.FreeBytes("/"); return err },
		OpRead:     func() error { _, err := file.ReadAt(make([]byte, 1), 0); return err },
		OpWrite:    func() error { _, err := file.Write([]byte("x")); return err },
		OpSync:     file.Sync,
		OpTruncate: func() error { return file.Truncate(0) },
		OpClose:    other.Close,
	}
	require.Len(t, calls, int(opCount))
	for op, call := range calls {
		f.Inject(Fault{Op: op, Times: -1, Err: syscall.EIO})
		require.ErrorIs(t, call(), syscall.EIO, op.String())
		f.Clear()
	}
	entries, err := m.ReadDir("/")
	require.NoError(t, err)
	assert.Len(t, entries, 2, "what failed did nothing")
}

package fsx

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// Permissions of what is created: spans can hold personal data, so others get nothing.
const (
	fileMode = 0o640
	dirMode  = 0o750
)

// OS is the file system of the operating system.
type OS struct{}

var _ FS = OS{}

// osFile adds Size to an os.File.
type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func openFile(path string, flag int) (File, error) {
	f, err := os.OpenFile(path, flag, fileMode) //nolint:gosec // Paths come from our own directory layout.
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Create implements FS.
func (OS) Create(path string) (File, error) {
	return openFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC|os.O_APPEND)
}

// Open implements FS.
func (OS) Open(path string) (File, error) { return openFile(path, os.O_RDONLY) }

// OpenReadWrite implements FS.
func (OS) OpenReadWrite(path string) (File, error) { return openFile(path, os.O_RDWR|os.O_APPEND) }

// Rename implements FS.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove implements FS.
func (OS) Remove(path string) error { return os.Remove(path) }

// RemoveAll implements FS.
func (OS) RemoveAll(path string) error { return os.RemoveAll(path) }

// MkdirAll implements FS.
func (OS) MkdirAll(path string) error { return os.MkdirAll(path, dirMode) }

// ReadDir implements FS.
func (OS) ReadDir(path string) ([]Info, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	out := make([]Info, 0, len(entries))
	for _, e := range entries {
		st, err := e.Info()
		if os.IsNotExist(err) {
			// Removed since the directory was read.
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, infoOf(st))
	}
	return out, nil
}

// Stat implements FS.
func (OS) Stat(path string) (Info, error) {
	st, err := os.Stat(path)
	if err != nil {
		return Info{}, err
	}
	return infoOf(st), nil
}

func infoOf(st os.FileInfo) Info {
	return Info{Name: st.Name(), Size: st.Size(), Dir: st.IsDir(), ModTime: st.ModTime()}
}

// SyncDir implements FS.
func (OS) SyncDir(path string) error {
	d, err := os.Open(path) //nolint:gosec // Paths come from our own directory layout.
	if err != nil {
		return err
	}
	err = syncDirFile(d)
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

// Lock implements FS.
func (OS) Lock(dir string) (io.Closer, error) {
	path := lockPath(dir)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, fileMode) //nolint:gosec // The path is the caller's directory.
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	taken, err := tryLock(f)
	if err == nil && !taken {
		err = &LockedError{Dir: dir, PID: readPID(f)}
	} else if err != nil {
		err = fmt.Errorf("lock %s: %w", dir, err)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	// The pid only helps people; a full disk must not keep the store, which may free space, from starting.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return osLock{f}, nil
}

// osLock releases the lock by closing the file. The file stays: removing it would let a second process lock a file
// that a third one replaces.
type osLock struct{ f *os.File }

func (l osLock) Close() error {
	// Nobody must believe that the pid still holds the lock.
	_ = l.f.Truncate(0)
	return l.f.Close()
}

func readPID(f io.ReaderAt) int {
	b := make([]byte, 20)
	n, _ := f.ReadAt(b, 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil || pid < 0 {
		return 0
	}
	return pid
}

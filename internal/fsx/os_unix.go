//go:build linux || darwin

package fsx

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

func lockPath(dir string) string { return filepath.Join(dir, LockFile) }

// tryLock takes the file's lock and reports whether it was free. A lock by flock belongs to the open file, so that it
// also excludes this process, and goes away with the process however that ends.
func tryLock(f *os.File) (bool, error) {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) //nolint:gosec // A descriptor fits an int.
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, syscall.EINTR):
			return false, &os.PathError{Op: "flock", Path: f.Name(), Err: err}
		}
	}
}

// syncDirFile syncs an open directory. File systems that have nothing to do for it say EINVAL.
func syncDirFile(d *os.File) error {
	err := d.Sync()
	if errors.Is(err, syscall.EINVAL) {
		return nil
	}
	return err
}

// FreeBytes implements FS.
func (OS) FreeBytes(path string) (uint64, error) {
	var st syscall.Statfs_t
	for {
		err := syscall.Statfs(path, &st)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return 0, &os.PathError{Op: "statfs", Path: path, Err: err}
		}
		return st.Bavail * uint64(st.Bsize), nil //nolint:gosec,unconvert // Bsize is positive; its type differs by platform.
	}
}

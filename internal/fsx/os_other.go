//go:build !linux && !darwin

package fsx

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

func lockPath(dir string) string { return filepath.Join(dir, LockFile) }

func tryLock(*os.File) (bool, error) {
	return false, fmt.Errorf("lock a file on this platform: %w", errors.ErrUnsupported)
}

// syncDirFile does nothing: directories cannot be synced here.
func syncDirFile(*os.File) error { return nil }

// FreeBytes implements FS.
func (OS) FreeBytes(path string) (uint64, error) {
	return 0, fmt.Errorf("free space of %s on this platform: %w", path, errors.ErrUnsupported)
}

//go:build linux || darwin

package tracedb

import (
	"errors"
	"os"
	"syscall"
)

// diskSize returns the size in bytes of the file system that holds path.
func diskSize(path string) (uint64, error) {
	var st syscall.Statfs_t
	for {
		err := syscall.Statfs(path, &st)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return 0, &os.PathError{Op: "statfs", Path: path, Err: err}
		}
		return st.Blocks * uint64(st.Bsize), nil //nolint:gosec,unconvert // Bsize is positive; its type differs by platform.
	}
}

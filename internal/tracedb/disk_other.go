//go:build !linux && !darwin

package tracedb

import (
	"errors"
	"fmt"
)

// diskSize is not known on this platform.
func diskSize(path string) (uint64, error) {
	return 0, fmt.Errorf("size of the disk of %s on this platform: %w", path, errors.ErrUnsupported)
}

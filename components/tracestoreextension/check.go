package tracestoreextension

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Check reports whether the directory can be written, by a file that is removed at once. A directory that does not exist
// yet is judged by the nearest one above it that does.
func (c *Config) Check(context.Context) error {
	dir, err := filepath.Abs(c.Directory)
	if err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	for {
		fi, err := os.Stat(dir)
		if err == nil && !fi.IsDir() {
			return fmt.Errorf("directory: %s is not a directory", dir)
		}
		if err == nil {
			break
		}
		if parent := filepath.Dir(dir); errors.Is(err, fs.ErrNotExist) && parent != dir {
			dir = parent
			continue
		}
		return fmt.Errorf("directory: %w", err)
	}
	f, err := os.CreateTemp(dir, ".bramble-check-*")
	if err != nil {
		return fmt.Errorf("directory: %s cannot be written: give the process's user the right to, or name another directory: %w", c.Directory, err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

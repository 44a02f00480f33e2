package fsx

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
)

// TempSuffix ends the name of the file that WriteFileAtomic writes before it renames it. One that is found at start
// was left by a crash and can be removed.
const TempSuffix = ".tmp"

// WriteFileAtomic replaces the contents of a file: a reader, and the machine after a crash, finds the old contents or
// the new, never a mixture. When it returns nil the new contents are durable. Two calls for one path must not run at
// the same time.
func WriteFileAtomic(fsys FS, path string, data []byte) error {
	tmp := path + TempSuffix
	if err := writeSynced(fsys, tmp, data); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), removeIfThere(fsys, tmp))
	}
	if err := fsys.Rename(tmp, path); err != nil {
		return errors.Join(fmt.Errorf("replace %s: %w", path, err), removeIfThere(fsys, tmp))
	}
	if err := fsys.SyncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("make the new name of %s durable: %w", path, err)
	}
	return nil
}

func writeSynced(fsys FS, path string, data []byte) error {
	f, err := fsys.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func removeIfThere(fsys FS, path string) error {
	if err := fsys.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// ReadFile reads a whole file.
func ReadFile(fsys FS, path string) ([]byte, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	data := make([]byte, size)
	n, err := f.ReadAt(data, 0)
	if errors.Is(err, io.EOF) {
		// Also when the file got shorter since its size was read.
		err = nil
	}
	return data[:n], errors.Join(err, f.Close())
}

// MkdirAllSync makes a directory and its parents, durably: every parent of a directory that it made is synced.
func MkdirAllSync(fsys FS, path string) error {
	var made []string
	for p := filepath.Clean(path); ; p = filepath.Dir(p) {
		_, err := fsys.Stat(p)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if p == filepath.Dir(p) {
			break
		}
		made = append(made, p)
	}
	if err := fsys.MkdirAll(path); err != nil {
		return err
	}
	for _, p := range made {
		if err := fsys.SyncDir(filepath.Dir(p)); err != nil {
			return err
		}
	}
	return nil
}

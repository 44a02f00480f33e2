package fsx

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// FS is a file system. See the package comment for what its implementations have in common.
type FS interface {
	// Create makes an empty file for reading and writing, and empties the file that has the name already.
	Create(path string) (File, error)
	// Open opens an existing file for reading.
	Open(path string) (File, error)
	// OpenReadWrite opens an existing file; writes append to it.
	OpenReadWrite(path string) (File, error)
	// Rename moves a file or directory, replacing a file that has the new name. It is atomic, and durable after
	// SyncDir of the parents.
	Rename(from, to string) error
	// Remove removes a file or an empty directory.
	Remove(path string) error
	// RemoveAll removes a file or directory with all that it contains. It is no error if there is none.
	RemoveAll(path string) error
	// MkdirAll makes a directory and its parents. It is no error if it exists. See MkdirAllSync for a durable one.
	MkdirAll(path string) error
	// ReadDir lists a directory by name.
	ReadDir(path string) ([]Info, error)
	// Stat describes a file or directory.
	Stat(path string) (Info, error)
	// SyncDir makes the names in a directory durable: what was created, renamed and removed in it.
	SyncDir(path string) error
	// Lock takes the exclusive lock of a directory, a file named LOCK in it that stays when the lock is released.
	// If somebody holds it, also in this process, Lock fails at once with a *LockedError.
	Lock(dir string) (io.Closer, error)
	// FreeBytes returns how many bytes the calling user can still write to the file system that holds path.
	FreeBytes(path string) (uint64, error)
}

// File is an open file.
type File interface {
	io.Reader
	io.ReaderAt
	// Write appends to the end of the file. On an error, the first n bytes may be there.
	io.Writer
	io.Closer
	// Sync makes the contents and the size durable. If it fails, what was written since the last success may be
	// gone, and a later success says nothing about it.
	Sync() error
	// Size returns the length in bytes.
	Size() (int64, error)
	// Truncate cuts the file, or extends it with zeros, to size bytes.
	Truncate(size int64) error
}

// Info describes a file or directory.
type Info struct {
	Name    string // the last element of the path
	Size    int64  // bytes; not meaningful for directories
	Dir     bool
	ModTime time.Time
}

// LockFile is the name of the file that FS.Lock makes in the directory.
const LockFile = "LOCK"

// ErrLocked is what a *LockedError wraps.
var ErrLocked = errors.New("directory is in use by another process")

// LockedError says who holds the lock of a directory.
type LockedError struct {
	Dir string
	PID int // 0 if the holder cannot be read
}

func (e *LockedError) Error() string {
	if e.PID > 0 {
		return fmt.Sprintf("lock %s: %v (pid %d): stop it or choose another directory", e.Dir, ErrLocked, e.PID)
	}
	return fmt.Sprintf("lock %s: %v: stop it or choose another directory", e.Dir, ErrLocked)
}

// Unwrap returns ErrLocked.
func (e *LockedError) Unwrap() error { return ErrLocked }

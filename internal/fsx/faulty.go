package fsx

import (
	"io"
	"io/fs"
	"strings"
	"sync"
)

// Op is a kind of call that can be made to fail.
type Op uint8

// The kinds of calls.
const (
	OpCreate Op = iota
	OpOpen      // Open and OpenReadWrite
	OpRename
	OpRemove // Remove and RemoveAll
	OpMkdir
	OpReadDir
	OpStat
	OpSyncDir
	OpLock
	OpFree
	OpRead // Read and ReadAt
	OpWrite
	OpSync
	OpTruncate
	OpClose
	opCount
)

var opNames = [opCount]string{
	"create", "open", "rename", "remove", "mkdir", "readdir", "stat", "syncdir", "lock", "statfs", "read", "write",
	"sync", "truncate", "close",
}

func (o Op) String() string {
	if int(o) < len(opNames) {
		return opNames[o]
	}
	return "unknown"
}

// Fault says which calls fail and how.
type Fault struct {
	Op   Op
	Path string // part of the path; empty means any
	// After is how many matching calls succeed first.
	After int
	// Times is how many calls fail then; 0 means one, negative all.
	Times int
	Err   error
	// Short is, for OpWrite, how many bytes are written before the error.
	Short int
}

// Faulty makes calls of another file system fail. It is safe for concurrent use.
type Faulty struct {
	inner FS

	mu     sync.Mutex
	faults []*Fault
	calls  [opCount]int
	before func(op Op, path string)
}

var _ FS = (*Faulty)(nil)

// NewFaulty wraps inner. Without faults every call passes.
func NewFaulty(inner FS) *Faulty { return &Faulty{inner: inner} }

// Inject adds a fault. If several match a call, each counts it, and the first that is due decides.
func (f *Faulty) Inject(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fault.Times == 0 {
		fault.Times = 1
	}
	f.faults = append(f.faults, &fault)
}

// Clear removes all faults.
func (f *Faulty) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = nil
}

// Calls returns how many calls of a kind were made, failed ones included.
func (f *Faulty) Calls(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[op]
}

// Before sets a function that is called at the start of every call, without a lock held, so that a test can stop one.
// Nil unsets it.
func (f *Faulty) Before(fn func(op Op, path string)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = fn
}

// check counts a call and returns the error it must fail with, and how many bytes a write may write before.
func (f *Faulty) check(op Op, path string) (short int, err error) {
	f.mu.Lock()
	before := f.before
	f.mu.Unlock()
	if before != nil {
		before(op, path)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[op]++
	for _, ft := range f.faults {
		if ft.Op != op || ft.Times == 0 || !strings.Contains(path, ft.Path) {
			continue
		}
		if ft.After > 0 {
			ft.After--
			continue
		}
		if err != nil {
			continue
		}
		if ft.Times > 0 {
			ft.Times--
		}
		short, err = ft.Short, &fs.PathError{Op: op.String(), Path: path, Err: ft.Err}
	}
	return short, err
}

func (f *Faulty) open(op Op, path string, open func(string) (File, error)) (File, error) {
	if _, err := f.check(op, path); err != nil {
		return nil, err
	}
	file, err := open(path)
	if err != nil {
		return nil, err
	}
	return &faultyFile{fs: f, path: path, File: file}, nil
}

// Create implements FS.
func (f *Faulty) Create(path string) (File, error) { return f.open(OpCreate, path, f.inner.Create) }

// Open implements FS.
func (f *Faulty) Open(path string) (File, error) { return f.open(OpOpen, path, f.inner.Open) }

// OpenReadWrite implements FS.
func (f *Faulty) OpenReadWrite(path string) (File, error) {
	return f.open(OpOpen, path, f.inner.OpenReadWrite)
}

// Rename implements FS.
func (f *Faulty) Rename(from, to string) error {
	if _, err := f.check(OpRename, to); err != nil {
		return err
	}
	return f.inner.Rename(from, to)
}

// Remove implements FS.
func (f *Faulty) Remove(path string) error {
	if _, err := f.check(OpRemove, path); err != nil {
		return err
	}
	return f.inner.Remove(path)
}

// RemoveAll implements FS.
func (f *Faulty) RemoveAll(path string) error {
	if _, err := f.check(OpRemove, path); err != nil {
		return err
	}
	return f.inner.RemoveAll(path)
}

// MkdirAll implements FS.
func (f *Faulty) MkdirAll(path string) error {
	if _, err := f.check(OpMkdir, path); err != nil {
		return err
	}
	return f.inner.MkdirAll(path)
}

// ReadDir implements FS.
func (f *Faulty) ReadDir(path string) ([]Info, error) {
	if _, err := f.check(OpReadDir, path); err != nil {
		return nil, err
	}
	return f.inner.ReadDir(path)
}

// Stat implements FS.
func (f *Faulty) Stat(path string) (Info, error) {
	if _, err := f.check(OpStat, path); err != nil {
		return Info{}, err
	}
	return f.inner.Stat(path)
}

// SyncDir implements FS.
func (f *Faulty) SyncDir(path string) error {
	if _, err := f.check(OpSyncDir, path); err != nil {
		return err
	}
	return f.inner.SyncDir(path)
}

// Lock implements FS.
func (f *Faulty) Lock(dir string) (io.Closer, error) {
	if _, err := f.check(OpLock, dir); err != nil {
		return nil, err
	}
	return f.inner.Lock(dir)
}

// FreeBytes implements FS.
func (f *Faulty) FreeBytes(path string) (uint64, error) {
	if _, err := f.check(OpFree, path); err != nil {
		return 0, err
	}
	return f.inner.FreeBytes(path)
}

// faultyFile is a file of a Faulty.
type faultyFile struct {
	File
	fs   *Faulty
	path string
}

func (f *faultyFile) Read(p []byte) (int, error) {
	if _, err := f.fs.check(OpRead, f.path); err != nil {
		return 0, err
	}
	return f.File.Read(p)
}

func (f *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	if _, err := f.fs.check(OpRead, f.path); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *faultyFile) Write(p []byte) (int, error) {
	short, err := f.fs.check(OpWrite, f.path)
	if err == nil {
		return f.File.Write(p)
	}
	n, werr := f.File.Write(p[:min(short, len(p))])
	if werr != nil {
		err = werr
	}
	return n, err
}

func (f *faultyFile) Sync() error {
	if _, err := f.fs.check(OpSync, f.path); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *faultyFile) Truncate(size int64) error {
	if _, err := f.fs.check(OpTruncate, f.path); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

// Close closes the file also when it is to fail, as close(2) does.
func (f *faultyFile) Close() error {
	_, err := f.fs.check(OpClose, f.path)
	if cerr := f.File.Close(); err == nil {
		err = cerr
	}
	return err
}

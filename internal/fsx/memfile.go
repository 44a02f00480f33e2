package fsx

import (
	"io"
	"io/fs"
	"syscall"
	"time"
)

// memFile is an open file of a Mem. Mem.mu guards it.
type memFile struct {
	m        *Mem
	n        *node
	path     string
	writable bool
	closed   bool
	pos      int64 // of Read
}

func (f *memFile) fail(op string, err error) error {
	return &fs.PathError{Op: op, Path: f.path, Err: err}
}

// use locks the file system for an operation on an open file.
func (f *memFile) use(op string, write bool) (unlock func(), err error) {
	f.m.mu.Lock()
	if f.closed {
		f.m.mu.Unlock()
		return nil, f.fail(op, fs.ErrClosed)
	}
	if write && !f.writable {
		f.m.mu.Unlock()
		return nil, f.fail(op, syscall.EBADF)
	}
	return f.m.mu.Unlock, nil
}

func (f *memFile) Read(p []byte) (int, error) {
	unlock, err := f.use("read", false)
	if err != nil {
		return 0, err
	}
	defer unlock()
	if len(p) == 0 {
		return 0, nil
	}
	if f.pos >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.n.data[f.pos:])
	f.pos += int64(n)
	return n, nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	unlock, err := f.use("read", false)
	if err != nil {
		return 0, err
	}
	defer unlock()
	if off < 0 {
		return 0, f.fail("readat", syscall.EINVAL)
	}
	if off >= int64(len(f.n.data)) {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	n := copy(p, f.n.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) Write(p []byte) (int, error) {
	unlock, err := f.use("write", true)
	if err != nil {
		return 0, err
	}
	defer unlock()
	n := int(min(int64(len(p)), f.m.free()))
	if n > 0 {
		off := int64(len(f.n.data))
		f.n.data = append(f.n.data, p[:n]...)
		f.n.pending = append(f.n.pending, dataOp{off: off, data: append([]byte(nil), p[:n]...)})
		f.n.modTime = time.Now()
		f.pos = int64(len(f.n.data))
	}
	if n < len(p) {
		return n, f.fail("write", syscall.ENOSPC)
	}
	return n, nil
}

func (f *memFile) Sync() error {
	unlock, err := f.use("sync", false)
	if err != nil {
		return err
	}
	defer unlock()
	for _, op := range f.n.pending {
		f.n.synced = op.apply(f.n.synced)
	}
	f.n.pending = nil
	return nil
}

func (f *memFile) Close() error {
	unlock, err := f.use("close", false)
	if err != nil {
		return err
	}
	defer unlock()
	f.closed = true
	return nil
}

func (f *memFile) Size() (int64, error) {
	unlock, err := f.use("stat", false)
	if err != nil {
		return 0, err
	}
	defer unlock()
	return int64(len(f.n.data)), nil
}

func (f *memFile) Truncate(size int64) error {
	unlock, err := f.use("truncate", true)
	if err != nil {
		return err
	}
	defer unlock()
	if size < 0 {
		return f.fail("truncate", syscall.EINVAL)
	}
	f.n.truncate(size)
	return nil
}

func (n *node) truncate(size int64) {
	if size == int64(len(n.data)) {
		return
	}
	op := dataOp{off: size}
	n.data = op.apply(n.data)
	n.pending = append(n.pending, op)
	n.modTime = time.Now()
}

// apply does the operation on a file's contents, which it may change.
func (op dataOp) apply(data []byte) []byte {
	if op.data == nil {
		return resize(data, op.off)
	}
	if end := op.off + int64(len(op.data)); end > int64(len(data)) {
		data = resize(data, end)
	}
	copy(data[op.off:], op.data)
	return data
}

func resize(data []byte, size int64) []byte {
	if size <= int64(len(data)) {
		return data[:size]
	}
	return append(data, make([]byte, size-int64(len(data)))...)
}

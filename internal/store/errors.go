package store

import (
	"errors"
	"fmt"
)

// Errors of Append and of views. Callers test with errors.Is and errors.As.
var (
	// ErrClosed: the store is closing or closed. Retryable: another process may own the data soon.
	ErrClosed = errors.New("store is closed")
	// ErrFull: memory budget or disk is exhausted for now. Retryable.
	ErrFull = errors.New("store is full")
	// ErrTooLarge: one batch is larger than the store will ever accept. Permanent.
	ErrTooLarge = errors.New("batch is too large")
	// ErrInvalid: the batch contradicts the contract (an index out of range). Permanent.
	ErrInvalid = errors.New("batch is invalid")
	// ErrNotFound: no span of the trace is in the view.
	ErrNotFound = errors.New("trace not found")
	// ErrUnsupported: the implementation does not have what was asked for, and says so rather than answer with
	// nothing.
	ErrUnsupported = errors.New("not supported by this store")
)

// Retryable reports whether an error of Append may go away by sending the same batch again. Unknown errors (I/O) are
// retryable: dropping is the client's last resort, never ours.
func Retryable(err error) bool {
	return err != nil && !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrInvalid)
}

// CorruptionError says which bytes on disk are not what was written.
type CorruptionError struct {
	Path   string
	Offset int64
	Err    error
}

func (e *CorruptionError) Error() string {
	return fmt.Sprintf("corrupt data in %s at byte %d: %v", e.Path, e.Offset, e.Err)
}

// Unwrap returns what is wrong with the bytes.
func (e *CorruptionError) Unwrap() error { return e.Err }

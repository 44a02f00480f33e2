package query

import (
	"context"
	"errors"
	"fmt"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

// Errors of Service, to be tested with errors.Is. Errors of the store pass through and are classed by KindOf.
var (
	// ErrOverloaded: too many queries wait already. The client should try again later.
	ErrOverloaded = errors.New("too many queries are waiting, try again later")
	// ErrClosing: the service is shutting down.
	ErrClosing = errors.New("query service is shutting down")
	// ErrTimeout: the query took longer than it may. It is the cause of the context that queries run with.
	ErrTimeout = errors.New("query timed out")
)

// InvalidError is a question that cannot be answered because of what it asks; its text is for the person who asked.
type InvalidError struct {
	Reason string
	Err    error
}

func (e *InvalidError) Error() string {
	switch {
	case e.Err == nil:
		return e.Reason
	case e.Reason == "":
		return e.Err.Error()
	}
	return e.Reason + ": " + e.Err.Error()
}

// Unwrap returns what was found wrong, if there is more than a text.
func (e *InvalidError) Unwrap() error { return e.Err }

// Invalidf makes an InvalidError.
func Invalidf(format string, args ...any) error {
	return &InvalidError{Reason: fmt.Sprintf(format, args...)}
}

// Kind is what an API needs to know about an error to choose its code.
type Kind uint8

// Kinds of errors.
const (
	KindInternal Kind = iota
	KindInvalid
	KindNotFound
	KindUnsupported
	KindOverloaded
	KindUnavailable
	KindTimeout
	KindCanceled
)

// KindOf classes an error of Service.
func KindOf(err error) Kind {
	var (
		invalid *InvalidError
		missing *MissingNodesError
	)
	switch {
	case errors.As(err, &missing):
		return KindUnavailable
	case errors.As(err, &invalid):
		return KindInvalid
	case errors.Is(err, store.ErrNotFound):
		return KindNotFound
	case errors.Is(err, store.ErrUnsupported):
		return KindUnsupported
	case errors.Is(err, ErrOverloaded), errors.Is(err, exec.ErrBudget):
		return KindOverloaded
	case errors.Is(err, ErrClosing), errors.Is(err, store.ErrClosed):
		return KindUnavailable
	case errors.Is(err, ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		return KindTimeout
	case errors.Is(err, context.Canceled):
		return KindCanceled
	}
	return KindInternal
}

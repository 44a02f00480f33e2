package query

import (
	"context"

	"github.com/bramble-tracing/bramble/internal/memlimit"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// Deleter is a store that can delete traces.
type Deleter interface {
	// DeleteTrace hides all spans of a trace that were accepted so far, durably, and returns how many there were.
	DeleteTrace(ctx context.Context, id spanid.TraceID) (int, error)
}

// DeleteTrace deletes what is stored of a trace and returns how many spans that was, 0 if there are none. Spans that
// arrive later are a new trace. The error wraps store.ErrUnsupported if the store cannot delete.
func (s *Service) DeleteTrace(ctx context.Context, r TraceRequest) (spans int, err error) {
	deleter, ok := s.store.(Deleter)
	if !ok {
		return 0, &unsupportedError{"deleting traces"}
	}
	d := &Done{Kind: "delete", Query: r.ID.String(), Client: r.Client}
	err = s.run(ctx, s.lookups, d, func(ctx context.Context, _ store.View, _ *memlimit.Budget) error {
		spans, err = deleter.DeleteTrace(ctx, r.ID)
		d.Stats.Spans = uint64(max(0, spans))
		return err
	})
	return spans, err
}

// unsupportedError names what a store cannot do.
type unsupportedError struct{ what string }

func (e *unsupportedError) Error() string { return e.what + ": " + store.ErrUnsupported.Error() }

// Unwrap returns store.ErrUnsupported.
func (e *unsupportedError) Unwrap() error { return store.ErrUnsupported }

package query

import (
	"context"
	"errors"

	"github.com/bramble-tracing/bramble/internal/memlimit"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// TraceRequest asks for one trace.
type TraceRequest struct {
	ID spanid.TraceID
	// Client says who asks, for fairness.
	Client string
}

// Trace looks up a trace and calls use with it; a trace that is not there is nil and no error. Nothing of the trace
// may be kept after use has come back. A trace beyond the size limit is cut and says so in Partial.
func (s *Service) Trace(ctx context.Context, r TraceRequest, use func(*store.Trace) error) error {
	d := &Done{Kind: "trace", Query: r.ID.String(), Client: r.Client}
	return s.run(ctx, s.lookups, d, func(ctx context.Context, v store.View, _ *memlimit.Budget) error {
		t, err := v.Trace(ctx, r.ID, s.limits.MaxTraceBytes)
		if errors.Is(err, store.ErrNotFound) {
			return use(nil)
		}
		if err != nil {
			return err
		}
		d.Stats = Stats{Traces: 1, Spans: uint64(len(t.Spans)), Bytes: t.InspectedBytes}
		return use(separateShared(t))
	})
}

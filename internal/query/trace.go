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
// may be kept after use has come back. A trace beyond the size limit is cut and says so in Partial. One that may have spans
// at nodes that did not answer says so in Missing, and may be without any.
func (s *Service) Trace(ctx context.Context, r TraceRequest, use func(*store.Trace) error) error {
	d := &Done{Kind: "trace", Query: r.ID.String(), Client: r.Client}
	return s.run(ctx, s.lookups, d, func(ctx context.Context, v store.View, budget *memlimit.Budget) error {
		f := s.fanOut(&local{service: s, view: v, budget: budget}, r.Client)
		t, release, err := s.traceAll(ctx, f, v, r.ID, budget)
		if err != nil {
			return err
		}
		defer release()
		if missing := f.report(ctx, &t.Missing, &d.Stats); len(missing.Missing) == 0 && len(t.Spans) == 0 && t.Why() == "" {
			return use(nil)
		}
		d.Stats = Stats{Traces: 1, Spans: uint64(len(t.Spans)), Bytes: t.InspectedBytes}
		return use(separateShared(t))
	})
}

// traceAll returns the trace, which has no spans if there is none.
func (s *Service) traceAll(ctx context.Context, f *fan, v store.View, id spanid.TraceID, budget *memlimit.Budget) (*store.Trace, func(), error) {
	if !f.alone() {
		return f.trace(ctx, budget, id, s.limits.MaxTraceBytes)
	}
	t, err := v.Trace(ctx, id, s.limits.MaxTraceBytes)
	if errors.Is(err, store.ErrNotFound) {
		t, err = &store.Trace{}, nil
	}
	return t, func() {}, err
}

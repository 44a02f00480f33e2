package exec

import (
	"context"
	"fmt"
	"slices"

	"github.com/bramble-tracing/bramble/internal/memlimit"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// Spans calls use with what the view has of traces: every row, in no order and some hundred at a time. Reading many
// traces together costs a fraction of reading them one by one. The batches are the caller's; their strings are the view's.
func Spans(ctx context.Context, view store.View, ids []spanid.TraceID, budget *memlimit.Budget, use func(*store.Batch) error) error {
	r := newRun(ctx, view, budget)
	defer r.meter.close()
	rows := make([][]uint32, len(r.parts))
	for _, id := range ids {
		first, ok, err := r.partWith(id)
		if err != nil {
			return r.cause(err)
		}
		if !ok {
			continue
		}
		for p := range r.partsOf(id, first) {
			if rows[p], err = r.traceRows(p, id, rows[p]); err != nil {
				return r.cause(err)
			}
		}
	}
	const atOnce = 1024
	for p, list := range slices.Backward(rows) {
		slices.Sort(list)
		for some := range slices.Chunk(list, atOnce) {
			b := &store.Batch{}
			if err := r.parts[p].Spans(ctx, some, b); err != nil {
				return r.cause(fmt.Errorf("read spans: %w", err))
			}
			if err := use(b); err != nil {
				return err
			}
		}
	}
	return nil
}

// startsOf lowers the bounds of candidates to when the traces start by what the view has of them: the earlier a bound,
// the fewer traces have to be evaluated to know the newest.
func (r *run) startsOf(list []candidate) error {
	const portion = 256
	cols := newTraceColumns(newColumns())
	for some := range slices.Chunk(list, portion) {
		refs := make([]traceRef, len(some))
		for i := range some {
			refs[i] = some[i].traceRef
		}
		l, err := r.loadTraces(refs, cols, false)
		if err != nil {
			return err
		}
		for i, t := range l.traces {
			if len(t.spans) > 0 {
				some[i].bound = min(some[i].bound, clampInt(t.start))
			}
		}
		l.release()
	}
	return nil
}

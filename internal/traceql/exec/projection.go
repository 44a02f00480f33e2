package exec

import (
	"context"
	"slices"

	"github.com/bramble-tracing/bramble/internal/memlimit"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// SearchColumns lists the columns that SearchTraces reads, so that only these have to be brought together from several
// stores; nil if it reads whole spans.
func SearchColumns(q *plan.Query) []store.Column {
	cols := newColumns()
	e := newEvaluator(q.Search, cols)
	for _, c := range e.conds {
		if c.readsItems() {
			return nil
		}
	}
	newTraceColumns(cols)
	for _, c := range newShown(q).cols.cols {
		cols.addColumn(c)
	}
	return cols.cols
}

// readsItems reports whether a condition is about one event or link at a time, for which whole spans are read.
func (c *cond) readsItems() bool {
	return c.op == plan.IsItem || slices.ContainsFunc(c.args, (*cond).readsItems)
}

// ReadColumns calls use with columns of all rows that the view has of traces, in no order: for each row the index of its trace,
// and a vector for each column. Of equal ids the first counts. What use gets is its own; strings are the view's.
func ReadColumns(ctx context.Context, view store.View, ids []spanid.TraceID, cols []store.Column, budget *memlimit.Budget, use func(trace []uint32, vecs []store.Vector) error) error {
	r := newRun(ctx, view, budget)
	defer r.meter.close()
	set := newColumns()
	for _, c := range cols {
		set.addColumn(c)
	}
	seen := make(TraceSet, len(ids))
	var refs []traceRef
	var places []int // Of refs in ids.
	for n, id := range ids {
		if _, again := seen[id]; again {
			continue
		}
		seen[id] = struct{}{}
		first, ok, err := r.partWith(id)
		if err != nil {
			return r.cause(err)
		}
		if ok {
			refs, places = append(refs, traceRef{id, first}), append(places, n)
		}
	}
	runs, _, err := r.runsOf(refs)
	if err != nil {
		return r.cause(err)
	}
	for p, some := range slices.Backward(runs) {
		for granule, some := range byGranule(some) {
			var sel store.Bitmap
			var trace []uint32
			for _, run := range some {
				lo, hi := run.within(granule)
				sel.SetRange(lo, hi)
				for range hi - lo {
					trace = append(trace, uint32(places[run.trace])) //nolint:gosec // An index of ids.
				}
			}
			ch, err := r.readChunk(r.parts[p], granule, &sel, set)
			if err != nil {
				return r.cause(err)
			}
			if err := use(trace, ch.vecs); err != nil {
				return err
			}
		}
	}
	return nil
}

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
	rows := make([][]row, len(r.parts))
	var found []uint32
	seen := make(TraceSet, len(ids))
	for n, id := range ids {
		if _, again := seen[id]; again {
			continue
		}
		seen[id] = struct{}{}
		first, ok, err := r.partWith(id)
		if err != nil {
			return r.cause(err)
		}
		if !ok {
			continue
		}
		for _, p := range r.partsOf(id, first) {
			if found, err = r.traceRows(p, id, found[:0]); err != nil {
				return r.cause(err)
			}
			for _, f := range found {
				rows[p] = append(rows[p], row{f, n})
			}
		}
	}
	for p, list := range slices.Backward(rows) {
		slices.SortFunc(list, func(a, b row) int { return int(a.row) - int(b.row) })
		for len(list) > 0 {
			granule := int(list[0].row / store.GranuleRows)
			n := 0
			var sel store.Bitmap
			for n < len(list) && int(list[n].row/store.GranuleRows) == granule {
				sel.Set(int(list[n].row % store.GranuleRows))
				n++
			}
			ch, err := r.readChunk(r.parts[p], granule, &sel, set)
			if err != nil {
				return r.cause(err)
			}
			trace := make([]uint32, n)
			for i := range trace {
				trace[i] = uint32(list[i].trace) //nolint:gosec // An index of ids.
			}
			if err := use(trace, ch.vecs); err != nil {
				return err
			}
			list = list[n:]
		}
	}
	return nil
}

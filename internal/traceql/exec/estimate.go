package exec

import (
	"context"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// Cost is what a query would have to look at, known before it runs and without reading a column. A search with a limit
// mostly stops earlier.
type Cost struct {
	Parts    int
	Granules int
	Rows     int64
	Bytes    int64 // Of the parts, in proportion to their granules.
}

// Estimate returns the cost of a query over a time range in Unix nanoseconds, 0 for an open end.
func Estimate(ctx context.Context, view store.View, q *plan.Query, start, end int64) (Cost, error) {
	r := newRun(ctx, view, nil)
	w := newWindow(start, end).wide()
	pipelines := []*plan.Pipeline{q.Search}
	if len(q.Metrics) > 0 {
		pipelines = pipelines[:0]
		for _, m := range q.Metrics {
			pipelines = append(pipelines, m.Pipeline)
		}
	}
	var out Cost
	for _, p := range pipelines {
		if p.ConstFalse() {
			continue
		}
		spots, err := r.spots(compile(p.Anchor, newColumns()), w, w.timeTests())
		if err != nil {
			return Cost{}, r.cause(err)
		}
		parts := map[int]bool{}
		for _, s := range spots {
			info := r.parts[s.part].Info()
			parts[s.part] = true
			n := int64(info.GranuleLen(s.granule))
			out.Rows += n
			out.Bytes += info.Bytes * n / int64(info.Rows)
		}
		out.Granules += len(spots)
		out.Parts += len(parts)
	}
	return out, nil
}

package exec

import (
	"context"
	"math"
	"slices"

	"github.com/bramble-tracing/bramble/internal/memlimit"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// What is in this file lets several stores answer one query about traces that are split over them. A store lists the
// traces that may match by what it has of them (candidates); those that are in one store only are evaluated there
// (SearchTraces, Skip), the others where their spans were brought together.

// TraceSet is a set of traces.
type TraceSet map[spanid.TraceID]struct{}

// Candidate is a trace with a span that lets it match. The trace starts at Bound (Unix nanoseconds) or before.
type Candidate struct {
	ID    spanid.TraceID
	Bound int64
}

// CandidateList is the answer of Candidates.
type CandidateList struct {
	Candidates []Candidate // Latest bound first.
	// Rest is a time at or before which all traces start that could be candidates and were left out because of the
	// limit. 0 means that none were.
	Rest  int64
	Stats Stats
}

// Candidates lists the newest o.Limit traces that have a span without which a search cannot match: every trace that
// matches is a candidate in one of the stores that have spans of it.
func Candidates(ctx context.Context, view store.View, q *plan.Query, o SearchOptions) (*CandidateList, error) {
	if o.Limit <= 0 {
		o.Limit = DefaultLimit
	}
	r := newRun(ctx, view, o.Budget)
	defer r.meter.close()
	r.only = o.Only
	out := &CandidateList{}
	if q.Search.ConstFalse() {
		return out, r.err()
	}
	s := newSearch(r, q, o)
	tests := s.window.wide().timeTests()
	spots, err := r.spots(s.anchor, s.window.wide(), tests)
	if err != nil {
		return nil, r.cause(err)
	}
	f := s.frontier(spots, tests)
	for len(f.sources) > 0 && f.ready() < o.Limit {
		if err := f.look(); err != nil {
			return nil, r.cause(err)
		}
	}
	list, rest := f.all()
	if len(list) > o.Limit {
		rest = max(rest, list[o.Limit].bound)
		list = list[:o.Limit]
	}
	if rest != math.MinInt64 {
		out.Rest = max(rest, 1) // 0 would say that nothing was left out.
	}
	if len(list) <= mostStarts {
		if err := r.startsOf(list); err != nil {
			return nil, r.cause(err)
		}
		sortCandidates(list)
	}
	out.Candidates = make([]Candidate, len(list))
	for i := range list {
		out.Candidates[i] = Candidate{list[i].id, list[i].bound}
	}
	out.Stats = r.stats()
	return out, nil
}

// mostStarts is for how many candidates their start is looked up.
const mostStarts = 4096

// SearchTraces is Search among the given traces only, and says of which of them there are spans. Its limit is their
// number.
func SearchTraces(ctx context.Context, view store.View, q *plan.Query, ids []spanid.TraceID, o SearchOptions) (res *SearchResult, held []bool, err error) {
	if o.SpansPerSpanSet <= 0 {
		o.SpansPerSpanSet = DefaultSpansPerSpanSet
	}
	o.Limit = max(1, len(ids))
	r := newRun(ctx, view, o.Budget)
	defer r.meter.close()
	held = make([]bool, len(ids))
	if q.Search.ConstFalse() || len(ids) == 0 {
		return &SearchResult{}, held, r.err()
	}
	s := newSearch(r, q, o)
	found := make([]candidate, 0, len(ids))
	for i, id := range ids {
		part, ok, err := r.partWith(id)
		if err != nil {
			return nil, nil, r.cause(err)
		}
		if held[i] = ok; ok {
			found = append(found, candidate{traceRef{id, part}, 0})
		}
	}
	if err := s.evaluateBatch(found); err != nil {
		return nil, nil, r.cause(err)
	}
	rows, err := s.rows(s.best)
	if err != nil {
		return nil, nil, r.cause(err)
	}
	return &SearchResult{Traces: rows, Stats: r.stats()}, held, nil
}

// Holds says for each trace whether the view has spans of it.
func Holds(ctx context.Context, view store.View, ids []spanid.TraceID, budget *memlimit.Budget) ([]bool, error) {
	r := newRun(ctx, view, budget)
	defer r.meter.close()
	out := make([]bool, len(ids))
	for i, id := range ids {
		_, ok, err := r.partWith(id)
		if err != nil {
			return nil, r.cause(err)
		}
		out[i] = ok
	}
	return out, nil
}

// partWith finds a part that has spans of a trace.
func (r *run) partWith(id spanid.TraceID) (part int, ok bool, err error) {
	var rows []uint32
	for p := range r.parts {
		if err := r.err(); err != nil {
			return 0, false, err
		}
		if rows, err = r.traceRows(p, id, rows[:0]); err != nil {
			return 0, false, err
		}
		if len(rows) > 0 {
			return p, true, nil
		}
	}
	return 0, false, nil
}

// MetricsNeedTraces reports whether a metrics query looks at more than one span at a time.
func MetricsNeedTraces(q *plan.Query) bool {
	return slices.ContainsFunc(q.Metrics, metricsNeedTraces)
}

// compare names the roots of traces.
func metricsNeedTraces(m *plan.MetricsQuery) bool {
	return m.Local == nil || m.WholeTrace || m.AST.Fn == ast.Compare
}

// MetricsCandidates lists the traces that count in a metrics query that looks at whole traces, in no order.
func MetricsCandidates(ctx context.Context, view store.View, q *plan.Query, o MetricsOptions) ([]spanid.TraceID, error) {
	t, err := o.Timeline()
	if err != nil {
		return nil, err
	}
	r := newRun(ctx, view, o.Budget)
	defer r.meter.close()
	r.only = o.Only
	all := TraceSet{}
	for _, m := range q.Metrics {
		if !metricsNeedTraces(m) || m.Pipeline.ConstFalse() {
			continue
		}
		x := &metricsRun{run: r, query: m, timeline: &t, window: t.window()}
		found, err := x.traces()
		if err != nil {
			return nil, r.cause(err)
		}
		for _, f := range found {
			all[f.id] = struct{}{}
		}
	}
	return all.list(), nil
}

// NamesNeedTraces reports whether a request for names or values looks at more than one span at a time. The attribute is
// nil in requests for names.
func (o *TagOptions) NamesNeedTraces(a *ast.Attr) bool {
	if o.Filter != nil && o.Filter.WholeTrace {
		return true
	}
	if a == nil {
		return false
	}
	switch a.Intrinsic {
	case ast.RootName, ast.RootService, ast.NestedSetLeft, ast.NestedSetRight, ast.NestedSetParent, ast.ChildCount:
		return true
	}
	return false
}

// TagCandidates lists the traces that count in a request for names or values that looks at whole traces, in no order.
func TagCandidates(ctx context.Context, view store.View, o TagOptions) ([]spanid.TraceID, error) {
	r := newRun(ctx, view, o.Budget)
	defer r.meter.close()
	r.only = o.Only
	c := &cond{op: plan.True}
	if o.Filter != nil {
		c = compile(o.Filter.Cond, newColumns())
	}
	w := newWindow(o.Start, o.End)
	tests := w.timeTests()
	spots, err := r.spots(c, w, tests)
	if err != nil {
		return nil, r.cause(err)
	}
	all := TraceSet{}
	for _, s := range spots {
		sel, err := r.matching(s, c, tests)
		if err != nil {
			return nil, r.cause(err)
		}
		found, err := r.candidates(s, &sel)
		if err == nil {
			err = r.meter.take(ctx, int64(len(found))*seenBytes)
		}
		if err != nil {
			return nil, r.cause(err)
		}
		for _, f := range found {
			all[f.id] = struct{}{}
		}
	}
	return all.list(), nil
}

func (t TraceSet) list() []spanid.TraceID {
	out := make([]spanid.TraceID, 0, len(t))
	for id := range t {
		out = append(out, id)
	}
	return out
}

// without unmarks the rows of traces that are to be skipped.
func (r *run) without(s spot, sel *store.Bitmap) error {
	if len(r.skip) == 0 && r.only == nil || !sel.Any() {
		return nil
	}
	ids, err := r.traceIDs(s, sel)
	if err != nil {
		return err
	}
	i := 0
	for row := range sel.Rows() {
		_, skipped := r.skip[ids[i]]
		_, wanted := r.only[ids[i]]
		if skipped || r.only != nil && !wanted {
			sel.Clear(row)
		}
		i++
	}
	return nil
}

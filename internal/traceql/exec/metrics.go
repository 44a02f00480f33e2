package exec

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"time"

	"github.com/bramble-tracing/bramble/internal/memlimit"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// ErrNotMetrics is returned for a query without a metrics function (M-05).
var ErrNotMetrics = errors.New("not a metrics query")

// MetricsOptions bounds a metrics query.
type MetricsOptions struct {
	Start, End int64         // Unix nanoseconds, as requested; they are aligned to the step.
	Step       time.Duration // 0 means DefaultStep of the range. Ignored by instant queries.
	Instant    bool          // One value per series over the whole range.
	MaxSeries  int           // 0 means no limit (M-12).
	Exemplars  int           // At most this many; 0 means MaxExemplars, below 0 none. A hint wins (E-82).
	Slice      Slice         // Only spans in these buckets are counted; not for compare.
	// Skip are traces that are counted elsewhere; see MetricsCandidates. Spans that compare counts without looking at their traces are
	// counted here all the same, see SplitTrace.
	Skip TraceSet
	// Gathered says that the view has the spans that several stores have of traces which they were told to skip.
	Gathered bool
	Only     TraceSet // If not nil, the traces that MetricsCandidates is about.
	Budget   *memlimit.Budget
}

// ExemplarLimit returns how many exemplars to answer with.
func (o *MetricsOptions) ExemplarLimit(q *plan.Query) int {
	n := o.Exemplars
	switch {
	case q.ExemplarsSet:
		n = q.Exemplars
	case n == 0:
		n = MaxExemplars
	}
	if o.Instant {
		return 0
	}
	return min(max(n, 0), MaxExemplars)
}

// Timeline returns the buckets of the query.
func (o *MetricsOptions) Timeline() (Timeline, error) {
	step := o.Step
	if step == 0 {
		step = DefaultStep(time.Duration(o.End - o.Start))
	}
	return NewTimeline(o.Start, o.End, step, o.Instant)
}

// Metrics evaluates a metrics query.
func Metrics(ctx context.Context, view store.View, q *plan.Query, o MetricsOptions) (*MetricsResult, error) {
	p, err := MetricsPartial(ctx, view, q, o)
	if err != nil {
		return nil, err
	}
	return Finish(q, p, o.MaxSeries, o.ExemplarLimit(q)), nil
}

// MetricsPartial computes the mergeable sums of a metrics query over one view.
func MetricsPartial(ctx context.Context, view store.View, q *plan.Query, o MetricsOptions) (*Partial, error) {
	if len(q.Metrics) == 0 {
		return nil, ErrNotMetrics
	}
	t, err := o.Timeline()
	if err != nil {
		return nil, err
	}
	r := newRun(ctx, view, o.Budget)
	r.skip = o.Skip
	defer r.meter.close()
	out := &Partial{Timeline: t}
	for _, m := range q.Metrics {
		if err := r.err(); err != nil {
			return nil, err
		}
		if o.Gathered && comparesSpans(m) {
			out.Queries = append(out.Queries, QueryPartial{}) // The stores did.
			continue
		}
		part, err := r.metricsQuery(m, &out.Timeline, o.Slice, o.ExemplarLimit(q))
		if err != nil {
			return nil, r.cause(err)
		}
		out.Queries = append(out.Queries, *part)
	}
	out.Stats = r.stats()
	return out, nil
}

// metricsRun is the execution of one metrics function.
type metricsRun struct {
	run       *run
	query     *plan.MetricsQuery
	timeline  *Timeline
	window    window
	workers   []*accumulator
	compare   []*comparer // Instead of workers, for compare.
	roots     []rootTable // Per part, for compare.
	failed    bool        // compare selects exactly the spans with errors.
	elsewhere TraceSet    // Traces of which other stores may have the root, for compare.
	manyFixes bool        // compare corrects many granules.
	rootless  bool        // compare cannot take the roots of traces from what parts know.

	// Span by span: the condition, and the columns that are read of matching rows.
	local    *cond
	by       []store.Column
	measured bool
	measure  store.Column
	counters []*rowCounter // One per worker.
}

func (r *run) metricsQuery(m *plan.MetricsQuery, t *Timeline, only Slice, exemplars int) (*QueryPartial, error) {
	if m.Pipeline.ConstFalse() {
		return &QueryPartial{}, nil
	}
	x := &metricsRun{run: r, query: m, timeline: t, window: t.slice(only), roots: make([]rootTable, len(r.parts))}
	for range runtime.GOMAXPROCS(0) {
		x.workers = append(x.workers, newAccumulator(r, m, t, exemplars > 0))
		x.compare = append(x.compare, newComparer(x))
	}
	var err error
	if comparesSpans(m) {
		x.elsewhere = r.skip
		r.skip = nil
		defer func() { r.skip = x.elsewhere }()
	}
	if m.Local != nil && !m.WholeTrace {
		err = x.spanBySpan()
	} else {
		err = x.traceByTrace()
	}
	if err != nil {
		return nil, err
	}
	if m.AST.Fn == ast.Compare {
		return x.compared()
	}
	return x.partial(exemplars)
}

// partial merges the workers.
func (x *metricsRun) partial(exemplars int) (*QueryPartial, error) {
	all := x.workers[0]
	for _, w := range x.workers[1:] {
		if err := all.merge(w); err != nil {
			return nil, err
		}
	}
	for k, s := range all.series {
		if !s.hasValues() {
			delete(all.series, k)
		}
	}
	if err := all.exemplars(exemplars); err != nil {
		return nil, err
	}
	out := &QueryPartial{}
	for _, k := range sortedKeys(all.series) {
		out.Series = append(out.Series, *all.series[k].PartialSeries)
	}
	return out, nil
}

func sortedKeys(m map[string]*accSeries) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// timeTests are the conditions of rows that count: their start lies in the timeline.
func (x *metricsRun) timeTests() []*store.Predicate {
	return []*store.Predicate{
		compareTime(store.SpanStart, store.OpLe, x.window.end), compareTime(store.SpanStart, store.OpGe, x.window.start),
	}
}

// spanBySpan counts rows without looking at the rest of their traces.
func (x *metricsRun) spanBySpan() error {
	x.local = compile(x.query.Local, newColumns())
	x.prepareColumns()
	tests := x.timeTests()
	spots, err := x.run.spots(x.local, x.window, tests)
	if err != nil {
		return err
	}
	if x.query.AST.Fn == ast.Compare {
		return x.compareSpots(spots, tests)
	}
	return x.run.eachWorker(len(spots), func(worker, i int) error {
		sel, err := x.run.matching(spots[i], x.local, tests)
		if err != nil || !sel.Any() {
			return err
		}
		return x.counters[worker].add(spots[i], &sel)
	})
}

func (x *metricsRun) prepareColumns() {
	for _, a := range x.query.AST.By {
		c, _ := columnOf(a)
		x.by = append(x.by, c)
	}
	if x.measured = x.query.AST.Fn.HasAttr(); x.measured {
		x.measure, _ = columnOf(x.query.AST.Attr)
	}
	for _, w := range x.workers {
		x.counters = append(x.counters, newRowCounter(x, w))
	}
}

package query

import (
	"context"
	"fmt"

	"github.com/bramble-tracing/bramble/internal/memlimit"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/gathered"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// trace brings one trace together.
func (f *fan) trace(ctx context.Context, budget *memlimit.Budget, id spanid.TraceID, maxBytes int64) (*store.Trace, func(), error) {
	all, release, err := f.gather(ctx, budget, FragmentsRequest{IDs: []spanid.TraceID{id}, MaxTraceBytes: maxBytes})
	if err != nil {
		return nil, nil, err
	}
	out := &store.Trace{}
	if parts := batches(all); len(parts) > 0 {
		out.Batch = *gathered.Merge(parts...)
	}
	for _, p := range all {
		if p == nil {
			continue
		}
		out.InspectedBytes += p.InspectedBytes
		if p.Partial != "" {
			out.Partial = p.Partial
		}
		if p.Missing != "" {
			out.Missing = joinTexts(out.Missing, p.Missing)
		}
	}
	if out.Partial == "" {
		gathered.Cut(out, maxBytes)
	}
	return out, release, nil
}

// metrics computes a metrics query from the sums of all agents.
func (f *fan) metrics(ctx context.Context, m *metricsRun, r MetricsRequest) (*exec.MetricsResult, error) {
	if f.alone() {
		return m.run(ctx)
	}
	sum, err := f.sums(ctx, m.options.Budget, m.plan, r)
	if err != nil {
		return nil, err
	}
	return exec.Finish(m.plan, sum, m.options.MaxSeries, m.options.ExemplarLimit(m.plan)), nil
}

// joinTexts joins two sentences of which each may be empty.
func joinTexts(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// sums joins the sums of all agents. Traces that are in one place are counted there; the others are brought here, but for
// compare() over spans, which are counted where they are (exec.SplitTrace).
func (f *fan) sums(ctx context.Context, budget *memlimit.Budget, q *plan.Query, r MetricsRequest) (*exec.Partial, error) {
	own := r
	own.Exemplars = exemplarShare(&r, q, len(f.nodes))
	a := question[*exec.Partial]{candidates: CandidatesRequest{Metrics: &r}, whole: exec.MetricsNeedTraces(q)}
	a.ask = func(ctx context.Context, p Peer, s Share) (*exec.Partial, error) {
		return p.MetricsPartial(ctx, own, s)
	}
	parts, split, release, err := a.all(ctx, f, budget)
	if err != nil {
		return nil, err
	}
	defer release()
	records := splitSize(parts)
	if !budget.TryAcquire(records) {
		return nil, fmt.Errorf("%d traces are split over agents: %w", len(split), exec.ErrBudget)
	}
	defer budget.Release(records)
	if exec.MetricsGather(q) {
		err = f.gatherAll(ctx, budget, sortedIDs(split), func(_ []*Fragments, v store.View, _ []spanid.TraceID) error {
			o := metricsOptions(&r, budget)
			o.Gathered = true
			p, err := exec.MetricsPartial(ctx, v, q, o)
			if err == nil {
				parts = append(parts, p)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	out := parts[0]
	for _, p := range parts[1:] {
		if p == nil {
			continue
		}
		if err := out.Merge(p); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// exemplarShare is how many exemplars each of n agents gives: looking one up costs it more than counting thousands of spans.
// 0 leaves it to the query.
func exemplarShare(r *MetricsRequest, q *plan.Query, n int) int {
	o := exec.MetricsOptions{Exemplars: r.Exemplars, Instant: r.Instant}
	return (o.ExemplarLimit(q) + n - 1) / n
}

// tagNames joins the names of all agents.
func (f *fan) tagNames(ctx context.Context, budget *memlimit.Budget, r TagNamesRequest, o exec.TagOptions) (*exec.TagNamesResult, error) {
	a := question[*exec.TagNamesResult]{candidates: CandidatesRequest{Names: &r}, whole: o.NamesNeedTraces(nil)}
	a.ask = func(ctx context.Context, p Peer, s Share) (*exec.TagNamesResult, error) { return p.TagNames(ctx, r, s) }
	parts, split, release, err := a.all(ctx, f, budget)
	if err != nil {
		return nil, err
	}
	defer release()
	err = f.gatherAll(ctx, budget, sortedIDs(split), func(_ []*Fragments, v store.View, _ []spanid.TraceID) error {
		res, err := exec.TagNames(ctx, v, r.Scope, o)
		if err == nil {
			parts = append(parts, res)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return exec.MergeTagNames(o.Limit, o.MaxBytes, parts...), nil
}

// tagValues joins the values of all agents.
func (f *fan) tagValues(ctx context.Context, budget *memlimit.Budget, v store.View, r TagValuesRequest, s *Service) (*exec.TagValuesResult, error) {
	attr, o, err := s.valueOptions(&r)
	if err != nil {
		return nil, err
	}
	o.Budget = budget
	if f.alone() {
		return exec.TagValues(ctx, v, attr, o)
	}
	// What the language or the filter says is said by no store.
	if fixed, err := exec.TagValues(ctx, gathered.New(), attr, o); err != nil || len(fixed.Values) > 0 {
		return fixed, err
	}
	a := question[*exec.TagValuesResult]{candidates: CandidatesRequest{Values: &r}, whole: o.NamesNeedTraces(&attr)}
	a.ask = func(ctx context.Context, p Peer, s Share) (*exec.TagValuesResult, error) {
		return p.TagValues(ctx, r, s)
	}
	parts, split, release, err := a.all(ctx, f, budget)
	if err != nil {
		return nil, err
	}
	defer release()
	err = f.gatherAll(ctx, budget, sortedIDs(split), func(_ []*Fragments, v store.View, _ []spanid.TraceID) error {
		res, err := exec.TagValues(ctx, v, attr, o)
		if err == nil {
			parts = append(parts, res)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return exec.MergeTagValues(o.Limit, o.MaxBytes, parts...), nil
}

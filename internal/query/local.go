package query

import (
	"context"
	"errors"

	"github.com/bramble-tracing/bramble/internal/memlimit"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/gathered"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

// local answers from one view. Its results are valid as long as the view is.
type local struct {
	service *Service
	view    store.View
	budget  *memlimit.Budget
	// Of who is asked by another agent; nil otherwise: how to wait for it, and what of the view is missing.
	lend    func(ctx context.Context, f func(ctx context.Context) error) error
	missing string
}

var _ Peer = (*local)(nil)

func (l *local) Node() string { return "" }

func (l *local) Holds(ctx context.Context, ids []spanid.TraceID, _ string) ([]bool, error) {
	return exec.Holds(ctx, l.view, ids, l.budget)
}

func (l *local) Fragments(ctx context.Context, r FragmentsRequest, take func(int64) error) (*Fragments, error) {
	out := &Fragments{}
	if r.Bulk {
		return out, exec.Spans(ctx, l.view, r.IDs, l.budget, func(b *store.Batch) error {
			n := gathered.Weight(b)
			out.InspectedBytes += uint64(n) //nolint:gosec // Positive.
			out.Append(b)
			return take(n)
		})
	}
	for _, id := range r.IDs {
		t, err := l.view.Trace(ctx, id, r.MaxTraceBytes)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := take(gathered.Weight(&t.Batch)); err != nil {
			return nil, err
		}
		out.InspectedBytes += t.InspectedBytes
		if t.Partial != "" {
			out.Partial = t.Partial
		}
		if t.Missing != "" {
			out.Missing = t.Missing
		}
		out.Append(&t.Batch)
	}
	return out, nil
}

func (l *local) Columns(ctx context.Context, r ColumnsRequest, take func(int64) error) (*gathered.Columns, error) {
	out := &gathered.Columns{Columns: r.Columns, Traces: len(r.IDs)}
	err := exec.ReadColumns(ctx, l.view, r.IDs, r.Columns, l.budget, func(trace []uint32, vecs []store.Vector) error {
		one := gathered.Columns{Columns: r.Columns, Segments: []gathered.Segment{{Trace: trace, Vectors: vecs}}}
		out.Segments = append(out.Segments, one.Segments...)
		return take(one.Weight())
	})
	return out, err
}

// Append adds the spans of src, whose strings are shared.
func (f *Fragments) Append(src *store.Batch) {
	dst := &f.Batch
	r, s := int32(len(dst.Resources)), int32(len(dst.Scopes)) //nolint:gosec // As many as spans at most.
	dst.Resources = append(dst.Resources, src.Resources...)
	dst.Scopes = append(dst.Scopes, src.Scopes...)
	n := len(dst.Spans)
	dst.Spans = append(dst.Spans, src.Spans...)
	for i := n; i < len(dst.Spans); i++ {
		dst.Spans[i].Resource += r
		dst.Spans[i].Scope += s
	}
}

func (l *local) Strays(ctx context.Context, r *Ring, _ string) (ids []spanid.TraceID, many bool, err error) {
	return l.service.strays.list(ctx, l.view, r)
}

// check refuses a share with a ring if there are strays.
func (l *local) check(ctx context.Context, s Share) error {
	if s.Ring == nil {
		return nil
	}
	ids, many, err := l.service.strays.list(ctx, l.view, s.Ring)
	if err == nil && (many || len(ids) > 0) {
		err = ErrStrays
	}
	return err
}

func (l *local) Newest(ctx context.Context, r NewestRequest, to Listener) error {
	if err := l.check(ctx, r.Share); err != nil {
		return err
	}
	q, err := compileSearch(r.SearchRequest)
	if err != nil {
		return err
	}
	o := searchOptions(&r.SearchRequest, l.budget)
	o.Skip, o.First = r.Share.Skip, r.First
	p := &pacer{ctx: ctx, to: to, lend: l.lend, wanted: r.First, missing: l.missing}
	if p.lend == nil {
		p.lend = func(ctx context.Context, f func(ctx context.Context) error) error { return f(ctx) }
	}
	return exec.Newest(ctx, l.view, q, o, p)
}

func (l *local) Candidates(ctx context.Context, r CandidatesRequest) (*exec.CandidateList, error) {
	switch {
	case r.Search != nil:
		p, err := compileSearch(*r.Search)
		if err != nil {
			return nil, err
		}
		o := searchOptions(r.Search, l.budget)
		o.Only = r.Only
		return exec.Candidates(ctx, l.view, p, o)
	case r.Metrics != nil:
		p, err := compileMetrics(r.Metrics.Query)
		if err != nil {
			return nil, err
		}
		o := metricsOptions(r.Metrics, l.budget)
		o.Only = r.Only
		return candidateList(exec.MetricsCandidates(ctx, l.view, p, o))
	case r.Names != nil:
		o, err := l.service.tagOptions(r.Names.Query, r.Names.StartNano, r.Names.EndNano, 0)
		if err != nil {
			return nil, err
		}
		o.Budget, o.Only = l.budget, r.Only
		return candidateList(exec.TagCandidates(ctx, l.view, o))
	case r.Values != nil:
		o, err := l.service.tagOptions(r.Values.Query, r.Values.StartNano, r.Values.EndNano, 0)
		if err != nil {
			return nil, err
		}
		o.Budget, o.Only = l.budget, r.Only
		return candidateList(exec.TagCandidates(ctx, l.view, o))
	}
	return nil, Invalidf("candidates of what?")
}

func candidateList(ids []spanid.TraceID, err error) (*exec.CandidateList, error) {
	if err != nil {
		return nil, err
	}
	out := &exec.CandidateList{Candidates: make([]exec.Candidate, len(ids))}
	for i, id := range ids {
		out.Candidates[i].ID = id
	}
	return out, nil
}

func searchOptions(r *SearchRequest, budget *memlimit.Budget) exec.SearchOptions {
	return exec.SearchOptions{
		Limit: r.Limit, SpansPerSpanSet: r.SpansPerSpanSet, Start: clampNano(r.StartNano), End: clampNano(r.EndNano), Budget: budget,
	}
}

func metricsOptions(r *MetricsRequest, budget *memlimit.Budget) exec.MetricsOptions {
	return exec.MetricsOptions{
		Start: clampNano(r.StartNano), End: clampNano(r.EndNano), Step: r.Step, Instant: r.Instant,
		MaxSeries: r.MaxSeries, Exemplars: r.Exemplars, Budget: budget,
	}
}

func (l *local) SearchTraces(ctx context.Context, r SearchRequest, ids []spanid.TraceID) (*exec.SearchResult, []bool, error) {
	p, err := compileSearch(r)
	if err != nil {
		return nil, nil, err
	}
	return exec.SearchTraces(ctx, l.view, p, ids, searchOptions(&r, l.budget))
}

func (l *local) MetricsPartial(ctx context.Context, r MetricsRequest, s Share) (*exec.Partial, error) {
	if err := l.check(ctx, s); err != nil {
		return nil, err
	}
	p, err := compileMetrics(r.Query)
	if err != nil {
		return nil, err
	}
	o := metricsOptions(&r, l.budget)
	o.Skip = s.Skip
	if r.Exemplars > 0 && p.ExemplarsSet {
		own := *p
		own.ExemplarsSet = false
		p = &own
	}
	return exec.MetricsPartial(ctx, l.view, p, o)
}

func (l *local) TagNames(ctx context.Context, r TagNamesRequest, s Share) (*exec.TagNamesResult, error) {
	if err := l.check(ctx, s); err != nil {
		return nil, err
	}
	o, err := l.service.tagOptions(r.Query, r.StartNano, r.EndNano, r.Limit)
	if err != nil {
		return nil, err
	}
	o.Budget, o.Skip = l.budget, s.Skip
	return exec.TagNames(ctx, l.view, r.Scope, o)
}

func (l *local) TagValues(ctx context.Context, r TagValuesRequest, s Share) (*exec.TagValuesResult, error) {
	if err := l.check(ctx, s); err != nil {
		return nil, err
	}
	attr, o, err := l.service.valueOptions(&r)
	if err != nil {
		return nil, err
	}
	o.Budget, o.Skip = l.budget, s.Skip
	return exec.TagValues(ctx, l.view, attr, o)
}

// valueOptions decodes a request for values.
func (s *Service) valueOptions(r *TagValuesRequest) (ast.Attr, exec.TagOptions, error) {
	attr, err := tagAttr(*r)
	if err != nil {
		return attr, exec.TagOptions{}, err
	}
	o, err := s.tagOptions(r.Query, r.StartNano, r.EndNano, r.Limit)
	return attr, o, err
}

package query

import (
	"context"
	"slices"

	"github.com/bramble-tracing/bramble/internal/memlimit"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// SearchResult is the answer of Search.
type SearchResult struct {
	// Traces are the newest that match, newest first.
	Traces []TraceRow
	// Partial says what is missing; empty if nothing is.
	Partial string
	Stats   Stats
	Coverage
}

// TraceRow is one trace that matches.
type TraceRow struct {
	ID spanid.TraceID
	// RootService is a placeholder if the root span or its service is not known (S-30).
	RootService, RootName   string
	StartNano, DurationNano uint64
	// Spansets and ServiceStats are empty for searches by tags (S-22).
	Spansets     []Spanset
	ServiceStats map[string]ServiceStats
}

// ServiceStats counts the spans of one service in a trace (S-32).
type ServiceStats struct{ Spans, Errors int }

// Spanset is one set of matching spans.
type Spanset struct {
	// Spans are the earliest, at most as many as were asked for; Matched is how many there were.
	Spans   []SpanRow
	Matched int
	Attrs   []store.Attr
}

// SpanRow is one matching span with the attributes that the query mentions or selects.
type SpanRow struct {
	ID                      spanid.SpanID
	Name                    string
	StartNano, DurationNano uint64
	Attrs                   []store.Attr
}

// Search finds the newest traces with matching spans.
func (s *Service) Search(ctx context.Context, r SearchRequest) (*SearchResult, error) {
	return s.SearchStream(ctx, r, nil)
}

// SearchStream is Search that tells of traces as soon as it is settled that they are in the result: each is told of
// once, newest first, as the result will have it. An error of interim ends the search. The result has all traces.
func (s *Service) SearchStream(ctx context.Context, r SearchRequest, interim func(*SearchResult) error) (*SearchResult, error) {
	p, err := compileSearch(r)
	if err != nil {
		return nil, err
	}
	var out *SearchResult
	told := map[spanid.TraceID]bool{} // Also when the search begins anew because a part was damaged.
	d := &Done{Kind: "search", Query: r.Query, StartNano: r.StartNano, EndNano: r.EndNano, Client: r.Client, plan: p}
	err = s.run(ctx, s.scans, d, func(ctx context.Context, v store.View, budget *memlimit.Budget) error {
		f := s.fanOut(&local{service: s, view: v, budget: budget}, r.Client)
		o := searchOptions(&r, budget)
		if interim != nil {
			o.Progress = s.searchProgress(p.RowsOnly, told, interim)
		}
		res, err := f.search(ctx, v, p, r, o)
		if err != nil {
			return err
		}
		d.Stats = statsOf(res.Stats)
		release, err := takeAnswer(budget, searchSize(res))
		if err != nil {
			return err
		}
		defer release()
		out = searchResult(res, p.RowsOnly)
		out.Stats.without(d.Missing)
		out.Coverage = f.report(ctx, &out.Partial, &out.Stats)
		return nil
	})
	return out, err
}

// searchProgress passes on what a search reports, but for traces that were told of.
func (s *Service) searchProgress(bare bool, told map[spanid.TraceID]bool, interim func(*SearchResult) error) *exec.SearchProgress {
	due := newPace(s.limits.StreamInterval)
	return &exec.SearchProgress{
		Due: due.due,
		Report: func(settled []exec.TraceRow, st exec.Stats, done, total int) error {
			settled = slices.DeleteFunc(settled, func(t exec.TraceRow) bool { return told[t.ID] })
			for i := range settled {
				told[settled[i].ID] = true
			}
			res := searchResult(&exec.SearchResult{Traces: settled, Stats: st}, bare)
			res.Stats.Completed, res.Stats.Jobs = uint32(done), uint32(total)
			return interim(res)
		},
	}
}

func compileSearch(r SearchRequest) (*plan.Query, error) {
	if r.Query == "" {
		p, err := traceql.FromTags(r.Tags, r.MinDuration, r.MaxDuration)
		if err != nil {
			return nil, &InvalidError{Reason: "invalid tags", Err: err}
		}
		return p, nil
	}
	p, err := traceql.Compile(r.Query)
	if err != nil {
		return nil, &InvalidError{Reason: "invalid TraceQL query", Err: err}
	}
	return p, nil
}

// clampNano makes a time fit for the plan's signed ones.
func clampNano(n uint64) int64 {
	const most = 1<<63 - 1
	return int64(min(n, most))
}

// searchResult copies what exec found, so that nothing of the view is in it. bare rows have no counts of services, as
// searches by tags are answered without (recorded; S-22).
func searchResult(res *exec.SearchResult, bare bool) *SearchResult {
	out := &SearchResult{Traces: make([]TraceRow, len(res.Traces)), Stats: statsOf(res.Stats)}
	for i := range res.Traces {
		t := &res.Traces[i]
		row := TraceRow{
			ID: t.ID, RootService: t.RootService, RootName: t.RootName, StartNano: t.StartNano, DurationNano: t.DurationNano,
		}
		if !bare {
			row.ServiceStats = serviceStats(t.ServiceStats)
		}
		for k := range t.Spansets {
			row.Spansets = append(row.Spansets, spanset(&t.Spansets[k]))
		}
		out.Traces[i] = row
	}
	return out
}

func serviceStats(stats map[string]exec.ServiceStats) map[string]ServiceStats {
	out := make(map[string]ServiceStats, len(stats))
	for name, n := range stats {
		out[name] = ServiceStats{Spans: n.SpanCount, Errors: n.ErrorCount}
	}
	return out
}

func spanset(s *exec.SpansetRow) Spanset {
	out := Spanset{Matched: s.Matched, Attrs: attrsOf(s.Attrs), Spans: make([]SpanRow, len(s.Spans))}
	for i := range s.Spans {
		p := &s.Spans[i]
		out.Spans[i] = SpanRow{ID: p.ID, Name: p.Name, StartNano: p.StartNano, DurationNano: p.DurationNano, Attrs: attrsOf(p.Attrs)}
	}
	return out
}

func attrsOf(attrs []exec.Attr) []store.Attr {
	if len(attrs) == 0 {
		return nil
	}
	out := make([]store.Attr, len(attrs))
	for i, a := range attrs {
		out[i] = store.Attr{Key: a.Key, Value: valueOf(a.Value)}
	}
	return out
}

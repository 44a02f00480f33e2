package query

import (
	"context"

	"github.com/bramble-tracing/bramble/internal/memlimit"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// Stats says what a query looked at, for the metrics of answers.
type Stats struct {
	Traces, Spans, Bytes uint64
}

func statsOf(s exec.Stats) Stats {
	return Stats{Traces: uint64(max(0, s.Traces)), Spans: uint64(max(0, s.Spans)), Bytes: uint64(max(0, s.Bytes))}
}

// SearchResult is the answer of Search.
type SearchResult struct {
	// Traces are the newest that match, newest first.
	Traces []TraceRow
	Stats  Stats
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
	p, err := compileSearch(r)
	if err != nil {
		return nil, err
	}
	var out *SearchResult
	d := &Done{Kind: "search", Query: r.Query, StartNano: r.StartNano, EndNano: r.EndNano, Client: r.Client}
	err = s.run(ctx, s.scans, d, func(ctx context.Context, v store.View, budget *memlimit.Budget) error {
		res, err := exec.Search(ctx, v, p, exec.SearchOptions{
			Limit: r.Limit, SpansPerSpanSet: r.SpansPerSpanSet, Start: clampNano(r.StartNano), End: clampNano(r.EndNano), Budget: budget,
		})
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
		return nil
	})
	return out, err
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

package exec

import (
	"context"
	"math"
	"slices"

	"github.com/bramble-tracing/bramble/internal/memlimit"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// Defaults of SearchOptions (S-05, S-06).
const (
	DefaultLimit           = 20
	DefaultSpansPerSpanSet = 3
)

// SearchOptions bounds a search.
type SearchOptions struct {
	Limit           int              // Traces; 0 means DefaultLimit.
	SpansPerSpanSet int              // 0 means DefaultSpansPerSpanSet.
	Start, End      int64            // Unix nanoseconds; a trace must overlap the range. 0 leaves an end open.
	Budget          *memlimit.Budget // Of this query; nil means no limit.
	Progress        *SearchProgress  // Of what is known early; may be nil.
	Skip            TraceSet         // Traces that are not searched.
	Only            TraceSet         // If not nil, the traces that Candidates is about.
	First           int              // How many traces Newest evaluates first; 0 means Limit.
}

// RootNotReceived is what results show for a trace whose root span, or whose root's service, is unknown (S-30).
const RootNotReceived = "<root span not yet received>"

// SearchResult is the answer of Search.
type SearchResult struct {
	Traces []TraceRow // Newest first.
	Stats  Stats
}

// TraceRow is one trace that matches.
type TraceRow struct {
	ID           spanid.TraceID
	RootService  string // RootNotReceived if unknown.
	RootName     string
	StartNano    uint64 // Unix time of the earliest span.
	DurationNano uint64 // From there to the latest end.
	Spansets     []SpansetRow
	ServiceStats map[string]ServiceStats // By service.name, "" for none; nil in searches by tags.
}

// ServiceStats counts the spans of one service in a trace (S-32).
type ServiceStats struct{ SpanCount, ErrorCount int }

// SpansetRow is one set of matching spans. Several per trace appear only after by().
type SpansetRow struct {
	Spans   []SpanRow // At most SpansPerSpanSet, the earliest.
	Matched int
	Attrs   []Attr // by(…), count(), avg(…), … (S-28).
}

// SpanRow is one span.
type SpanRow struct {
	ID           spanid.SpanID
	Name         string // Only if the query mentions or selects it (S-27).
	StartNano    uint64
	DurationNano uint64
	Attrs        []Attr // By bare name (S-25).
}

// Search evaluates the spanset pipeline of a query and returns the newest traces that match. It stops within
// milliseconds when ctx ends, with the context's cause, and fails with ErrBudget when it needs too much memory.
func Search(ctx context.Context, view store.View, q *plan.Query, o SearchOptions) (*SearchResult, error) {
	o.Limit, o.SpansPerSpanSet = o.limits()
	r := newRun(ctx, view, o.Budget)
	defer r.meter.close()
	r.skip = o.Skip
	if err := r.err(); err != nil {
		return nil, err
	}
	if q.Search.ConstFalse() {
		return &SearchResult{}, nil
	}
	s := newSearch(r, q, o)
	if err := s.find(); err != nil {
		return nil, r.cause(err)
	}
	rows, err := s.rows(s.best)
	if err != nil {
		return nil, r.cause(err)
	}
	return &SearchResult{Traces: rows, Stats: r.stats()}, nil
}

// search holds the state of one search. Its fields are changed only between the parallel steps.
type search struct {
	run       *run
	query     *plan.Query
	options   SearchOptions
	window    window
	anchor    *cond
	eval      *evaluator
	cols      *traceColumns
	structure bool

	best []match // At most Limit, newest first.
	seen map[spanid.TraceID]struct{}
	told int // So many of best were reported as settled.
	hits int // So many traces matched.

	done, total int // So many granules were looked at, of so many.

	feed  Feed    // May be nil.
	fresh []match // Those that feed was not told of.
}

// match is a trace that the pipeline left something of.
type match struct {
	traceRef
	start, end uint64
	sets       []spanset
}

func newSearch(r *run, q *plan.Query, o SearchOptions) *search {
	s := &search{run: r, query: q, options: o, window: newWindow(o.Start, o.End), seen: map[spanid.TraceID]struct{}{}}
	s.anchor = compile(q.Search.Anchor, newColumns())
	cols := newColumns()
	s.eval = newEvaluator(q.Search, cols)
	s.cols = newTraceColumns(cols)
	s.structure = q.Search.Structure
	return s
}

// full reports whether traces that start before a time need not be looked at, and which time that is.
func (s *search) full() (threshold int64, ok bool) {
	if len(s.best) >= s.options.Limit {
		threshold, ok = clampInt(s.best[len(s.best)-1].start), true
	}
	if s.feed != nil {
		if floor := s.feed.Floor(); floor > threshold {
			return floor, true
		}
	}
	return threshold, ok
}

// find evaluates the traces with matching rows, newest first, until no other can be among the newest.
func (s *search) find() error {
	wide := s.window.wide()
	tests := wide.timeTests()
	spots, err := s.run.spots(s.anchor, wide, tests)
	if err != nil {
		return err
	}
	for f := s.frontier(spots, tests); ; {
		t, full := s.full()
		if full {
			f.drop(t)
		}
		if len(f.sources) > 0 {
			if err := f.look(); err != nil {
				return err
			}
		}
		// What is not enough anyway is evaluated together with what comes next.
		s.done, s.total = len(spots)-len(f.sources), len(spots)
		if !full && len(f.sources) > 0 && f.ready() < s.step(mostAtOnce) {
			if err := s.report(math.MaxInt64); err != nil {
				return err
			}
			continue
		}
		found, rest := f.take()
		if err := s.evaluate(found, rest); err != nil {
			return err
		}
		if len(f.sources) == 0 && len(f.pool) == 0 {
			return nil
		}
	}
}

// sortCandidates puts the latest bound first.
func sortCandidates(list []candidate) {
	slices.SortFunc(list, func(a, b candidate) int {
		if a.bound != b.bound {
			return compareInt(b.bound, a.bound)
		}
		return slices.Compare(a.id[:], b.id[:])
	})
}

func compareInt(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

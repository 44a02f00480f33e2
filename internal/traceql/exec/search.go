package exec

import (
	"context"
	"fmt"
	"slices"
	"sync"

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
	if o.Limit <= 0 {
		o.Limit = DefaultLimit
	}
	if o.SpansPerSpanSet <= 0 {
		o.SpansPerSpanSet = DefaultSpansPerSpanSet
	}
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

// full reports whether older traces than the oldest of best need not be looked at, and where that is.
func (s *search) full() (threshold int64, ok bool) {
	if len(s.best) < s.options.Limit {
		return 0, false
	}
	return clampInt(s.best[len(s.best)-1].start), true
}

// find looks through the granules, newest first, in growing steps: most searches are done after the first.
func (s *search) find() error {
	wide := s.window.wide()
	tests := wide.timeTests()
	spots, err := s.run.spots(s.anchor, wide, tests)
	if err != nil {
		return err
	}
	if len(spots) > 0 && s.options.Limit < newestRows/8 {
		done, err := s.newest(spots[0], tests)
		if err != nil {
			return err
		}
		if done {
			spots = spots[1:]
		}
	}
	const most = 64
	total := len(spots)
	for step := 1; len(spots) > 0; step = min(2*step, most) {
		if err := s.report(spots, total); err != nil {
			return err
		}
		n := min(step, len(spots))
		found, err := s.scan(spots[:n], tests)
		if err != nil {
			return err
		}
		spots = spots[n:]
		if err := s.evaluate(found); err != nil {
			return err
		}
	}
	return nil
}

// newestRows is how many rows newest looks at.
const newestRows = 1024

// newest evaluates the traces of the newest matching rows of the first granule. Mostly these are enough, and then the
// other rows are left out by their start. done says that none of the others can be of a trace among the newest.
func (s *search) newest(at spot, tests []*store.Predicate) (done bool, err error) {
	found, others, err := s.newestCandidates(at, tests)
	if err != nil || found == nil {
		return false, err
	}
	if err := s.evaluate(found); err != nil {
		return false, err
	}
	t, full := s.full()
	return full && others < t, nil
}

// newestCandidates returns the candidates by the newest matching rows of a granule, latest bound first, and the latest
// start of the others; nil if these are not worth a pass of their own.
func (s *search) newestCandidates(at spot, tests []*store.Predicate) (found []candidate, others int64, err error) {
	sel, err := s.run.matching(at, s.anchor, tests)
	if err != nil || sel.Count() <= 2*newestRows {
		return nil, 0, err
	}
	var v store.Vector
	if err := s.run.parts[at.part].Read(s.run.ctx, at.granule, store.Intrinsic(store.SpanStart), &sel, &v); err != nil {
		return nil, 0, fmt.Errorf("read span starts: %w", err)
	}
	rows := rowsOf(&sel)
	order := make([]int, len(rows))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return compareInt(v.At(b).Int(), v.At(a).Int()) })
	for _, i := range order[newestRows:] {
		sel.Clear(int(rows[i]))
	}
	if found, err = s.run.candidates(at, &sel); err != nil {
		return nil, 0, err
	}
	sortCandidates(found)
	return found, v.At(order[newestRows]).Int(), nil
}

// scan returns the candidates of some granules, latest bound first.
func (s *search) scan(spots []spot, tests []*store.Predicate) ([]candidate, error) {
	if t, ok := s.full(); ok {
		tests = append(slices.Clone(tests), compareTime(store.SpanStart, store.OpGe, t))
	}
	var (
		mu  sync.Mutex
		all = map[spanid.TraceID]candidate{}
	)
	err := s.run.each(len(spots), func(i int) error {
		if !s.run.mayMatch(s.anchor, spots[i].part, spots[i].granule, tests) {
			s.run.skipped.Add(1)
			return nil
		}
		sel, err := s.run.matching(spots[i], s.anchor, tests)
		if err != nil {
			return err
		}
		found, err := s.run.candidates(spots[i], &sel)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		for _, c := range found {
			if _, ok := s.seen[c.id]; ok {
				continue
			}
			if have, ok := all[c.id]; ok {
				c.bound = min(c.bound, have.bound)
			}
			all[c.id] = c
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := make([]candidate, 0, len(all))
	for _, c := range all {
		out = append(out, c)
	}
	sortCandidates(out)
	return out, nil
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

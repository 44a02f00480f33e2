package exec

import (
	"context"
	"math"
	"slices"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// Feed is told of the traces of a search while it runs, and may know more than the search does. Its methods are called by
// one goroutine at a time, but for Floor.
type Feed interface {
	// Floor is a time (Unix nanoseconds): traces that start before are not wanted. It may grow. 0 says nothing.
	Floor() int64
	// Wanted is of how many further traces it wants to be told soon.
	Wanted() int
	// Found gets traces that match, newest first and each once. All that it was not told of start at rest or before, or
	// before the floor. An error ends the search.
	Found(traces []TraceRow, rest int64, s Stats) error
}

// Newest is Search that tells a feed of the newest traces at once, also of some that turn out not to be among the newest
// o.Limit. o.First is how many traces it evaluates before it first does. o.Progress is not used.
func Newest(ctx context.Context, view store.View, q *plan.Query, o SearchOptions, feed Feed) error {
	o.Limit, o.SpansPerSpanSet = o.limits()
	if o.First <= 0 {
		o.First = o.Limit
	}
	o.Progress = nil
	r := newRun(ctx, view, o.Budget)
	defer r.meter.close()
	r.skip = o.Skip
	if err := r.err(); err != nil {
		return err
	}
	if q.Search.ConstFalse() {
		return feed.Found(nil, math.MinInt64, Stats{})
	}
	s := newSearch(r, q, o)
	s.feed = feed
	if err := s.find(); err != nil {
		return r.cause(err)
	}
	return feed.Found(nil, math.MinInt64, r.stats())
}

// limits returns the limits with their defaults.
func (o *SearchOptions) limits() (traces, spans int) {
	traces, spans = o.Limit, o.SpansPerSpanSet
	if traces <= 0 {
		traces = DefaultLimit
	}
	if spans <= 0 {
		spans = DefaultSpansPerSpanSet
	}
	return traces, spans
}

// tell tells the feed of what was found. All traces that were not evaluated start at rest or before.
func (s *search) tell(rest int64) error {
	if s.feed == nil || len(s.fresh) == 0 {
		return nil
	}
	t, _ := s.full()
	fresh := slices.DeleteFunc(s.fresh, func(m match) bool { return clampInt(m.start) < t })
	s.fresh = s.fresh[:0]
	if len(fresh) == 0 {
		return nil
	}
	slices.SortFunc(fresh, newerMatch)
	rows, err := s.rows(fresh)
	if err != nil {
		return err
	}
	return s.feed.Found(rows, rest, s.run.stats())
}

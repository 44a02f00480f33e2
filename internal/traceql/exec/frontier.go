package exec

import (
	"cmp"
	"math"
	"slices"
	"sync"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// frontier is what a search has before it: granules, latest first, and the traces that were found in those that it has
// looked at. Granules of a block have the same times, because a block is in the order of trace ids. So it looks at
// the newest rows of all granules that may have some before it goes on to older ones.
type frontier struct {
	search  *search
	tests   []*store.Predicate
	sources []source // Latest bound first.
	pool    map[spanid.TraceID]candidate
	rows    int // About how many matching rows to look at before the others.
	group   int // How many granules to look at next.
}

// source is a granule, or what is left of it: rows that start at bound or before.
type source struct {
	spot
	bound int64
	begun bool // There were rows that start later.
}

// looked is what was found in a source.
type looked struct {
	sel    store.Bitmap
	starts []int64 // Of the rows of sel.
}

// seenBytes is about what remembering a trace takes.
const seenBytes = 48

// newestRows is about how many matching rows are looked at before older ones: so many that most searches need no others.
const newestRows = 1024

// mostRows bounds how many more are looked at when those were not enough.
const mostRows = 1 << 20

func (s *search) frontier(spots []spot, tests []*store.Predicate) *frontier {
	const rowsPerTrace = 16 // More than most have that match.
	f := &frontier{
		search: s, tests: tests, sources: make([]source, len(spots)), pool: map[spanid.TraceID]candidate{},
		rows: min(max(newestRows, rowsPerTrace*min(s.options.Limit, mostRows)), mostRows), group: 1,
	}
	for i, at := range spots {
		_, t, ok := s.run.rangeOf(at, store.SpanStart)
		if !ok {
			info := s.run.parts[at.part].Info()
			t = clampInt(info.MaxStartNano)
		}
		f.sources[i] = source{spot: at, bound: t}
	}
	f.sort()
	return f
}

func (f *frontier) sort() {
	slices.SortStableFunc(f.sources, func(a, b source) int { return cmp.Compare(b.bound, a.bound) })
}

// top is the latest time at which a row may start that was not looked at.
func (f *frontier) top() int64 {
	if len(f.sources) == 0 {
		return math.MinInt64
	}
	return f.sources[0].bound
}

// ready reports how many of the traces that were found are surely later than those that were not.
func (f *frontier) ready() (n int) {
	top := f.top()
	for _, c := range f.pool {
		if c.bound >= top {
			n++
		}
	}
	return n
}

// take returns the traces that are ready, latest bound first, and forgets them. Traces that are left start at rest or
// before.
func (f *frontier) take() (found []candidate, rest int64) {
	rest = f.top()
	for id, c := range f.pool {
		if c.bound >= rest {
			found = append(found, c)
			delete(f.pool, id)
		}
	}
	sortCandidates(found)
	return found, rest
}

// all returns all traces that were found, latest bound first. Others start at rest or before, math.MinInt64 if there are
// none.
func (f *frontier) all() (found []candidate, rest int64) {
	found = make([]candidate, 0, len(f.pool))
	for _, c := range f.pool {
		found = append(found, c)
	}
	sortCandidates(found)
	return found, f.top()
}

// drop forgets what starts before t.
func (f *frontier) drop(t int64) {
	n, _ := slices.BinarySearchFunc(f.sources, t, func(s source, t int64) int {
		if s.bound >= t {
			return -1
		}
		return 1
	})
	for _, s := range f.sources[n:] {
		if !s.begun {
			f.search.run.skipped.Add(1)
		}
	}
	f.sources = f.sources[:n]
	for id, c := range f.pool {
		if c.bound < t {
			delete(f.pool, id)
		}
	}
}

// look looks at the latest rows that it has not seen.
func (f *frontier) look() error {
	n := min(f.group, len(f.sources))
	if f.sources[0].begun {
		n = 1 // What it has is what others have that overlap it.
	}
	const most = 64
	f.group = min(2*f.group, most)
	group, others := f.sources[:n], f.sources[n:]
	found := make([]*looked, n)
	err := f.search.run.each(n, func(i int) (err error) {
		found[i], err = f.match(group[i], math.MinInt64)
		return err
	})
	if err != nil {
		return err
	}
	until := f.until(found, others)
	f.rows = min(4*f.rows, mostRows) // Few matched.
	overlapping := 0
	for overlapping < len(others) && others[overlapping].bound >= until && until != math.MinInt64 {
		overlapping++
	}
	var mu sync.Mutex
	err = f.search.run.each(n+overlapping, func(i int) (err error) {
		at := f.sources[i]
		var l *looked
		if i < n {
			l = found[i]
		} else if l, err = f.match(at, until); err != nil {
			return err
		}
		traces, err := f.traces(at.spot, l, until)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		return f.keep(traces)
	})
	if err != nil {
		return err
	}
	if until == math.MinInt64 {
		f.sources = others
		return nil
	}
	left := f.sources[:0]
	for i, s := range f.sources {
		if i < n+overlapping {
			s.bound, s.begun = min(s.bound, until-1), true
		}
		if i >= n || found[i].sel.Any() {
			left = append(left, s)
		}
	}
	f.sources = left
	f.sort()
	return nil
}

// until returns down to which start to look at rows now, after some granules were looked at; math.MinInt64 for all rows
// of these and none of others.
func (f *frontier) until(found []*looked, others []source) int64 {
	var starts []int64
	for i := range found {
		starts = append(starts, found[i].starts...)
	}
	if len(starts) == 0 {
		return math.MinInt64
	}
	oldest := nthLatest(starts, min(f.rows, len(starts)))
	overlapping, _ := slices.BinarySearchFunc(others, oldest, func(s source, t int64) int {
		if s.bound >= t {
			return -1
		}
		return 1
	})
	n := max(1, f.rows*len(found)/(len(found)+overlapping))
	if len(starts) <= 2*n {
		return math.MinInt64
	}
	return nthLatest(starts, n)
}

// match returns the matching rows of a source that start at from or later.
func (f *frontier) match(s source, from int64) (*looked, error) {
	l := &looked{}
	r, tests := f.search.run, slices.Clone(f.tests)
	if t, ok := f.search.full(); ok {
		from = max(from, t)
	}
	if from != math.MinInt64 {
		tests = append(tests, compareTime(store.SpanStart, store.OpGe, from))
	}
	if s.begun {
		tests = append(tests, compareTime(store.SpanStart, store.OpLe, s.bound))
	}
	if !r.mayMatch(f.search.anchor, s.part, s.granule, tests) {
		r.skipped.Add(1)
		return l, nil
	}
	var err error
	if l.sel, err = r.matching(s.spot, f.search.anchor, tests); err != nil || !l.sel.Any() {
		return l, err
	}
	l.starts, err = r.starts(s.spot, &l.sel)
	return l, err
}

// traces returns the traces of those rows that start at from or later. The others are left.
func (f *frontier) traces(at spot, l *looked, from int64) ([]candidate, error) {
	rows, starts := l.sel, l.starts
	if from == math.MinInt64 {
		l.sel = store.Bitmap{}
	} else {
		i := 0
		starts = starts[:0]
		for row := range rows.Rows() {
			if t := l.starts[i]; t >= from {
				l.sel.Clear(row)
				starts = append(starts, t)
			}
			i++
		}
		rows.AndNot(&l.sel)
	}
	return f.search.run.candidatesOf(at, &rows, starts)
}

// keep adds traces to the pool that were not evaluated yet.
func (f *frontier) keep(traces []candidate) error {
	before := len(f.pool)
	for _, c := range traces {
		if _, ok := f.search.seen[c.id]; ok {
			continue
		}
		if have, ok := f.pool[c.id]; ok {
			c.bound = min(c.bound, have.bound)
		}
		f.pool[c.id] = c
	}
	return f.search.run.meter.take(f.search.run.ctx, int64(len(f.pool)-before)*2*seenBytes) // As found, and as evaluated then.
}

// nthLatest returns the n-th latest of some times, of which there are n at least, and changes their order.
func nthLatest(times []int64, n int) int64 {
	for {
		// The median of three is never far off for what is almost in order, as times are.
		a, b, c := times[0], times[len(times)/2], times[len(times)-1]
		pivot := max(min(a, b), min(max(a, b), c))
		later, equal := 0, 0 // times[:later] are later, and times[later:later+equal] are it.
		for i, t := range times {
			switch {
			case t > pivot:
				times[i] = times[later+equal]
				times[later+equal] = times[later]
				times[later] = t
				later++
			case t == pivot:
				times[i] = times[later+equal]
				times[later+equal] = t
				equal++
			}
		}
		switch {
		case n <= later:
			times = times[:later]
		case n <= later+equal:
			return pivot
		default:
			n -= later + equal
			times = times[later+equal:]
		}
	}
}

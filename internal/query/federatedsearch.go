package query

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/bramble-tracing/bramble/internal/memlimit"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/gathered"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// fedSearch is a search over several agents. If no trace can be split over them, each answers with its newest that match
// (newest). Otherwise each lists the newest traces that may match by what it has of them. They
// are evaluated from new to old, a trace that one agent has alone at that agent and another one here, from all its
// spans, until no trace that is left can be among the newest that match. If few traces can be split, these are looked for
// in this way and the others as above.
type fedSearch struct {
	fan     *fan
	budget  *memlimit.Budget
	query   *plan.Query
	request SearchRequest

	progress *exec.SearchProgress // May be nil.

	only  exec.TraceSet // If not nil, the traces that may be split; the others are in best.
	seen  exec.TraceSet
	best  []exec.TraceRow // At most Limit, newest first.
	told  int             // So many of best were reported as settled.
	stats exec.Stats
}

// Bounds of how many candidates are listed at first and at most, and how many are evaluated at a time.
const (
	leastCandidates = 64
	mostCandidates  = 1 << 20
	leastStep       = 16
	mostStep        = 1024
)

// search is exec.Search over all agents.
func (f *fan) search(ctx context.Context, v store.View, q *plan.Query, r SearchRequest, o exec.SearchOptions) (*exec.SearchResult, error) {
	if f.alone() {
		return exec.Search(ctx, v, q, o)
	}
	if r.Limit <= 0 {
		r.Limit = exec.DefaultLimit
	}
	if r.SpansPerSpanSet <= 0 {
		r.SpansPerSpanSet = exec.DefaultSpansPerSpanSet
	}
	s := &fedSearch{fan: f, budget: o.Budget, query: q, request: r, progress: o.Progress, seen: exec.TraceSet{}}
	if err := s.run(ctx); err != nil {
		return nil, err
	}
	return &exec.SearchResult{Traces: s.best, Stats: s.stats}, nil
}

// run asks as few rounds of questions as it can.
func (s *fedSearch) run(ctx context.Context) error {
	rings, strays, err := s.fan.strays(ctx)
	if err == nil && rings != nil {
		if err = s.newest(ctx, func(i int) Share { return Share{Ring: rings[i]} }); !errors.Is(err, ErrStrays) {
			return err
		}
		strays, err = s.fan.listStrays(ctx, rings)
	}
	if err == nil && strays != nil {
		s.only = strays
		if err = s.newest(ctx, func(int) Share { return Share{Skip: strays} }); err != nil || len(strays) == 0 {
			return err
		}
	}
	if err != nil {
		return err
	}
	return s.oneByOne(ctx)
}

// oneByOne evaluates candidates.
func (s *fedSearch) oneByOne(ctx context.Context) error {
	page := max(leastCandidates, 2*s.request.Limit)
	for {
		left, rest, err := s.candidates(ctx, page)
		if err == nil {
			err = s.evaluate(ctx, left, rest)
		}
		if err != nil || rest == 0 || page >= mostCandidates || s.settled(rest) {
			return err
		}
		page *= 4
	}
}

// settled reports whether no trace that starts at t or before can be among the newest.
func (s *fedSearch) settled(t int64) bool {
	return len(s.best) >= s.request.Limit && clampNano(s.best[len(s.best)-1].StartNano) > t
}

// candidates lists traces that were not evaluated yet, and the time at or before which all others start.
func (s *fedSearch) candidates(ctx context.Context, page int) (left []exec.Candidate, rest int64, err error) {
	r := s.request
	r.Limit = page
	lists := make([]*exec.CandidateList, len(s.fan.nodes))
	err = s.fan.each(ctx, func(ctx context.Context, i int, p Peer) error {
		var err error
		lists[i], err = p.Candidates(ctx, CandidatesRequest{Search: &r, Only: s.only})
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	bounds := map[spanid.TraceID]int64{}
	for _, l := range lists {
		if l == nil {
			continue
		}
		s.stats.Add(l.Stats)
		rest = max(rest, l.Rest)
		for _, c := range l.Candidates {
			if _, ok := s.seen[c.ID]; ok {
				continue
			}
			if have, ok := bounds[c.ID]; !ok || c.Bound < have {
				bounds[c.ID] = c.Bound
			}
		}
	}
	for id, b := range bounds {
		left = append(left, exec.Candidate{ID: id, Bound: b})
	}
	slices.SortFunc(left, func(a, b exec.Candidate) int {
		return cmp.Or(cmp.Compare(b.Bound, a.Bound), slices.Compare(a.ID[:], b.ID[:]))
	})
	return left, rest, nil
}

// evaluate evaluates candidates from the latest bound on until the others cannot be among the newest.
// All that are not among them start at rest or before.
func (s *fedSearch) evaluate(ctx context.Context, left []exec.Candidate, rest int64) error {
	tried := 0
	for step := max(leastStep, min(s.request.Limit, mostStep)); len(left) > 0; step = s.step(step, tried) {
		n := min(step, len(left))
		ids := make([]spanid.TraceID, 0, n)
		for _, c := range left[:n] {
			if len(s.best) >= s.request.Limit && c.Bound < clampNano(s.best[len(s.best)-1].StartNano) {
				break
			}
			ids = append(ids, c.ID)
			s.seen[c.ID] = struct{}{}
		}
		if len(ids) == 0 {
			return nil
		}
		if err := s.evaluateSome(ctx, ids); err != nil {
			return err
		}
		tried += n
		left = left[n:]
		latest := rest
		if len(left) > 0 {
			latest = max(rest, left[0].Bound)
		}
		if err := s.report(latest, len(left)); err != nil {
			return err
		}
	}
	return nil
}

// step is how many traces to evaluate next after some were tried: as many as are likely to be needed, because every step is
// a round of questions, but not many more than last time.
func (s *fedSearch) step(last, tried int) int {
	want := 2 * last
	if missing := s.request.Limit - len(s.best); missing > 0 {
		want = missing * tried / max(1, len(s.best))
	}
	return min(max(want, leastStep), 4*last, mostStep)
}

// report tells of the results that no trace that starts at rest or before can push out.
func (s *fedSearch) report(rest int64, left int) error {
	p := s.progress
	if p == nil || left == 0 || !p.Due() {
		return nil
	}
	n := s.told
	for n < len(s.best) && clampNano(s.best[n].StartNano) > rest {
		n++
	}
	settled := s.best[s.told:n]
	s.told = n
	return p.Report(settled, s.stats, len(s.seen), len(s.seen)+left)
}

// evaluateSome adds those of the traces that match.
func (s *fedSearch) evaluateSome(ctx context.Context, ids []spanid.TraceID) error {
	var err error
	if s.fan.scattered.Load() {
		err = s.evaluateHere(ctx, ids)
	} else {
		err = s.evaluateThere(ctx, ids)
	}
	if err != nil {
		return err
	}
	s.best = newestOf(s.best, s.request.Limit)
	return nil
}

// newerFirst is the order of results.
func newerFirst(a, b exec.TraceRow) int {
	return cmp.Or(cmp.Compare(b.StartNano, a.StartNano), slices.Compare(a.ID[:], b.ID[:]))
}

// evaluateHere brings the spans of all the traces here. Where most traces are split this saves the round in which
// agents say which ones are.
func (s *fedSearch) evaluateHere(ctx context.Context, ids []spanid.TraceID) error {
	split, err := s.gathered(ctx, ids)
	s.note(split, len(ids))
	return err
}

// note remembers for the next traces, and for the next search, whether most are split.
func (s *fedSearch) note(split, of int) { s.fan.scattered.Store(2*split > of) }

// gathered evaluates traces from their spans of all agents, and counts those of which several have some.
func (s *fedSearch) gathered(ctx context.Context, ids []spanid.TraceID) (split int, err error) {
	use := func(v store.View, some []spanid.TraceID, of int) error {
		res, _, err := exec.SearchTraces(ctx, v, s.query, some, searchOptions(&s.request, s.budget))
		if err == nil {
			split += of
			s.stats.Add(res.Stats)
			s.best = append(s.best, res.Traces...)
		}
		return err
	}
	whole := func(some []spanid.TraceID) error {
		return s.fan.gatherAll(ctx, s.budget, some, func(all []*Fragments, v store.View, some []spanid.TraceID) error {
			return use(v, some, countSplit(all))
		})
	}
	cols := searchColumns(s.query)
	if cols == nil {
		return split, whole(ids)
	}
	err = paged(ids, func(some []spanid.TraceID) error {
		v, of, release, err := s.fan.gatherColumns(ctx, s.budget, some, cols)
		if errors.Is(err, gathered.ErrCopies) {
			return whole(some)
		}
		if err != nil {
			return err
		}
		defer release()
		return use(v, some, of)
	})
	return split, err
}

// searchColumns lists the columns that have to be brought together for a search; nil if whole spans have to be.
func searchColumns(q *plan.Query) []store.Column {
	cols := exec.SearchColumns(q)
	if cols == nil || slices.ContainsFunc(cols, func(c store.Column) bool { return !gathered.Carried(c) }) {
		return nil
	}
	for _, c := range gathered.Base {
		if !slices.Contains(cols, c) {
			cols = append(cols, c)
		}
	}
	return cols
}

// evaluateThere asks every agent about the traces. What an agent says of a trace counts if no other has spans of it;
// the spans of the others are brought here.
func (s *fedSearch) evaluateThere(ctx context.Context, ids []spanid.TraceID) error {
	results := make([]*exec.SearchResult, len(s.fan.nodes))
	held := make([][]bool, len(s.fan.nodes))
	err := s.fan.each(ctx, func(ctx context.Context, i int, p Peer) error {
		var err error
		results[i], held[i], err = p.SearchTraces(ctx, s.request, ids)
		return err
	})
	if err != nil {
		return err
	}
	split := exec.TraceSet{}
	for k, id := range ids {
		if severalHold(held, k) {
			split[id] = struct{}{}
		}
	}
	for _, res := range results {
		if res == nil {
			continue
		}
		s.stats.Add(res.Stats)
		for i := range res.Traces {
			if _, ok := split[res.Traces[i].ID]; !ok {
				s.best = append(s.best, res.Traces[i])
			}
		}
	}
	s.note(len(split), len(ids))
	_, err = s.gathered(ctx, sortedIDs(split))
	return err
}

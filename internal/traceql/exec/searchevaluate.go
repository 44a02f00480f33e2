package exec

import (
	"slices"
	"sync"
)

// mostAtOnce is how many traces are evaluated together at most.
const mostAtOnce = 1024

// evaluate reads candidates, newest bound first, until none can be among the newest any more. All others start at rest or
// before.
func (s *search) evaluate(found []candidate, rest int64) error {
	for step := s.step(mostAtOnce); len(found) > 0; {
		if t, ok := s.full(); ok {
			n, _ := slices.BinarySearchFunc(found, t, func(c candidate, t int64) int {
				if c.bound >= t {
					return -1
				}
				return 1
			})
			found = found[:n]
		}
		n := min(step, len(found))
		if n == 0 {
			break
		}
		for _, c := range found[:n] {
			s.seen[c.id] = struct{}{}
		}
		before := s.hits
		if err := s.evaluateBatch(found[:n]); err != nil {
			return err
		}
		found = found[n:]
		left := rest
		if len(found) > 0 {
			left = max(left, found[0].bound)
		}
		if err := s.tell(left); err != nil {
			return err
		}
		step = s.next(step, n, s.hits-before)
		if len(found) > 0 || s.done < s.total { // It is not the last time.
			if err := s.report(left); err != nil {
				return err
			}
		}
	}
	return nil
}

// step is how many traces to evaluate first: those that are needed, but fewer if somebody wants to see the first ones soon.
func (s *search) step(most int) int {
	const least, soon = 16, 64
	switch {
	case s.feed != nil:
		return max(1, min(s.options.First, most))
	case s.options.Progress != nil:
		most = soon
	}
	return max(least, min(s.options.Limit-len(s.best), most))
}

// next is how many traces to evaluate after so many were, of which so many matched: twice as many, or as many as are likely
// to have what the feed wants.
func (s *search) next(step, tried, hits int) int {
	const least = 8
	step = min(2*step, mostAtOnce)
	if s.feed != nil {
		step = max(least, min(step, s.feed.Wanted()*tried/max(1, hits)))
	}
	return step
}

// evaluateBatch evaluates traces in parallel and keeps the newest.
func (s *search) evaluateBatch(batch []candidate) error {
	const portion = 16
	var mu sync.Mutex
	err := s.run.each((len(batch)+portion-1)/portion, func(i int) error {
		some := batch[i*portion : min((i+1)*portion, len(batch))]
		got, err := s.evaluatePortion(some)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		s.hits += len(got)
		s.best = append(s.best, got...)
		if s.feed != nil {
			s.fresh = append(s.fresh, got...)
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(s.best, newerMatch)
	if len(s.best) > s.options.Limit {
		clear(s.best[s.options.Limit:])
		s.best = s.best[:s.options.Limit]
	}
	return nil
}

// newerMatch is the order of results.
func newerMatch(a, b match) int {
	if a.start != b.start {
		return compareUint(b.start, a.start)
	}
	return slices.Compare(a.id[:], b.id[:])
}

func (s *search) evaluatePortion(batch []candidate) ([]match, error) {
	refs := make([]traceRef, len(batch))
	for i, c := range batch {
		refs[i] = c.traceRef
	}
	l, err := s.run.loadTraces(refs, s.cols, s.structure)
	if err != nil {
		return nil, err
	}
	defer l.release()
	var out []match
	for i, t := range l.traces {
		if len(t.spans) == 0 || !s.window.overlaps(t.start, t.end) {
			continue
		}
		sets, err := s.eval.eval(s.run, t)
		if err != nil {
			return nil, err
		}
		if len(sets) == 0 {
			continue
		}
		n := int64(0)
		for _, set := range sets {
			n += 64 + 4*int64(len(set.spans)) + 64*int64(len(set.attrs))
		}
		if err := s.run.meter.take(s.run.ctx, n); err != nil {
			return nil, err
		}
		out = append(out, match{refs[i], t.start, t.end, sets})
	}
	return out, nil
}

package exec

import (
	"slices"
	"sync"
)

// seenBytes is what remembering an evaluated trace costs.
const seenBytes = 48

// evaluate reads candidates, newest bound first, until none can be among the newest any more.
func (s *search) evaluate(found []candidate) error {
	const least, most = 16, 1024
	for step := max(least, min(s.options.Limit, most)); len(found) > 0; step = min(2*step, most) {
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
		if err := s.run.meter.take(s.run.ctx, int64(n)*seenBytes); err != nil {
			return err
		}
		for _, c := range found[:n] {
			s.seen[c.id] = struct{}{}
		}
		if err := s.evaluateBatch(found[:n]); err != nil {
			return err
		}
		found = found[n:]
	}
	return nil
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
		s.best = append(s.best, got...)
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(s.best, func(a, b match) int {
		if a.start != b.start {
			return compareUint(b.start, a.start)
		}
		return slices.Compare(a.id[:], b.id[:])
	})
	if len(s.best) > s.options.Limit {
		clear(s.best[s.options.Limit:])
		s.best = s.best[:s.options.Limit]
	}
	return nil
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

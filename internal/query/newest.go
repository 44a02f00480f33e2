package query

import (
	"context"
	"math"

	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

// newest fills best with the newest traces that match, by what each agent has. share says which traces an agent has
// alone. The error is ErrStrays as in askAll.
func (s *fedSearch) newest(ctx context.Context, share func(i int) Share) error {
	r := s.request
	r.Limit = shareOfLimit(r.Limit, len(s.fan.nodes))
	lists, err := askAll(ctx, s.fan, share, func(ctx context.Context, p Peer, sh Share) (*exec.SearchResult, error) { return p.Newest(ctx, r, sh) })
	if err != nil {
		return err
	}
	s.join(lists)
	var again []int
	for i, l := range lists {
		if l != nil && s.mayHaveMore(l.Traces, r.Limit) {
			again = append(again, i)
		}
	}
	if len(again) == 0 {
		return nil
	}
	return s.rest(ctx, share, lists, again)
}

// rest asks agents that gave their share of the limit, all of it among the best, for as many traces as the limit is.
func (s *fedSearch) rest(ctx context.Context, share func(i int) Share, lists []*exec.SearchResult, again []int) error {
	ask := make([]bool, len(s.fan.nodes))
	for _, i := range again {
		ask[i] = true
	}
	err := s.fan.each(ctx, func(ctx context.Context, i int, p Peer) error {
		if !ask[i] {
			return nil
		}
		res, err := p.Newest(ctx, s.request, Share{Skip: share(i).Skip})
		if err == nil {
			lists[i] = res
		}
		return err
	})
	if err != nil {
		return err
	}
	s.join(lists)
	return nil
}

// join makes best of lists. Spans that arrive between two questions can make a trace be in two of them.
func (s *fedSearch) join(lists []*exec.SearchResult) {
	s.best = s.best[:0]
	seen := exec.TraceSet{}
	for _, l := range lists {
		if l == nil {
			continue
		}
		s.stats.Add(l.Stats)
		l.Stats = exec.Stats{}
		for i := range l.Traces {
			if _, ok := seen[l.Traces[i].ID]; !ok {
				seen[l.Traces[i].ID] = struct{}{}
				s.best = append(s.best, l.Traces[i])
			}
		}
	}
	s.keep()
}

// mayHaveMore reports whether an agent that listed these traces, up to a limit, may have further ones among the best.
func (s *fedSearch) mayHaveMore(list []exec.TraceRow, limit int) bool {
	switch {
	case len(list) < limit || limit >= s.request.Limit:
		return false
	case len(s.best) < s.request.Limit:
		return true
	}
	return newerFirst(list[len(list)-1], s.best[len(s.best)-1]) < 0
}

// shareOfLimit is how many of the newest traces to ask each of n agents for: so many that hardly ever more of them are at
// one, if they are spread by chance.
func shareOfLimit(limit, n int) int {
	mean := float64(limit) / float64(n)
	return min(limit, 1+int(math.Ceil(mean+3*math.Sqrt(mean*(1-1/float64(n))))))
}

package query

import (
	"context"
	"errors"
	"math"
	"sync/atomic"

	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

// NewestRequest asks an agent for the newest traces that match by what it has of them.
type NewestRequest struct {
	SearchRequest
	Share Share
	// First is of how many traces the agent tells before it waits to be asked for more.
	First int
}

// Listener hears of an agent's newest traces while it searches. It is used by one call of Peer.Newest; Hear and More are
// not called concurrently.
type Listener interface {
	// Hear takes news. An error ends the search.
	Hear(n News) error
	// More is called when the agent waits, and returns when further traces are wanted and how many. An error ends the
	// search.
	More(ctx context.Context) (int, error)
	// Floor is a time (Unix nanoseconds): traces that start before are not wanted any more. It may grow; 0 says nothing.
	Floor() int64
	// Raised returns a channel that is closed when the floor is raised next.
	Raised() <-chan struct{}
}

// News is what an agent has found since it last told.
type News struct {
	// Traces match, newest first.
	Traces []exec.TraceRow
	// Rest is a time (Unix nanoseconds) at or before which all traces start that the agent did not tell of.
	Rest int64
	// Waits says that it calls More next.
	Waits bool
	// Stats are of all that it did so far.
	Stats exec.Stats
	// Missing says what of its store it does without because it is damaged. It is empty if nothing is, or if who listens
	// knows it.
	Missing string
}

// errEnough ends the search of an agent whose further traces cannot be among the newest. It is no failure.
var errEnough = errors.New("the newest traces are known")

// newest fills best with the newest traces that match, by what each agent has. share says which traces an agent has
// alone. The error is ErrStrays as in askAll. Each agent tells of somewhat more than its share of the limit and waits: it
// goes on only if it is sure to have further ones among the newest.
func (s *fedSearch) newest(ctx context.Context, share func(i int) Share) error {
	m := newMerging(s.request.Limit, len(s.fan.nodes))
	if s.only == nil {
		m.progress = s.progress
	}
	r := NewestRequest{SearchRequest: s.request, First: portion(s.request.Limit, len(s.fan.nodes))}
	var strays atomic.Bool
	err := s.fan.eachInTurn(ctx, func(ctx context.Context, i int, p Peer, t *turn) error {
		ctx, stop := context.WithCancelCause(ctx)
		defer stop(nil)
		r := r
		r.Share = share(i)
		err := p.Newest(ctx, r, m.agent(i, t, stop))
		m.end(i)
		switch {
		case errors.Is(err, ErrStrays):
			strays.Store(true)
			m.stopAll()
			return nil
		case errors.Is(err, errEnough), errors.Is(context.Cause(ctx), errEnough):
			return nil
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case m.failed != nil:
		return m.failed
	case strays.Load():
		return ErrStrays
	}
	s.best = m.best
	s.stats.Add(m.stats())
	return nil
}

// portion is how many of the newest traces to ask each of n agents for first: so many that it is seldom that more of them
// are at one, if they are spread by chance.
func portion(limit, n int) int {
	const deviations = 1.5
	mean := float64(limit) / float64(n)
	return max(1, min(limit, int(math.Ceil(mean+deviations*math.Sqrt(mean*(1-1/float64(n)))))))
}

// pacer is what a search of this agent tells. It passes everything on, and waits when so many traces as were asked for are
// settled: no other that the agent has starts later.
type pacer struct {
	ctx     context.Context //nolint:containedctx // Of the search that it belongs to.
	to      Listener
	lend    func(ctx context.Context, f func(ctx context.Context) error) error
	wanted  int
	missing string
	open    []int64 // Starts of traces that are not settled yet.
}

// Floor implements exec.Feed.
func (p *pacer) Floor() int64 { return p.to.Floor() }

// Wanted implements exec.Feed.
func (p *pacer) Wanted() int { return p.wanted - len(p.open) }

// Found implements exec.Feed.
func (p *pacer) Found(traces []exec.TraceRow, rest int64, s exec.Stats) error {
	for i := range traces {
		p.open = append(p.open, clampNano(traces[i].StartNano))
	}
	left := p.open[:0]
	for _, t := range p.open {
		if t > rest {
			p.wanted--
		} else {
			left = append(left, t)
		}
	}
	p.open = left
	n := News{Traces: traces, Rest: rest, Stats: s, Missing: p.missing, Waits: p.wanted <= 0 && rest != math.MinInt64}
	if err := p.to.Hear(n); err != nil || !n.Waits {
		return err
	}
	return p.lend(p.ctx, func(ctx context.Context) error {
		more, err := p.to.More(ctx)
		p.wanted += more
		return err
	})
}

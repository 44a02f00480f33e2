package query

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

// scripted is an agent with traces that it tells of one at a time, from the latest on.
type scripted struct {
	traces []exec.TraceRow
	told   int
}

// run does what an agent does: it tells, and waits when it has told of as many as were asked for.
func (a *scripted) run(ctx context.Context, l Listener, first int) error {
	wanted := first
	for i := range a.traces {
		if clampNano(a.traces[i].StartNano) < l.Floor() {
			break
		}
		n := News{Traces: a.traces[i : i+1], Rest: math.MinInt64}
		if i+1 < len(a.traces) {
			n.Rest = clampNano(a.traces[i+1].StartNano)
		}
		wanted--
		n.Waits = wanted <= 0 && n.Rest != math.MinInt64
		a.told++
		if err := l.Hear(n); err != nil {
			return err
		}
		if n.Waits {
			more, err := l.More(ctx)
			if err != nil {
				return err
			}
			wanted += more
		}
	}
	return l.Hear(News{Rest: math.MinInt64})
}

// TestMerging: whatever the agents have, the newest of all are found, and they tell of few others.
func TestMerging(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 9))
	for round := range 300 {
		agents := make([]*scripted, 1+rng.IntN(6))
		for i := range agents {
			agents[i] = &scripted{}
		}
		var all []exec.TraceRow
		for i := range rng.IntN(120) {
			row := exec.TraceRow{ID: spanid.TraceID{byte(rng.IntN(256)), byte(i)}, StartNano: uint64(1000 + rng.IntN(60))}
			a := agents[rng.IntN(len(agents))]
			if rng.IntN(2) == 0 {
				a = agents[0] // One has more than its share.
			}
			a.traces, all = append(a.traces, row), append(all, row)
		}
		for _, a := range agents {
			slices.SortFunc(a.traces, newerFirst)
		}
		slices.SortFunc(all, newerFirst)
		limit := 1 + rng.IntN(25)
		m := newMerging(limit, len(agents))
		var wg sync.WaitGroup
		for i, a := range agents {
			wg.Go(func() {
				ctx, stop := context.WithCancelCause(t.Context())
				defer stop(nil)
				if err := a.run(ctx, m.agent(i, &turn{}, stop), portion(limit, len(agents))); err != nil && ctx.Err() == nil {
					t.Errorf("round %d: %v", round, err)
				}
				m.end(i)
			})
		}
		wg.Wait()
		require.Equal(t, append([]exec.TraceRow{}, all[:min(limit, len(all))]...), append([]exec.TraceRow{}, m.best...), "round %d", round)
	}
}

// TestMergingAsksForWhatIsNeeded: an agent that has all of the newest goes on, and the others are not asked for more than
// they told at first.
func TestMergingAsksForWhatIsNeeded(t *testing.T) {
	const limit, first = 20, 8
	var agents [3]*scripted
	for i := range agents {
		agents[i] = &scripted{}
		for k := range 100 {
			start := uint64(1000 - k)
			if i == 0 {
				start += 10_000
			}
			agents[i].traces = append(agents[i].traces, exec.TraceRow{ID: spanid.TraceID{byte(i), byte(k)}, StartNano: start})
		}
	}
	m := newMerging(limit, len(agents))
	heard := make(chan struct{}, len(agents))
	var wg sync.WaitGroup
	for i, a := range agents {
		wg.Go(func() {
			ctx, stop := context.WithCancelCause(t.Context())
			defer stop(nil)
			l := m.agent(i, &turn{}, stop)
			if i == 0 { // The last to tell, so that the others wait.
				for range agents[1:] {
					<-heard
				}
			}
			err := a.run(ctx, &signalling{l, heard}, first)
			if err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			m.end(i)
		})
	}
	wg.Wait()
	require.Equal(t, agents[0].traces[:limit], m.best)
	require.GreaterOrEqual(t, agents[0].told, limit)
	for _, a := range agents[1:] {
		require.LessOrEqual(t, a.told, first+limit, "even if they lost patience")
	}
	require.Equal(t, clampNano(agents[0].traces[limit-1].StartNano), m.floor.Load())
	select {
	case <-m.agents[0].Raised():
		t.Error("nobody raises the floor any more")
	default:
	}
}

// signalling says when an agent begins to wait.
type signalling struct {
	Listener
	waits chan struct{}
}

func (s *signalling) More(ctx context.Context) (int, error) {
	select {
	case s.waits <- struct{}{}:
	default:
	}
	return s.Listener.More(ctx)
}

// TestPortion: what agents are asked for first is more than their share, and never more than the limit.
func TestPortion(t *testing.T) {
	for _, k := range []struct{ limit, agents, want int }{{20, 1, 20}, {20, 2, 14}, {20, 3, 10}, {20, 500, 1}, {1, 3, 1}, {3, 2, 3}, {1000, 2, 524}} {
		require.Equal(t, k.want, portion(k.limit, k.agents), "%d of %d agents", k.limit, k.agents)
	}
}

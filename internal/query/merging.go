package query

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

// patience is how long an agent waits for others before it goes on although it may not have to: it must not matter to it
// that another one is slow.
const patience = 50 * time.Millisecond

// merging joins the newest traces of several agents while these search. An agent has to go on as long as one of its
// further traces may be among the newest of all. While others may still push these out, it waits, unless it is the
// one whose further traces may be the latest: then it has them or nobody has.
type merging struct {
	limit    int
	progress *exec.SearchProgress // May be nil.
	floor    atomic.Int64

	mu     sync.Mutex
	best   []exec.TraceRow // At most limit, newest first.
	seen   exec.TraceSet
	agents []*mergedAgent
	raised chan struct{} // Closed when the floor is raised.
	told   int           // So many of best were reported.
	failed error         // Of reporting.
}

// mergedAgent is what is known of an agent. It implements Listener.
type mergedAgent struct {
	all  *merging
	turn *turn
	stop context.CancelCauseFunc

	// Guarded by merging.mu.
	rest  int64
	ended bool
	more  chan int // Not nil while it waits: how many further traces are wanted.
	stats exec.Stats
}

func newMerging(limit, agents int) *merging {
	m := &merging{limit: limit, seen: exec.TraceSet{}, agents: make([]*mergedAgent, agents), raised: make(chan struct{})}
	for i := range m.agents {
		m.agents[i] = &mergedAgent{all: m, rest: math.MaxInt64, stop: func(error) {}}
	}
	return m
}

// agent returns the listener for an agent that is asked now. stop ends its search.
func (m *merging) agent(i int, t *turn, stop context.CancelCauseFunc) Listener {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.agents[i]
	a.turn, a.stop = t, stop
	if a.ended {
		stop(errEnough)
	}
	return a
}

// end notes that an agent will not tell anything any more.
func (m *merging) end(i int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.agents[i].ended = true
	m.settle()
}

// stopAll ends all searches.
func (m *merging) stopAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stop()
}

func (m *merging) stop() {
	for _, a := range m.agents {
		a.enough()
	}
}

// stats are those of all agents.
func (m *merging) stats() (s exec.Stats) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.agents {
		s.Add(a.stats)
	}
	return s
}

// Floor implements Listener.
func (a *mergedAgent) Floor() int64 { return a.all.floor.Load() }

// Raised implements Listener.
func (a *mergedAgent) Raised() <-chan struct{} {
	a.all.mu.Lock()
	defer a.all.mu.Unlock()
	return a.all.raised
}

// Hear implements Listener.
func (a *mergedAgent) Hear(n News) error {
	m := a.all
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range n.Traces {
		if _, ok := m.seen[n.Traces[i].ID]; !ok { // Twice if it began anew, or if the trace has moved meanwhile.
			m.seen[n.Traces[i].ID] = struct{}{}
			m.best = append(m.best, n.Traces[i])
		}
	}
	m.best = newestOf(m.best, m.limit)
	a.rest, a.stats = n.Rest, n.Stats
	if n.Waits {
		a.more = make(chan int, 1)
	}
	if m.settle(); a.ended {
		return errEnough
	}
	return nil
}

// More implements Listener.
func (a *mergedAgent) More(ctx context.Context) (int, error) {
	a.all.mu.Lock()
	more := a.more
	a.all.mu.Unlock()
	var n int
	err := a.turn.lend(func() error {
		late := time.NewTimer(patience)
		defer late.Stop()
		select {
		case n = <-more:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-late.C:
			n = a.all.limit
		}
		return nil
	})
	a.all.mu.Lock()
	defer a.all.mu.Unlock()
	if a.more = nil; err == nil && a.ended {
		err = errEnough
	}
	return n, err
}

// enough ends an agent's search.
func (a *mergedAgent) enough() {
	a.ended = true
	a.stop(errEnough)
}

// settle decides who has to go on and who is done.
func (m *merging) settle() {
	floor := m.floor.Load()
	if len(m.best) >= m.limit {
		if t := clampNano(m.best[len(m.best)-1].StartNano); t > floor {
			floor = t
			m.floor.Store(t)
			close(m.raised)
			m.raised = make(chan struct{})
		}
	}
	rest := int64(math.MinInt64)
	ended := 0
	for _, a := range m.agents {
		if !a.ended && a.rest < floor {
			a.enough()
		}
		if a.ended {
			ended++
			continue
		}
		rest = max(rest, a.rest)
	}
	settled := len(m.best)
	if rest != math.MinInt64 {
		settled, _ = slices.BinarySearchFunc(m.best, rest, func(t exec.TraceRow, rest int64) int {
			if clampNano(t.StartNano) > rest {
				return -1
			}
			return 1
		})
	}
	for _, a := range m.agents {
		if !a.ended && a.more != nil && a.rest == rest && len(a.more) == 0 {
			a.more <- portion(m.limit-settled, len(m.agents)-ended)
		}
	}
	m.report(settled, ended)
}

// report tells of the first results, which nothing that is left can push out.
func (m *merging) report(settled, ended int) {
	p := m.progress
	if p == nil || m.failed != nil || ended == len(m.agents) || !p.Due() {
		return
	}
	news := m.best[m.told:max(m.told, settled)]
	m.told += len(news)
	var s exec.Stats
	for _, a := range m.agents {
		s.Add(a.stats)
	}
	if m.failed = p.Report(slices.Clone(news), s, ended, len(m.agents)); m.failed != nil {
		m.stop()
	}
}

// newestOf sorts traces and returns the newest.
func newestOf(list []exec.TraceRow, limit int) []exec.TraceRow {
	slices.SortFunc(list, newerFirst)
	if len(list) > limit {
		clear(list[limit:])
		list = list[:limit]
	}
	return list
}

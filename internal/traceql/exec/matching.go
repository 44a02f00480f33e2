package exec

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// Matching reports for each of ids, which ascend, whether the spanset pipeline of a query leaves spans of the trace. Each
// trace is in one of parts, which are parts of the view, or in View.Split.
func Matching(ctx context.Context, view store.View, q *plan.Query, parts []store.Part, ids []spanid.TraceID) ([]bool, error) {
	r := newRun(ctx, view, nil)
	defer r.meter.close()
	out := make([]bool, len(ids))
	if q.Search.ConstFalse() {
		return out, nil
	}
	s := newSearch(r, q, SearchOptions{})
	m := &matching{search: s, ids: ids, out: out}
	if err := m.find(parts); err != nil {
		return nil, r.cause(err)
	}
	return out, nil
}

// matching is one call of Matching.
type matching struct {
	search *search
	ids    []spanid.TraceID

	mu  sync.Mutex // guards out
	out []bool
}

func (m *matching) index(id spanid.TraceID) (int, bool) {
	return slices.BinarySearchFunc(m.ids, id, func(a, b spanid.TraceID) int { return slices.Compare(a[:], b[:]) })
}

func (m *matching) find(parts []store.Part) error {
	r := m.search.run
	filter, local := m.search.anchor, false
	if c := m.search.query.Search.Local; c != nil {
		filter, local = compile(c, newColumns()), true
	}
	var spots []spot
	for n, p := range r.parts {
		id := p.Info().ID
		if !slices.ContainsFunc(parts, func(o store.Part) bool { return o == p || o.Info().ID == id }) {
			continue
		}
		info := p.Info()
		for g := range info.Granules() {
			if filter.mayMatch(p, g) {
				spots = append(spots, spot{n, g})
			}
		}
	}
	var mu sync.Mutex
	whole := map[spanid.TraceID]candidate{}
	err := r.each(len(spots), func(i int) error {
		sel, err := r.matching(spots[i], filter, nil)
		if err != nil {
			return err
		}
		found, err := r.candidates(spots[i], &sel)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		for _, c := range found {
			at, ok := m.index(c.id)
			switch {
			case !ok:
			case local:
				m.out[at] = true // A span is left whatever the rest of the trace is.
			default:
				whole[c.id] = c
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if r.split.Len() > 0 {
		for at, id := range m.ids {
			if r.split.Has(id) && !m.out[at] {
				whole[id] = candidate{traceRef: traceRef{id: id}} // Its spans may be in any part.
			}
		}
	}
	return m.evaluate(whole)
}

// evaluate decides candidates as whole traces.
func (m *matching) evaluate(whole map[spanid.TraceID]candidate) error {
	const portion = 256
	batch := make([]candidate, 0, len(whole))
	for _, c := range whole {
		batch = append(batch, c)
	}
	// Blocks are in the order of trace ids: traces that are read together should be neighbours.
	slices.SortFunc(batch, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.part, b.part), bytes.Compare(a.id[:], b.id[:]))
	})
	r := m.search.run
	return r.each((len(batch)+portion-1)/portion, func(i int) error {
		got, err := m.search.evaluatePortion(batch[i*portion : min((i+1)*portion, len(batch))])
		if err != nil {
			return err
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, g := range got {
			if at, ok := m.index(g.id); ok {
				m.out[at] = true
			}
		}
		return nil
	})
}

package query

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/bramble-tracing/bramble/internal/owner"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

// A trace that several agents have spans of is a stray at one of them at least: a trace that is another agent's by a
// hash of its id. So if no agent has strays, every trace is at one agent as a whole, and queries about whole traces are
// answered where the traces are, in one round. With trace_owner this is how it is as long as no agent was away. It does
// not matter why a span is where it is, only where.

// Ring is a list of the agents that one query asks, by name, and who of them is meant.
type Ring struct {
	// Nodes are in order and differ.
	Nodes []string
	// Self is the index of the agent that is asked.
	Self int
}

// Share says which of its traces an agent is asked about.
type Share struct {
	// Skip are traces that are left out: who asks evaluates them.
	Skip exec.TraceSet
	// Ring, if it is not nil, makes an agent that has strays answer with ErrStrays.
	Ring *Ring
}

// ErrStrays is the answer of an agent that has traces of which others may have spans.
var ErrStrays = errors.New("there are traces here that may be split over agents")

// MostStrays is how many strays an agent lists. With more of them queries ask which of the traces that they look at are
// split.
const MostStrays = 1024

// Valid reports whether a ring is as the type says.
func (r *Ring) Valid() bool {
	return r.Self >= 0 && r.Self < len(r.Nodes) && slices.IsSorted(r.Nodes) && len(slices.Compact(slices.Clone(r.Nodes))) == len(r.Nodes)
}

// strays finds the strays of one store. What it knows of a part of the store stays true, but for what is added to the part,
// so that a query looks at new traces only.
type strays struct {
	lock  chan struct{} // Has one element while somebody looks.
	rings []*ringStrays // Latest used first.
}

// ringStrays are the strays by one ring.
type ringStrays struct {
	key   string
	ring  *owner.Ring
	self  int
	parts map[string]*partStrays // By the id of the part.
}

type partStrays struct {
	seen int // So many traces of the part were looked at.
	ids  []spanid.TraceID
	many bool // There are more than MostStrays, or nobody knows.
}

// rings are kept while agents do not agree about who is there.
const mostRings = 4

func newStrays() *strays { return &strays{lock: make(chan struct{}, 1)} }

// list returns the strays in a view; many says that there are more, which are not listed.
func (s *strays) list(ctx context.Context, v store.View, r *Ring) (ids []spanid.TraceID, many bool, err error) {
	select {
	case s.lock <- struct{}{}:
		defer func() { <-s.lock }()
	case <-ctx.Done():
		return nil, false, context.Cause(ctx)
	}
	known := s.of(r)
	parts := v.Parts()
	now := make(map[string]*partStrays, len(parts))
	for _, p := range parts {
		info := p.Info()
		have := known.parts[info.ID]
		if have == nil {
			have = &partStrays{}
		}
		now[info.ID] = have
		if !have.many {
			if err := known.look(ctx, p, have); err != nil {
				return nil, false, err
			}
		}
		ids, many = append(ids, have.ids...), many || have.many
	}
	known.parts = now
	ids = sortedUnique(ids)
	return ids, many || len(ids) > MostStrays, nil
}

func sortedUnique(ids []spanid.TraceID) []spanid.TraceID {
	slices.SortFunc(ids, func(a, b spanid.TraceID) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(ids)
}

// of returns what is known by a ring, and forgets the ring that was not used for longest.
func (s *strays) of(r *Ring) *ringStrays {
	key := r.Nodes[r.Self] + "\x00" + strings.Join(r.Nodes, "\x00")
	i := slices.IndexFunc(s.rings, func(k *ringStrays) bool { return k.key == key })
	if i < 0 {
		s.rings = append(s.rings, &ringStrays{key: key, ring: owner.New(slices.Clone(r.Nodes)), self: r.Self, parts: map[string]*partStrays{}})
		i = len(s.rings) - 1
	}
	k := s.rings[i]
	s.rings = slices.Insert(slices.Delete(s.rings, i, i+1), 0, k)
	if len(s.rings) > mostRings {
		s.rings = slices.Delete(s.rings, mostRings, len(s.rings))
	}
	return k
}

// look looks at the traces of a part that are new. A part that cannot list them is taken for one with too many strays.
func (k *ringStrays) look(ctx context.Context, p store.Part, have *partStrays) error {
	l, ok := p.(store.TraceLister)
	if !ok {
		have.many = true
		return nil
	}
	before := len(have.ids)
	n, err := l.EachTrace(ctx, have.seen, func(id spanid.TraceID) {
		if len(have.ids) <= MostStrays && k.ring.Of(id) != k.self {
			have.ids = append(have.ids, id)
		}
	})
	switch {
	case errors.Is(err, store.ErrUnsupported):
		have.many = true
	case err != nil:
		have.ids = have.ids[:before]
		return err
	case len(have.ids) > MostStrays:
		have.many, have.ids = true, nil
	}
	have.seen = max(have.seen, n) // Another query may have an older view.
	return nil
}

package tracedb

import (
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/head"
)

// traceIDs is a set that is never changed.
type traceIDs map[spanid.TraceID]struct{}

// splitIndex knows which traces are in more than one part of a state: base those in several frozen heads and blocks,
// live those in the live head and another part, and maybe in base as well. It looks at each trace of the live head once.
//
// What is in base follows from what happens to parts: a cut moves live to base; writing a head as a block, or a block
// anew, moves nothing; when a part goes, its traces are counted again.
type splitIndex struct {
	state *state
	base  func() traceIDs // after Open it takes time at first: see splitAmong

	mu   sync.RWMutex
	seen int // traces of the live head that have been looked at
	// live holds the first row in the live head.
	live map[spanid.TraceID]uint32
}

func newSplitIndex(s *state, base func() traceIDs) *splitIndex {
	return &splitIndex{state: s, base: base, live: map[spanid.TraceID]uint32{}}
}

// carry returns the index of a state whose parts have the same traces as before.
func (x *splitIndex) carry(s *state) *splitIndex {
	x.mu.RLock()
	defer x.mu.RUnlock()
	next := newSplitIndex(s, x.base)
	next.seen, next.live = x.seen, maps.Clone(x.live)
	return next
}

// cut returns the index of a state in which the live head is frozen. The index must have caught up with it.
func (x *splitIndex) cut(s *state) *splitIndex {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if len(x.live) == 0 {
		return newSplitIndex(s, x.base)
	}
	before, more := x.base, maps.Clone(x.live)
	return newSplitIndex(s, sync.OnceValue(func() traceIDs {
		base := make(traceIDs, len(before())+len(more))
		maps.Copy(base, before())
		for id := range more {
			base[id] = struct{}{}
		}
		return base
	}))
}

// deleted returns the index of a state in which a trace is in no part.
func (x *splitIndex) deleted(s *state, id spanid.TraceID) *splitIndex {
	next := x.carry(s)
	delete(next.live, id)
	before := x.base
	next.base = sync.OnceValue(func() traceIDs {
		if _, ok := before()[id]; !ok {
			return before()
		}
		base := maps.Clone(before())
		delete(base, id)
		return base
	})
	return next
}

// without returns the index of a state that lacks parts. had reports whether they had spans of a trace.
func (x *splitIndex) without(s *state, had func(spanid.TraceID) bool) *splitIndex {
	next := x.carry(s)
	live := s.live.head.Part(0)
	base := maps.Clone(x.base())
	for id := range x.base() {
		if !had(id) {
			continue
		}
		n := s.holders(id, 2)
		if n > 1 {
			continue
		}
		delete(base, id)
		if rows := s.rows(s.live, live, id); n == 1 && len(rows) > 0 {
			next.live[id] = rows[0]
		}
	}
	for id := range next.live {
		if had(id) && s.holders(id, 1) == 0 {
			delete(next.live, id)
		}
	}
	next.base = func() traceIDs { return base }
	return next
}

// joined returns the index of a state in which blocks were merged. alone are the traces that were in several of them and
// are in no other block, nor in a head that was frozen when they were found.
func (x *splitIndex) joined(s *state, alone []spanid.TraceID) *splitIndex {
	next := x.carry(s)
	if len(alone) == 0 {
		return next
	}
	live := s.live.head.Part(store.KindHead)
	base := maps.Clone(x.base())
	for _, id := range alone {
		if _, ok := base[id]; !ok || slices.ContainsFunc(s.frozen, func(p *piece) bool { return s.has(p, id) }) {
			continue
		}
		delete(base, id)
		if rows := s.rows(s.live, live, id); len(rows) > 0 {
			next.live[id] = rows[0]
		}
	}
	next.base = func() traceIDs { return base }
	return next
}

// shown returns the index of a state in which some traces have rows again that were hidden.
func (x *splitIndex) shown(s *state, ids map[spanid.TraceID]struct{}) *splitIndex {
	next := x.carry(s)
	if len(ids) == 0 {
		return next
	}
	live := s.live.head.Part(store.KindHead)
	base := maps.Clone(x.base())
	for id := range ids {
		n := s.holders(id, 2)
		if n > 1 {
			base[id] = struct{}{}
		}
		if rows := s.rows(s.live, live, id); n > 0 && len(rows) > 0 {
			next.live[id] = rows[0]
		}
	}
	next.base = func() traceIDs { return base }
	return next
}

// alone returns those traces that are in no frozen head and in no block but some.
func (s *state) alone(ids []spanid.TraceID, but []*blockPiece) []spanid.TraceID {
	rest := without(s.blocks, but)
	var out []spanid.TraceID
	for _, id := range ids {
		if !slices.ContainsFunc(rest, func(b *blockPiece) bool { return b.has(id) }) &&
			!slices.ContainsFunc(s.frozen, func(p *piece) bool { return s.has(p, id) }) {
			out = append(out, id)
		}
	}
	return out
}

// catchUp looks at the traces of the live head that are new since the last time.
func (x *splitIndex) catchUp(live *head.Part) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for ; x.seen < live.Traces(); x.seen++ {
		id, row := live.TraceAt(x.seen)
		if x.state.holders(id, 1) > 0 {
			x.live[id] = row
		}
	}
}

// splitSet is the index as of a number of rows of the live head. It implements store.TraceSet.
type splitSet struct {
	index *splitIndex
	rows  uint32
}

// Has reports whether the trace is in more than one part.
func (s splitSet) Has(id spanid.TraceID) bool {
	if _, ok := s.index.base()[id]; ok {
		return true
	}
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	row, ok := s.index.live[id]
	return ok && row < s.rows
}

// All yields the traces of the set.
func (s splitSet) All() iter.Seq[spanid.TraceID] {
	return func(yield func(spanid.TraceID) bool) {
		x := s.index
		base := x.base()
		for id := range base {
			if !yield(id) {
				return
			}
		}
		x.mu.RLock()
		live := maps.Clone(x.live)
		x.mu.RUnlock()
		for id, row := range live {
			if _, both := base[id]; !both && row < s.rows && !yield(id) {
				return
			}
		}
	}
}

// Len returns the number of traces in the set.
func (s splitSet) Len() int {
	x := s.index
	base := x.base()
	x.mu.RLock()
	defer x.mu.RUnlock()
	n := len(base)
	for id, row := range x.live {
		if _, both := base[id]; !both && row < s.rows {
			n++
		}
	}
	return n
}

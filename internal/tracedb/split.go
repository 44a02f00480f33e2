package tracedb

import (
	"sort"
	"sync"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/head"
)

// splitIndex knows which traces are in more than one part of a state: base those in several frozen heads, live those
// in one frozen head and the live one. It looks at each trace of the live head once, when somebody asks.
type splitIndex struct {
	state *state
	base  map[spanid.TraceID]struct{}

	mu   sync.RWMutex
	seen int // traces of the live head that have been looked at
	// live holds the first row in the live head, order the same rows in ascending order.
	live  map[spanid.TraceID]uint32
	order []uint32
}

func newSplitIndex(s *state, seen int, candidates []spanid.TraceID) *splitIndex {
	x := &splitIndex{state: s, seen: seen, base: map[spanid.TraceID]struct{}{}, live: map[spanid.TraceID]uint32{}}
	if len(candidates) == 0 {
		return x
	}
	now := s.live.head.Part(0)
	for _, id := range candidates {
		n := 0
		for _, p := range s.frozen {
			if s.has(p, id) {
				n++
			}
		}
		if n > 1 {
			x.base[id] = struct{}{}
		} else if rows := s.rows(s.live, now, id); n == 1 && len(rows) > 0 {
			x.live[id] = rows[0]
			x.order = append(x.order, rows[0])
		}
	}
	sort.Slice(x.order, func(i, j int) bool { return x.order[i] < x.order[j] })
	return x
}

// catchUp looks at the traces of the live head that are new since the last time.
func (x *splitIndex) catchUp(live *head.Part) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for ; x.seen < live.Traces(); x.seen++ {
		id, row := live.TraceAt(x.seen)
		if _, ok := x.base[id]; ok {
			continue
		}
		for _, p := range x.state.frozen {
			if x.state.has(p, id) {
				x.live[id] = row
				x.order = append(x.order, row)
				break
			}
		}
	}
}

// candidates returns the traces known to be split, and how many traces of the live head were looked at.
func (x *splitIndex) candidates() (ids []spanid.TraceID, seen int) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	ids = make([]spanid.TraceID, 0, len(x.base)+len(x.live))
	for id := range x.base {
		ids = append(ids, id)
	}
	for id := range x.live {
		ids = append(ids, id)
	}
	return ids, x.seen
}

// splitSet is the index as of a number of rows of the live head. It implements store.TraceSet.
type splitSet struct {
	index *splitIndex
	rows  uint32
}

// Has reports whether the trace is in more than one part.
func (s splitSet) Has(id spanid.TraceID) bool {
	if _, ok := s.index.base[id]; ok {
		return true
	}
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	row, ok := s.index.live[id]
	return ok && row < s.rows
}

// Len returns the number of traces in the set.
func (s splitSet) Len() int {
	x := s.index
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.base) + sort.Search(len(x.order), func(i int) bool { return x.order[i] >= s.rows })
}

package tracedb

import (
	"sync"
	"sync/atomic"

	"github.com/bramble-tracing/bramble/internal/spanid"
)

// headNote is what is known about a trace of a head.
type headNote verdict

// headNotes are what the overlays of blocks are, for heads: pins, and decisions that were made by way of another part.
type headNotes struct {
	mu sync.RWMutex
	m  map[spanid.TraceID]headNote
	n  atomic.Int64
}

func (h *headNotes) set(id spanid.TraceID, n headNote) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.m == nil {
		h.m = map[spanid.TraceID]headNote{}
	}
	old := h.m[id]
	n.flags |= old.flags
	if n.policy == "" {
		n.policy = old.policy
	}
	h.m[id] = n
	h.n.Store(int64(len(h.m)))
}

func (h *headNotes) get(id spanid.TraceID) (headNote, bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	n, ok := h.m[id]
	return n, ok
}

func (h *headNotes) empty() bool { return h.n.Load() == 0 }

func (h *headNotes) drop(gone func(spanid.TraceID) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := range h.m {
		if gone(id) {
			delete(h.m, id)
		}
	}
	h.n.Store(int64(len(h.m)))
}

// of returns the notes of those traces that has reports.
func (h *headNotes) of(has func(spanid.TraceID) bool) map[spanid.TraceID]headNote {
	h.mu.RLock()
	defer h.mu.RUnlock()
	var out map[spanid.TraceID]headNote
	for id, n := range h.m {
		if has(id) {
			if out == nil {
				out = map[spanid.TraceID]headNote{}
			}
			out[id] = n
		}
	}
	return out
}

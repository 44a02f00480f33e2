package tracedb

import (
	"context"
	"sort"
	"sync/atomic"
	"time"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/head"
)

// piece is a head with what the DB knows about it.
type piece struct {
	id   string
	head *head.Head
	// refs counts the states that name the piece. free is called when the last one goes.
	refs atomic.Int32
	free func(*piece)
	// notes are the store's.
	notes *headNotes
	// charged is what the budget has been charged for the head.
	charged atomic.Int64
	// born is when the first span arrived, Unix nanoseconds; 0 before.
	born atomic.Int64

	// Set by the cut.
	part   *head.Part
	mark   uint64 // number of the last log record in this head or an older one
	frozen time.Time
	logged int64 // bytes of log that go with it, about
	// dropped says that only views keep the memory. DB.mu guards it.
	dropped bool
}

// state is the set of parts at a time. It is immutable but for its count of references and the index of split traces,
// which has its own lock.
type state struct {
	refs   atomic.Int64 // one of the DB as long as it is current, one per view
	live   *piece
	frozen []*piece      // newest first
	blocks []*blockPiece // newest first
	// masks holds the deleted rows of a piece in ascending order.
	masks map[*piece][]uint32
	// parts are the frozen heads and the blocks as views hand them out.
	parts []store.Part
	split *splitIndex
}

// newState returns a state with a reference to each piece and block. The caller sets split.
func newState(live *piece, frozen []*piece, blocks []*blockPiece, masks map[*piece][]uint32) *state {
	s := &state{live: live, frozen: frozen, blocks: blocks, masks: masks}
	s.refs.Store(1)
	live.refs.Add(1)
	for _, p := range frozen {
		p.refs.Add(1)
		if part := maskPart(p.part, masks[p]); part.Info().Rows > 0 {
			s.parts = append(s.parts, &notedPart{part, p.notes})
		}
	}
	for _, b := range blocks {
		b.block.Acquire()
		if b.part.Info().Rows > 0 {
			s.parts = append(s.parts, b.part)
		}
	}
	return s
}

// tryRef adds a reference unless the state is no longer in use.
func (s *state) tryRef() bool {
	for {
		n := s.refs.Load()
		if n == 0 {
			return false
		}
		if s.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// unref gives a reference back. With the last one the pieces and blocks lose theirs.
func (s *state) unref() {
	if s.refs.Add(-1) > 0 {
		return
	}
	s.live.unref()
	for _, p := range s.frozen {
		p.unref()
	}
	for _, b := range s.blocks {
		_ = b.block.Release() // Only closing files that were read can fail.
	}
}

func (p *piece) unref() {
	if p.refs.Add(-1) == 0 {
		p.free(p)
	}
}

// rows returns how many rows of a piece's trace are not deleted, given its part.
func (s *state) rows(p *piece, part *head.Part, id spanid.TraceID) []uint32 {
	if !part.HasTrace(id) {
		return nil
	}
	rows := part.AppendTraceRows(id, nil)
	mask := s.masks[p]
	if len(mask) == 0 {
		return rows
	}
	kept := rows[:0]
	for _, r := range rows {
		if !contains(mask, r) {
			kept = append(kept, r)
		}
	}
	return kept
}

// has reports whether a frozen head has spans of a trace.
func (s *state) has(p *piece, id spanid.TraceID) bool {
	if len(s.masks[p]) == 0 {
		return p.part.HasTrace(id)
	}
	return len(s.rows(p, p.part, id)) > 0
}

// holders counts the frozen heads and blocks that have spans of a trace, up to limit.
func (s *state) holders(id spanid.TraceID, limit int) int {
	n := 0
	for _, p := range s.frozen {
		if n < limit && s.has(p, id) {
			n++
		}
	}
	for _, b := range s.blocks {
		if n < limit && b.has(id) {
			n++
		}
	}
	return n
}

// withoutMask returns the masks but that of p.
func (s *state) withoutMask(p *piece) map[*piece][]uint32 {
	masks := make(map[*piece][]uint32, len(s.masks))
	for k, v := range s.masks {
		if k != p {
			masks[k] = v
		}
	}
	return masks
}

// contains reports whether an ascending list has the row.
func contains(list []uint32, row uint32) bool {
	i := sort.Search(len(list), func(i int) bool { return list[i] >= row })
	return i < len(list) && list[i] == row
}

// background is for reads that are short and that nobody waits for with a deadline.
func background() context.Context { return context.Background() }

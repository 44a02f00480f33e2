package tracedb

import (
	"fmt"
	"slices"
	"time"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/head"
)

// mustCut reports whether the live head has reached a limit.
func (db *DB) mustCut(live *piece) (CutReason, bool) {
	born := live.born.Load()
	switch {
	case live.head.Rows() >= db.opts.Cut.Spans:
		return CutSpans, true
	case live.head.Bytes() >= db.opts.Cut.Bytes:
		return CutSize, live.head.Rows() > 0
	case born != 0 && db.now().UnixNano()-born >= int64(db.opts.Cut.Age):
		return CutAge, live.head.Rows() > 0
	}
	return "", false
}

// cutIf freezes the head if it is the live one still and must be cut.
func (db *DB) cutIf(live *piece) {
	db.gate.Lock()
	defer db.gate.Unlock()
	s := db.state.Load()
	if s == nil || s.live != live || db.closed {
		return
	}
	if reason, ok := db.mustCut(live); ok {
		db.cut(reason)
	}
}

// Cut freezes the live head now, if it has spans.
func (db *DB) Cut() error {
	db.gate.Lock()
	defer db.gate.Unlock()
	if db.closed {
		return fmt.Errorf("cut: %w", store.ErrClosed)
	}
	db.cut(CutRequest)
	return nil
}

// cut freezes the live head and begins a new segment of the log, so that the log of this head can be freed exactly.
// The caller holds gate for writing.
func (db *DB) cut(reason CutReason) {
	if db.state.Load().live.head.Rows() == 0 {
		return
	}
	if err := db.wal.Rotate(); err != nil {
		// The log then frees less precisely: the segment goes with the next head.
		call(db.opts.Listener.Error, fmt.Errorf("cut head: %w", err))
	}
	db.freeze(reason, db.wal.LastSeq())
	db.walAtCut.Store(db.wal.Bytes())
}

// freeze replaces the live head by an empty one. Every log record up to mark must be in it or an older one, no later
// one may be.
func (db *DB) freeze(reason CutReason, mark uint64) {
	next := db.newPiece()
	db.mu.Lock()
	old := db.state.Load()
	p := old.live
	p.part, p.mark, p.frozen = p.head.Part(store.KindFrozen), mark, db.now()
	old.split.catchUp(p.part)
	ids, _ := old.split.candidates()
	frozen := append([]*piece{p}, old.frozen...)
	db.setState(newState(next, frozen, old.masks, 0, ids))
	db.mu.Unlock()
	db.stats.cuts.Add(1)
	call(db.opts.Listener.HeadCut, HeadCut{
		ID: p.id, Reason: reason, Spans: p.part.Info().Rows, Traces: p.part.Traces(), Bytes: p.head.Bytes(), Mark: mark,
	})
}

// removeOldest takes the oldest frozen head out of the state and returns it, nil if there is none. Its log is still
// there.
func (db *DB) removeOldest(reason DropReason) *piece {
	db.mu.Lock()
	old := db.state.Load()
	if old == nil || len(old.frozen) == 0 {
		db.mu.Unlock()
		return nil
	}
	last := len(old.frozen) - 1
	p := old.frozen[last]
	masks := make(map[*piece][]uint32, len(old.masks))
	for k, v := range old.masks {
		if k != p {
			masks[k] = v
		}
	}
	p.dropped = true
	db.retained.Add(p.charged.Load())
	ids, seen := old.split.candidates()
	db.setState(newState(old.live, slices.Clone(old.frozen[:last]), masks, seen, ids))
	db.mu.Unlock()
	spans := p.part.Info().Rows
	db.stats.droppedHeads.Add(1)
	db.stats.droppedSpans.Add(uint64(spans))
	call(db.opts.Listener.HeadDropped, HeadDropped{ID: p.id, Reason: reason, Spans: spans, Bytes: p.head.Bytes(), Mark: p.mark})
	return p
}

// retire frees the log of a head that is no longer in the state, and of all older ones.
func (db *DB) retire(p *piece) {
	if err := db.wal.TruncateBefore(p.mark + 1); err != nil {
		call(db.opts.Listener.Error, fmt.Errorf("free the log of %s: %w", p.id, err))
	}
}

// dropOldest drops the oldest frozen head with its log. It reports false if there is none. The caller holds dropping.
func (db *DB) dropOldest(reason DropReason) bool {
	p := db.removeOldest(reason)
	if p == nil {
		return false
	}
	db.retire(p)
	return true
}

// mask hides the trace's rows in all parts and returns how many there were. Nobody appends meanwhile.
func (db *DB) mask(id spanid.TraceID) int {
	db.mu.Lock()
	defer db.mu.Unlock()
	old := db.state.Load()
	live := old.live.head.Part(store.KindHead)
	old.split.catchUp(live)
	masks := make(map[*piece][]uint32, len(old.masks)+1)
	for k, v := range old.masks {
		masks[k] = v
	}
	n := 0
	hide := func(p *piece, part *head.Part) {
		rows := old.rows(p, part, id)
		if len(rows) == 0 {
			return
		}
		n += len(rows)
		all := slices.Concat(masks[p], rows)
		slices.Sort(all)
		masks[p] = all
	}
	hide(old.live, live)
	for _, p := range old.frozen {
		hide(p, p.part)
	}
	if n == 0 {
		return 0
	}
	ids, seen := old.split.candidates()
	db.setState(newState(old.live, old.frozen, masks, seen, ids))
	db.stats.deletedTraces.Add(1)
	db.stats.deletedSpans.Add(uint64(n))
	return n
}

// newest returns when the newest span of a frozen head ended, but not later than the head was cut: clients' clocks may
// be ahead. A head without times counts from its cut.
func (p *piece) newest() time.Time {
	end := p.part.Info().MaxEndNano
	if end == 0 || end > uint64(max(p.frozen.UnixNano(), 0)) {
		return p.frozen
	}
	return time.Unix(0, int64(end))
}

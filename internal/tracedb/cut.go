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

// cutIf freezes the head if it is the live one still and must be cut, unless as many heads as allowed wait to be written
// as blocks.
func (db *DB) cutIf(live *piece) {
	// What a cut has to know of split traces is found out before anybody waits for it.
	if v, err := db.view(); err == nil {
		v.s.split.catchUp(v.live)
		v.Release()
	}
	db.gate.Lock()
	defer db.gate.Unlock()
	s := db.state.Load()
	if s == nil || s.live != live || db.closed || len(s.frozen) >= db.opts.Cut.MaxFrozen {
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
	p.logged = max(0, db.wal.Bytes()-db.walAtCut.Load())
	old.split.catchUp(p.part)
	s := newState(next, append([]*piece{p}, old.frozen...), old.blocks, old.masks)
	s.split = old.split.cut(s)
	db.setState(s)
	db.mu.Unlock()
	db.stats.cuts.Add(1)
	call(db.opts.Listener.HeadCut, HeadCut{
		ID: p.id, Reason: reason, Spans: p.part.Info().Rows, Traces: p.part.Traces(), Bytes: p.head.Bytes(), Mark: mark,
	})
	db.wakeFlusher()
}

// retire frees the log up to a mark that the manifest has.
func (db *DB) retire(mark uint64) {
	if !db.replayed.Load() {
		return // Open does it after the replay, which must not run beside.
	}
	if err := db.wal.TruncateBefore(mark + 1); err != nil {
		call(db.opts.Listener.Error, fmt.Errorf("free the log up to record %d: %w", mark, err))
	}
}

// mask hides the trace's rows in all parts and returns how many there were, and whether blocks have it. Nobody appends
// or replaces blocks meanwhile.
func (db *DB) mask(id spanid.TraceID) (n int, blocks bool) {
	db.mu.Lock()
	defer db.mu.Unlock()
	old := db.state.Load()
	live := old.live.head.Part(store.KindHead)
	old.split.catchUp(live)
	m := masker{db: db, old: old, id: id, masks: old.withoutMask(nil), blocks: slices.Clone(old.blocks)}
	m.head(old.live, live)
	for _, p := range old.frozen {
		m.head(p, p.part)
	}
	for i, b := range old.blocks {
		if b.erasable(id) {
			var hidden int
			m.blocks[i], hidden = db.erase(b, id)
			m.n += hidden
			blocks = true
		}
	}
	if m.n == 0 && !blocks {
		return 0, false
	}
	db.notes.drop(func(noted spanid.TraceID) bool { return noted == id })
	db.forget(id)
	s := newState(old.live, old.frozen, m.blocks, m.masks)
	s.split = old.split.deleted(s, id)
	db.setState(s)
	db.stats.deletedTraces.Add(1)
	db.stats.deletedSpans.Add(uint64(m.n))
	return m.n, blocks
}

// masker makes the parts of the next state without a trace.
type masker struct {
	db     *DB
	old    *state
	id     spanid.TraceID
	masks  map[*piece][]uint32
	blocks []*blockPiece
	n      int
}

func (m *masker) head(p *piece, part *head.Part) {
	rows := m.old.rows(p, part, m.id)
	if len(rows) == 0 {
		return
	}
	m.n += len(rows)
	all := slices.Concat(m.masks[p], rows)
	slices.Sort(all)
	m.masks[p] = all
}

// newest returns when the newest span of a frozen head ended, but not later than the head was cut: clients' clocks may
// be ahead. A head without times counts from its cut.
func (p *piece) newest() time.Time { return newestOf(p.part.Info().MaxEndNano, p.frozen) }

// newestOf returns a span's end, but not later than limit.
func newestOf(end uint64, limit time.Time) time.Time {
	if end == 0 || end > uint64(max(limit.UnixNano(), 0)) {
		return limit
	}
	return time.Unix(0, int64(end))
}

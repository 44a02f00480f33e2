package tracedb

import (
	"context"
	"fmt"
	"slices"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/block"
)

// Pin implements store.Retainer. It is refused as a whole with store.ErrFull if the pinned traces would take more than
// Retention.PinMaxBytes. A pin holds against the sampling decision; age, size and deletion are stronger.
func (db *DB) Pin(ctx context.Context, ids []spanid.TraceID) error {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, compareIDs)
	ids = slices.Compact(ids)
	db.gate.Lock()
	defer db.gate.Unlock()
	if db.closed {
		return fmt.Errorf("pin %d traces: %w", len(ids), store.ErrClosed)
	}
	db.commit.Lock()
	defer db.commit.Unlock()
	s := db.state.Load()
	ids = slices.DeleteFunc(ids, func(id spanid.TraceID) bool { return !s.pinnable(id) })
	if len(ids) == 0 {
		return nil
	}
	now, err := s.pinnedBytes(&db.notes, nil)
	if err != nil {
		return fmt.Errorf("pin %d traces: %w", len(ids), err)
	}
	then, err := s.pinnedBytes(&db.notes, ids)
	if err != nil {
		return fmt.Errorf("pin %d traces: %w", len(ids), err)
	}
	if limit := db.opts.Retention.PinMaxBytes; then > limit {
		return fmt.Errorf("pin %d traces of about %d bytes: %d of %d bytes are in use: raise retention::pin_max_mib or pin less: %w",
			len(ids), then-now, now, limit, store.ErrFull)
	}
	if _, err := db.wal.Append(ctx, pinRecord(ids)); err != nil {
		return fmt.Errorf("pin %d traces: %w", len(ids), err)
	}
	if err := db.wal.Sync(); err != nil {
		return fmt.Errorf("pin %d traces: %w", len(ids), err)
	}
	blocks, err := db.pin(ids)
	if err != nil {
		return fmt.Errorf("pin %d traces: %w", len(ids), err)
	}
	if blocks {
		db.saveLater(db.save(db.state.Load().blocks, db.mark))
		db.wakeFlusher()
	}
	return nil
}

// pinnable reports whether a part has spans of the trace that are not erased.
func (s *state) pinnable(id spanid.TraceID) bool {
	return s.inHeads(id) || slices.ContainsFunc(s.blocks, func(b *blockPiece) bool { return b.erasable(id) })
}

// pinnedBytes estimates the bytes of pinned traces, as if more were.
func (s *state) pinnedBytes(notes *headNotes, more []spanid.TraceID) (int64, error) {
	total := 0.0
	for _, b := range s.blocks {
		m := b.block.Meta()
		each := float64(m.Bytes()) / float64(max(1, m.Rows))
		add := func(id spanid.TraceID) error {
			e, _, err := b.block.Trace(background(), id)
			total += each * float64(e.Spans)
			return err
		}
		o := b.block.Overlay()
		if o != nil {
			for _, n := range o.Traces {
				if n.Flags&block.Pinned != 0 && n.Flags&block.Erased == 0 {
					if err := add(n.ID); err != nil {
						return 0, err
					}
				}
			}
		}
		for _, id := range more {
			if n, ok := o.Note(id); !b.block.MayHaveTrace(id) || ok && n.Flags&(block.Pinned|block.Erased) != 0 {
				continue
			}
			if err := add(id); err != nil {
				return 0, err
			}
		}
	}
	pinned := notes.of(func(spanid.TraceID) bool { return true })
	ids := slices.Clone(more)
	for id, n := range pinned {
		if n.flags&block.Pinned != 0 && !slices.Contains(more, id) {
			ids = append(ids, id)
		}
	}
	for _, id := range ids {
		rows := len(s.rows(s.live, s.live.head.Part(store.KindHead), id))
		for _, p := range s.frozen {
			rows += len(s.rows(p, p.part, id))
		}
		total += headSpanBytes * float64(rows)
	}
	return int64(total), nil
}

// headSpanBytes is about what a span of a head will take on disk.
const headSpanBytes = 50

// pin notes pins in blocks and heads, and reports whether blocks have one of the traces. Nobody appends or replaces
// blocks meanwhile.
func (db *DB) pin(ids []spanid.TraceID) (blocks bool, err error) {
	s := db.state.Load()
	list := slices.Clone(s.blocks)
	shown := map[spanid.TraceID]struct{}{}
	for i, b := range list {
		var notes []block.TraceNote
		e := editOverlay(b, db.now())
		for _, id := range ids {
			if !b.erasable(id) {
				continue
			}
			n, ok := e.o.Note(id)
			if !ok {
				n = block.TraceNote{ID: id, Policy: block.NoPolicy}
			}
			if n.Flags.Hidden() {
				shown[id] = struct{}{}
			}
			n.Flags, n.Time = n.Flags|block.Pinned, e.now
			notes = append(notes, n)
		}
		if len(notes) == 0 {
			continue
		}
		e.o.Set(notes...)
		noted := b.block.WithOverlay(e.o)
		hidden, err := noted.HiddenRows(background())
		if err != nil {
			db.suspect(b.block, err)
			return false, err
		}
		list[i], blocks = db.withOverlay(b, noted, hidden), true
	}
	for _, id := range ids {
		if s.inHeads(id) {
			db.notes.set(id, headNote{flags: block.Pinned})
		}
	}
	if !blocks {
		return false, nil
	}
	db.stats.removedSpans.Add(int64(rowsOf(s.blocks) - rowsOf(list)))
	db.replace(func(old *state) (*state, *splitIndex) {
		next := newState(old.live, old.frozen, list, old.masks)
		return next, old.split.shown(next, shown)
	})
	return true, nil
}

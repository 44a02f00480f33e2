package tracedb

import (
	"fmt"
	"slices"

	"github.com/bramble-tracing/bramble/internal/tracedb/internal/block"
)

// finishMerge puts the new block in the place of the old ones. The caller holds commit.
func (db *DB) finishMerge(j *job, s *state) error {
	now := make([]*blockPiece, len(j.olds))
	for i, old := range j.olds {
		at := -1
		if s != nil {
			at = slices.IndexFunc(s.blocks, func(b *blockPiece) bool { return b.id == old.id })
		}
		if at < 0 {
			return db.discard(j)
		}
		now[i] = s.blocks[at]
	}
	if j.pinnedMeanwhile(now) {
		return db.discard(j)
	}
	blocks := without(s.blocks, now)
	db.remember(j.olds)
	if j.block != nil {
		next, err := db.inherit(j, now)
		if err != nil {
			return err
		}
		next.retained = !slices.ContainsFunc(now, func(b *blockPiece) bool { return b.undecided() }) &&
			slices.ContainsFunc(now, func(b *blockPiece) bool { return b.retained })
		// In the place of the newest.
		at := slices.Index(s.blocks, now[len(now)-1])
		for _, b := range now {
			at = min(at, slices.Index(s.blocks, b))
		}
		blocks = slices.Insert(blocks, at, next)
	}
	if err := db.save(blocks, db.mark); err != nil {
		return err
	}
	alone := s.alone(j.joined, now)
	s.split.base() // The first time takes long; others must not wait for it.
	for _, b := range now {
		reserved := int64(0)
		if j.reserved > 0 {
			reserved = b.block.Meta().Bytes()
		}
		db.doom(b, reserved)
	}
	db.replace(func(old *state) (*state, *splitIndex) {
		next := newState(old.live, old.frozen, blocks, old.masks)
		return next, old.split.joined(next, alone)
	})
	db.stats.removedSpans.Add(int64(rowsOf(s.blocks) - rowsOf(blocks)))
	why := DropRewritten
	if j.block != nil && j.block.Meta().Level > now[0].block.Meta().Level {
		why = DropMerged
	}
	for _, b := range now {
		call(db.opts.Listener.BlockDropped, blockDropped(b, why))
	}
	db.repaired(j)
	if j.block == nil {
		db.stats.rewrites.Add(1)
		return nil
	}
	db.blockWritten(j)
	return j.block.Release()
}

// pinnedMeanwhile reports whether a trace was left out that is not hidden any more.
func (j *job) pinnedMeanwhile(now []*blockPiece) bool {
	for i, p := range now {
		o, began := p.block.Overlay(), j.olds[i].block.Overlay()
		if o == began || began == nil {
			continue
		}
		for _, was := range began.Traces {
			if was.Flags.Hidden() {
				if note, ok := o.Note(was.ID); !ok || !note.Flags.Hidden() {
					return true
				}
			}
		}
	}
	return false
}

// rowsOf counts the spans of blocks that are not hidden.
func rowsOf(blocks []*blockPiece) int {
	n := 0
	for _, b := range blocks {
		n += b.part.Info().Rows
	}
	return n
}

// inherit returns the new block with those notes of the old ones that are still about something: all but those of
// traces that were hidden when the writing began and are not in the new block.
func (db *DB) inherit(j *job, now []*blockPiece) (*blockPiece, error) {
	next := &block.Overlay{Block: j.block.Meta().ID}
	policies := map[string]uint16{}
	var notes []block.TraceNote
	for i, p := range now {
		o, began := p.block.Overlay(), j.olds[i].block.Overlay()
		if o == nil {
			continue
		}
		for _, note := range o.Traces {
			if was, ok := began.Note(note.ID); ok && (was.Flags.Hidden() || folds(was) && was == note) {
				continue
			}
			if note.Policy != block.NoPolicy {
				name := o.Policies[note.Policy]
				n, ok := policies[name]
				if !ok {
					n = uint16(len(next.Policies)) //nolint:gosec // overlays have fewer
					policies[name] = n
					next.Policies = append(next.Policies, name)
				}
				note.Policy = n
			}
			notes = append(notes, note)
		}
	}
	if len(notes) == 0 {
		return db.newBlockPiece(j.block, nil), nil
	}
	next.Traces = joinNotes(notes)
	noted := j.block.WithOverlay(next)
	hidden, err := noted.HiddenRows(background())
	if err != nil {
		return nil, fmt.Errorf("hide rows: %w", err)
	}
	return db.newBlockPiece(noted, hidden), nil
}

// joinNotes sorts notes and makes one of those about the same trace.
func joinNotes(notes []block.TraceNote) []block.TraceNote {
	slices.SortStableFunc(notes, func(a, b block.TraceNote) int { return slices.Compare(a.ID[:], b.ID[:]) })
	out := notes[:0]
	for _, n := range notes {
		if len(out) == 0 || out[len(out)-1].ID != n.ID {
			out = append(out, n)
			continue
		}
		last := &out[len(out)-1]
		last.Flags |= n.Flags
		last.Time = max(last.Time, n.Time)
		if last.Policy == block.NoPolicy {
			last.Policy = n.Policy
		}
	}
	return out
}

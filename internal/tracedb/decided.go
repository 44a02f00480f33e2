package tracedb

import (
	"context"
	"fmt"
	"slices"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/block"
)

// earlier returns a function that finds what was decided about traces by way of other blocks than one, and whether they are
// pinned there.
func (db *DB) earlier(v *View, but *blockPiece) func(spanid.TraceID) verdict {
	var noted, retained []*blockPiece
	for _, b := range v.s.blocks {
		if b == but {
			continue
		}
		if o := b.block.Overlay(); o != nil && len(o.Traces) > 0 {
			noted = append(noted, b)
		}
		if b.block.Meta().Decided > 0 {
			retained = append(retained, b)
		}
	}
	gone := db.remembered.Load()
	split := v.Split()
	return func(id spanid.TraceID) (out verdict) {
		for _, b := range noted {
			note, ok := b.block.Overlay().Note(id)
			if !ok || note.Flags&block.Erased != 0 {
				continue
			}
			pinned := (out.flags | note.Flags) & block.Pinned
			if note.Flags.Decided() {
				out = noteVerdict(b.block.Overlay(), note)
			}
			out.flags |= pinned
		}
		if out.flags.Decided() {
			return out
		}
		if len(retained) > 0 && split.Has(id) {
			for _, b := range retained {
				if got, ok := db.sampled(b, id); ok {
					got.flags |= out.flags
					return got
				}
			}
		}
		if note, ok := gone.Note(id); ok {
			got := noteVerdict(gone, note)
			got.flags |= out.flags
			return got
		}
		return out
	}
}

// noteVerdict returns the decision in a note.
func noteVerdict(o *block.Overlay, n block.TraceNote) verdict {
	out := verdict{flags: n.Flags & (block.Kept | block.Dropped)}
	if n.Policy != block.NoPolicy {
		out.policy = o.Policies[n.Policy]
	}
	return out
}

// sampled returns the decision about a trace that a block's files hold.
func (db *DB) sampled(b *blockPiece, id spanid.TraceID) (verdict, bool) {
	e, ok, err := b.block.Trace(background(), id)
	var policy string
	if err == nil && ok {
		policy, ok, err = b.block.SampledRow(int(e.Row))
	}
	if err != nil {
		db.suspect(b.block, err)
		return verdict{}, false
	}
	return verdict{block.Kept, policy}, ok
}

// Decision implements store.Retainer.
func (db *DB) Decision(ctx context.Context, id spanid.TraceID) (d store.Decision, ok bool, err error) {
	v, err := db.view()
	if err != nil {
		return d, false, fmt.Errorf("decision about trace %s: %w", id, err)
	}
	defer v.Release()
	for _, b := range v.s.blocks {
		if err := ctx.Err(); err != nil {
			return d, false, fmt.Errorf("decision about trace %s: %w", id, err)
		}
		o := b.block.Overlay()
		note, noted := o.Note(id)
		if noted && note.Flags&block.Erased != 0 {
			continue
		}
		if noted && note.Flags.Decided() {
			return noteVerdict(o, note).decision(), true, nil
		}
		if b.block.Meta().Decided == 0 || !b.block.MayHaveTrace(id) {
			continue
		}
		if got, ok := db.sampled(b, id); ok {
			return got.decision(), true, nil
		}
	}
	if n, ok := db.notes.get(id); ok && n.flags.Decided() {
		return verdict(n).decision(), true, nil
	}
	gone := db.remembered.Load()
	if note, ok := gone.Note(id); ok {
		return noteVerdict(gone, note).decision(), true, nil
	}
	return d, false, nil
}

// maxRemembered bounds the traces that were dropped, whose bytes are gone, and about which it is still known that they
// were, so that late spans of theirs go the same way.
const maxRemembered = 1 << 19

// remember notes the dropped traces of blocks that are about to be replaced. The caller holds commit; the next manifest
// has it.
func (db *DB) remember(gone []*blockPiece) {
	old := db.remembered.Load()
	next := &block.Overlay{Block: decisionsDir}
	if old != nil {
		next = old.Clone()
	}
	e := &overlayEditor{o: next, policies: map[string]uint16{}}
	for i, p := range next.Policies {
		e.policies[p] = uint16(i) //nolint:gosec // overlays have no more
	}
	var notes []block.TraceNote
	for _, b := range gone {
		o := b.block.Overlay()
		if o == nil {
			continue
		}
		for _, n := range o.Traces {
			if n.Flags&block.Dropped == 0 || !n.Flags.Hidden() || n.Flags&block.Erased != 0 {
				continue
			}
			v := noteVerdict(o, n)
			notes = append(notes, block.TraceNote{ID: n.ID, Flags: block.Dropped, Policy: e.policy(v.policy), Time: n.Time})
		}
	}
	if len(notes) == 0 {
		return
	}
	next.Set(notes...)
	if over := len(next.Traces) - maxRemembered; over > 0 {
		times := make([]uint64, len(next.Traces))
		for i := range next.Traces {
			times[i] = next.Traces[i].Time
		}
		slices.Sort(times)
		next.Traces = slices.DeleteFunc(next.Traces, func(n block.TraceNote) bool { return n.Time <= times[over-1] })
	}
	db.remembered.Store(next)
}

// forget takes a deleted trace out of what is remembered. The caller holds commit.
func (db *DB) forget(id spanid.TraceID) {
	old := db.remembered.Load()
	if _, ok := old.Note(id); !ok {
		return
	}
	next := old.Clone()
	next.Traces = slices.DeleteFunc(next.Traces, func(n block.TraceNote) bool { return n.ID == id })
	db.remembered.Store(next)
}

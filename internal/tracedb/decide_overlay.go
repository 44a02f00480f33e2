package tracedb

import (
	"time"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/block"
)

// overlayEditor adds notes to an overlay.
type overlayEditor struct {
	o        *block.Overlay
	policies map[string]uint16
	now      uint64
}

func editOverlay(b *blockPiece, now time.Time) *overlayEditor {
	o := b.block.Overlay()
	if o == nil {
		o = &block.Overlay{Block: b.id}
	} else {
		o = o.Clone()
	}
	e := &overlayEditor{o: o, policies: map[string]uint16{}, now: uint64(max(now.UnixNano(), 0))}
	for i, p := range o.Policies {
		e.policies[p] = uint16(i) //nolint:gosec // overlays have no more
	}
	return e
}

// maxPolicyNames is how many names an overlay takes; what a further one decided has none.
const maxPolicyNames = 1<<16 - 2

// policy returns the number of a policy's name.
func (e *overlayEditor) policy(name string) uint16 {
	if name == "" {
		return block.NoPolicy
	}
	n, ok := e.policies[name]
	if !ok {
		if len(e.o.Policies) >= maxPolicyNames {
			return block.NoPolicy
		}
		n = uint16(len(e.o.Policies)) //nolint:gosec // checked
		e.policies[name] = n
		e.o.Policies = append(e.o.Policies, name)
	}
	return n
}

// note returns the note of a trace with a decision added.
func (e *overlayEditor) note(id spanid.TraceID, v verdict) block.TraceNote {
	n, ok := e.o.Note(id)
	if !ok {
		n = block.TraceNote{ID: id}
	}
	n.Flags, n.Policy, n.Time = n.Flags|v.flags, e.policy(v.policy), e.now
	return n
}

// overlay returns the overlay of a block that leaves the window. It adds the traces that it hides to dropped.
func (l *leaver) overlay(b *blockPiece, verdicts map[spanid.TraceID]verdict, now time.Time, dropped map[spanid.TraceID]struct{}) *block.Overlay {
	e := editOverlay(b, now)
	for i := range e.o.Traces {
		n := &e.o.Traces[i]
		n.Flags &^= block.Pending
		if n.Flags.Hidden() {
			dropped[n.ID] = struct{}{}
		}
	}
	notes := make([]block.TraceNote, 0, len(l.ids)+len(l.known))
	add := func(id spanid.TraceID, v verdict) {
		n := e.note(id, v)
		notes = append(notes, n)
		if n.Flags.Hidden() {
			dropped[id] = struct{}{}
		}
	}
	for _, id := range l.ids {
		v := verdicts[id]
		v.flags |= l.pins[id].flags
		add(id, v)
	}
	for id, v := range l.known {
		add(id, v)
	}
	e.o.Set(notes...)
	return e.o
}

// pendingOverlay notes decisions for the fragments in a block that is still in the window. It returns nil if it has none.
func pendingOverlay(b *blockPiece, torn []spanid.TraceID, verdicts map[spanid.TraceID]verdict, now time.Time) *block.Overlay {
	if !b.undecided() {
		return nil
	}
	var e *overlayEditor
	var notes []block.TraceNote
	for _, id := range torn {
		note, ok := b.block.Overlay().Note(id)
		if ok && note.Flags.Decided() || !b.has(id) {
			continue
		}
		if e == nil {
			e = editOverlay(b, now)
		}
		v := verdicts[id]
		v.flags |= block.Pending
		notes = append(notes, e.note(id, v))
	}
	if e == nil {
		return nil
	}
	e.o.Set(notes...)
	return e.o
}

package tracedb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/block"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/compact"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/index"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/retain"
)

var _ store.Retainer = (*DB)(nil)

// decider is the registered store.Decider.
type decider struct {
	store.Decider
	ctx     context.Context //nolint:containedctx // The lifetime of the registration.
	stop    context.CancelFunc
	running sync.Mutex
}

// SetDecider implements store.Retainer.
func (db *DB) SetDecider(d store.Decider) (cancel func(), err error) {
	r := &decider{Decider: d}
	r.ctx, r.stop = context.WithCancel(db.stopping)
	if !db.decider.CompareAndSwap(nil, r) {
		r.stop()
		return nil, errors.New("another decider is registered: a store takes the decisions of one")
	}
	return func() {
		r.stop()
		db.decider.CompareAndSwap(r, nil)
		r.running.Lock()
		defer r.running.Unlock()
	}, nil
}

// decide asks about traces.
func (r *decider) decide(ctx context.Context, u *store.Undecided) ([]store.Decision, error) {
	r.running.Lock()
	defer r.running.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)()
	if err := r.ctx.Err(); err != nil {
		return nil, err
	}
	out, err := r.Decide(ctx, u)
	if err == nil && len(out) != len(u.Traces) {
		err = fmt.Errorf("%d decisions about %d traces", len(out), len(u.Traces))
	}
	return out, err
}

// openGrace is how long after Open a store without a decider waits for one before it takes it that there is none.
const openGrace = time.Minute

// mayDecide reports whether blocks that leave the recent window wait for decisions.
func (db *DB) mayDecide() bool {
	return db.decider.Load() != nil || db.now().Sub(db.opened) < openGrace
}

// undecided reports whether decisions about traces of the block are missing.
func (p *blockPiece) undecided() bool {
	m := p.block.Meta()
	return !p.retained && m.Level < compact.MaxLevel && p.decided+m.Decided < m.Traces
}

// countDecided counts the notes of traces whose fate is known.
func countDecided(o *block.Overlay) int {
	if o == nil {
		return 0
	}
	n := 0
	for i := range o.Traces {
		f := o.Traces[i].Flags
		if f.Decided() && f&block.Pending == 0 || f&block.Erased != 0 {
			n++
		}
	}
	return n
}

// verdict is a decision with what a note needs.
type verdict struct {
	flags  block.TraceFlags
	policy string
}

func verdictOf(d store.Decision) verdict {
	if d.Keep {
		return verdict{block.Kept, d.Policy}
	}
	return verdict{block.Dropped, d.Policy}
}

func (v verdict) decision() store.Decision {
	return store.Decision{Keep: v.flags&block.Kept != 0, Policy: v.policy}
}

// leaver is a block that leaves the recent window.
type leaver struct {
	piece *blockPiece
	ids   []spanid.TraceID           // traces without a decision
	pins  map[spanid.TraceID]verdict // those among them that are pinned in another part
	known map[spanid.TraceID]verdict // those among its traces that were decided by way of another part
}

// decideDue decides about the traces of blocks that leave the recent window and reports whether there were any.
func (db *DB) decideDue(ctx context.Context) (worked bool, err error) {
	r := db.decider.Load()
	if r == nil {
		if !db.mayDecide() {
			err = db.retainUndecided()
		}
		return false, err
	}
	v, err := db.view()
	if err != nil {
		return false, nil //nolint:nilerr // It was closed.
	}
	defer v.Release()
	start := time.Now()
	leavers, u, err := db.leavers(ctx, v)
	if err != nil || len(leavers) == 0 {
		return false, err
	}
	var decisions []store.Decision
	if len(u.Traces) > 0 {
		if decisions, err = r.decide(ctx, u); err != nil {
			return false, fmt.Errorf("decide which of %d traces are kept: %w", len(u.Traces), err)
		}
	}
	verdicts := make(map[spanid.TraceID]verdict, len(u.Traces))
	for i, id := range u.Traces {
		verdicts[id] = verdictOf(decisions[i])
	}
	e := Decided{Traces: len(u.Traces), Blocks: len(leavers), Duration: time.Since(start)}
	for _, d := range decisions {
		if d.Keep {
			e.Kept++
		}
	}
	if err := db.noteVerdicts(v, leavers, verdicts); err != nil {
		return false, err
	}
	db.stats.decided.Add(uint64(e.Traces))
	db.stats.keptTraces.Add(uint64(e.Kept))
	call(db.opts.Listener.Decided, e)
	return true, nil
}

// retainUndecided notes that blocks left the window while nobody decided, so that who decides later leaves them alone.
func (db *DB) retainUndecided() error {
	db.commit.Lock()
	defer db.commit.Unlock()
	s := db.state.Load()
	if s == nil {
		return nil
	}
	now := db.now()
	blocks, some := slices.Clone(s.blocks), false
	for i, b := range blocks {
		m := b.block.Meta()
		if b.undecided() && now.Sub(newestOf(m.MaxEnd, storedAt(m, now))) >= db.opts.Retention.Recent {
			next := *b
			next.retained = true
			blocks[i], some = &next, true
		}
	}
	if !some {
		return nil
	}
	if err := db.save(blocks, db.mark); err != nil {
		return fmt.Errorf("note what is kept without a decision: %w", err)
	}
	db.replace(func(old *state) (*state, *splitIndex) {
		next := newState(old.live, old.frozen, blocks, old.masks)
		return next, old.split.carry(next)
	})
	return nil
}

// leavers returns the blocks that leave the window and what has to be decided.
func (db *DB) leavers(ctx context.Context, v *View) ([]*leaver, *store.Undecided, error) {
	now := db.now()
	var items []retain.Item
	byID := map[string]*blockPiece{}
	for _, b := range v.s.blocks {
		m := b.block.Meta()
		if !b.undecided() || slices.ContainsFunc(v.lost, func(l loss) bool { return l.id == b.id }) {
			continue
		}
		byID[b.id] = b
		items = append(items, retain.Item{ID: b.id, Newest: newestOf(m.MaxEnd, storedAt(m, now)), Bytes: m.Bytes(), Traces: m.Traces})
	}
	u := &store.Undecided{View: v}
	var out []*leaver
	for _, it := range retain.Leaving(db.opts.Retention.Recent, now, db.maxTraces(), items) {
		l, err := db.leaver(ctx, v, byID[it.ID])
		if err != nil {
			return nil, nil, err
		}
		out = append(out, l)
		u.Traces = append(u.Traces, l.ids...)
		if l.piece.part.Info().Rows > 0 {
			u.Parts = append(u.Parts, l.piece.part)
		}
	}
	slices.SortFunc(u.Traces, compareIDs)
	u.Traces = slices.Compact(u.Traces)
	return out, u, nil
}

func compareIDs(a, b spanid.TraceID) int { return slices.Compare(a[:], b[:]) }

// leaver finds out which traces of a block are to be decided.
func (db *DB) leaver(ctx context.Context, v *View, b *blockPiece) (*leaver, error) {
	l := &leaver{piece: b, known: map[spanid.TraceID]verdict{}, pins: map[spanid.TraceID]verdict{}}
	o := b.block.Overlay()
	t := b.block.TraceIndex()
	before := db.earlier(v, b)
	var page []index.Trace
	for p := range t.Pages() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var err error
		if page, err = t.Page(p, page[:0]); err != nil {
			db.suspect(b.block, err)
			return nil, err
		}
		for i := range page {
			id := page[i].ID
			note, ok := o.Note(id)
			if ok && (note.Flags.Decided() || note.Flags&block.Erased != 0) {
				continue
			}
			if b.block.Meta().Decided > 0 {
				if _, ok, err := b.block.SampledRow(int(page[i].Row)); err != nil {
					db.suspect(b.block, err)
					return nil, err
				} else if ok {
					continue
				}
			}
			known := before(id)
			if known.flags.Decided() {
				l.known[id] = known
				continue
			}
			if known.flags != 0 {
				l.pins[id] = known
			}
			l.ids = append(l.ids, id)
		}
	}
	return l, nil
}

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

// noteVerdicts makes decisions hold for the blocks that leave, and notes them for the other fragments of their traces,
// whose time comes later.
func (db *DB) noteVerdicts(v *View, leavers []*leaver, verdicts map[spanid.TraceID]verdict) error {
	split := v.Split()
	var torn []spanid.TraceID
	for id := range verdicts {
		if !split.Has(id) {
			continue
		}
		torn = append(torn, id)
		for _, l := range leavers { // A pin on one fragment is one on all.
			note, _ := l.piece.block.Overlay().Note(id)
			v := verdicts[id]
			v.flags |= (note.Flags | l.pins[id].flags) & block.Pinned
			verdicts[id] = v
		}
	}
	db.commit.Lock()
	defer db.commit.Unlock()
	s := db.state.Load()
	if s == nil {
		return nil
	}
	blocks := slices.Clone(s.blocks)
	dropped := map[spanid.TraceID]struct{}{}
	for i, b := range blocks {
		at := slices.IndexFunc(leavers, func(l *leaver) bool { return l.piece.id == b.id })
		var next *block.Overlay
		if at >= 0 {
			next = leavers[at].overlay(b, verdicts, db.now(), dropped)
		} else {
			next = pendingOverlay(b, torn, verdicts, db.now())
		}
		if next == nil {
			continue
		}
		noted := b.block.WithOverlay(next)
		hidden, err := noted.HiddenRows(background())
		if err != nil {
			db.suspect(b.block, err)
			return fmt.Errorf("hide rows: %w", err)
		}
		blocks[i] = db.withOverlay(b, noted, hidden)
	}
	for _, id := range torn {
		if s.inHeads(id) {
			d := verdicts[id]
			db.notes.set(id, headNote{d.flags | block.Pending, d.policy})
		}
	}
	// As with deletions the overlays hold from now on. If the manifest cannot be written, it is tried again; a crash before
	// means that it is decided again, which gives the same.
	db.saveLater(db.save(blocks, db.mark))
	s.split.base()
	db.stats.removedSpans.Add(int64(rowsOf(s.blocks) - rowsOf(blocks)))
	db.replace(func(old *state) (*state, *splitIndex) {
		next := newState(old.live, old.frozen, blocks, old.masks)
		return next, old.split.without(next, func(id spanid.TraceID) bool { _, ok := dropped[id]; return ok })
	})
	return nil
}

// inHeads reports whether a head has spans of a trace.
func (s *state) inHeads(id spanid.TraceID) bool {
	if len(s.rows(s.live, s.live.head.Part(store.KindHead), id)) > 0 {
		return true
	}
	return slices.ContainsFunc(s.frozen, func(p *piece) bool { return s.has(p, id) })
}

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

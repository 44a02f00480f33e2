package tracedb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
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

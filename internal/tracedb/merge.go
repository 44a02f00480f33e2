package tracedb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/block"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/compact"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/index"
)

const (
	// mergeCache is how much of what a merge decoded is kept. It reads each row once, so that little helps.
	mergeCache = 16 << 20
	// hugeTrace is the number of spans from which on a trace is not held in memory as a whole.
	hugeTrace = 64 << 10
)

// pace is called after each piece of work in the background, with the time that it took, and gives way to others.
type pace func(ctx context.Context, worked time.Duration) error

// noPace does not wait, for work that somebody waits for.
func noPace(ctx context.Context, _ time.Duration) error { return ctx.Err() }

// mergeBlocks writes blocks, oldest first, as one, without the rows that overlays hide.
func (db *DB) mergeBlocks(ctx context.Context, olds []*blockPiece, level int, wait pace) (*job, error) {
	j, err := db.mergeOnce(ctx, olds, level, wait, false)
	if errors.Is(err, block.ErrColumns) {
		return db.mergeOnce(ctx, olds, level, wait, true)
	}
	return j, err
}

func (db *DB) mergeOnce(ctx context.Context, olds []*blockPiece, level int, wait pace, whole bool) (*job, error) {
	start := db.now()
	j := &job{olds: olds}
	m, err := db.newMerger(ctx, olds, wait, whole)
	if err != nil {
		return nil, err
	}
	defer m.close()
	plan := compact.Merge(m.inputs)
	m.inputs = nil // What is needed of them is in the plan.
	j.joined = plan.Joined
	if len(plan.Copies) == 0 && len(plan.Traces) == 0 {
		return j, nil
	}
	opts := block.WriterOptions{
		Decided: m.decided(), Level: level, FirstGroups: compact.Groups(plan.Rows()), Zstd: mergeZstd,
		GroupBytes: db.groupBytes(),
	}
	for _, p := range olds {
		meta := p.block.Meta()
		opts.Parents = append(append(opts.Parents, p.id), meta.Parents...)
		opts.WALMark = max(opts.WALMark, meta.WALMark)
		opts.Written = max(opts.Written, uint64(max(0, storedAt(meta, start).UnixNano())))
	}
	// A manifest that has to be rebuilt must know of all blocks that this one replaces, though their directories may
	// outlive those of the blocks between.
	opts.Parents = opts.Parents[:min(len(opts.Parents), maxParents)]
	j.block, err = db.writeBlock(ctx, opts, func(w *block.Writer) error { return m.write(ctx, w, plan) })
	j.copied, j.took = m.copied, db.now().Sub(start)
	return j, err
}

const (
	// maxParents bounds the list of replaced blocks in a meta.json, of which deletions can make long ones.
	maxParents = 4096
	// mergeZstd is the compression level of what is written anew.
	mergeZstd = 3
)

// storedAt returns when the newest spans of a block were written the first time.
func storedAt(m *block.Meta, now time.Time) time.Time {
	if m.Written > 0 {
		return time.Unix(0, int64(m.Written)) //nolint:gosec // it was one
	}
	return blockTime(m.ID, now)
}

// merger reads blocks and writes them as one.
type merger struct {
	db     *DB
	reader *block.Reader
	blocks []*block.Block
	inputs []compact.Input
	wait   pace
	copied int

	read, ordered store.Batch
	places        []place
	rows          []uint32
}

// newMerger opens the blocks a second time, so that reading all of them does not drive out of the cache what queries
// use. They must be in use until close.
func (db *DB) newMerger(ctx context.Context, olds []*blockPiece, wait pace, whole bool) (*merger, error) {
	m := &merger{db: db, wait: wait}
	var err error
	if m.reader, err = block.NewReader(db.opts.FS, block.NewLRU(mergeCache), 1); err != nil {
		return nil, err
	}
	for _, p := range olds {
		b, err := m.reader.Open(p.block.Dir())
		if err != nil {
			m.close()
			return nil, m.damaged(p.block, err)
		}
		b = b.WithOverlay(p.block.Overlay())
		m.blocks = append(m.blocks, b)
		in, err := mergeInput(ctx, b)
		if err != nil {
			m.close()
			return nil, m.damaged(p.block, err)
		}
		in.Whole = in.Whole || whole
		m.inputs = append(m.inputs, in)
	}
	return m, nil
}

// mergeInput describes a block to compact.Merge.
func mergeInput(ctx context.Context, b *block.Block) (compact.Input, error) {
	meta := b.Meta()
	in := compact.Input{Traces: make([]index.Trace, 0, meta.Traces)}
	for i := range meta.Groups {
		in.Groups = append(in.Groups, meta.Groups[i].Rows)
	}
	if o := b.Overlay(); o != nil {
		in.Whole = len(o.Patches) > 0
		in.Hidden = func(id spanid.TraceID) bool {
			note, ok := o.Note(id)
			return ok && note.Flags.Hidden()
		}
	}
	t := b.TraceIndex()
	for p := range t.Pages() {
		if err := ctx.Err(); err != nil {
			return in, err
		}
		var err error
		if in.Traces, err = t.Page(p, in.Traces); err != nil {
			return in, err
		}
	}
	return in, nil
}

// decided returns a function that finds which traces are kept by decision, nil if none is. Of pinned traces and of those
// whose decision does not hold yet the overlay keeps the note.
func (m *merger) decided() func(spanid.TraceID) (string, bool) {
	some := false
	for _, b := range m.blocks {
		some = some || b.Meta().Decided > 0 || countDecided(b.Overlay()) > 0
	}
	if !some {
		return nil
	}
	return func(id spanid.TraceID) (string, bool) {
		for _, b := range m.blocks {
			o := b.Overlay()
			if n, ok := o.Note(id); ok && folds(n) {
				return noteVerdict(o, n).policy, true
			}
			if b.Meta().Decided == 0 {
				continue
			}
			e, ok, err := b.Trace(background(), id)
			if err != nil || !ok {
				continue // Reading its rows tells of damage.
			}
			if policy, ok, err := b.SampledRow(int(e.Row)); err == nil && ok {
				return policy, true
			}
		}
		return "", false
	}
}

// folds reports whether a merge writes what a note says into the block.
func folds(n block.TraceNote) bool {
	return n.Flags&block.Kept != 0 && n.Flags&(block.Pinned|block.Pending|block.Erased) == 0
}

func (m *merger) close() {
	for _, b := range m.blocks {
		_ = b.Release() // It was only read.
	}
	m.reader.Close()
}

// damaged makes the store look after a block in which damage was found.
func (m *merger) damaged(b *block.Block, err error) error {
	if _, ok := errors.AsType[*store.CorruptionError](err); ok {
		m.db.suspect(b, err)
	}
	return err
}

// write does what the plan says.
func (m *merger) write(ctx context.Context, w *block.Writer, plan *compact.Merged) error {
	for i := range plan.Copies {
		c := &plan.Copies[i]
		start := time.Now()
		b := m.blocks[c.Input]
		if err := w.CopyGroup(ctx, b, c.Group, c.Traces); err != nil {
			return m.damaged(b, err)
		}
		m.copied += b.Meta().Groups[c.Group].Rows
		c.Traces = nil
		if err := m.wait(ctx, time.Since(start)); err != nil {
			return err
		}
	}
	sizes := make([]int, len(plan.Traces))
	for i := range plan.Traces {
		sizes[i] = plan.Traces[i].Spans
	}
	order := compact.Align(sizes, compact.Groups(plan.Rows()))
	for len(order) > 0 {
		n, rows := 0, 0
		for n < len(order) && (n == 0 || rows+sizes[order[n]] <= flushRows) {
			rows += sizes[order[n]]
			n++
		}
		start := time.Now()
		if err := m.writeTraces(ctx, w, plan, order[:n]); err != nil {
			return err
		}
		if err := m.wait(ctx, time.Since(start)); err != nil {
			return err
		}
		order = order[n:]
	}
	return nil
}

// writeTraces writes some traces of the plan.
func (m *merger) writeTraces(ctx context.Context, w *block.Writer, plan *compact.Merged, traces []int) error {
	if t := &plan.Traces[traces[0]]; t.Spans > hugeTrace {
		return m.writeHuge(ctx, w, plan.Pieces(t))
	}
	var ranges []placed
	at := uint32(0)
	for _, i := range traces {
		for _, p := range plan.Pieces(&plan.Traces[i]) {
			ranges = append(ranges, placed{p, at})
			at += p.Spans
		}
	}
	if err := m.readRows(ctx, ranges, int(at)); err != nil {
		return err
	}
	out := m.ordered.Spans[:0]
	from := 0
	for _, i := range traces {
		t := &plan.Traces[i]
		spans := m.ordered.Spans[from : from+t.Spans]
		from += t.Spans
		if len(plan.Pieces(t)) > 1 {
			spans = joinSpans(spans)
		}
		out = append(out, spans...) // Never beyond what was read.
	}
	m.ordered.Spans = out
	return w.Append(ctx, &m.ordered)
}

// placed is a piece and where its rows go.
type placed struct {
	compact.Piece
	at uint32
}

// place is a row and where it goes.
type place struct{ row, at uint32 }

// readRows reads pieces into m.ordered, input by input and each in the order of its rows, which is quickest.
func (m *merger) readRows(ctx context.Context, ranges []placed, rows int) error {
	m.read.Reset()
	m.ordered.Spans = slices.Grow(m.ordered.Spans[:0], rows)[:rows]
	for input := range m.blocks {
		m.places, m.rows = m.places[:0], m.rows[:0]
		for _, r := range ranges {
			if r.Input == input {
				for i := range r.Spans {
					m.places = append(m.places, place{r.Row + i, r.at + i})
				}
			}
		}
		if len(m.places) == 0 {
			continue
		}
		slices.SortFunc(m.places, func(a, b place) int { return cmp.Compare(a.row, b.row) })
		for _, p := range m.places {
			m.rows = append(m.rows, p.row)
		}
		from := len(m.read.Spans)
		if err := m.blocks[input].Spans(ctx, m.rows, &m.read); err != nil {
			return m.damaged(m.blocks[input], err)
		}
		for i, p := range m.places {
			m.ordered.Spans[p.at] = m.read.Spans[from+i]
		}
	}
	m.ordered.Resources, m.ordered.Scopes = m.read.Resources, m.read.Scopes
	return nil
}

// joinSpans sorts the spans of one trace by start and keeps one of each id and kind, that with the most attributes, as
// View.Trace does. It works in place.
func joinSpans(spans []store.Span) []store.Span {
	seen := make(map[spanKey]int, len(spans))
	kept := spans[:0]
	for i := range spans {
		s := spans[i]
		key := spanKey{s.SpanID, s.Kind}
		at, dup := seen[key]
		switch {
		case !dup:
			seen[key] = len(kept)
			kept = append(kept, s)
		case len(s.Attrs) > len(kept[at].Attrs):
			kept[at] = s
		}
	}
	slices.SortStableFunc(kept, func(a, b store.Span) int { return cmp.Compare(a.StartNano, b.StartNano) })
	return kept
}

// writeHuge writes a trace piece by piece. Of spans with the same id and kind the first is kept.
func (m *merger) writeHuge(ctx context.Context, w *block.Writer, pieces []compact.Piece) error {
	var seen map[spanKey]struct{}
	if len(pieces) > 1 {
		seen = make(map[spanKey]struct{})
	}
	for _, p := range pieces {
		for from := uint32(0); from < p.Spans; from += flushRows {
			start := time.Now()
			n := min(flushRows, p.Spans-from)
			err := m.readRows(ctx, []placed{{compact.Piece{Input: p.Input, Row: p.Row + from, Spans: n}, 0}}, int(n))
			if err != nil {
				return err
			}
			if seen != nil {
				m.ordered.Spans = slices.DeleteFunc(m.ordered.Spans, func(s store.Span) bool {
					key := spanKey{s.SpanID, s.Kind}
					_, dup := seen[key]
					seen[key] = struct{}{}
					return dup
				})
			}
			if err := w.Append(ctx, &m.ordered); err != nil {
				return err
			}
			if err := m.wait(ctx, time.Since(start)); err != nil {
				return err
			}
		}
	}
	return nil
}

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
		db.doom(b)
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

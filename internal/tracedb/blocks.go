package tracedb

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"time"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/block"
)

// blockPiece is a block with an overlay as states have it. It is immutable: a deletion makes another one.
type blockPiece struct {
	id     string
	block  *block.Block // with the overlay; states hold references
	hidden []uint32     // rows of the traces that the overlay hides, ascending
	part   store.Part   // without them
	// decided is how many traces the overlay has notes of that settle what becomes of them.
	decided int
	// retained says that the block left the recent window while there was no decider.
	retained bool
}

// withOverlay returns the block with another overlay, which hides rows.
func (db *DB) withOverlay(p *blockPiece, b *block.Block, hidden []uint32) *blockPiece {
	next := db.newBlockPiece(b, hidden)
	next.retained = p.retained
	return next
}

func (db *DB) newBlockPiece(b *block.Block, hidden []uint32) *blockPiece {
	guarded := &guardedBlock{Block: b, damaged: db.suspect}
	return &blockPiece{id: b.Meta().ID, block: b, hidden: hidden, part: maskPart(guarded, hidden), decided: countDecided(b.Overlay())}
}

// blockDir returns the directory of a block.
func (db *DB) blockDir(id string) string { return filepath.Join(db.opts.Dir, blocksDir, id) }

// has reports whether the block has spans of the trace that are not hidden. It says yes where it cannot know, because
// the block is damaged: it is for finding traces that may be in several parts.
func (p *blockPiece) has(id spanid.TraceID) bool {
	if !p.block.MayHaveTrace(id) {
		return false
	}
	if note, ok := p.block.Overlay().Note(id); ok && note.Flags.Hidden() {
		return false
	}
	_, ok, err := p.block.Trace(background(), id)
	return ok || err != nil
}

// erasable reports whether the block has the trace and it is not erased already.
func (p *blockPiece) erasable(id spanid.TraceID) bool {
	if !p.block.MayHaveTrace(id) {
		return false
	}
	if note, ok := p.block.Overlay().Note(id); ok && note.Flags&block.Erased != 0 {
		return false
	}
	_, ok, err := p.block.Trace(background(), id)
	return ok || err != nil
}

// erase returns the block without a trace, and how many spans that hides.
func (db *DB) erase(p *blockPiece, id spanid.TraceID) (*blockPiece, int) {
	note, _ := p.block.Overlay().Note(id)
	was := note.Flags.Hidden()
	next := p.noted(db.now(), id)
	e, ok, err := p.block.Trace(background(), id)
	if err != nil {
		db.suspect(p.block, err) // The note stays for who repairs the block.
	}
	if !ok || was {
		return db.withOverlay(p, next, p.hidden), 0
	}
	hidden := slices.Clone(p.hidden)
	for r := range e.Spans {
		hidden = append(hidden, e.Row+r)
	}
	slices.Sort(hidden)
	return db.withOverlay(p, next, hidden), int(e.Spans)
}

// noted returns the block with an overlay in which the traces are erased.
func (p *blockPiece) noted(now time.Time, ids ...spanid.TraceID) *block.Block {
	o := p.block.Overlay()
	if o == nil {
		o = &block.Overlay{Block: p.id}
	} else {
		o = o.Clone()
	}
	for _, id := range ids {
		note, ok := o.Note(id)
		if !ok {
			note = block.TraceNote{ID: id, Policy: block.NoPolicy}
		}
		note.Flags |= block.Erased
		note.Time = uint64(max(now.UnixNano(), 0))
		o.Set(note)
	}
	return p.block.WithOverlay(o)
}

// erasedSince returns when the oldest erasure that still has its bytes in the block was asked for.
func (p *blockPiece) erasedSince() (time.Time, bool) {
	o := p.block.Overlay()
	if o == nil {
		return time.Time{}, false
	}
	oldest := ^uint64(0)
	for i := range o.Traces {
		if o.Traces[i].Flags&block.Erased != 0 {
			oldest = min(oldest, o.Traces[i].Time)
		}
	}
	return time.Unix(0, int64(oldest)), oldest != ^uint64(0)
}

// guardedBlock reports damage that reading finds.
type guardedBlock struct {
	*block.Block
	damaged func(b *block.Block, err error)
}

func (g *guardedBlock) check(err error) error {
	var corrupt *store.CorruptionError
	if err != nil && errors.As(err, &corrupt) {
		g.damaged(g.Block, err)
	}
	return err
}

// Filter implements store.Part.
func (g *guardedBlock) Filter(ctx context.Context, granule int, p *store.Predicate, sel *store.Bitmap) error {
	return g.check(g.Block.Filter(ctx, granule, p, sel))
}

// Read implements store.Part.
func (g *guardedBlock) Read(ctx context.Context, granule int, c store.Column, sel *store.Bitmap, dst *store.Vector) error {
	return g.check(g.Block.Read(ctx, granule, c, sel, dst))
}

// Pick implements store.Picker.
func (g *guardedBlock) Pick(ctx context.Context, granule int, c store.Column, sel *store.Bitmap, dst *store.Vector) error {
	return g.check(g.Block.Pick(ctx, granule, c, sel, dst))
}

// TraceRows implements store.Part.
func (g *guardedBlock) TraceRows(ctx context.Context, id spanid.TraceID, dst []uint32) ([]uint32, error) {
	rows, err := g.Block.TraceRows(ctx, id, dst)
	return rows, g.check(err)
}

// Spans implements store.Part.
func (g *guardedBlock) Spans(ctx context.Context, rows []uint32, dst *store.Batch) error {
	return g.check(g.Block.Spans(ctx, rows, dst))
}

// Sizes implements store.Sizer.
func (g *guardedBlock) Sizes(ctx context.Context, granule int, sel *store.Bitmap, dst []int) ([]int, error) {
	sizes, err := g.Block.Sizes(ctx, granule, sel, dst)
	return sizes, g.check(err)
}

// EachTrace implements store.TraceLister.
func (g *guardedBlock) EachTrace(ctx context.Context, first int, f func(spanid.TraceID)) (int, error) {
	n, err := g.Block.EachTrace(ctx, first, f)
	return n, g.check(err)
}

// TraceIDs implements store.TraceReader.
func (g *guardedBlock) TraceIDs(ctx context.Context, granule int, sel *store.Bitmap, dst []spanid.TraceID) ([]spanid.TraceID, error) {
	ids, err := g.Block.TraceIDs(ctx, granule, sel, dst)
	return ids, g.check(err)
}

// Counts implements store.Counter.
func (g *guardedBlock) Counts(ctx context.Context, n int) (*store.RangeCounts, error) {
	counts, err := g.Block.Counts(ctx, n)
	return counts, g.check(err)
}

// Attributes implements store.Part.
func (g *guardedBlock) Attributes(ctx context.Context) ([]store.AttributeInfo, error) {
	infos, err := g.Block.Attributes(ctx)
	return infos, g.check(err)
}

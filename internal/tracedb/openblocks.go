package tracedb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/block"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/index"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/manifest"
)

// openBlocks reads the manifest, or makes it again from the blocks, opens the blocks and removes what no manifest names.
// It returns the blocks newest first, with a reference each.
func (db *DB) openBlocks(ctx context.Context) ([]*blockPiece, error) {
	dir := filepath.Join(db.opts.Dir, blocksDir)
	if err := fsx.MkdirAllSync(db.opts.FS, dir); err != nil {
		return nil, err
	}
	m, bad, err := db.loadManifest(dir)
	if err != nil {
		return nil, err
	}
	if err := db.openDecisions(m); err != nil {
		return nil, err
	}
	db.sequence, db.mark = m.Sequence, m.WALMark
	db.markNow.Store(m.WALMark)
	rebuilt := bad != nil
	var blocks []*blockPiece
	for _, e := range slices.Backward(m.Blocks) {
		if err := ctx.Err(); err != nil {
			releaseAll(blocks)
			return nil, err
		}
		b, err := db.openOrSalvage(ctx, e)
		var corrupt *store.CorruptionError
		switch {
		case errors.As(err, &corrupt) && !errors.Is(err, block.ErrVersion):
			if bad == nil {
				bad = map[string]error{}
			}
			bad[e.ID] = err
		case err != nil:
			releaseAll(blocks)
			return nil, err
		default:
			blocks = append(blocks, b)
			n := b.block.Meta().Bytes()
			db.ledger.add(func(l *ledger) { l.flow.Opened, l.flow.Now = l.flow.Opened+n, l.flow.Now+n })
			db.spansOpened += int64(b.part.Info().Rows)
		}
	}
	for id, why := range bad {
		db.quarantine(id, why)
	}
	if rebuilt || len(bad) > 0 || m.Sequence == 0 {
		if err := db.save(blocks, db.mark); err != nil {
			releaseAll(blocks)
			return nil, err
		}
	}
	db.removeLeftovers(dir, blocks, bad)
	return blocks, nil
}

// openDecisions reads what is remembered about traces that are in no block any more. If it is damaged it is given up:
// late spans of those traces are then decided about anew.
func (db *DB) openDecisions(m *manifest.Manifest) error {
	dir := db.overlayDir(decisionsDir)
	if err := fsx.MkdirAllSync(db.opts.FS, dir); err != nil {
		return err
	}
	if m.Decisions == nil {
		return nil
	}
	o, err := block.ReadOverlay(db.opts.FS, dir, *m.Decisions)
	if corrupt, ok := errors.AsType[*store.CorruptionError](err); ok {
		db.corrupt(corrupt)
		db.catalog[decisionsDir] = &saved{tried: uint64(db.now().UnixNano())}
		return nil
	}
	if err != nil {
		return fmt.Errorf("read decisions: %w", err)
	}
	db.remembered.Store(o)
	db.catalog[decisionsDir] = &saved{overlay: o, ref: m.Decisions, tried: o.Seq + 1<<16}
	return nil
}

// loadManifest returns the manifest. If it is damaged or missing it is rebuilt, and bad, which is not nil then, has the
// blocks that cannot be read.
func (db *DB) loadManifest(blocks string) (m *manifest.Manifest, bad map[string]error, err error) {
	m, err = manifest.Load(db.opts.FS, db.opts.Dir)
	var corrupt *store.CorruptionError
	switch {
	case err == nil:
		return m, nil, nil
	case errors.As(err, &corrupt):
		db.corrupt(corrupt)
		path := filepath.Join(db.opts.Dir, manifest.File)
		if err := db.opts.FS.Rename(path, path+".bad"); err != nil {
			return nil, nil, fmt.Errorf("keep the damaged manifest: %w", err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, nil, err
	}
	return manifest.Rebuild(db.opts.FS, blocks, db.overlayDir(decisionsDir))
}

// openOrSalvage opens a block. If only its meta, trace index or catalogue are damaged it is opened without them, to be
// repaired later.
func (db *DB) openOrSalvage(ctx context.Context, e manifest.Block) (*blockPiece, error) {
	dir := db.blockDir(e.ID)
	p, damage := db.openBlock(ctx, e, db.reader.Open)
	var corrupt *store.CorruptionError
	if damage == nil || !errors.As(damage, &corrupt) || errors.Is(damage, block.ErrVersion) {
		return p, damage
	}
	bad, err := block.RestoreMeta(db.opts.FS, dir)
	if err != nil {
		return nil, errors.Join(damage, err)
	}
	if bad != nil {
		db.tellRepaired(BlockRepaired{ID: e.ID, As: e.ID, Err: bad})
		if p, damage = db.openBlock(ctx, e, db.reader.Open); damage == nil {
			return p, nil
		}
	}
	p, err = db.openBlock(ctx, e, func(dir string) (*block.Block, error) { return db.reader.Salvage(ctx, dir) })
	if err != nil {
		return nil, errors.Join(damage, err)
	}
	db.suspect(p.block, damage)
	return p, nil
}

// openBlock opens a block with its overlay.
func (db *DB) openBlock(ctx context.Context, e manifest.Block, open func(dir string) (*block.Block, error)) (*blockPiece, error) {
	dir := db.blockDir(e.ID)
	b, err := open(dir)
	if err != nil {
		return nil, err
	}
	if got := b.Meta().ID; got != e.ID {
		return nil, errors.Join(b.Release(), &store.CorruptionError{Path: dir, Err: fmt.Errorf("it holds block %s", got)})
	}
	if e.Overlay == nil {
		db.catalog[e.ID] = &saved{}
		p := db.newBlockPiece(b, nil)
		p.retained = e.Retained
		return p, nil
	}
	o, err := block.ReadOverlay(db.opts.FS, dir, *e.Overlay)
	if err != nil {
		return nil, errors.Join(err, b.Release())
	}
	noted := b.WithOverlay(o)
	hidden, err := noted.HiddenRows(ctx)
	if err != nil {
		return nil, errors.Join(err, b.Release())
	}
	// A later overlay may have been written without getting into a manifest; the next one has yet another number.
	db.catalog[e.ID] = &saved{overlay: o, ref: e.Overlay, tried: o.Seq + 1<<16}
	p := db.newBlockPiece(noted, hidden)
	p.retained = e.Retained
	return p, nil
}

// removeLeftovers removes directories that are not blocks of the store: not completed, not completely removed, or not
// in the manifest, in which case their spans are in the log or were not wanted any more. Damaged ones that could not be moved
// to quarantine stay.
func (db *DB) removeLeftovers(dir string, blocks []*blockPiece, bad map[string]error) {
	list, err := db.opts.FS.ReadDir(dir)
	if err != nil {
		call(db.opts.Listener.Error, fmt.Errorf("look for leftover blocks: %w", err))
		return
	}
	known := make(map[string]bool, len(blocks))
	for _, b := range blocks {
		known[b.id] = true
	}
	for _, e := range list {
		if _, damaged := bad[e.Name]; damaged {
			continue
		}
		if known[e.Name] || !leftover(e.Name) && !manifest.ValidID(e.Name) {
			continue
		}
		if err := removeBlock(db.opts.FS, filepath.Join(dir, e.Name)); err != nil {
			call(db.opts.Listener.Error, err)
		}
	}
}

// cursor walks over the traces of a block in the order of their ids.
type cursor struct {
	b    *blockPiece
	page int
	buf  []index.Trace
	at   int
}

// next goes to the next trace; it reports false at the end.
func (c *cursor) next() (bool, error) {
	c.at++
	for c.at >= len(c.buf) {
		t := c.b.block.TraceIndex()
		if c.page >= t.Pages() {
			return false, nil
		}
		var err error
		if c.buf, err = t.Page(c.page, c.buf[:0]); err != nil {
			return false, err
		}
		c.page, c.at = c.page+1, 0
	}
	return true, nil
}

func (c *cursor) id() *spanid.TraceID { return &c.buf[c.at].ID }

// splitAmong finds the traces that are in more than one block, by merging the blocks' indexes.
func (db *DB) splitAmong(blocks []*blockPiece) traceIDs {
	out := traceIDs{}
	var heap cursorHeap
	advance := func(c *cursor) {
		ok, err := c.next()
		if err != nil {
			db.suspect(c.b.block, err)
		}
		if ok {
			heap.push(c)
		}
	}
	for _, b := range blocks {
		if !b.block.Acquire() {
			continue // It was dropped before anybody asked.
		}
		defer b.block.Release() //nolint:errcheck // It was only read.
		advance(&cursor{b: b, at: -1})
	}
	var last spanid.TraceID
	var holder *blockPiece
	for i := 0; len(heap) > 0; i++ {
		if i%4096 == 0 && db.stopping.Err() != nil {
			return out
		}
		c := heap.pop()
		if note, ok := c.b.block.Overlay().Note(*c.id()); !ok || !note.Flags.Hidden() {
			if holder != nil && last == *c.id() {
				out[last] = struct{}{}
			}
			last, holder = *c.id(), c.b
		}
		advance(c)
	}
	return out
}

// cursorHeap has the cursor with the smallest id first.
type cursorHeap []*cursor

func (h cursorHeap) less(i, j int) bool { return bytes.Compare(h[i].id()[:], h[j].id()[:]) < 0 }

func (h *cursorHeap) push(c *cursor) {
	*h = append(*h, c)
	for i := len(*h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h.less(i, up) {
			return
		}
		(*h)[i], (*h)[up] = (*h)[up], (*h)[i]
		i = up
	}
}

func (h *cursorHeap) pop() *cursor {
	s := *h
	top := s[0]
	s[0] = s[len(s)-1]
	*h = s[:len(s)-1]
	for i := 0; ; {
		least := i
		for _, c := range [...]int{2*i + 1, 2*i + 2} {
			if c < len(*h) && h.less(c, least) {
				least = c
			}
		}
		if least == i {
			return top
		}
		(*h)[i], (*h)[least] = (*h)[least], (*h)[i]
		i = least
	}
}

package tracedb

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/bramble-tracing/bramble/internal/tracedb/internal/block"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/manifest"
)

// saved is what the manifest says about a block.
type saved struct {
	overlay *block.Overlay // as in memory
	ref     *block.OverlayRef
	// tried is the highest number of an overlay file that may exist. A name is not used twice, since an earlier manifest,
	// which a crash may bring back, can name it with other contents.
	tried uint64
}

// save writes a manifest that names the blocks (newest first) and the mark, and before it the overlays that changed.
// The caller holds commit. After an error either manifest may be found by the next Open.
func (db *DB) save(blocks []*blockPiece, mark uint64) error {
	m := &manifest.Manifest{Version: manifest.Version, Sequence: db.sequence + 1, WALMark: mark, Blocks: []manifest.Block{}}
	next := make(map[string]*saved, len(blocks))
	var changed []string
	for _, b := range slices.Backward(blocks) {
		e := db.catalog[b.id]
		if e == nil {
			e = &saved{}
			db.catalog[b.id] = e
		}
		next[b.id] = e
		if o := b.block.Overlay(); o != e.overlay {
			var err error
			if next[b.id], err = db.saveOverlay(b.id, o, e); err != nil {
				return fmt.Errorf("save manifest: %w", err)
			}
			changed = append(changed, b.id)
		}
		m.Blocks = append(m.Blocks, manifest.Block{ID: b.id, Level: b.block.Meta().Level, Retained: b.retained, Overlay: next[b.id].ref})
	}
	if o := db.remembered.Load(); o != nil {
		e := db.catalog[decisionsDir]
		if e == nil {
			e = &saved{}
			db.catalog[decisionsDir] = e
		}
		next[decisionsDir] = e
		if o != e.overlay {
			var err error
			if next[decisionsDir], err = db.saveOverlay(decisionsDir, o, e); err != nil {
				return fmt.Errorf("save manifest: %w", err)
			}
			changed = append(changed, decisionsDir)
		}
		m.Decisions = next[decisionsDir].ref
	}
	if err := manifest.Save(db.opts.FS, db.opts.Dir, m); err != nil {
		return fmt.Errorf("save manifest: %w", err)
	}
	db.sequence, db.mark, db.catalog = m.Sequence, mark, next
	db.markNow.Store(mark)
	db.unsaved.Store(false)
	for _, id := range changed {
		if err := block.RemoveOverlays(db.opts.FS, db.overlayDir(id), *next[id].ref); err != nil {
			call(db.opts.Listener.Error, fmt.Errorf("remove old overlays of block %s: %w", id, err))
		}
	}
	return nil
}

// overlayDir returns the directory of the overlays of a block, or of the decisions that outlive blocks.
func (db *DB) overlayDir(id string) string {
	if id == decisionsDir {
		return filepath.Join(db.opts.Dir, decisionsDir)
	}
	return db.blockDir(id)
}

// saveOverlay writes an overlay under a new number.
func (db *DB) saveOverlay(id string, o *block.Overlay, e *saved) (*saved, error) {
	e.tried++
	numbered := *o
	numbered.Seq = e.tried
	ref, err := block.WriteOverlay(db.opts.FS, db.overlayDir(id), &numbered)
	if err != nil {
		return nil, err
	}
	return &saved{overlay: o, ref: &ref, tried: e.tried}, nil
}

// saveLater notes that what is in memory has to be saved again, if err says that it was not.
func (db *DB) saveLater(err error) {
	if err != nil {
		db.unsaved.Store(true)
		call(db.opts.Listener.Error, err)
	}
}

// saveAgain saves what an earlier attempt did not.
func (db *DB) saveAgain() error {
	db.commit.Lock()
	defer db.commit.Unlock()
	s := db.state.Load()
	if s == nil || !db.unsaved.Load() {
		return nil
	}
	return db.save(s.blocks, db.mark)
}

// replace publishes a state in which frozen heads and blocks are gone and others there instead. The index of split
// traces is made by split.
func (db *DB) replace(change func(old *state) (*state, *splitIndex)) {
	db.mu.Lock()
	defer db.mu.Unlock()
	old := db.state.Load()
	s, split := change(old)
	s.split = split
	db.setState(s)
}

// release is called for a frozen head that is about to leave the state. The caller holds mu.
func (db *DB) leave(p *piece) {
	p.dropped = true
	db.retained.Add(p.charged.Load())
}

// doom makes the directory of a block go when the last view of it does, and gives back then what was reserved for it. The
// block is not in the manifest any more, but still in the state.
func (db *DB) doom(b *blockPiece, reserved int64) {
	dir, bytes := b.block.Dir(), b.block.Meta().Bytes()
	db.ledger.add(func(l *ledger) { l.doomed += bytes })
	b.block.OnZero(func() { db.throwAway(discarded{dir, bytes, reserved}) })
}

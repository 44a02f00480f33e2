package tracedb

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/retain"
)

// reasonFile in a quarantined directory says what is wrong with it.
const reasonFile = "reason.txt"

// suspects are the blocks in which readers found damage, until the flusher takes them out of use.
type suspects struct {
	mu   sync.Mutex
	list map[string]error
}

// suspect notes that a block is damaged.
func (db *DB) suspect(id string, err error) {
	db.suspects.mu.Lock()
	if db.suspects.list == nil {
		db.suspects.list = map[string]error{}
	}
	if db.suspects.list[id] == nil {
		db.suspects.list[id] = err
	}
	db.suspects.mu.Unlock()
	db.wakeFlusher()
}

// quarantineSuspects takes damaged blocks out of use.
func (db *DB) quarantineSuspects() error {
	db.suspects.mu.Lock()
	list := db.suspects.list
	db.suspects.list = nil
	db.suspects.mu.Unlock()
	if len(list) == 0 {
		return nil
	}
	db.commit.Lock()
	defer db.commit.Unlock()
	s := db.state.Load()
	if s == nil {
		return nil
	}
	var bad []*blockPiece
	for _, b := range s.blocks {
		if err := list[b.id]; err != nil {
			bad = append(bad, b)
			db.quarantine(b.id, err)
		}
	}
	if len(bad) == 0 {
		return nil // They were dropped or written anew.
	}
	rest := without(s.blocks, bad)
	err := db.save(rest, db.mark)
	// Also when the manifest could not be written: it names directories that are not there, which Open knows.
	db.removeBlocks(bad, rest)
	db.unsaved.Store(err != nil)
	return err
}

// without returns the blocks that are not in gone.
func without(blocks, gone []*blockPiece) []*blockPiece {
	return slices.DeleteFunc(slices.Clone(blocks), func(b *blockPiece) bool { return slices.Contains(gone, b) })
}

// removeBlocks publishes a state without some blocks. The caller holds commit.
func (db *DB) removeBlocks(gone, rest []*blockPiece) {
	db.replace(func(old *state) (*state, *splitIndex) {
		next := newState(old.live, old.frozen, rest, old.masks)
		return next, old.split.without(next, hadBlock(gone))
	})
}

// quarantine moves a block's directory away, with the reason in it, and tells.
func (db *DB) quarantine(id string, why error) {
	err := moveToQuarantine(db.opts.FS, db.opts.Dir, id, why)
	db.stats.quarantined.Add(1)
	db.stats.corrupts.Add(1)
	call(db.opts.Listener.BlockQuarantined, BlockQuarantined{ID: id, Err: why, Path: filepath.Join(db.opts.Dir, quarantineDir, id)})
	if err != nil {
		call(db.opts.Listener.Error, fmt.Errorf("quarantine block %s: %w", id, err))
	}
	if corrupt, ok := errors.AsType[*store.CorruptionError](why); ok {
		call(db.opts.Listener.Corrupt, corrupt)
	}
}

func moveToQuarantine(fsys fsx.FS, dir, id string, why error) error {
	from, to := filepath.Join(dir, blocksDir, id), filepath.Join(dir, quarantineDir, id)
	if _, err := fsys.Stat(from); errors.Is(err, fs.ErrNotExist) {
		return nil // There is nothing to move.
	}
	if err := fsx.WriteFileAtomic(fsys, filepath.Join(from, reasonFile), []byte(why.Error()+"\n")); err != nil {
		return err
	}
	if err := fsx.MkdirAllSync(fsys, filepath.Dir(to)); err != nil {
		return err
	}
	if err := fsys.Rename(from, to); err != nil {
		return err
	}
	return errors.Join(fsys.SyncDir(filepath.Dir(to)), fsys.SyncDir(filepath.Dir(from)))
}

func blockDropped(b *blockPiece, reason DropReason) BlockDropped {
	m := b.block.Meta()
	return BlockDropped{ID: b.id, Reason: reason, Spans: b.part.Info().Rows, Bytes: m.Bytes()}
}

var dropReasons = map[retain.Reason]DropReason{retain.Age: DropAge, retain.Size: DropSize, retain.Disk: DropDisk}

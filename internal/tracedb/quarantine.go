package tracedb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/block"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/retain"
)

// reasonFile in a quarantined directory says what is wrong with it.
const reasonFile = "reason.txt"

// repairJob looks at the oldest damaged block. Writing it anew makes everything again that can be made from its tables:
// trace index, catalogue, bloom filters, page indexes and sums. If that does not succeed because the tables are damaged
// the block is quarantined. It returns nil if there is nothing to put in use.
func (db *DB) repairJob() (j *job, worked bool, err error) {
	p, why := db.damagedBlock()
	if p == nil {
		return nil, false, nil
	}
	j, err = db.repairBlock(db.stopping, p)
	if rerr := p.block.Release(); err == nil {
		err = rerr
	}
	var corrupt *store.CorruptionError
	switch {
	case errors.As(err, &corrupt):
		return nil, true, db.quarantineBlock(p.id, errors.Join(why, err))
	case err != nil:
		return nil, false, fmt.Errorf("repair block %s: %w", p.id, err)
	}
	j.repairs = why
	return j, true, nil
}

// repairBlock writes a block anew from its tables, all of which it decodes.
func (db *DB) repairBlock(ctx context.Context, p *blockPiece) (*job, error) {
	start := db.now()
	j := &job{olds: []*blockPiece{p}}
	order := make([]uint32, p.part.Info().Rows) // The part leaves out the hidden rows, and is in the order of blocks.
	if len(order) == 0 {
		return j, nil
	}
	for i := range order {
		order[i] = uint32(i)
	}
	meta := p.block.Meta()
	base, needs := db.mergeNeeds(j.olds, 0)
	mem := db.forFlush(needs)
	defer mem.release()
	mem.base = base
	opts := block.WriterOptions{
		GroupBytes: db.groupBytes(), Held: mem.writer, Level: meta.Level, Parents: append([]string{p.id}, meta.Parents...), WALMark: meta.WALMark,
		Written: uint64(max(0, storedAt(meta, start).UnixNano())),
	}
	opts.Parents = opts.Parents[:min(len(opts.Parents), maxParents)]
	if meta.Level > 0 {
		opts.Zstd = mergeZstd
	}
	var err error
	j.block, err = db.writeBlock(ctx, opts, func(w *block.Writer) error { return copyRows(ctx, w, p.part, order, db.rowsAtOnce(ordinaryRead)) })
	j.took = db.now().Sub(start)
	return j, err
}

// damagedBlock returns a block that is damaged and in use, with a reference. Those that left the store are forgotten.
func (db *DB) damagedBlock() (*blockPiece, error) {
	v, err := db.view()
	if err != nil {
		return nil, nil
	}
	defer v.Release()
	for _, l := range db.losses.load() {
		if l.moved {
			continue
		}
		for _, b := range v.s.blocks {
			if b.id == l.id && b.block.Acquire() {
				return b, l.why
			}
		}
		db.losses.remove(l.id) // It was dropped or written anew.
	}
	return nil, nil
}

// quarantineBlock takes a damaged block out of use.
func (db *DB) quarantineBlock(id string, why error) error {
	db.commit.Lock()
	defer db.commit.Unlock()
	s := db.state.Load()
	if s == nil {
		return nil
	}
	var bad []*blockPiece
	for _, b := range s.blocks {
		if b.id == id {
			bad = append(bad, b)
		}
	}
	if len(bad) == 0 {
		db.losses.remove(id)
		return nil
	}
	db.quarantine(id, why)
	n := bad[0].block.Meta().Bytes()
	db.ledger.add(func(l *ledger) { l.flow.Moved, l.flow.Now = l.flow.Moved+n, l.flow.Now-n })
	db.stats.quarantinedSpans.Add(uint64(bad[0].part.Info().Rows))
	rest := without(s.blocks, bad)
	err := db.save(rest, db.mark)
	// Also when the manifest could not be written: it names directories that are not there, which Open knows.
	db.removeBlocks(bad, rest)
	db.unsaved.Store(err != nil)
	return err
}

// repaired tells that a damaged block was written anew, if that was what the job was for.
func (db *DB) repaired(j *job) {
	if j.repairs == nil {
		return
	}
	e := BlockRepaired{ID: j.olds[0].id, Err: j.repairs}
	if j.block != nil {
		e.As = j.block.Meta().ID
	}
	db.losses.remove(j.olds[0].id)
	db.tellRepaired(e)
}

// tellRepaired counts and reports a repair.
func (db *DB) tellRepaired(e BlockRepaired) {
	db.stats.repaired.Add(1)
	call(db.opts.Listener.BlockRepaired, e)
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
	db.lost(id, why)
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

// moveToQuarantine moves a block's directory away, also if the reason cannot be noted, as on a full disk. Of a block that is
// not there the reason alone is kept, so that answers are partial after a restart, too.
func moveToQuarantine(fsys fsx.FS, dir, id string, why error) error {
	from, to := filepath.Join(dir, blocksDir, id), filepath.Join(dir, quarantineDir, id)
	reason := []byte(why.Error() + "\n")
	if _, err := fsys.Stat(from); errors.Is(err, fs.ErrNotExist) {
		if _, err := fsys.Stat(to); err == nil {
			return nil // It was moved before a crash.
		}
		if err := fsx.MkdirAllSync(fsys, to); err != nil {
			return err
		}
		return fsx.WriteFileAtomic(fsys, filepath.Join(to, reasonFile), reason)
	}
	noted := fsx.WriteFileAtomic(fsys, filepath.Join(from, reasonFile), reason)
	if err := fsx.MkdirAllSync(fsys, filepath.Dir(to)); err != nil {
		return errors.Join(noted, err)
	}
	if err := fsys.Rename(from, to); err != nil {
		return errors.Join(noted, err)
	}
	return errors.Join(noted, fsys.SyncDir(filepath.Dir(to)), fsys.SyncDir(filepath.Dir(from)))
}

func blockDropped(b *blockPiece, reason DropReason) BlockDropped {
	m := b.block.Meta()
	return BlockDropped{ID: b.id, Reason: reason, Spans: b.part.Info().Rows, Bytes: m.Bytes()}
}

var dropReasons = map[retain.Reason]DropReason{retain.Age: DropAge, retain.Size: DropSize, retain.Disk: DropDisk}

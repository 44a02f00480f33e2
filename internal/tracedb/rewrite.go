package tracedb

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/bramble-tracing/bramble/internal/tracedb/internal/block"
)

// rewriteBlock writes a block anew without the rows that its overlay hides.
func (db *DB) rewriteBlock(ctx context.Context, p *blockPiece) (*job, error) {
	start := db.now()
	j := &job{old: p, masked: p.hidden}
	info := p.part.Info()
	if info.Rows == 0 {
		return j, nil
	}
	meta := p.block.Meta()
	opts := block.WriterOptions{Level: meta.Level, Parents: []string{p.id}, WALMark: meta.WALMark}
	order := make([]uint32, info.Rows) // The part leaves out the hidden rows, and is in the order of blocks.
	for i := range order {
		order[i] = uint32(i)
	}
	var err error
	j.block, err = db.writeBlock(ctx, opts, func(w *block.Writer) error { return copyRows(ctx, w, p.part, order) })
	j.took = db.now().Sub(start)
	return j, err
}

// finishRewrite puts the new block in the place of the old one. Notes that came since, and those about traces that
// were not hidden, go with it. The caller holds commit.
func (db *DB) finishRewrite(j *job, s *state) (bool, error) {
	at := -1
	if s != nil {
		at = slices.IndexFunc(s.blocks, func(b *blockPiece) bool { return b.id == j.old.id })
	}
	if at < 0 {
		return false, db.discard(j)
	}
	now := s.blocks[at]
	blocks := slices.Clone(s.blocks)
	if j.block == nil {
		blocks = slices.Delete(blocks, at, at+1)
	} else {
		next, err := db.inherit(j, now)
		if err != nil {
			return false, err
		}
		blocks[at] = next
	}
	if err := db.save(blocks, db.mark); err != nil {
		return false, err
	}
	db.doom(now)
	db.replace(func(old *state) (*state, *splitIndex) {
		next := newState(old.live, old.frozen, blocks, old.masks)
		return next, old.split.carry(next)
	})
	call(db.opts.Listener.BlockDropped, blockDropped(now, DropRewritten))
	if j.block == nil {
		db.stats.rewrites.Add(1)
		return true, nil
	}
	db.blockWritten(j)
	return true, j.block.Release()
}

// inherit returns the new block with those notes of the old one that are still about something.
func (db *DB) inherit(j *job, now *blockPiece) (*blockPiece, error) {
	o := now.block.Overlay()
	if o == nil {
		return db.newBlockPiece(j.block, nil), nil
	}
	next := &block.Overlay{Block: j.block.Meta().ID, Policies: slices.Clone(o.Policies)}
	for _, note := range o.Traces {
		if _, ok, err := j.block.Trace(background(), note.ID); err != nil {
			return nil, err
		} else if ok {
			next.Traces = append(next.Traces, note)
		}
	}
	if len(next.Traces) == 0 {
		return db.newBlockPiece(j.block, nil), nil
	}
	noted := j.block.WithOverlay(next)
	hidden, err := noted.HiddenRows(background())
	if err != nil {
		return nil, err
	}
	return db.newBlockPiece(noted, hidden), nil
}

// dueRewrite returns the block with the oldest erasure, if it was asked for before a time. The caller must release it.
func (db *DB) dueRewrite(before time.Time) *blockPiece {
	v, err := db.view()
	if err != nil {
		return nil
	}
	defer v.Release()
	var due *blockPiece
	for _, b := range v.s.blocks {
		if since, ok := b.erasedSince(); ok && !since.After(before) {
			due, before = b, since
		}
	}
	if due != nil {
		due.block.Acquire()
	}
	return due
}

// Rewrite makes the bytes of deleted traces go: it writes heads as blocks and blocks anew where they have such traces,
// and frees the log. It returns when that is done; files that views still use go with those.
func (db *DB) Rewrite(ctx context.Context) error {
	if err := db.Cut(); err != nil {
		return fmt.Errorf("rewrite: %w", err)
	}
	done := make(chan error, 1)
	select {
	case db.requests <- rewriteRequest{ctx, done}:
	case <-db.stopping.Done():
		return fmt.Errorf("rewrite: %w", errStopped)
	case <-ctx.Done():
		return fmt.Errorf("rewrite: %w", context.Cause(ctx))
	}
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("rewrite: %w", err)
		}
		return nil
	case <-db.stopping.Done():
		return fmt.Errorf("rewrite: %w", errStopped)
	}
}

// rewriteNow does the work of Rewrite in the flusher.
func (db *DB) rewriteNow(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		worked, err := db.step(db.now().Add(time.Hour))
		if err != nil {
			return err
		}
		if !worked {
			break
		}
	}
	if err := db.wal.Rotate(); err != nil {
		return err
	}
	db.commit.Lock()
	mark := db.mark
	db.commit.Unlock()
	return db.wal.TruncateBefore(mark + 1)
}

package tracedb

import (
	"context"
	"fmt"
	"time"
)

// rewriteBlock writes a block anew without the rows that its overlay hides.
func (db *DB) rewriteBlock(ctx context.Context, p *blockPiece) (*job, error) {
	olds := []*blockPiece{p}
	base, needs := db.mergeNeeds(olds, 0)
	mem := db.forFlush(needs)
	defer mem.release()
	mem.base = base
	return db.mergeBlocks(ctx, olds, p.block.Meta().Level, noPace, mem)
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

package tracedb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
)

const (
	// scrubFile in the data directory keeps how far the scrub is, so that restarts do not begin it again.
	scrubFile = "scrub.json"
	// scrubLook is the time between looks at the clock while no pass is due.
	scrubLook = time.Minute
	// verifyLeast is the lowest rate of the scrub, bytes per second.
	verifyLeast = 4 << 10
)

// scrubState is the content of scrub.json. It is advice: without it, a pass begins anew.
type scrubState struct {
	// Started is when the pass began, Last the block it verified last, empty before the first.
	Started time.Time `json:"started"`
	Last    string    `json:"last,omitempty"`
	// Ended says that the pass is complete.
	Ended   bool  `json:"ended,omitempty"`
	Blocks  int   `json:"blocks"`
	Bytes   int64 `json:"bytes"`
	Damaged int   `json:"damaged"`
}

// scrubLoop verifies all blocks once per interval, until Close.
func (db *DB) scrubLoop() {
	defer db.wg.Done()
	if db.opts.Scrub.Interval < 0 {
		return
	}
	s := db.loadScrub()
	for db.stopping.Err() == nil {
		now := db.now()
		switch {
		case s.Started.IsZero():
			// A new store has blocks that were just written: there is nothing to find yet.
			s = scrubState{Started: now, Ended: true}
			db.saveScrub(&s)
		case s.Ended && now.Sub(s.Started) >= db.opts.Scrub.Interval:
			s = scrubState{Started: now}
		}
		if !s.Ended {
			if err := db.scrubPass(db.stopping, &s); err != nil && db.stopping.Err() == nil {
				call(db.opts.Listener.Error, fmt.Errorf("scrub: %w", err))
			}
		}
		if db.sleep(db.stopping, scrubLook) != nil {
			return
		}
	}
}

// Scrub verifies all blocks now, at the configured rate. It returns what it found; damaged blocks are then repaired or
// quarantined in the background.
func (db *DB) Scrub(ctx context.Context) (Scrubbed, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(db.stopping, cancel)()
	s := scrubState{Started: db.now()}
	err := db.scrubPass(ctx, &s)
	return s.result(db.now()), err
}

func (s *scrubState) result(now time.Time) Scrubbed {
	return Scrubbed{Blocks: s.Blocks, Bytes: s.Bytes, Damaged: s.Damaged, Duration: now.Sub(s.Started)}
}

// scrubPass verifies the blocks that the pass has not verified yet, oldest first.
func (db *DB) scrubPass(ctx context.Context, s *scrubState) error {
	for {
		b, err := db.scrubNext(s.Last)
		if err != nil {
			return err
		}
		if b == nil {
			break
		}
		err = db.scrubBlock(ctx, b, s)
		if rerr := b.block.Release(); err == nil {
			err = rerr
		}
		if err != nil {
			return fmt.Errorf("verify block %s: %w", b.id, err)
		}
		s.Last = b.id
		db.saveScrub(s)
	}
	s.Ended = true
	db.saveScrub(s)
	call(db.opts.Listener.Scrubbed, s.result(db.now()))
	return nil
}

// scrubNext returns the block with the smallest id behind another, with a reference; nil if there is none.
func (db *DB) scrubNext(after string) (*blockPiece, error) {
	v, err := db.view()
	if err != nil {
		return nil, err
	}
	defer v.Release()
	var next *blockPiece
	for _, b := range v.s.blocks {
		if b.id > after && (next == nil || b.id < next.id) {
			next = b
		}
	}
	if next != nil {
		next.block.Acquire() // The view holds a reference, so that it succeeds.
	}
	return next, nil
}

// scrubBlock verifies a block and reports damage. Only what is no damage is an error.
func (db *DB) scrubBlock(ctx context.Context, b *blockPiece, s *scrubState) error {
	damage, err := b.block.RestoreMeta()
	if err != nil {
		return err
	}
	if damage != nil {
		s.Damaged++
		db.tellRepaired(BlockRepaired{ID: b.id, As: b.id, Err: damage})
	}
	err = b.block.Verify(ctx, func(n int) error { return db.pace(ctx, n) })
	var corrupt *store.CorruptionError
	switch {
	case errors.As(err, &corrupt):
		s.Damaged++
		db.suspect(b.block, err)
	case err != nil:
		return err
	}
	n := b.block.Meta().Bytes()
	s.Blocks, s.Bytes = s.Blocks+1, s.Bytes+n
	db.stats.scrubbedBlocks.Add(1)
	db.stats.scrubbedBytes.Add(uint64(n))
	return nil
}

// pace waits as long as n bytes may take, so that neither the disk nor a core is busy with the scrub.
func (db *DB) pace(ctx context.Context, n int) error {
	return db.sleep(ctx, time.Duration(n)*time.Second/time.Duration(db.opts.Scrub.BytesPerSecond))
}

// sleep waits unless ctx ends.
func (db *DB) sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (db *DB) loadScrub() (s scrubState) {
	b, err := fsx.ReadFile(db.opts.FS, filepath.Join(db.opts.Dir, scrubFile))
	if errors.Is(err, fs.ErrNotExist) {
		return scrubState{}
	}
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		call(db.opts.Listener.Error, fmt.Errorf("read how far the scrub was, it begins anew: %w", err))
		return scrubState{Started: db.now()}
	}
	if s.Started.After(db.now()) {
		s.Started = db.now() // The clock was set back.
	}
	return s
}

func (db *DB) saveScrub(s *scrubState) {
	b, err := json.Marshal(s)
	if err == nil {
		err = fsx.WriteFileAtomic(db.opts.FS, filepath.Join(db.opts.Dir, scrubFile), append(b, '\n'))
	}
	if err != nil {
		call(db.opts.Listener.Error, fmt.Errorf("note how far the scrub is: %w", err))
	}
}

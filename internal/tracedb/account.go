package tracedb

import (
	"errors"
	"fmt"
	"sync"

	"github.com/bramble-tracing/bramble/internal/store"
)

// Levels is the number of levels that blocks have.
const Levels = 3

// Account says where everything that the store was given went. Bytes of blocks are those of the files that their metas
// list. Sums count from Open.
type Account struct {
	// Received bytes of accepted batches and deletions, as log records before compression.
	Received uint64
	// Log is the write-ahead log on disk.
	Log Flow
	// Blocks on disk; Now is the sum of ByLevel, Writing and Doomed.
	Blocks Flow
	// ByLevel are the blocks in use. Writing are complete and not in use yet, Doomed go when no view uses them.
	ByLevel         [Levels]int64
	Writing, Doomed int64
	// Quarantined is what lies in quarantine, also of earlier runs and as it was found there, and QuarantineFreed what was
	// removed from it.
	Quarantined     int64
	QuarantineFreed uint64
	// Heads is the memory of live and frozen heads, Retained that of dropped ones which views use, Charged what the budget
	// knows of. With appends that wait there is more in Charged.
	Heads, Retained, Charged int64
	Spans                    SpanFlow
}

// Flow are the bytes of one kind of thing on disk: Opened + Written = Freed + Moved + Now.
type Flow struct {
	Opened, Written int64
	// Moved away to quarantine.
	Freed, Moved, Now int64
}

// SpanFlow counts spans: Opened + Replayed + Appended = Now + Deleted + Dropped + Quarantined + Merged.
type SpanFlow struct {
	Opened, Replayed, Appended int64
	// Merged are those that merging blocks left out: copies of others, and what sampling decided to drop.
	Now, Deleted, Dropped, Quarantined, Merged int64
}

// Check returns an error for each sum that is wrong.
func (a *Account) Check() error {
	var errs []error
	equal := func(what string, in, out int64) {
		if in != out {
			errs = append(errs, fmt.Errorf("%s: %d came, %d are accounted for: %+v", what, in, out, *a))
		}
	}
	flow := func(what string, f Flow) { equal(what, f.Opened+f.Written, f.Freed+f.Moved+f.Now) }
	flow("bytes of the log", a.Log)
	flow("bytes of blocks", a.Blocks)
	equal("bytes of blocks now", a.ByLevel[0]+a.ByLevel[1]+a.ByLevel[2]+a.Writing+a.Doomed, a.Blocks.Now)
	equal("memory of heads", a.Charged, a.Heads+a.Retained)
	s := &a.Spans
	equal("spans", s.Opened+s.Replayed+s.Appended, s.Now+s.Deleted+s.Dropped+s.Quarantined+s.Merged)
	return errors.Join(errs...)
}

// ledger counts the bytes of blocks.
type ledger struct {
	mu sync.Mutex
	// Of all blocks: see Account.
	flow            Flow
	writing, doomed int64
}

// add changes the counts; the balance of what it adds is zero.
func (l *ledger) add(f func(l *ledger)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(l)
}

// doomedBytes are those of blocks that go as soon as no view uses them.
func (db *DB) doomedBytes() int64 {
	db.ledger.mu.Lock()
	defer db.ledger.mu.Unlock()
	return db.ledger.doomed
}

// Account returns the present numbers, which are consistent: appends and changes of blocks wait meanwhile, shortly.
func (db *DB) Account() (a Account, err error) {
	db.gate.Lock()
	defer db.gate.Unlock()
	db.commit.Lock()
	defer db.commit.Unlock()
	s := db.state.Load()
	if s == nil {
		return a, fmt.Errorf("account: %w", store.ErrClosed)
	}
	a.Received = db.stats.received.Load()
	a.Log.Opened = db.logOpened
	a.Log.Written, a.Log.Freed, a.Log.Now = db.wal.Flow()
	db.ledger.add(func(l *ledger) {
		a.Blocks, a.Writing, a.Doomed = l.flow, l.writing, l.doomed
	})
	for _, b := range s.blocks {
		m := b.block.Meta()
		a.ByLevel[min(max(m.Level, 0), Levels-1)] += m.Bytes()
		a.Spans.Now += int64(b.part.Info().Rows)
	}
	a.Quarantined, a.QuarantineFreed = db.losses.bytes(), db.stats.quarantineFreed.Load()
	a.Retained, a.Charged = db.retained.Load(), db.heads.Usage().Used
	for _, p := range append([]*piece{s.live}, s.frozen...) {
		a.Heads += p.charged.Load()
		a.Spans.Now += int64(p.head.Rows() - len(s.masks[p]))
	}
	c := &db.stats
	a.Spans.Opened, a.Spans.Replayed, a.Spans.Appended = db.spansOpened, int64(db.replay.Spans), int64(c.spans.Load())
	a.Spans.Deleted, a.Spans.Dropped = int64(c.deletedSpans.Load()), int64(c.droppedSpans.Load())
	a.Spans.Quarantined, a.Spans.Merged = int64(c.quarantinedSpans.Load()), c.removedSpans.Load()
	return a, nil
}

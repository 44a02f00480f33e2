package tracedb

import (
	"context"
	"time"

	"github.com/bramble-tracing/bramble/internal/memlimit"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/block"
)

// The parts of Options.MemoryBytes. What the cache and the flusher are promised is taken from the beginning; heads and
// merges share the rest and may want more than that together, so that either waits for the other.
const (
	// headShare is the part that is for heads at most.
	headShare = 2
	// cacheShare is the part that is for what was decoded from blocks. The cache bounds itself.
	cacheShare = 5
	// flushShare is the part that is kept for the flusher: heads give their memory back by being written, so that this
	// must never wait for what heads have.
	flushShare = 5
	// mergeShare is the part that merges may take, from what heads leave.
	mergeShare = 6
	// groupShare is the part of the memory that a row group may take while it is written, at most maxGroup, and half of it
	// in a merge. What else a writer needs is more than half as much again.
	groupShare = 16
	maxGroup   = 64 << 20
)

// What writing a block takes besides row groups, about.
const (
	orderedRow   = 16      // of a head, per row, while rows are ordered
	orderedTrace = 64      // the same, per trace
	plannedTrace = 256     // of a merge, per trace of an input
	writerHeld   = 5 << 19 // buffers, encoders and counts
)

// What is read at a time to be written.
const (
	// readShare is the part of the memory that spans which were read may take, at most maxRead.
	readShare = 64
	maxRead   = 6 << 20
	// readGrows is how much more room spans take than their rows in a head. Of an attribute without text that is 7 times.
	readGrows = 7
	leastRows = 64
	mostRows  = 4096
	// ordinaryRead is what a span takes, about, if nothing is known of it.
	ordinaryRead = 1500
)

// readBytes is how much memory spans may take that are read to be written.
func (db *DB) readBytes() int64 { return min(maxRead, db.opts.MemoryBytes/readShare) }

// rowsAtOnce is how many spans are read at a time if each takes so many bytes.
func (db *DB) rowsAtOnce(each int64) int {
	return int(min(mostRows, max(leastRows, db.readBytes()/max(1, each))))
}

// memory are the budgets of the store.
type memory struct {
	all   *memlimit.Budget
	heads *memlimit.Budget // live and frozen heads
	flush share
	merge share
}

// share is what writing blocks takes. It counts all of it, and some of that is taken from the store's budget.
type share struct {
	*memlimit.Budget
	all *memlimit.Budget
	// taken is how much is taken from all of n bytes.
	taken func(n int64) int64
}

func newMemory(limit int64) memory {
	m := memory{all: memlimit.New("store", limit)}
	m.heads = m.all.Share("heads", limit/headShare)
	// What the flusher needs beyond the part that is kept for it, for large values, is not there for others.
	kept := limit / flushShare
	m.flush = share{memlimit.New("flush", kept), m.all, func(n int64) int64 { return max(0, n-kept) }}
	// Merges go on for long with their share of a CPU: what they may not have is always there for heads, however wrong a
	// guess was.
	most := limit / mergeShare
	m.merge = share{memlimit.New("merge", most), m.all, func(n int64) int64 { return min(n, most) }}
	m.all.Force(limit/cacheShare + kept)
	return m
}

// writing counts what is in memory for a block that is being written. It belongs to one goroutine.
type writing struct {
	share share
	needs int64 // what was asked for, which stays taken
	base  int64 // what is in memory besides what the writer has
	held  int64 // what is counted
}

// forFlush takes n bytes for the flusher. It does not wait, since heads give their memory back by being written.
func (m *memory) forFlush(n int64) *writing {
	w := &writing{share: m.flush, needs: n}
	w.hold(n)
	return w
}

// forMerge takes n bytes for a merge if they are free, of those that merges may have. It returns nil otherwise: a merge is
// not urgent, and one that waited in the queue would keep appends from what there is.
func (m *memory) forMerge(n int64) *writing {
	taken := m.merge.taken(n)
	if !m.all.TryAcquire(taken) {
		return nil
	}
	w := &writing{share: m.merge, needs: n}
	w.hold(n)
	m.all.Release(taken) // It was counted twice.
	return w
}

// hold makes n what is held.
func (w *writing) hold(n int64) {
	s := &w.share
	more := s.taken(n) - s.taken(w.held)
	s.all.Force(more)
	s.all.Release(-more)
	s.Force(n - w.held)
	s.Release(w.held - n)
	w.held = n
}

// writer is told what the writer of the block has: more than was asked for is counted all the same, as it is there.
func (w *writing) writer(n int64) { w.hold(max(w.needs, w.base+n)) }

func (w *writing) release() { w.hold(0) }

// groupBytes is how much memory a row group may take while it is written.
func (db *DB) groupBytes() int { return int(min(maxGroup, db.opts.MemoryBytes/groupShare)) }

// flushNeeds is about how much memory writing a head takes: a row group, which ends with a granule, and as much as the
// largest column of one again while it is encoded.
func (db *DB) flushNeeds(p *piece) (base, all int64) {
	bytes, rows := p.head.Bytes(), int64(max(1, p.head.Rows()))
	granule := bytes * min(rows, store.GranuleRows) / rows
	group := min(int64(db.groupBytes())+granule, block.GroupGranules*granule, bytes)
	base = min(db.readBytes(), readGrows*bytes) + orderedRow*rows + orderedTrace*int64(p.part.Traces())
	return base, base + writerHeld + group + group/4
}

// mergeNeeds is about how much memory a merge takes. Large values may be in one granule together, as read and as written.
func (db *DB) mergeNeeds(olds []*blockPiece, bulk int64) (base, all int64) {
	rows, traces := int64(0), int64(0)
	for _, b := range olds {
		rows, traces = rows+int64(b.block.Meta().Rows), traces+int64(b.block.Meta().Traces)
	}
	base = plannedTrace*traces + db.mergeCache() + db.readBytes() + bulk
	granules := min(rows, block.GroupGranules*store.GranuleRows)
	return base, base + writerHeld + min(int64(db.groupBytes()/2), granules*ordinaryRow) + bulk
}

// ordinaryRow is what a span takes in a row group that is being written, about.
const ordinaryRow = 400

// mergeCache is how much of what a merge decoded is kept. It reads each row once, so that little helps.
func (db *DB) mergeCache() int64 { return min(16<<20, db.opts.MemoryBytes/32) }

// mergeMemory takes what a merge needs. It waits until it is free if the merge was asked for (patient); one in the
// background is put off instead, which nil says.
func (db *DB) mergeMemory(ctx context.Context, n int64, patient bool) (*writing, error) {
	for {
		if w := db.forMerge(n); w != nil {
			return w, nil
		}
		if !patient {
			return nil, nil
		}
		if err := sleep(ctx, memoryPoll); err != nil {
			return nil, err
		}
	}
}

// memoryPoll is how often a merge that was asked for looks whether there is memory.
const memoryPoll = 20 * time.Millisecond

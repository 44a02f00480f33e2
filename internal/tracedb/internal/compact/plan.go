package compact

import (
	"cmp"
	"slices"
	"time"
)

// MaxLevel is the level of blocks that are never merged again.
const MaxLevel = 2

// Block describes a block.
type Block struct {
	ID    string
	Level int
	// Newest is when the newest span ended, but not later than when it was stored.
	Newest time.Time
	// Stored is when the newest spans were written the first time, later than Newest for spans that come late.
	Stored time.Time
	// Rows and Traces that the block has, and how many of the rows are hidden.
	Rows, Traces, Hidden int
	Bytes                int64 // on disk
	// Waiting says that it is to be decided first which of the traces outlive the recent window.
	Waiting bool
}

// Limits say when merging pays and how large blocks get.
type Limits struct {
	// MinBlocks is how many blocks are merged at least, but for what is left of an hour or a day that is over.
	MinBlocks int
	// MaxBlocks is how many are merged at most.
	MaxBlocks int
	// MaxRows, MaxTraces and MaxBytes bound a merged block by the sum of what is merged.
	MaxRows, MaxTraces int
	MaxBytes           int64
	// Free is the free disk space, negative if unknown. A merge needs room for twice its inputs.
	Free int64
	// Decides says that it is decided which traces outlive the recent window. Blocks that have hidden rows since are
	// written anew within another window, also alone.
	Decides bool
	Window  time.Duration
	// Grace is how long after its last block, and its end, an hour or a day counts as over.
	Grace time.Duration
}

// Job is a merge of blocks of one UTC day into one block.
type Job struct {
	Level  int      // of the result
	Inputs []string // oldest first
	Bytes  int64
}

// Plan returns the merges that are due, the most urgent first. They have no block in common.
func Plan(l Limits, now time.Time, blocks []Block) []Job {
	blocks = slices.Clone(blocks)
	slices.SortStableFunc(blocks, func(a, b Block) int { return cmp.Or(a.Newest.Compare(b.Newest), cmp.Compare(a.ID, b.ID)) })
	p := planner{l: l, now: now}
	var jobs []Job
	var rest []Block
	for _, hour := range split(blocks, func(b *Block) (time.Time, bool) { return b.Newest.UTC().Truncate(time.Hour), b.Level == 0 }) {
		over := p.over(hour, time.Hour)
		made, left := p.batches(hour, 1, func(batch []Block) bool { return len(batch) >= l.MinBlocks || over && len(batch) > 1 })
		jobs = append(jobs, made...)
		if over {
			rest = append(rest, left...)
		}
	}
	for i := range blocks {
		if blocks[i].Level == 1 {
			rest = append(rest, blocks[i])
		}
	}
	rest = slices.DeleteFunc(rest, p.tooNew)
	slices.SortStableFunc(rest, func(a, b Block) int { return a.Newest.Compare(b.Newest) })
	for _, day := range split(rest, func(b *Block) (time.Time, bool) { return b.Newest.UTC().Truncate(24 * time.Hour), true }) {
		made, _ := p.batches(day, MaxLevel, p.dayDue)
		jobs = append(jobs, made...)
	}
	return slices.DeleteFunc(jobs, func(j Job) bool { return l.Free >= 0 && l.Free < 2*j.Bytes })
}

type planner struct {
	l   Limits
	now time.Time
}

// tooNew reports whether a block has to wait for its last merge.
func (p *planner) tooNew(b Block) bool {
	return b.Waiting || p.l.Decides && p.now.Sub(b.Newest) < p.l.Window
}

// over reports whether no more blocks of an hour or a day are to be expected.
func (p *planner) over(blocks []Block, period time.Duration) bool {
	last := blocks[0].Newest.UTC().Truncate(period).Add(period)
	for i := range blocks {
		if blocks[i].Stored.After(last) {
			last = blocks[i].Stored
		}
	}
	return p.now.Sub(last) >= p.l.Grace
}

// dayDue reports whether blocks of a day are to become one.
func (p *planner) dayDue(batch []Block) bool {
	hidden, rows := 0, 0
	for i := range batch {
		hidden += batch[i].Hidden
		rows += batch[i].Rows
	}
	if hidden > 0 && p.l.Decides && p.now.Sub(batch[0].Newest) >= 2*p.l.Window {
		return true
	}
	if len(batch) < 2 {
		return false
	}
	return p.over(batch, 24*time.Hour) || len(batch) >= 2*p.l.MinBlocks || rows >= p.l.MaxRows/2
}

// batches cuts blocks, oldest first, into merges within the limits. left are those of which none is due.
func (p *planner) batches(blocks []Block, level int, due func([]Block) bool) (jobs []Job, left []Block) {
	for len(blocks) > 0 {
		n, rows, traces := 0, 0, 0
		var bytes int64
		for ; n < len(blocks) && n < p.l.MaxBlocks; n++ {
			b := &blocks[n]
			if n > 0 && (rows+b.Rows > p.l.MaxRows || traces+b.Traces > p.l.MaxTraces || bytes+b.Bytes > p.l.MaxBytes) {
				break
			}
			rows, traces, bytes = rows+b.Rows, traces+b.Traces, bytes+b.Bytes
		}
		batch := blocks[:n]
		if due(batch) {
			j := Job{Level: level, Bytes: bytes}
			for i := range batch {
				j.Inputs = append(j.Inputs, batch[i].ID)
			}
			jobs = append(jobs, j)
		} else {
			left = append(left, batch...)
		}
		blocks = blocks[n:]
	}
	return jobs, left
}

// split groups blocks that follow each other by a key. Those without one are left out.
func split(blocks []Block, key func(*Block) (time.Time, bool)) [][]Block {
	var out [][]Block
	var last time.Time
	for i := range blocks {
		k, ok := key(&blocks[i])
		if !ok {
			continue
		}
		if len(out) == 0 || !k.Equal(last) {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], blocks[i])
		last = k
	}
	return out
}

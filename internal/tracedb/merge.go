package tracedb

import (
	"context"
	"errors"
	"time"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/block"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/compact"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/index"
)

const (
	// hugeTrace is the number of spans from which on a trace is not held in memory as a whole.
	hugeTrace = 64 << 10
)

// pace is called after each piece of work in the background, with the time that it took, and gives way to others.
type pace func(ctx context.Context, worked time.Duration) error

// noPace does not wait, for work that somebody waits for.
func noPace(ctx context.Context, _ time.Duration) error { return ctx.Err() }

// mergeBlocks writes blocks, oldest first, as one, without the rows that overlays hide.
func (db *DB) mergeBlocks(ctx context.Context, olds []*blockPiece, level int, wait pace, mem *writing) (*job, error) {
	reserved := db.makeRoomFor(olds)
	j, err := db.mergeOnce(ctx, olds, level, wait, mem, false)
	if errors.Is(err, block.ErrColumns) {
		j, err = db.mergeOnce(ctx, olds, level, wait, mem, true)
	}
	if err != nil {
		db.reserved.Add(-reserved)
		return nil, err
	}
	j.reserved = reserved
	return j, nil
}

func (db *DB) mergeOnce(ctx context.Context, olds []*blockPiece, level int, wait pace, mem *writing, whole bool) (*job, error) {
	start := db.now()
	j := &job{olds: olds}
	m, err := db.newMerger(ctx, olds, wait, whole)
	if err != nil {
		return nil, err
	}
	defer m.close()
	plan := compact.Merge(m.inputs)
	m.inputs = nil // What is needed of them is in the plan.
	j.joined = plan.Joined
	if len(plan.Copies) == 0 && len(plan.Traces) == 0 {
		return j, nil
	}
	opts := block.WriterOptions{
		Decided: m.decided(), Level: level, FirstGroups: compact.Groups(plan.Rows()), Zstd: mergeZstd,
		GroupBytes: db.groupBytes() / 2, Held: mem.writer,
	}
	for _, p := range olds {
		meta := p.block.Meta()
		opts.Parents = append(append(opts.Parents, p.id), meta.Parents...)
		opts.WALMark = max(opts.WALMark, meta.WALMark)
		opts.Written = max(opts.Written, uint64(max(0, storedAt(meta, start).UnixNano())))
	}
	// A manifest that has to be rebuilt must know of all blocks that this one replaces, though their directories may
	// outlive those of the blocks between.
	opts.Parents = opts.Parents[:min(len(opts.Parents), maxParents)]
	j.block, err = db.writeBlock(ctx, opts, func(w *block.Writer) error { return m.write(ctx, w, plan) })
	j.copied, j.took = m.copied, db.now().Sub(start)
	return j, err
}

const (
	// maxParents bounds the list of replaced blocks in a meta.json, of which deletions can make long ones.
	maxParents = 4096
	// mergeZstd is the compression level of what is written anew.
	mergeZstd = 3
)

// storedAt returns when the newest spans of a block were written the first time.
func storedAt(m *block.Meta, now time.Time) time.Time {
	if m.Written > 0 {
		return time.Unix(0, int64(m.Written)) //nolint:gosec // it was one
	}
	return blockTime(m.ID, now)
}

// merger reads blocks and writes them as one.
type merger struct {
	db     *DB
	reader *block.Reader
	blocks []*block.Block
	inputs []compact.Input
	wait   pace
	copied int

	read, ordered store.Batch
	places        []place
	rows          []uint32
}

// newMerger opens the blocks a second time, so that reading all of them does not drive out of the cache what queries
// use. They must be in use until close.
func (db *DB) newMerger(ctx context.Context, olds []*blockPiece, wait pace, whole bool) (*merger, error) {
	m := &merger{db: db, wait: wait}
	var err error
	if m.reader, err = block.NewReader(db.opts.FS, block.NewLRU(db.mergeCache()), 1); err != nil {
		return nil, err
	}
	for _, p := range olds {
		b, err := m.reader.Open(p.block.Dir())
		if err != nil {
			m.close()
			return nil, m.damaged(p.block, err)
		}
		b = b.WithOverlay(p.block.Overlay())
		m.blocks = append(m.blocks, b)
		in, err := mergeInput(ctx, b)
		if err != nil {
			m.close()
			return nil, m.damaged(p.block, err)
		}
		in.Whole = in.Whole || whole
		m.inputs = append(m.inputs, in)
	}
	return m, nil
}

// mergeInput describes a block to compact.Merge.
func mergeInput(ctx context.Context, b *block.Block) (compact.Input, error) {
	meta := b.Meta()
	in := compact.Input{Traces: make([]index.Trace, 0, meta.Traces)}
	for i := range meta.Groups {
		in.Groups = append(in.Groups, meta.Groups[i].Rows)
	}
	if o := b.Overlay(); o != nil {
		in.Whole = len(o.Patches) > 0
		in.Hidden = func(id spanid.TraceID) bool {
			note, ok := o.Note(id)
			return ok && note.Flags.Hidden()
		}
	}
	t := b.TraceIndex()
	for p := range t.Pages() {
		if err := ctx.Err(); err != nil {
			return in, err
		}
		var err error
		if in.Traces, err = t.Page(p, in.Traces); err != nil {
			return in, err
		}
	}
	return in, nil
}

// decided returns a function that finds which traces are kept by decision, nil if none is. Of pinned traces and of those
// whose decision does not hold yet the overlay keeps the note.
func (m *merger) decided() func(spanid.TraceID) (string, bool) {
	some := false
	for _, b := range m.blocks {
		some = some || b.Meta().Decided > 0 || countDecided(b.Overlay()) > 0
	}
	if !some {
		return nil
	}
	return func(id spanid.TraceID) (string, bool) {
		for _, b := range m.blocks {
			o := b.Overlay()
			if n, ok := o.Note(id); ok && folds(n) {
				return noteVerdict(o, n).policy, true
			}
			if b.Meta().Decided == 0 {
				continue
			}
			e, ok, err := b.Trace(background(), id)
			if err != nil || !ok {
				continue // Reading its rows tells of damage.
			}
			if policy, ok, err := b.SampledRow(int(e.Row)); err == nil && ok {
				return policy, true
			}
		}
		return "", false
	}
}

// folds reports whether a merge writes what a note says into the block.
func folds(n block.TraceNote) bool {
	return n.Flags&block.Kept != 0 && n.Flags&(block.Pinned|block.Pending|block.Erased) == 0
}

func (m *merger) close() {
	for _, b := range m.blocks {
		_ = b.Release() // It was only read.
	}
	m.reader.Close()
}

// damaged makes the store look after a block in which damage was found.
func (m *merger) damaged(b *block.Block, err error) error {
	if _, ok := errors.AsType[*store.CorruptionError](err); ok {
		m.db.suspect(b, err)
	}
	return err
}

// write does what the plan says.
func (m *merger) write(ctx context.Context, w *block.Writer, plan *compact.Merged) error {
	for i := range plan.Copies {
		c := &plan.Copies[i]
		start := time.Now()
		b := m.blocks[c.Input]
		if err := w.CopyGroup(ctx, b, c.Group, c.Traces); err != nil {
			return m.damaged(b, err)
		}
		m.copied += b.Meta().Groups[c.Group].Rows
		c.Traces = nil
		if err := m.wait(ctx, time.Since(start)); err != nil {
			return err
		}
	}
	sizes := make([]int, len(plan.Traces))
	for i := range plan.Traces {
		sizes[i] = plan.Traces[i].Spans
	}
	order := compact.Align(sizes, compact.Groups(plan.Rows()))
	atOnce := m.db.rowsAtOnce(ordinaryRead)
	for len(order) > 0 {
		n, rows := 0, 0
		for n < len(order) && (n == 0 || rows+sizes[order[n]] <= atOnce) {
			rows += sizes[order[n]]
			n++
		}
		start := time.Now()
		if err := m.writeTraces(ctx, w, plan, order[:n]); err != nil {
			return err
		}
		if err := m.wait(ctx, time.Since(start)); err != nil {
			return err
		}
		order = order[n:]
	}
	return nil
}

package tracedb

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/block"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/compact"
)

// job is a block that was written and is to replace a frozen head or other blocks.
type job struct {
	piece *piece        // the head, or
	olds  []*blockPiece // the blocks, oldest first
	// masked is what was hidden in the head when the writing began, and is not in the new block.
	masked []uint32
	// joined are the traces that were in several of the blocks.
	joined []spanid.TraceID
	block  *block.Block // nil if nothing was left
	copied int          // rows that were copied without decoding
	took   time.Duration
	// reserved is what was noted with DB.makeRoomFor for the blocks; it is given back when their directories are removed.
	reserved int64
	// repairs is what was wrong with the old block, if that is why it was written anew.
	repairs error
}

func (j *job) source() string {
	if j.piece != nil {
		return j.piece.id
	}
	ids := make([]string, len(j.olds))
	for i, b := range j.olds {
		ids[i] = b.id
	}
	if len(ids) == 1 {
		return "block " + ids[0]
	}
	return "blocks " + strings.Join(ids, ", ")
}

// writeHead writes a frozen head as a block, without the rows in mask.
func (db *DB) writeHead(ctx context.Context, p *piece, mask []uint32) (j *job, err error) {
	start := db.now()
	j = &job{piece: p, masked: mask}
	base, needs := db.flushNeeds(p)
	mem := db.forFlush(needs)
	defer mem.release()
	order, err := blockOrder(ctx, p.part, mask)
	if err != nil {
		return nil, err
	}
	if len(order) == 0 {
		return j, nil
	}
	opts := block.WriterOptions{WALMark: p.mark, FirstGroups: compact.Groups(len(order)), GroupBytes: db.groupBytes(), Held: mem.writer}
	mem.base = base
	atOnce := db.rowsAtOnce(readGrows * p.head.Bytes() / int64(p.head.Rows()))
	j.block, err = db.writeBlock(ctx, opts, func(w *block.Writer) error { return copyRows(ctx, w, p.part.Reader(), order, atOnce) })
	j.took = db.now().Sub(start)
	return j, err
}

// writeBlock writes a block with a new id and opens it.
func (db *DB) writeBlock(ctx context.Context, opts block.WriterOptions, fill func(*block.Writer) error) (b *block.Block, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("write block: panic: %v\n%s", r, debug.Stack())
		}
	}()
	id, err := ulid.New(ulid.Timestamp(db.now()), ulid.DefaultEntropy())
	if err != nil {
		return nil, fmt.Errorf("make the id of a block: %w", err)
	}
	opts.ID = id.String()
	w, err := block.NewWriter(db.opts.FS, filepath.Join(db.opts.Dir, blocksDir), opts)
	if err != nil {
		return nil, err
	}
	if err = fill(w); err == nil {
		_, err = w.Finish(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, w.Abort())
	}
	b, err = db.reader.Open(db.blockDir(opts.ID))
	if err != nil {
		return nil, errors.Join(err, removeBlock(db.opts.FS, db.blockDir(opts.ID)))
	}
	db.ledger.add(func(l *ledger) {
		n := b.Meta().Bytes()
		l.flow.Written, l.flow.Now, l.writing = l.flow.Written+n, l.flow.Now+n, l.writing+n
	})
	return b, nil
}

// finish makes the store use what a job wrote, or gives it up if it is not wanted any more. After an error the
// job must be finished again, as the next Open may find a manifest that names its block.
func (db *DB) finish(j *job) error {
	db.commit.Lock()
	defer db.commit.Unlock()
	s := db.state.Load()
	if j.piece != nil {
		return db.finishHead(j, s)
	}
	return db.finishMerge(j, s)
}

func (db *DB) finishHead(j *job, s *state) error {
	p := j.piece
	if s == nil || len(s.frozen) == 0 || s.frozen[len(s.frozen)-1] != p {
		return db.discard(j)
	}
	blocks := s.blocks
	if j.block != nil {
		next, err := db.deletedMeanwhile(j, s)
		if err != nil {
			return err
		}
		next = db.notedInHead(j, s, next)
		blocks = slices.Concat([]*blockPiece{next}, blocks)
	}
	if err := db.save(blocks, max(db.mark, p.mark)); err != nil {
		return err
	}
	// Late spans of traces that were dropped by decision are hidden in the block.
	db.stats.removedSpans.Add(int64(p.head.Rows() - len(s.masks[p]) - (rowsOf(blocks) - rowsOf(s.blocks))))
	db.replace(func(old *state) (*state, *splitIndex) {
		db.leave(p)
		next := newState(old.live, slices.Clone(old.frozen[:len(old.frozen)-1]), blocks, old.withoutMask(p))
		return next, old.split.carry(next)
	})
	db.notes.drop(func(id spanid.TraceID) bool { return !db.state.Load().inHeads(id) })
	db.retire(p.mark)
	if j.block == nil {
		return nil
	}
	db.blockWritten(j)
	return j.block.Release() // The states hold their own references.
}

// deletedMeanwhile returns the new block without the traces that were deleted while it was written. The caller holds
// commit, so that no more can be.
func (db *DB) deletedMeanwhile(j *job, s *state) (*blockPiece, error) {
	var rows []uint32
	for _, r := range s.masks[j.piece] {
		if !contains(j.masked, r) {
			rows = append(rows, r)
		}
	}
	if len(rows) == 0 {
		return db.newBlockPiece(j.block, nil), nil
	}
	var b store.Batch
	if err := j.piece.part.Spans(background(), rows, &b); err != nil {
		return nil, err
	}
	var ids []spanid.TraceID
	for i := range b.Spans {
		ids = append(ids, b.Spans[i].TraceID)
	}
	noted := db.newBlockPiece(j.block, nil).noted(db.now(), ids...)
	hidden, err := noted.HiddenRows(background())
	if err != nil {
		return nil, err
	}
	return db.newBlockPiece(noted, hidden), nil
}

// notedInHead returns the new block with the notes about its traces that the store kept for the head.
func (db *DB) notedInHead(j *job, s *state, b *blockPiece) *blockPiece {
	notes := db.notes.of(func(id spanid.TraceID) bool { return s.has(j.piece, id) })
	if len(notes) == 0 {
		return b
	}
	e := editOverlay(b, db.now())
	list := make([]block.TraceNote, 0, len(notes))
	for id, n := range notes {
		list = append(list, e.note(id, verdict(n)))
	}
	e.o.Set(list...)
	return db.newBlockPiece(b.block.WithOverlay(e.o), b.hidden) // None of them hides.
}

// discard gives up what a job wrote. A manifest that may name it is replaced first. The caller holds commit.
func (db *DB) discard(j *job) error {
	if j.block == nil {
		db.reserved.Add(-j.reserved)
		return nil
	}
	if s := db.state.Load(); s != nil {
		if err := db.save(s.blocks, db.mark); err != nil {
			return err
		}
	}
	dir, bytes, reserved := j.block.Dir(), j.block.Meta().Bytes(), j.reserved
	db.ledger.add(func(l *ledger) { l.writing, l.doomed = l.writing-bytes, l.doomed+bytes })
	j.block.OnZero(func() { db.throwAway(discarded{dir, bytes, reserved}) })
	return j.block.Release()
}

func (db *DB) blockWritten(j *job) {
	m := j.block.Meta()
	db.ledger.add(func(l *ledger) { l.writing -= m.Bytes() })
	db.stats.blocksWritten.Add(1)
	db.stats.bytesWritten.Add(uint64(m.Bytes()))
	db.stats.flushNanos.Add(int64(j.took))
	e := BlockWritten{ID: m.ID, Level: m.Level, Spans: m.Rows, Traces: m.Traces, Bytes: m.Bytes(), Duration: j.took, From: j.source()}
	if j.piece == nil && m.Level == j.olds[0].block.Meta().Level {
		db.stats.rewrites.Add(1)
	} else if j.piece == nil {
		db.stats.merges.Add(1)
		db.stats.mergedSpans.Add(uint64(m.Rows))
		db.stats.copiedSpans.Add(uint64(j.copied))
	}
	e.Copied, e.Blocks = j.copied, len(j.olds)
	call(db.opts.Listener.BlockWritten, e)
}

package tracedb

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/bramble-tracing/bramble/internal/store"
)

// replayAhead is how many records are decoded ahead of those being applied.
const replayAhead = 4

// decoded is a log record on its way to a head.
type decoded struct {
	seq    uint64
	rec    record
	err    error // the record could not be decoded
	reader *recordReader
}

// replayWAL appends the records of the log to heads. Nothing else runs yet. Records are decoded here and applied, in
// order, by a second goroutine, which ends before this function does.
func (db *DB) replayWAL(ctx context.Context) error {
	start, from := db.now(), db.mark // Everything up to the mark is in blocks or gone for good.
	free, work := make(chan *recordReader, replayAhead), make(chan decoded, replayAhead)
	for range replayAhead {
		free <- new(recordReader)
	}
	applied := make(chan struct{})
	go func() {
		defer close(applied)
		for d := range work {
			db.replayRecord(d)
			free <- d.reader
		}
	}()
	st, err := db.wal.Replay(func(seq uint64, payload []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if seq <= from {
			return nil
		}
		r := <-free
		rec, err := r.read(payload)
		if errors.Is(err, errUnknownRecord) {
			return err
		}
		work <- decoded{seq, rec, err, r}
		return nil
	})
	close(work)
	<-applied
	if err != nil {
		return err
	}
	for _, c := range st.Corruptions {
		db.corrupt(c)
	}
	db.replay.Segments, db.replay.Records, db.replay.Bytes = st.Segments, st.Records, st.Bytes
	db.replayed.Store(true)
	db.replay.TornBytes, db.replay.Damaged, db.replay.Lost = st.Torn.Bytes, st.Damaged, st.Lost
	db.replay.Duration = db.now().Sub(start)
	db.walAtCut.Store(db.wal.Bytes())
	call(db.opts.Listener.Replayed, db.replay)
	db.commit.Lock()
	defer db.commit.Unlock()
	if db.unsaved.Load() { // Deletions were replayed that overlays do not have.
		db.saveLater(db.save(db.state.Load().blocks, db.mark))
	}
	db.retire(db.mark)
	return nil
}

// replayRecord applies one record, or counts it as damaged. Heads that do not fit are written as blocks.
func (db *DB) replayRecord(d decoded) {
	err := d.err
	if err == nil {
		err = db.applyRecord(d.seq, d.rec)
	}
	if err != nil {
		db.corrupt(&store.CorruptionError{
			Path: filepath.Join(db.opts.Dir, walDir), Err: fmt.Errorf("record %d: %w", d.seq, err),
		})
		return
	}
	for {
		s := db.state.Load()
		if len(s.frozen) == 0 || len(s.frozen) <= db.opts.Cut.MaxFrozen && db.heads.Usage().Used <= db.heads.Limit() {
			return
		}
		if worked, err := db.step(time.Time{}); err != nil || !worked {
			// It will be tried again. Until then there is more in memory than there should be, but nothing is lost.
			if err != nil {
				db.flushFailed(err, 0)
			}
			return
		}
	}
}

func (db *DB) applyRecord(seq uint64, rec record) error {
	if rec.pinned != nil {
		blocks, err := db.pin(rec.pinned)
		if blocks {
			db.unsaved.Store(true)
		}
		return err
	}
	if rec.batch == nil {
		if _, blocks := db.mask(rec.deleted); blocks {
			db.unsaved.Store(true)
		}
		return nil
	}
	live := db.state.Load().live
	grown, err := live.head.Append(rec.batch)
	if err != nil {
		return err
	}
	db.charge(live, grown, 0)
	db.replay.Spans += uint64(len(rec.batch.Spans))
	live.born.CompareAndSwap(0, db.now().UnixNano())
	if reason, ok := db.mustCut(live); ok {
		db.freeze(reason, seq)
	}
	return nil
}

func (db *DB) corrupt(c *store.CorruptionError) {
	db.stats.corrupts.Add(1)
	call(db.opts.Listener.Corrupt, c)
}

package tracedb

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

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
	start := db.now()
	free, work := make(chan *recordReader, replayAhead), make(chan decoded, replayAhead)
	for range replayAhead {
		free <- new(recordReader)
	}
	var mark uint64 // of the newest head that was dropped for lack of memory
	applied := make(chan struct{})
	go func() {
		defer close(applied)
		for d := range work {
			mark = max(mark, db.replayRecord(d))
			free <- d.reader
		}
	}()
	st, err := db.wal.Replay(func(seq uint64, payload []byte) error {
		if err := ctx.Err(); err != nil {
			return err
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
	db.replay.TornBytes, db.replay.Damaged, db.replay.Lost = st.Torn.Bytes, st.Damaged, st.Lost
	db.replay.Duration = db.now().Sub(start)
	db.walAtCut.Store(db.wal.Bytes())
	call(db.opts.Listener.Replayed, db.replay)
	if mark > 0 {
		return db.wal.TruncateBefore(mark + 1)
	}
	return nil
}

// replayRecord applies one record, or counts it as damaged. It returns the mark of the last head that had to be
// dropped for it, or 0.
func (db *DB) replayRecord(d decoded) (mark uint64) {
	err := d.err
	if err == nil {
		err = db.applyRecord(d.seq, d.rec)
	}
	if err != nil {
		db.corrupt(&store.CorruptionError{
			Path: filepath.Join(db.opts.Dir, walDir), Err: fmt.Errorf("record %d: %w", d.seq, err),
		})
		return 0
	}
	for db.heads.Usage().Used > db.heads.Limit() {
		p := db.removeOldest(DropMemory)
		if p == nil {
			return mark
		}
		mark = p.mark
	}
	return mark
}

func (db *DB) applyRecord(seq uint64, rec record) error {
	if rec.batch == nil {
		db.mask(rec.deleted)
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

package wal

import (
	"fmt"
	"time"
)

// syncLoop is the syncer of SyncInterval: it syncs SyncInterval after the first append since the last sync.
func (w *WAL) syncLoop() {
	defer w.wg.Done()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-w.dirty:
		case <-w.stop:
			return
		}
		timer.Reset(w.opts.SyncInterval)
		select {
		case <-timer.C:
		case <-w.stop:
			return
		}
		// syncCurrent tells OnEvent, and the next Append leaves the segment.
		_ = w.syncCurrent()
	}
}

// syncCurrent makes durable what is written to the current segment; older ones are. Only one sync runs at a time,
// beside writing. After a failure the segment is suspect: the system may have dropped what it could not write and
// report success the next time.
func (w *WAL) syncCurrent() error {
	w.mu.Lock()
	for w.syncing {
		w.idle.Wait()
	}
	a := w.cur
	if a == nil || a.suspect != nil || a.synced == a.pos {
		defer w.mu.Unlock()
		if a != nil && a.suspect != nil {
			return a.suspect
		}
		return nil
	}
	w.syncing = true
	pos, seq := a.pos, a.seq
	w.mu.Unlock()

	start := time.Now()
	err := a.f.Sync()
	e := Event{Kind: Synced, Path: a.path, Seq: seq, Duration: time.Since(start)}

	w.mu.Lock()
	w.syncing = false
	w.idle.Broadcast()
	if err == nil {
		a.synced = pos
		w.syncedSeq = max(w.syncedSeq, seq)
	} else {
		e.Kind, e.Err, e.Seq = SyncFailed, err, w.syncedSeq
		err = fmt.Errorf("sync %s: %w", a.path, err)
		a.suspect = err
	}
	w.mu.Unlock()
	w.event(e)
	return err
}

package tracedb

import "time"

// HoldFlush keeps the flusher from working until the returned function is called.
func (db *DB) HoldFlush() (resume func()) {
	db.flushing <- struct{}{}
	return func() {
		<-db.flushing
		db.wakeFlusher()
	}
}

// Flush writes all frozen heads as blocks.
func (db *DB) Flush() error {
	for {
		worked, err := db.step(db.now().Add(-db.opts.PurgeAfter))
		if err != nil || !worked {
			return err
		}
	}
}

// Tick does a round of maintenance.
func (db *DB) Tick() { db.tick() }

// CompactionOn turns on what Options.Compaction.Off turned off, for Compact.
func (db *DB) CompactionOn() {
	db.compacting <- struct{}{}
	db.opts.Compaction.Off = false
	<-db.compacting
}

// Quietly calls f while no block is being written. It reports false, and does not call it, if that takes long: a test
// holds the flusher, or the store is closed and something goes on.
func (db *DB) Quietly(f func()) bool {
	for _, busy := range []chan struct{}{db.compacting, db.flushing} {
		t := time.NewTimer(10 * time.Second)
		defer t.Stop()
		select {
		case busy <- struct{}{}:
			defer func() { <-busy }()
		case <-t.C:
			return false
		}
	}
	f()
	return true
}

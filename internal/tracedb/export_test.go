package tracedb

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

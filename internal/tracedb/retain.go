package tracedb

import (
	"fmt"
	"time"

	"github.com/bramble-tracing/bramble/internal/fsx"
)

// diskSizer is a file system that knows how large it is. The operating system's is asked directly.
type diskSizer interface {
	TotalBytes(path string) (uint64, error)
}

// maintain looks after age, size and free disk until Close.
func (db *DB) maintain() {
	defer db.wg.Done()
	t := time.NewTicker(db.opts.MaintenanceInterval)
	defer t.Stop()
	for {
		db.tick()
		select {
		case <-db.stopping.Done():
			return
		case <-t.C:
		}
	}
}

// tick does one round of maintenance.
func (db *DB) tick() {
	if s := db.state.Load(); s != nil {
		if _, ok := db.mustCut(s.live); ok {
			db.cutIf(s.live)
		}
	}
	db.cutForSize()
	db.relieve()
	db.dropping.Lock()
	defer db.dropping.Unlock()
	db.dropByAge()
	db.dropBySize()
	db.watchDisk()
}

// cutForSize cuts the live head when its log is a quarter of the allowed size, so that dropping frees no more than
// needed.
func (db *DB) cutForSize() {
	limit := db.opts.Retention.MaxSizeBytes
	if limit == 0 {
		return
	}
	if db.wal.Bytes()-db.walAtCut.Load() < limit/4 {
		return
	}
	db.gate.Lock()
	defer db.gate.Unlock()
	if !db.closed {
		db.cut(CutSize)
	}
}

// dropByAge drops heads whose newest span is older than allowed. The caller holds dropping.
func (db *DB) dropByAge() {
	limit := db.opts.Retention.MaxAge
	if limit == 0 {
		return
	}
	for {
		p := db.oldest()
		if p == nil || db.now().Sub(p.newest()) < limit || !db.dropOldest(DropAge) {
			return
		}
	}
}

// dropBySize drops heads while the log is larger than allowed. The caller holds dropping.
func (db *DB) dropBySize() {
	limit := db.opts.Retention.MaxSizeBytes
	for limit > 0 && db.wal.Bytes() > limit {
		if !db.dropOldest(DropSize) {
			return
		}
	}
}

// oldest returns the oldest frozen head, or nil.
func (db *DB) oldest() *piece {
	s := db.state.Load()
	if s == nil || len(s.frozen) == 0 {
		return nil
	}
	return s.frozen[len(s.frozen)-1]
}

// watchDisk drops heads while the disk has too little free space, and refuses appends when none are left. The caller
// holds dropping.
func (db *DB) watchDisk() {
	share := db.opts.Retention.MinFreePercentage
	if share == 0 {
		return
	}
	for {
		reason, err := db.lowDisk(share)
		if err != nil {
			call(db.opts.Listener.Error, err)
			return
		}
		if reason != "" && db.dropOldest(DropDisk) {
			continue
		}
		db.setDiskFull(reason)
		return
	}
}

// lowDisk says why the disk is too full, if it is.
func (db *DB) lowDisk(share float64) (string, error) {
	free, err := db.opts.FS.FreeBytes(db.opts.Dir)
	if err != nil {
		return "", fmt.Errorf("measure free disk space: %w", err)
	}
	total, err := totalBytes(db.opts.FS, db.opts.Dir)
	if err != nil {
		return "", fmt.Errorf("measure disk size: %w", err)
	}
	if total == 0 || float64(free) >= float64(total)*share/100 {
		return "", nil
	}
	return fmt.Sprintf("the disk of %s has %d of %d bytes free, less than the %v %% of min_free_percentage",
		db.opts.Dir, free, total, share), nil
}

// totalBytes returns the size of the file system, 0 if it cannot be known.
func totalBytes(fsys fsx.FS, path string) (uint64, error) {
	if s, ok := fsys.(diskSizer); ok {
		return s.TotalBytes(path)
	}
	if _, ok := fsys.(fsx.OS); ok {
		return diskSize(path)
	}
	return 0, nil
}

func (db *DB) setDiskFull(reason string) {
	was := db.diskFull.Load() != nil
	switch {
	case reason != "":
		db.diskFull.Store(&reason)
		if !was {
			call(db.opts.Listener.Full, reason)
		}
	case was:
		db.diskFull.Store(nil)
		if db.opts.Listener.Recovered != nil {
			db.opts.Listener.Recovered()
		}
	}
}

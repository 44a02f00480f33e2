package tracedb

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/block"
)

// deletedSuffix ends the name of a block's directory that is being removed.
const deletedSuffix = ".deleted"

// trash is the directories that nobody uses any more. The flusher removes them, and who needs room for a merge, so that no
// query waits for it; what is left at Close goes at the next Open, as no manifest names it.
type trash struct {
	removing sync.Mutex // held while directories are removed: who has it finds none that somebody else is removing
	mu       sync.Mutex
	dirs     []discarded
}

type discarded struct {
	dir             string
	bytes, reserved int64
}

func (db *DB) throwAway(d discarded) {
	db.trash.mu.Lock()
	db.trash.dirs = append(db.trash.dirs, d)
	db.trash.mu.Unlock()
	db.wakeFlusher()
}

// emptyTrash removes what was thrown away. What cannot be removed stays for the next time.
func (db *DB) emptyTrash() error {
	db.trash.removing.Lock()
	defer db.trash.removing.Unlock()
	db.trash.mu.Lock()
	dirs := db.trash.dirs
	db.trash.dirs = nil
	db.trash.mu.Unlock()
	var errs []error
	for _, d := range dirs {
		if err := removeBlock(db.opts.FS, d.dir); err != nil {
			errs = append(errs, err)
			db.trash.mu.Lock()
			db.trash.dirs = append(db.trash.dirs, d)
			db.trash.mu.Unlock()
			continue
		}
		db.ledger.add(func(l *ledger) {
			l.flow.Freed, l.flow.Now, l.doomed = l.flow.Freed+d.bytes, l.flow.Now-d.bytes, l.doomed-d.bytes
		})
		db.reserved.Add(-d.reserved)
	}
	return errors.Join(errs...)
}

// removeBlock removes a block's directory. It has another name first, so that half of a block is never taken for one.
func removeBlock(fsys fsx.FS, dir string) error {
	gone := dir
	if !strings.HasSuffix(dir, deletedSuffix) {
		gone = dir + deletedSuffix
		if err := fsys.Rename(dir, gone); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove block %s: %w", dir, err)
		}
		if err := fsys.SyncDir(filepath.Dir(dir)); err != nil {
			return fmt.Errorf("remove block %s: %w", dir, err)
		}
	}
	if err := fsys.RemoveAll(gone); err != nil {
		return fmt.Errorf("remove block %s: %w", dir, err)
	}
	return nil
}

// leftover reports whether the name of a directory is that of a block that was not completed or not completely removed.
func leftover(name string) bool {
	return strings.HasSuffix(name, block.TempSuffix) || strings.HasSuffix(name, deletedSuffix)
}

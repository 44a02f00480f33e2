package tracedb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/memlimit"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/wal"
)

// The layout of the data directory.
const (
	formatFile    = "format.json"
	formatName    = "bramble trace store"
	formatVersion = 1
	walDir        = "wal"
)

// ErrFormat: the directory was written by a version that this one does not understand.
var ErrFormat = errors.New("unsupported format of the data directory")

// Open opens the store in opts.Dir, creating it if needed, and reads the log back into memory. It fails if another
// process has the directory, if the format is unknown, and when ctx ends; damaged records are skipped, counted and
// reported to the listener. ctx is not kept.
func Open(ctx context.Context, opts Options) (*DB, error) {
	if err := opts.setDefaults(); err != nil {
		return nil, fmt.Errorf("open trace store: %w", err)
	}
	if err := fsx.MkdirAllSync(opts.FS, opts.Dir); err != nil {
		return nil, fmt.Errorf("open trace store: %w", err)
	}
	lock, err := opts.FS.Lock(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("open trace store: %w", err)
	}
	db, err := openLocked(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("open trace store %s: %w", opts.Dir, errors.Join(err, lock.Close()))
	}
	db.lock = lock
	db.wg.Add(1)
	go db.maintain()
	return db, nil
}

func openLocked(ctx context.Context, opts Options) (*DB, error) {
	if err := checkFormat(opts.FS, opts.Dir); err != nil {
		return nil, err
	}
	db := &DB{opts: opts, closeDone: make(chan struct{})}
	db.memory = memlimit.New("store", opts.MemoryBytes)
	db.heads = db.memory.Share("heads", opts.MemoryBytes/headShare)
	walOpts, err := opts.walOptions()
	if err != nil {
		return nil, err
	}
	walOpts.OnEvent = db.walEvent
	if db.wal, err = wal.Open(opts.FS, filepath.Join(opts.Dir, walDir), walOpts); err != nil {
		return nil, err
	}
	db.state.Store(newState(db.newPiece(), nil, nil, 0, nil))
	if err := db.replayWAL(ctx); err != nil {
		return nil, errors.Join(err, db.wal.Close())
	}
	db.stopping, db.stop = context.WithCancel(context.Background())
	return db, nil
}

// format is the content of format.json.
type format struct {
	Name    string `json:"name"`
	Version int    `json:"version"`
}

// checkFormat reads the version of the directory, or writes it if there is none yet.
func checkFormat(fsys fsx.FS, dir string) error {
	path := filepath.Join(dir, formatFile)
	data, err := fsx.ReadFile(fsys, path)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = json.Marshal(format{Name: formatName, Version: formatVersion})
		if err != nil {
			return fmt.Errorf("encode %s: %w", path, err)
		}
		return fsx.WriteFileAtomic(fsys, path, append(data, '\n'))
	}
	if err != nil {
		return err
	}
	var f format
	if err := json.Unmarshal(data, &f); err != nil || f.Name != formatName {
		return fmt.Errorf("%s does not describe a trace store: choose another directory: %w", path, ErrFormat)
	}
	if f.Version != formatVersion {
		return fmt.Errorf("%s says version %d, this program reads %d: use the version that wrote it: %w",
			path, f.Version, formatVersion, ErrFormat)
	}
	return nil
}

// walEvent passes on what the listener wants to know of the log.
func (db *DB) walEvent(e wal.Event) {
	switch e.Kind {
	case wal.SegmentRemoved:
		db.walAtCut.Add(-e.Bytes)
	case wal.SyncFailed, wal.WriteFailed, wal.SegmentLeft:
		call(db.opts.Listener.Error, fmt.Errorf("WAL %s: %s: %w", e.Path, e.Kind, e.Err))
	}
}

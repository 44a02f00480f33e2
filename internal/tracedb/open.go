package tracedb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/block"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/wal"
)

// The layout of the data directory.
const (
	formatFile    = "format.json"
	formatName    = "bramble trace store"
	formatVersion = 1
	walDir        = "wal"
	blocksDir     = "blocks"
	quarantineDir = "quarantine"
	decisionsDir  = "decisions"
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
	db.wg.Add(4)
	go db.maintain()
	go db.flushLoop()
	go db.compactLoop()
	go db.scrubLoop()
	return db, nil
}

func openLocked(ctx context.Context, opts Options) (*DB, error) {
	if err := checkFormat(opts.FS, opts.Dir); err != nil {
		return nil, err
	}
	db := &DB{
		opts: opts, closeDone: make(chan struct{}), changed: make(chan struct{}), catalog: map[string]*saved{},
		wake: make(chan struct{}, 1), requests: make(chan rewriteRequest), flushing: make(chan struct{}, 1),
		compacting: make(chan struct{}, 1),
	}
	db.opened = db.now()
	db.stopping, db.stop = context.WithCancel(context.Background())
	db.memory = newMemory(opts.MemoryBytes)
	db.cache = block.NewLRU(opts.MemoryBytes / cacheShare)
	var err error
	if db.reader, err = block.NewReader(opts.FS, db.cache, runtime.GOMAXPROCS(0)); err != nil {
		return nil, err
	}
	var blocks []*blockPiece
	if err = db.openQuarantine(); err == nil {
		blocks, err = db.openBlocks(ctx)
	}
	if err == nil {
		err = db.openLog(ctx, blocks)
	}
	if err != nil {
		db.stop()
		if s := db.state.Load(); s != nil {
			s.unref()
		} else {
			releaseAll(blocks)
		}
		db.reader.Close()
		return nil, err
	}
	return db, nil
}

// openLog opens the log and reads it into heads, beside the blocks, whose references become those of the state.
func (db *DB) openLog(ctx context.Context, blocks []*blockPiece) error {
	walOpts, err := db.opts.walOptions()
	if err != nil {
		return err
	}
	walOpts.OnEvent, walOpts.FirstSeq = db.walEvent, db.mark+1
	if db.wal, err = wal.Open(db.opts.FS, filepath.Join(db.opts.Dir, walDir), walOpts); err != nil {
		return err
	}
	written, _, now := db.wal.Flow()
	db.logOpened = now - written
	s := newState(db.newPiece(), nil, blocks, nil)
	s.split = newSplitIndex(s, sync.OnceValue(func() traceIDs { return db.splitAmong(blocks) }))
	releaseAll(blocks)
	db.state.Store(s)
	if err := db.replayWAL(ctx); err != nil {
		return errors.Join(err, db.wal.Close())
	}
	return nil
}

func releaseAll(blocks []*blockPiece) {
	for _, b := range blocks {
		_ = b.block.Release() // Only closing files that were read can fail.
	}
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

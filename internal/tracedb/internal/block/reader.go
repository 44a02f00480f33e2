package block

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/index"
)

// Reader opens blocks that share a file system, a cache and a decompressor.
type Reader struct {
	FS    fsx.FS
	Cache Cache
	Unzip *column.Decompressor
	next  atomic.Uint64

	concurrency int           // pages that are decompressed at a time
	picks       atomic.Uint64 // reads of some rows of a granule, see Block.keep
}

// NewReader returns a reader whose blocks share the cache. Close it after the last block.
func NewReader(fs fsx.FS, cache Cache, concurrency int) (*Reader, error) {
	unzip, err := column.NewDecompressor(max(1, concurrency))
	if err != nil {
		return nil, err
	}
	return &Reader{FS: fs, Cache: cache, Unzip: unzip, concurrency: concurrency}, nil
}

// Close frees the decompressor.
func (r *Reader) Close() { r.Unzip.Close() }

// Numbers of the files, in the order of dataFiles.
const (
	fileSpans = iota
	fileResources
	fileEvents
	fileLinks
	fileTraces
	fileAttrs
	fileCounts
	fileCount
)

// Block is an immutable block, a store.Part. It is safe for concurrent use. Whoever uses it holds a reference: the
// one that Open returns, or one of Acquire. With the last reference the files are closed.
type Block struct {
	reader *Reader
	dir    string
	id     uint64
	meta   *Meta
	traces *index.Traces
	first  []int // per row group: its first granule; one more at the end
	rows   []int // per row group: its first row
	*shared
	overlay *Overlay // nil if there is none
}

// shared is what a block has in common with its copies that have another overlay.
type shared struct {
	refs atomic.Int64
	// onZero is called once when the last reference is released.
	onZero atomic.Pointer[func()]

	mu    sync.Mutex
	files [fileCount]fsx.File // opened when needed
}

// Open opens the block in dir. It reads meta.json, the sizes of all files, the footer of the spans and the in-memory
// part of the trace index, and checks their sums; everything else is read and checked when it is needed.
func (r *Reader) Open(dir string) (b *Block, err error) {
	b = &Block{reader: r, dir: dir, id: r.next.Add(1), shared: &shared{}}
	b.refs.Store(1)
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open block %s: %w", filepath.Base(dir), err), b.closeFiles())
			b = nil
		}
	}()
	defer b.contain(&err)
	return b, b.open()
}

func (b *Block) open() error {
	var err error
	if b.meta, err = readMeta(b.reader.FS, filepath.Join(b.dir, MetaFile)); err != nil {
		return err
	}
	if err := b.checkSizes(dataFiles); err != nil {
		return err
	}
	b.index()
	f, err := b.file(fileSpans)
	if err != nil {
		return err
	}
	if _, err := column.ReadFooter(f, b.path(fileSpans), b.meta.Files[SpansFile]); err != nil {
		return err
	}
	if f, err = b.file(fileTraces); err != nil {
		return err
	}
	if b.traces, err = index.OpenTraces(f, b.path(fileTraces), b.meta.Files[TracesFile].Size, b.meta.Traces); err != nil {
		return err
	}
	b.traces.Keep(tracePages{b.reader.Cache, b.id})
	return nil
}

// checkSizes compares the sizes of files with those in the meta.
func (b *Block) checkSizes(names []string) error {
	for _, name := range names {
		if !b.meta.has(name) {
			continue // An optional one; meta.json was checked.
		}
		path := filepath.Join(b.dir, name)
		info, err := b.reader.FS.Stat(path)
		if err != nil {
			return missing(path, err)
		}
		if want := b.meta.Files[name].Size; info.Size != want {
			return &store.CorruptionError{Path: path, Offset: info.Size, Err: fmt.Errorf("file has %d bytes, want %d", info.Size, want)}
		}
	}
	return nil
}

// missing turns the lack of a file into corruption.
func missing(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &store.CorruptionError{Path: path, Err: errors.New("file is missing")}
	}
	return err
}

// index notes where row groups begin.
func (b *Block) index() {
	granules, rows := 0, 0
	for i := range b.meta.Groups {
		b.first, b.rows = append(b.first, granules), append(b.rows, rows)
		granules += len(b.meta.Groups[i].EventRows)
		rows += b.meta.Groups[i].Rows
	}
	b.first, b.rows = append(b.first, granules), append(b.rows, rows)
}

func (b *Block) path(file int) string { return filepath.Join(b.dir, dataFiles[file]) }

// file returns an open file.
func (b *Block) file(n int) (fsx.File, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.files[n] != nil {
		return b.files[n], nil
	}
	f, err := b.reader.FS.Open(b.path(n))
	if err != nil {
		return nil, missing(b.path(n), err)
	}
	b.files[n] = f
	return f, nil
}

func (b *Block) closeFiles() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	for i, f := range b.files {
		if f != nil {
			errs = append(errs, f.Close())
			b.files[i] = nil
		}
	}
	return errors.Join(errs...)
}

// Meta returns the contents of meta.json. They must not be modified.
func (b *Block) Meta() *Meta { return b.meta }

// Dir returns the block's directory.
func (b *Block) Dir() string { return b.dir }

// Acquire adds a reference. It reports false if the last one is gone already.
func (b *Block) Acquire() bool {
	for {
		n := b.refs.Load()
		if n <= 0 {
			return false
		}
		if b.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Release gives a reference back. With the last one the files are closed, the cache forgets the block, and the function
// of OnZero is called, for example to delete the directory.
func (b *Block) Release() error {
	n := b.refs.Add(-1)
	if n > 0 {
		return nil
	}
	if n < 0 {
		return fmt.Errorf("block %s: released more often than acquired", b.meta.ID)
	}
	err := b.closeFiles()
	b.reader.Cache.DropBlock(b.id)
	if f := b.onZero.Load(); f != nil {
		(*f)()
	}
	return err
}

// OnZero sets the function that is called after the last reference is gone. It must be set while a reference is held.
func (b *Block) OnZero(f func()) { b.onZero.Store(&f) }

// contain turns a panic over damaged bytes into a corruption error.
func (b *Block) contain(err *error) {
	if r := recover(); r != nil {
		*err = errors.Join(*err, &store.CorruptionError{Path: b.dir, Err: fmt.Errorf("reader panicked: %v\n%s", r, debug.Stack())})
	}
}

// Info implements store.Part.
func (b *Block) Info() store.PartInfo {
	m := b.meta
	return store.PartInfo{
		ID: m.ID, Kind: store.KindBlock, Level: m.Level, Rows: m.Rows, MinStartNano: m.MinStart, MaxStartNano: m.MaxStart,
		MaxEndNano: m.MaxEnd, Bytes: m.Bytes(),
	}
}

// TraceRows implements store.Part.
func (b *Block) TraceRows(ctx context.Context, id spanid.TraceID, dst []uint32) (_ []uint32, err error) {
	defer b.contain(&err)
	e, ok, err := b.Trace(ctx, id)
	if err != nil || !ok {
		return dst, err
	}
	for r := range e.Spans {
		dst = append(dst, e.Row+r)
	}
	return dst, nil
}

// EachTrace implements store.TraceLister, in the order of ids.
func (b *Block) EachTrace(ctx context.Context, first int, f func(spanid.TraceID)) (n int, err error) {
	defer b.contain(&err)
	var buf []index.Trace
	for p := 0; p < b.traces.Pages() && first < b.traces.Len(); p++ {
		if err := ctx.Err(); err != nil {
			return 0, fmt.Errorf("list the traces of block %s: %w", b.meta.ID, err)
		}
		if buf, err = b.traces.Page(p, buf[:0]); err != nil {
			return 0, err
		}
		for i := range buf {
			if n++; n > first {
				f(buf[i].ID)
			}
		}
	}
	return b.traces.Len(), nil
}

// MayHaveTrace reports false only if the block has no span of the trace, without reading anything.
func (b *Block) MayHaveTrace(id spanid.TraceID) bool { return b.traces.MayHave(id) }

// Trace returns the index entry of a trace.
func (b *Block) Trace(ctx context.Context, id spanid.TraceID) (e index.Trace, ok bool, err error) {
	if err := ctx.Err(); err != nil {
		return e, false, fmt.Errorf("find trace %s in block %s: %w", id, b.meta.ID, err)
	}
	if e, ok, err = b.traces.Find(id); err != nil || !ok {
		return e, ok, err
	}
	if uint64(e.Row)+uint64(e.Spans) > uint64(b.meta.Rows) { //nolint:gosec // not negative
		return e, false, &store.CorruptionError{
			Path: b.path(fileTraces),
			Err:  fmt.Errorf("trace %s has rows %d to %d of %d", id, e.Row, uint64(e.Row)+uint64(e.Spans), b.meta.Rows),
		}
	}
	return e, true, nil
}

// TraceIndex returns the trace index, for merging and for finding split traces.
func (b *Block) TraceIndex() *index.Traces { return b.traces }

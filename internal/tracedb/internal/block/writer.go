package block

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"path/filepath"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/index"
)

// WriterOptions say what a block is and how it is written. The zero value needs an ID only.
type WriterOptions struct {
	ID      string // a ULID; the name of the block's directory
	Level   int
	Parents []string
	WALMark uint64 // see Meta
	Written uint64 // see Meta
	// Zstd is the compression level, 1 (the default) or 3.
	Zstd int
	// GroupGranules is the number of granules in a row group; GroupGranules if zero.
	GroupGranules int
	// Decided says of which traces it was decided to keep them, and by which policy. May be nil.
	Decided func(id spanid.TraceID) (policy string, kept bool)
	// FirstGroups are the numbers of granules of the first row groups that are not copied.
	FirstGroups []int
	// GroupBytes ends a row group at the end of a granule when it holds more in memory; 64 MiB if zero.
	GroupBytes int
	// Held is told at the end of each granule about how many bytes of memory the writer has. May be nil.
	Held func(bytes int64)
}

// GroupGranules is how many granules a row group has at most, unless told otherwise.
const GroupGranules = 16

const (
	defaultGranules   = GroupGranules
	defaultGroupBytes = 64 << 20
)

// Writer writes one block. It belongs to one goroutine. Finish or Abort must be called.
type Writer struct {
	fs   fsx.FS
	dir  string // final directory
	tmp  string
	opts WriterOptions

	spans, events, links *table
	enc                  *column.FlatEncoder // of all tables
	tables               tables
	structure            *structure
	sampling             sampling
	tallies              *tallies

	current spanid.TraceID
	open    bool // a trace is open
	entry   index.Trace
	traces  []index.Trace

	meta       Meta
	eventRows  []int // per granule of the row group
	linkRows   []int
	granEvents int // of the current granule
	granLinks  int

	resourceOf []int32 // per resource of the batch being appended: id in the block, or -1
	scopeOf    []int32
	err        error
	renamed    bool // the final name may be ours
	done       bool
}

// NewWriter creates the temporary directory of a block below parent. One of the same name, left by a crash, is removed.
// A finished block of the same name is an error that wraps fs.ErrExist.
func NewWriter(fs fsx.FS, parent string, opts WriterOptions) (*Writer, error) {
	if opts.ID == "" || filepath.Base(opts.ID) != opts.ID || opts.ID[0] == '.' {
		return nil, fmt.Errorf("write block: %q is no block id", opts.ID)
	}
	if opts.GroupGranules <= 0 {
		opts.GroupGranules = defaultGranules
	}
	if opts.GroupBytes <= 0 {
		opts.GroupBytes = defaultGroupBytes
	}
	w := &Writer{fs: fs, dir: filepath.Join(parent, opts.ID), opts: opts}
	w.tmp = w.dir + TempSuffix
	if _, err := fs.Stat(w.dir); err == nil {
		return nil, fmt.Errorf("create block %s: %w: choose another id", opts.ID, iofs.ErrExist)
	}
	w.meta = Meta{Version: Version, ID: opts.ID, Level: opts.Level, Parents: opts.Parents, WALMark: opts.WALMark, Written: opts.Written, MinStart: ^uint64(0)}
	if err := w.create(); err != nil {
		return nil, errors.Join(fmt.Errorf("create block %s: %w", opts.ID, err), w.Abort())
	}
	return w, nil
}

func (w *Writer) create() error {
	if err := w.fs.RemoveAll(w.tmp); err != nil {
		return err
	}
	if err := w.fs.MkdirAll(w.tmp); err != nil {
		return err
	}
	var err error
	if w.enc, err = column.NewFlatEncoder(max(1, w.opts.Zstd)); err != nil {
		return err
	}
	open := func(name string, specs []column.Spec, deferred int) (*table, error) {
		out, err := createFile(w.fs, filepath.Join(w.tmp, name), name)
		if err != nil {
			return nil, err
		}
		return newTable(out, w.enc, specs, deferred), nil
	}
	if w.spans, err = open(SpansFile, spanSpecs(), spanColumns-firstDeferred); err != nil {
		return err
	}
	if w.events, err = open(EventsFile, eventSpecs(), 0); err != nil {
		return err
	}
	if w.links, err = open(LinksFile, linkSpecs(), 0); err != nil {
		return err
	}
	resources, err := open(ResourcesFile, resourceSpecs(), 0)
	if err != nil {
		return err
	}
	w.tables.init(resources)
	w.structure = newStructure(w.spans)
	w.sampling = newSampling(w.opts.Decided)
	w.tallies, err = newTallies()
	return err
}

// Append adds spans, which follow those appended before in the block's order: by trace start, trace id and span
// start, the spans of a trace together. The batch can be reused when Append returns. After an error the writer can
// only be aborted.
func (w *Writer) Append(ctx context.Context, b *store.Batch) error {
	if w.err != nil {
		return w.err
	}
	if err := w.append(ctx, b); err != nil {
		w.err = fmt.Errorf("write block %s: %w", w.opts.ID, err)
	}
	return w.err
}

func (w *Writer) append(ctx context.Context, b *store.Batch) error {
	w.resourceOf = resetIDs(w.resourceOf, len(b.Resources))
	w.scopeOf = resetIDs(w.scopeOf, len(b.Scopes))
	for i := range b.Spans {
		if i%1024 == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		s := &b.Spans[i]
		if s.Resource < 0 || int(s.Resource) >= len(b.Resources) || s.Scope < 0 || int(s.Scope) >= len(b.Scopes) {
			return fmt.Errorf("%w: span %d refers to resource %d of %d and scope %d of %d",
				store.ErrInvalid, i, s.Resource, len(b.Resources), s.Scope, len(b.Scopes))
		}
		if err := w.add(b, s); err != nil {
			return err
		}
	}
	return nil
}

func resetIDs(ids []int32, n int) []int32 {
	ids = ids[:0]
	for range n {
		ids = append(ids, -1)
	}
	return ids
}

func (w *Writer) add(b *store.Batch, s *store.Span) error {
	if !w.open || s.TraceID != w.current {
		if err := w.endTrace(); err != nil {
			return err
		}
		w.open, w.current = true, s.TraceID
		w.entry = index.Trace{ID: s.TraceID, Row: uint32(w.meta.Rows), Root: index.NoRow, Start: s.StartNano} //nolint:gosec // checked below
		w.sampling.begin(w, s.TraceID)
	}
	if w.meta.Rows >= 1<<31-1 {
		return fmt.Errorf("%w: more than 2^31 spans in a block", store.ErrTooLarge)
	}
	w.note(s)
	resource := w.resourceOf[s.Resource]
	if resource < 0 {
		resource = w.tables.resource(&b.Resources[s.Resource])
		w.resourceOf[s.Resource] = resource
	}
	scope := w.scopeOf[s.Scope]
	if scope < 0 {
		scope = w.tables.scope(&b.Scopes[s.Scope])
		w.scopeOf[s.Scope] = scope
	}
	w.tables.used(resource, scope)
	w.sampling.row(w.spans.row)
	w.tallies.span(s, w.tables.resources[resource].service)
	w.addSpan(s, resource, scope)
	w.structure.member(s)
	w.meta.Rows++
	if w.spans.row == store.GranuleRows {
		return w.endGranule()
	}
	return nil
}

// note keeps what meta.json and traces.idx say about the span.
func (w *Writer) note(s *store.Span) {
	noteSpan(&w.entry, uint32(w.meta.Rows), s) //nolint:gosec // below 2^31
	m := &w.meta
	m.MinStart, m.MaxStart = min(m.MinStart, s.StartNano), max(m.MaxStart, s.StartNano)
	m.MaxEnd = max(m.MaxEnd, s.EndNano)
}

// noteSpan adds a span, which is in a row, to the index entry of its trace.
func noteSpan(e *index.Trace, row uint32, s *store.Span) {
	e.Spans++
	e.Start, e.End = min(e.Start, s.StartNano), max(e.End, s.EndNano)
	e.Error = e.Error || s.StatusCode == store.StatusError
	if e.Root == index.NoRow && s.ParentID.IsZero() {
		e.Root = row
	}
}

func (w *Writer) endTrace() error {
	if !w.open {
		return nil
	}
	w.open = false
	w.tallies.endTrace()
	w.traces = append(w.traces, w.entry)
	return w.structure.endTrace()
}

package block

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/index"
)

// Salvage opens a block whose trace index or catalogue Open refuses. It makes the trace index again, in memory, from the
// spans, all of which it reads. What it returns answers as the block did, but for Attributes if the catalogue is damaged,
// and is meant to be written anew. It fails if the tables or both copies of the meta are damaged.
func (r *Reader) Salvage(ctx context.Context, dir string) (b *Block, err error) {
	b = &Block{reader: r, dir: dir, id: r.next.Add(1), shared: &shared{}}
	b.refs.Store(1)
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("salvage block %s: %w", filepath.Base(dir), err), b.closeFiles())
			b = nil
		}
	}()
	defer b.contain(&err)
	if b.meta, err = ReadMeta(r.FS, dir); err != nil {
		return b, err
	}
	if err = b.checkSizes(tableFiles); err != nil {
		return b, err
	}
	b.index()
	f, err := b.file(fileSpans)
	if err != nil {
		return b, err
	}
	if _, err = column.ReadFooter(f, b.path(fileSpans), b.meta.Files[SpansFile]); err != nil {
		return b, err
	}
	return b, b.rebuildTraces(ctx)
}

// TraceFilter reads what a block's trace index keeps in memory, also of a block that cannot be opened. The function that it
// returns reports false only if the block has no span of a trace.
func TraceFilter(fs fsx.FS, dir string) (mayHave func(spanid.TraceID) bool, err error) {
	m, err := ReadMeta(fs, dir)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, TracesFile)
	f, err := fs.Open(path)
	if err != nil {
		return nil, missing(path, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	traces, err := index.OpenTraces(f, path, m.Files[TracesFile].Size, m.Traces)
	if err != nil {
		return nil, err
	}
	return traces.MayHave, nil
}

// rebuildTraces makes the trace index from the spans.
func (b *Block) rebuildTraces(ctx context.Context) error {
	var entries []index.Trace
	var last spanid.TraceID
	var batch store.Batch
	rows := make([]uint32, 0, store.GranuleRows)
	for row := 0; row < b.meta.Rows; {
		rows = rows[:0]
		for range min(store.GranuleRows, b.meta.Rows-row) {
			rows = append(rows, uint32(row)) //nolint:gosec // below 2^31
			row++
		}
		batch.Reset()
		if err := b.Spans(ctx, rows, &batch); err != nil {
			return err
		}
		for i := range batch.Spans {
			s := &batch.Spans[i]
			if len(entries) == 0 || s.TraceID != last {
				last = s.TraceID
				entries = append(entries, index.Trace{ID: last, Row: rows[i], Root: index.NoRow, Start: s.StartNano})
			}
			noteSpan(&entries[len(entries)-1], rows[i], s)
		}
	}
	var file bytes.Buffer
	size, _, err := index.WriteTraces(&file, entries)
	if errors.Is(err, index.ErrDuplicate) {
		return b.corrupt(fileSpans, err)
	}
	if err != nil {
		return err
	}
	b.traces, err = index.OpenTraces(bytes.NewReader(file.Bytes()), b.path(fileTraces), size, b.meta.Traces)
	return err
}

// RestoreMeta puts meta.json and its copy back where one is damaged or missing. It returns what was wrong, nil if
// nothing was.
func (b *Block) RestoreMeta() (damage, err error) {
	want, _, err := goodMeta(b.reader.FS, b.dir)
	if err != nil {
		if want, err = encodeMeta(b.meta); err != nil {
			return nil, err
		}
	}
	return restore(b.reader.FS, b.dir, want)
}

// RestoreMeta puts meta.json of a block's directory back from its copy. It returns what was wrong, nil if nothing was,
// and a *store.CorruptionError if the copy is not good either.
func RestoreMeta(fs fsx.FS, dir string) (damage, err error) {
	want, first, err := goodMeta(fs, dir)
	if err != nil || first {
		return nil, err
	}
	return restore(fs, dir, want)
}

// goodMeta returns the contents of meta.json, or else of its copy if that is good.
func goodMeta(fs fsx.FS, dir string) (b []byte, first bool, err error) {
	for _, name := range []string{MetaFile, MetaCopyFile} {
		path := filepath.Join(dir, name)
		buf, ferr := fsx.ReadFile(fs, path)
		if ferr == nil {
			_, ferr = DecodeMeta(buf, path)
		}
		if ferr == nil {
			return buf, name == MetaFile, nil
		}
		if err == nil {
			err = missing(path, ferr)
		}
	}
	return nil, false, err
}

func restore(fs fsx.FS, dir string, want []byte) (damage, err error) {
	for _, name := range []string{MetaFile, MetaCopyFile} {
		path := filepath.Join(dir, name)
		got, err := fsx.ReadFile(fs, path)
		if err == nil && bytes.Equal(got, want) {
			continue
		}
		if err = missing(path, err); err == nil {
			err = &store.CorruptionError{Path: path, Err: errors.New("it is not what was written")}
		}
		damage = errors.Join(damage, err)
		if err := fsx.WriteFileAtomic(fs, path, want); err != nil {
			return damage, err
		}
	}
	return damage, nil
}

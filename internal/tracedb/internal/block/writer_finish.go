package block

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"

	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/index"
)

// Finish completes the block, makes it durable and gives it its name. On an error nothing but the temporary directory
// is left, which Abort removes.
func (w *Writer) Finish(ctx context.Context) (*Meta, error) {
	if w.err != nil {
		return nil, w.err
	}
	if err := w.finish(ctx); err != nil {
		w.err = fmt.Errorf("write block %s: %w", w.opts.ID, err)
		return nil, w.err
	}
	w.done = true
	return &w.meta, nil
}

func (w *Writer) finish(ctx context.Context) error {
	if w.meta.Rows == 0 {
		return errors.New("a block needs a span")
	}
	if err := w.endTrace(); err != nil {
		return err
	}
	if w.spans.row > 0 {
		if err := w.endGranule(); err != nil {
			return err
		}
	}
	if len(w.spans.granules) > 0 {
		if err := w.endGroup(); err != nil {
			return err
		}
	}
	if err := w.tables.write(); err != nil {
		return err
	}
	w.meta.Traces, w.meta.Resources, w.meta.Scopes = len(w.traces), len(w.tables.resources), len(w.tables.scopes)
	w.meta.Overflow = w.spans.overRows+w.events.overRows+w.links.overRows > 0
	w.meta.Files = make(map[string]column.Layout)
	for _, t := range []*table{w.spans, w.events, w.links, w.tables.table} {
		if err := w.finishTable(t); err != nil {
			return err
		}
	}
	if err := w.writeFile(TracesFile, func(o *outFile) (l column.Layout, err error) {
		l.Size, l.CRC, err = index.WriteTraces(o, w.traces)
		return l, err
	}); err != nil {
		return err
	}
	if err := w.writeFile(AttrsFile, w.writeCatalog); err != nil {
		return err
	}
	if err := w.writeFile(CountsFile, w.writeCounts); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return w.publish()
}

func (w *Writer) finishTable(t *table) error {
	l, err := t.w.Finish()
	if err != nil {
		return fmt.Errorf("finish %s: %w", t.out.name, err)
	}
	w.meta.Files[t.out.name] = l
	for _, c := range t.columns {
		if c.num >= 0 {
			w.meta.Columns = append(w.meta.Columns, ColumnMeta{
				Table: t.out.name, Name: c.builder.Spec().Name, Type: c.typ.String(), Rows: c.rows, Distinct: c.distinct,
			})
		}
	}
	return t.out.finish()
}

func (w *Writer) writeFile(name string, write func(*outFile) (column.Layout, error)) error {
	o, err := createFile(w.fs, filepath.Join(w.tmp, name), name)
	if err != nil {
		return err
	}
	l, err := write(o)
	if err != nil {
		o.abort()
		return fmt.Errorf("write %s: %w", name, err)
	}
	l.IndexOffset, l.FooterOffset = 0, 0
	w.meta.Files[name] = l
	return o.finish()
}

func (w *Writer) writeCatalog(o *outFile) (column.Layout, error) {
	b, err := index.EncodeCatalog(w.catalog())
	if err != nil {
		return column.Layout{}, err
	}
	_, err = o.Write(b)
	return column.Layout{Size: int64(len(b)), CRC: crc32.Checksum(b, column.Castagnoli)}, err
}

func (w *Writer) writeCounts(o *outFile) (column.Layout, error) {
	w.tallies.finish()
	b := index.EncodeCountsFile(w.tallies.sections)
	_, err := o.Write(b)
	return column.Layout{Size: int64(len(b)), CRC: crc32.Checksum(b, column.Castagnoli)}, err
}

// publish writes meta.json, makes everything durable and renames the directory.
func (w *Writer) publish() error {
	b, err := encodeMeta(&w.meta)
	if err != nil {
		return err
	}
	for _, name := range []string{MetaFile, MetaCopyFile} {
		o, err := createFile(w.fs, filepath.Join(w.tmp, name), name)
		if err != nil {
			return err
		}
		if _, err := o.Write(b); err != nil {
			o.abort()
			return fmt.Errorf("write %s: %w", name, err)
		}
		if err := o.finish(); err != nil {
			return err
		}
	}
	if err := w.fs.SyncDir(w.tmp); err != nil {
		return fmt.Errorf("sync %s: %w", w.tmp, err)
	}
	w.renamed = true
	if err := w.fs.Rename(w.tmp, w.dir); err != nil {
		return fmt.Errorf("give the block its name: %w", err)
	}
	if err := w.fs.SyncDir(filepath.Dir(w.dir)); err != nil {
		return fmt.Errorf("sync %s: %w", filepath.Dir(w.dir), err)
	}
	return nil
}

// Abort gives the block up and removes what was written, unless Finish has succeeded.
func (w *Writer) Abort() error {
	if w.done {
		return nil
	}
	if w.err == nil {
		w.err = fmt.Errorf("write block %s: aborted", w.opts.ID)
	}
	for _, t := range []*table{w.spans, w.events, w.links, w.tables.table} {
		if t != nil {
			t.out.abort()
		}
	}
	err := w.fs.RemoveAll(w.tmp)
	if w.renamed { // perhaps, and Finish failed afterwards
		err = errors.Join(err, w.fs.RemoveAll(w.dir))
	}
	return err
}

// Stats returns what each column chunk of a file costs, for reports.
func (w *Writer) Stats() map[string][]column.ChunkStats {
	out := make(map[string][]column.ChunkStats)
	for _, t := range []*table{w.spans, w.events, w.links, w.tables.table} {
		out[t.out.name] = t.w.Stats()
	}
	return out
}

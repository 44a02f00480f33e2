package block

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/storetest"
)

// blockStore is a store that keeps everything that was appended in one block, which is written when somebody looks.
type blockStore struct {
	tb     testing.TB
	fs     fsx.FS
	reader *Reader
	opts   WriterOptions

	mu     sync.Mutex
	rows   store.Batch
	blocks int
	view   *blockView
	closed bool
}

func newBlockStore(tb testing.TB, opts WriterOptions, cache int64) *blockStore {
	tb.Helper()
	fs := fsx.NewMem()
	require.NoError(tb, fs.MkdirAll("blocks"))
	r, err := NewReader(fs, NewLRU(cache), 2)
	require.NoError(tb, err)
	tb.Cleanup(r.Close)
	return &blockStore{tb: tb, fs: fs, reader: r, opts: opts}
}

func (s *blockStore) Append(ctx context.Context, b *store.Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for i := range b.Spans {
		p := &b.Spans[i]
		if p.Resource < 0 || int(p.Resource) >= len(b.Resources) || p.Scope < 0 || int(p.Scope) >= len(b.Scopes) {
			return fmt.Errorf("%w: span %d", store.ErrInvalid, i)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return store.ErrClosed
	}
	mergeBatch(&s.rows, b)
	s.view = nil
	return nil
}

// mergeBatch copies a batch to the end of another.
func mergeBatch(dst, b *store.Batch) {
	r, c := int32(len(dst.Resources)), int32(len(dst.Scopes))
	for _, x := range b.Resources {
		x.Attrs = slices.Clone(x.Attrs)
		dst.Resources = append(dst.Resources, x)
	}
	for _, x := range b.Scopes {
		x.Attrs = slices.Clone(x.Attrs)
		dst.Scopes = append(dst.Scopes, x)
	}
	for _, x := range b.Spans {
		x.Resource += r
		x.Scope += c
		x.Attrs = slices.Clone(x.Attrs)
		x.Events = slices.Clone(x.Events)
		for i := range x.Events {
			x.Events[i].Attrs = slices.Clone(x.Events[i].Attrs)
		}
		x.Links = slices.Clone(x.Links)
		for i := range x.Links {
			x.Links[i].Attrs = slices.Clone(x.Links[i].Attrs)
		}
		dst.Spans = append(dst.Spans, x)
	}
}

func (s *blockStore) View() (store.View, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, store.ErrClosed
	}
	if s.view != nil {
		return s.view, nil
	}
	s.view = &blockView{}
	if len(s.rows.Spans) == 0 {
		return s.view, nil
	}
	rows := s.rows
	rows.Spans = slices.Clone(rows.Spans)
	sortRows(&rows)
	s.blocks++
	id := fmt.Sprint("block", s.blocks)
	writeBlock(s.tb, s.fs, id, &rows, s.opts)
	b, err := s.reader.Open("blocks/" + id)
	require.NoError(s.tb, err)
	s.view.block = b
	return s.view, nil
}

func (s *blockStore) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

type blockView struct{ block *Block }

func (v *blockView) Parts() []store.Part {
	if v.block == nil {
		return nil
	}
	return []store.Part{v.block}
}

type noTraces struct{}

func (noTraces) Has(spanid.TraceID) bool { return false }
func (noTraces) Len() int                { return 0 }

func (v *blockView) Split() store.TraceSet { return noTraces{} }
func (v *blockView) Release()              {}

func (v *blockView) Trace(ctx context.Context, id spanid.TraceID, maxBytes int64) (*store.Trace, error) {
	if v.block == nil {
		return nil, store.ErrNotFound
	}
	rows, err := v.block.TraceRows(ctx, id, nil)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, store.ErrNotFound
	}
	var all store.Batch
	if err := v.block.Spans(ctx, rows, &all); err != nil {
		return nil, err
	}
	t := &store.Trace{Batch: all, InspectedBytes: uint64(len(rows))}
	t.Spans = nil
	type identity struct {
		id   spanid.SpanID
		kind int32
	}
	seen := map[identity]bool{}
	for i := range all.Spans {
		s := &all.Spans[i]
		if k := (identity{s.SpanID, s.Kind}); !seen[k] {
			seen[k] = true
			t.Spans = append(t.Spans, *s)
		}
	}
	if maxBytes > 0 && int64(len(t.Spans))*1000 > maxBytes {
		t.Spans, t.Partial = t.Spans[:maxBytes/1000], "cut at the size limit"
	}
	return t, nil
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t testing.TB) store.Store { return newBlockStore(t, WriterOptions{GroupGranules: 1}, 64<<20) })
}

// TestConformanceUncached reads everything from the files again and again.
func TestConformanceUncached(t *testing.T) {
	if !full() {
		t.Skip("takes long: set BRAMBLE_FULL=1")
	}
	storetest.Run(t, func(t testing.TB) store.Store { return newBlockStore(t, WriterOptions{}, 0) })
}

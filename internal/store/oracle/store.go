package oracle

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// Store keeps spans in memory. It is safe for concurrent use.
type Store struct {
	partRows int

	mu     sync.Mutex
	rows   store.Batch // Spans refer to Resources and Scopes of the same batch.
	last   *View       // The view of rows, nil when rows have changed since.
	closed bool
}

var _ store.Store = (*Store)(nil)

// New returns an empty store whose views have parts of partRows rows, or a single part if partRows is 0.
func New(partRows int) *Store { return &Store{partRows: partRows} }

// Append copies the batch into the store. The error wraps store.ErrInvalid if a span refers to a resource or scope that
// the batch does not have.
func (s *Store) Append(ctx context.Context, b *store.Batch) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("append %d spans: %w", len(b.Spans), err)
	}
	for i := range b.Spans {
		if err := checkIndexes(b, i); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return store.ErrClosed
	}
	appendRows(&s.rows, b, len(b.Spans), func(i int) int { return i })
	s.last = nil
	return nil
}

func checkIndexes(b *store.Batch, i int) error {
	if r := b.Spans[i].Resource; r < 0 || int(r) >= len(b.Resources) {
		return fmt.Errorf("%w: span %d has resource %d of %d", store.ErrInvalid, i, r, len(b.Resources))
	}
	if c := b.Spans[i].Scope; c < 0 || int(c) >= len(b.Scopes) {
		return fmt.Errorf("%w: span %d has scope %d of %d", store.ErrInvalid, i, c, len(b.Scopes))
	}
	return nil
}

// View returns a snapshot. It fails with store.ErrClosed after Close.
func (s *Store) View() (store.View, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, store.ErrClosed
	}
	if s.last == nil {
		s.last = newView(s.rows, s.partRows)
	}
	return s.last, nil
}

// DeleteTrace removes all spans of a trace from later views and returns how many there were.
func (s *Store) DeleteTrace(id spanid.TraceID) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Views share the old slice.
	kept := slices.DeleteFunc(slices.Clone(s.rows.Spans), func(p store.Span) bool { return p.TraceID == id })
	n := len(s.rows.Spans) - len(kept)
	s.rows.Spans, s.last = kept, nil
	return n
}

// Close makes Append and View fail with store.ErrClosed. Views stay valid.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// appendRows copies n spans of src, the i-th being src.Spans[row(i)], with the resources and scopes that they use.
func appendRows(dst, src *store.Batch, n int, row func(int) int) {
	resources, scopes := map[int32]int32{}, map[int32]int32{}
	for i := range n {
		p := cloneSpan(src.Spans[row(i)])
		ri, ok := resources[p.Resource]
		if !ok {
			ri = int32(len(dst.Resources)) //nolint:gosec // Tests are smaller.
			resources[p.Resource] = ri
			r := src.Resources[p.Resource]
			r.Attrs = slices.Clone(r.Attrs)
			dst.Resources = append(dst.Resources, r)
		}
		si, ok := scopes[p.Scope]
		if !ok {
			si = int32(len(dst.Scopes)) //nolint:gosec // Tests are smaller.
			scopes[p.Scope] = si
			c := src.Scopes[p.Scope]
			c.Attrs = slices.Clone(c.Attrs)
			dst.Scopes = append(dst.Scopes, c)
		}
		p.Resource, p.Scope = ri, si
		dst.Spans = append(dst.Spans, p)
	}
}

func cloneSpan(p store.Span) store.Span {
	p.Attrs, p.Events, p.Links = slices.Clone(p.Attrs), slices.Clone(p.Events), slices.Clone(p.Links)
	for i := range p.Events {
		p.Events[i].Attrs = slices.Clone(p.Events[i].Attrs)
	}
	for i := range p.Links {
		p.Links[i].Attrs = slices.Clone(p.Links[i].Attrs)
	}
	return p
}

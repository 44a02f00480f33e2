package tracedb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/head"
)

// View is a snapshot of a DB: a state and the number of rows of its live head. It implements store.View.
type View struct {
	s        *state
	live     *head.Part
	parts    []store.Part
	lost     []loss // damaged blocks, which parts does without
	released atomic.Bool

	splitOnce sync.Once
	split     splitSet
}

var _ store.View = (*View)(nil)

// View returns a snapshot, which the caller must Release: until then the memory of dropped heads stays in use. The
// error is store.ErrClosed.
func (db *DB) View() (store.View, error) {
	v, err := db.view()
	if err != nil {
		return nil, err
	}
	return v, nil
}

func (db *DB) view() (*View, error) {
	for {
		s := db.state.Load()
		if s == nil {
			return nil, fmt.Errorf("view: %w", store.ErrClosed)
		}
		if s.tryRef() {
			return newView(s, db.losses.load()), nil
		}
	}
}

func newView(s *state, lost []loss) *View {
	v := &View{s: s, live: s.live.head.Part(store.KindHead), lost: lost}
	rest := leaveOut(s.parts, lost)
	part := maskPart(v.live, s.masks[s.live])
	if part.Info().Rows == 0 {
		v.parts = rest
		return v
	}
	v.parts = make([]store.Part, 0, 1+len(rest))
	v.parts = append(append(v.parts, &notedPart{part, s.live.notes}), rest...)
	return v
}

// Parts returns the live head, if it has spans, the frozen heads and the blocks, each newest first.
func (v *View) Parts() []store.Part { return v.parts }

// Split returns the traces that have spans in more than one part.
func (v *View) Split() store.TraceSet {
	v.splitOnce.Do(func() {
		v.s.split.catchUp(v.live)
		v.split = splitSet{index: v.s.split, rows: uint32(v.live.Info().Rows)}
	})
	return v.split
}

// Release ends the use of the view.
func (v *View) Release() {
	if !v.released.Swap(true) {
		v.s.unref()
	}
}

// traceChunk is how many spans of a trace are read at a time, so that a huge one is cut before it is in memory.
const traceChunk = 1024

// Trace returns all spans of a trace, oldest part first. Of copies of a span (same id and kind, T-08) the one with
// more attributes is kept. The size that maxBytes bounds is about what the spans take in memory.
func (v *View) Trace(ctx context.Context, id spanid.TraceID, maxBytes int64) (*store.Trace, error) {
	g := gatherer{out: &store.Trace{}, seen: map[spanKey]int{}, maxBytes: maxBytes}
	var rows []uint32
	var err error
	g.out.Missing = v.missingOf(id)
	for i := len(v.parts) - 1; i >= 0 && g.out.Partial == ""; i-- {
		if rows, err = v.parts[i].TraceRows(ctx, id, rows[:0]); err == nil {
			err = g.addAll(ctx, v.parts[i], rows)
		}
		if corrupt, ok := errors.AsType[*store.CorruptionError](err); ok {
			g.out.Missing = "spans may be missing, a part of the store is damaged: " + corrupt.Error()
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read trace %s: %w", id, err)
		}
	}
	if len(g.seen) == 0 && g.out.Partial == "" && g.out.Missing == "" {
		return nil, fmt.Errorf("read trace %s: %w", id, store.ErrNotFound)
	}
	return g.out, nil
}

// spanKey is what makes two spans of a trace the same.
type spanKey struct {
	id   spanid.SpanID
	kind int32
}

// gatherer collects the spans of a trace.
type gatherer struct {
	out            *store.Trace
	seen           map[spanKey]int // position in out.Spans
	size, maxBytes int64
}

// addAll reads rows of a part until the limit is reached.
func (g *gatherer) addAll(ctx context.Context, p store.Part, rows []uint32) error {
	for from := 0; from < len(rows) && g.out.Partial == ""; from += traceChunk {
		if err := g.add(ctx, p, rows[from:min(from+traceChunk, len(rows))]); err != nil {
			return err
		}
	}
	return nil
}

// add reads rows of a part and keeps those that are new or better.
func (g *gatherer) add(ctx context.Context, p store.Part, rows []uint32) error {
	b := &g.out.Batch
	from := len(b.Spans)
	if err := p.Spans(ctx, rows, b); err != nil {
		return err
	}
	fresh := b.Spans[from:]
	b.Spans = b.Spans[:from]
	for i := range fresh {
		s := fresh[i]
		w := weighSpan(&s)
		g.out.InspectedBytes += uint64(w)
		key := spanKey{s.SpanID, s.Kind}
		at, dup := g.seen[key]
		if dup && len(s.Attrs) <= len(b.Spans[at].Attrs) {
			continue
		}
		grown := w
		if dup {
			grown -= weighSpan(&b.Spans[at])
		}
		if g.maxBytes > 0 && g.size+grown > g.maxBytes {
			g.out.Partial = fmt.Sprintf("the trace is larger than the limit of %d bytes: only %d of its spans are here",
				g.maxBytes, len(b.Spans))
			break
		}
		g.size += grown
		if dup {
			b.Spans[at] = s
			continue
		}
		g.seen[key] = len(b.Spans)
		b.Spans = append(b.Spans, s)
	}
	return nil
}

package tracedb

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/block"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/compact"
)

// writeTraces writes some traces of the plan.
func (m *merger) writeTraces(ctx context.Context, w *block.Writer, plan *compact.Merged, traces []int) error {
	if t := &plan.Traces[traces[0]]; t.Spans > hugeTrace {
		return m.writeHuge(ctx, w, plan.Pieces(t))
	}
	var ranges []placed
	at := uint32(0)
	for _, i := range traces {
		for _, p := range plan.Pieces(&plan.Traces[i]) {
			ranges = append(ranges, placed{p, at})
			at += p.Spans
		}
	}
	if err := m.readRows(ctx, ranges, int(at)); err != nil {
		return err
	}
	out := m.ordered.Spans[:0]
	from := 0
	for _, i := range traces {
		t := &plan.Traces[i]
		spans := m.ordered.Spans[from : from+t.Spans]
		from += t.Spans
		if len(plan.Pieces(t)) > 1 {
			spans = joinSpans(spans)
		}
		out = append(out, spans...) // Never beyond what was read.
	}
	m.ordered.Spans = out
	return w.Append(ctx, &m.ordered)
}

// placed is a piece and where its rows go.
type placed struct {
	compact.Piece
	at uint32
}

// place is a row and where it goes.
type place struct{ row, at uint32 }

// readRows reads pieces into m.ordered, input by input and each in the order of its rows, which is quickest.
func (m *merger) readRows(ctx context.Context, ranges []placed, rows int) error {
	m.read.Reset()
	m.ordered.Spans = slices.Grow(m.ordered.Spans[:0], rows)[:rows]
	for input := range m.blocks {
		m.places, m.rows = m.places[:0], m.rows[:0]
		for _, r := range ranges {
			if r.Input == input {
				for i := range r.Spans {
					m.places = append(m.places, place{r.Row + i, r.at + i})
				}
			}
		}
		if len(m.places) == 0 {
			continue
		}
		slices.SortFunc(m.places, func(a, b place) int { return cmp.Compare(a.row, b.row) })
		for _, p := range m.places {
			m.rows = append(m.rows, p.row)
		}
		from := len(m.read.Spans)
		if err := m.blocks[input].Spans(ctx, m.rows, &m.read); err != nil {
			return m.damaged(m.blocks[input], err)
		}
		for i, p := range m.places {
			m.ordered.Spans[p.at] = m.read.Spans[from+i]
		}
	}
	m.ordered.Resources, m.ordered.Scopes = m.read.Resources, m.read.Scopes
	return nil
}

// joinSpans sorts the spans of one trace by start and keeps one of each id and kind, that with the most attributes, as
// View.Trace does. It works in place.
func joinSpans(spans []store.Span) []store.Span {
	seen := make(map[spanKey]int, len(spans))
	kept := spans[:0]
	for i := range spans {
		s := spans[i]
		key := spanKey{s.SpanID, s.Kind}
		at, dup := seen[key]
		switch {
		case !dup:
			seen[key] = len(kept)
			kept = append(kept, s)
		case len(s.Attrs) > len(kept[at].Attrs):
			kept[at] = s
		}
	}
	slices.SortStableFunc(kept, func(a, b store.Span) int { return cmp.Compare(a.StartNano, b.StartNano) })
	return kept
}

// writeHuge writes a trace piece by piece. Of spans with the same id and kind the first is kept.
func (m *merger) writeHuge(ctx context.Context, w *block.Writer, pieces []compact.Piece) error {
	var seen map[spanKey]struct{}
	if len(pieces) > 1 {
		seen = make(map[spanKey]struct{})
	}
	atOnce := uint32(m.db.rowsAtOnce(ordinaryRead)) //nolint:gosec // at most mostRows
	for _, p := range pieces {
		for from := uint32(0); from < p.Spans; from += atOnce {
			start := time.Now()
			n := min(atOnce, p.Spans-from)
			err := m.readRows(ctx, []placed{{compact.Piece{Input: p.Input, Row: p.Row + from, Spans: n}, 0}}, int(n))
			if err != nil {
				return err
			}
			if seen != nil {
				m.ordered.Spans = slices.DeleteFunc(m.ordered.Spans, func(s store.Span) bool {
					key := spanKey{s.SpanID, s.Kind}
					_, dup := seen[key]
					seen[key] = struct{}{}
					return dup
				})
			}
			if err := w.Append(ctx, &m.ordered); err != nil {
				return err
			}
			if err := m.wait(ctx, time.Since(start)); err != nil {
				return err
			}
		}
	}
	return nil
}

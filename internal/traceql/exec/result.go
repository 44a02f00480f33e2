package exec

import (
	"slices"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// shown reads what results list, from the traces that made it into the answer.
type shown struct {
	attrs  []shownAttr
	cols   *traceColumns
	status int
}

// shownAttr is an attribute that results list.
type shownAttr struct {
	ast.Attr
	value  evalFn
	column int // Of an attribute with several values; else -1.
	tests  []*store.Predicate
}

func newShown(q *plan.Query) *shown {
	cols := newColumns()
	cols.addRoot()
	cols.addIdentity()
	out := &shown{}
	out.status = cols.addColumn(store.Intrinsic(store.SpanStatus))
	if !q.RowsOnly {
		for _, s := range q.Search.Show {
			a := shownAttr{Attr: s.Attr, value: compileAttr(s.Attr, cols), column: -1}
			if c, ok := columnOf(s.Attr); ok && s.Attr.Multi() {
				a.column = cols.addColumn(c)
			}
			for _, t := range s.Tests {
				a.tests = append(a.tests, predicate(t))
			}
			out.attrs = append(out.attrs, a)
		}
	}
	out.cols = newTraceColumns(cols)
	return out
}

// rows reads the result rows of matches.
func (s *search) rows(of []match) ([]TraceRow, error) {
	show := newShown(s.query)
	structure := false
	for _, a := range show.attrs {
		switch a.Intrinsic {
		case ast.NestedSetLeft, ast.NestedSetRight, ast.NestedSetParent, ast.ChildCount:
			structure = true
		}
	}
	out := make([]TraceRow, len(of))
	const portion = 16
	err := s.run.each((len(out)+portion-1)/portion, func(i int) error {
		lo, hi := i*portion, min((i+1)*portion, len(out))
		refs := make([]traceRef, 0, portion)
		for _, m := range of[lo:hi] {
			refs = append(refs, m.traceRef)
		}
		l, err := s.run.loadTraces(refs, show.cols, structure)
		if err != nil {
			return err
		}
		defer l.release()
		for k, t := range l.traces {
			if err := s.run.meter.take(s.run.ctx, show.rowBytes(t, &of[lo+k], s)); err != nil {
				return err
			}
			out[lo+k] = show.traceRow(t, &of[lo+k], s)
		}
		return nil
	})
	return out, err
}

// rowBytes is about what the row of a trace takes, before it is made: the answer is held besides everything else.
func (v *shown) rowBytes(t *trace, m *match, s *search) int64 {
	const rowSize, spansetSize, spanSize, attrSize = 256, 64, 96, 96
	bytes := int64(rowSize + len(t.rootName) + len(t.rootService))
	for _, set := range m.sets {
		spans := int64(min(len(set.spans), s.options.SpansPerSpanSet))
		// The spans are sorted as a copy.
		bytes += spansetSize + attrSize*int64(len(set.attrs)) + 4*int64(len(set.spans)) + spans*(spanSize+attrSize*int64(len(v.attrs)))
	}
	return bytes
}

func (v *shown) traceRow(t *trace, m *match, s *search) TraceRow {
	row := TraceRow{
		ID: t.id, RootService: t.rootService, RootName: t.rootName, StartNano: t.start, DurationNano: t.end - t.start,
	}
	if row.RootService == "" {
		row.RootService = RootNotReceived
	}
	if s.query.RowsOnly {
		return row
	}
	row.ServiceStats = map[string]ServiceStats{}
	for i, span := range t.spans {
		if t.isCopy(i) {
			continue
		}
		service := span.text(v.cols.server)
		st := row.ServiceStats[service]
		st.SpanCount++
		if span.number(v.status) == store.StatusError {
			st.ErrorCount++
		}
		row.ServiceStats[service] = st
	}
	for _, set := range m.sets {
		spans := t.distinct(set.spans)
		out := SpansetRow{Matched: len(spans), Attrs: set.attrs}
		first := slices.Clone(spans)
		slices.SortStableFunc(first, func(a, b int32) int {
			switch x, y := t.spans[a], t.spans[b]; {
			case earlier(v.cols, x, y):
				return -1
			case earlier(v.cols, y, x):
				return 1
			}
			return 0
		})
		for _, n := range first[:min(len(first), s.options.SpansPerSpanSet)] {
			out.Spans = append(out.Spans, v.spanRow(t, n))
		}
		row.Spansets = append(row.Spansets, out)
	}
	return row
}

func (v *shown) spanRow(t *trace, n int32) SpanRow {
	span := t.spans[n]
	start := uint64(span.number(v.cols.start))         //nolint:gosec // As stored.
	end := max(start, uint64(span.number(v.cols.end))) //nolint:gosec // As stored.
	row := SpanRow{StartNano: start, DurationNano: end - start}
	row.ID = parseSpan(span.text(v.cols.span))
	e := env{trace: t}
	e.at(n)
	for i := range v.attrs {
		a := &v.attrs[i]
		value := a.shownValue(&e)
		switch {
		case value.IsNil():
		case a.Intrinsic == ast.Name:
			row.Name = value.S
		case !hasAttr(row.Attrs, a.Key(), value):
			row.Attrs = append(row.Attrs, Attr{a.Key(), value})
		}
	}
	return row
}

// hasAttr tells whether the same was listed already: .x and span.x may be one attribute.
func hasAttr(attrs []Attr, key string, value ast.Static) bool {
	return slices.ContainsFunc(attrs, func(a Attr) bool { return a.Key == key && valueKey(a.Value) == valueKey(value) })
}

// shownValue returns the value to list, nil for none. Of several events or links it is that of the last one that the
// query asked for.
func (a *shownAttr) shownValue(e *env) ast.Static {
	if a.column < 0 {
		v := a.value(e)
		if len(a.tests) > 0 && !matchesAny(a.tests, e.values(v)) {
			return ast.Static{}
		}
		return v
	}
	e.buf = e.chunk.vecs[a.column].AppendTo(e.buf[:0], e.i)
	for k, v := range slices.Backward(e.buf) {
		if len(a.tests) == 0 || matchesAny(a.tests, e.buf[k:k+1]) {
			return toStatic(a.Attr, v)
		}
	}
	return ast.Static{}
}

// values returns a value as the store has it.
func (e *env) values(v ast.Static) []store.Value {
	if v.IsNil() {
		return nil
	}
	return append(e.buf[:0], toValue(v))
}

func matchesAny(tests []*store.Predicate, values []store.Value) bool {
	for _, p := range tests {
		if p.MatchSpan(values) {
			return true
		}
	}
	return false
}

func parseSpan(s string) spanid.SpanID {
	id, err := spanid.ParseSpanID(s)
	if err != nil {
		return spanid.SpanID{} // The store wrote it; an id of zeros parses too.
	}
	return id
}

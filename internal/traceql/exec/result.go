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
	attrs    []ast.Attr
	values   []evalFn
	multi    []int                           // Per attribute, the column of one with several values, else -1.
	tests    map[ast.Attr][]*store.Predicate // Which of several values is shown.
	cols     *traceColumns
	status   int
	showName bool
}

func newShown(q *plan.Query) *shown {
	cols := newColumns()
	cols.addRoot()
	out := &shown{showName: q.Search.ShowName, tests: positiveTests(q.Search)}
	out.status = cols.addColumn(store.Intrinsic(store.SpanStatus))
	if !q.RowsOnly {
		for _, a := range q.Search.Show {
			out.attrs = append(out.attrs, a)
			out.values = append(out.values, compileAttr(a, cols))
			column := -1
			if c, ok := columnOf(a); ok && a.Multi() {
				column = cols.addColumn(c)
			}
			out.multi = append(out.multi, column)
		}
	}
	out.cols = newTraceColumns(cols)
	return out
}

// positiveTests lists the tests that values of events and links were found by.
func positiveTests(p *plan.Pipeline) map[ast.Attr][]*store.Predicate {
	out := map[ast.Attr][]*store.Predicate{}
	var visit func(c *plan.Cond)
	visit = func(c *plan.Cond) {
		if c.Op == plan.IsTest && c.Test.Attr.Multi() && !c.Test.Op.Negative() {
			out[c.Test.Attr] = append(out[c.Test.Attr], predicate(c.Test))
		}
		for _, a := range c.Args {
			visit(a)
		}
	}
	for _, c := range p.Conds {
		visit(c)
	}
	return out
}

// rows reads the result rows of the best matches.
func (s *search) rows() ([]TraceRow, error) {
	show := newShown(s.query)
	structure := false
	for _, a := range show.attrs {
		switch a.Intrinsic {
		case ast.NestedSetLeft, ast.NestedSetRight, ast.NestedSetParent, ast.ChildCount:
			structure = true
		}
	}
	out := make([]TraceRow, len(s.best))
	const portion = 16
	err := s.run.each((len(out)+portion-1)/portion, func(i int) error {
		lo, hi := i*portion, min((i+1)*portion, len(out))
		refs := make([]traceRef, 0, portion)
		for _, m := range s.best[lo:hi] {
			refs = append(refs, m.traceRef)
		}
		l, err := s.run.loadTraces(refs, show.cols, structure)
		if err != nil {
			return err
		}
		defer l.release()
		for k, t := range l.traces {
			out[lo+k] = show.traceRow(t, &s.best[lo+k], s)
		}
		return nil
	})
	return out, err
}

func (v *shown) traceRow(t *trace, m *match, s *search) TraceRow {
	row := TraceRow{
		ID: t.id, RootService: t.rootService, RootName: t.rootName, StartNano: t.start, DurationNano: t.end - t.start,
		ServiceStats: map[string]ServiceStats{},
	}
	if row.RootService == "" {
		row.RootService = RootNotReceived
	}
	for _, span := range t.spans {
		service := span.text(v.cols.server)
		st := row.ServiceStats[service]
		st.SpanCount++
		if span.number(v.status) == store.StatusError {
			st.ErrorCount++
		}
		row.ServiceStats[service] = st
	}
	if s.query.RowsOnly {
		return row
	}
	for _, set := range m.sets {
		out := SpansetRow{Matched: len(set.spans), Attrs: set.attrs}
		first := slices.Clone(set.spans)
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
	if v.showName {
		row.Name = span.text(v.cols.name)
	}
	e := env{trace: t}
	e.at(n)
	for i, a := range v.attrs {
		value := v.value(i, &e)
		if value.IsNil() || hasKey(row.Attrs, a.Key()) {
			continue
		}
		row.Attrs = append(row.Attrs, Attr{a.Key(), value})
	}
	return row
}

func hasKey(attrs []Attr, key string) bool {
	return slices.ContainsFunc(attrs, func(a Attr) bool { return a.Key == key })
}

// value returns what is shown for the i-th attribute: of several events or links the last one that the query asked
// for, or else the last one.
func (v *shown) value(i int, e *env) ast.Static {
	a := v.attrs[i]
	if v.multi[i] < 0 {
		return v.values[i](e)
	}
	e.buf = e.chunk.vecs[v.multi[i]].AppendTo(e.buf[:0], e.i)
	for k := len(e.buf) - 1; k >= 0; k-- {
		for _, p := range v.tests[a] {
			if p.MatchSpan(e.buf[k : k+1]) {
				return toStatic(a, e.buf[k])
			}
		}
	}
	if len(e.buf) == 0 {
		return ast.Static{}
	}
	return toStatic(a, e.buf[len(e.buf)-1])
}

func parseSpan(s string) spanid.SpanID {
	id, err := spanid.ParseSpanID(s)
	if err != nil {
		return spanid.SpanID{} // The store wrote it; an id of zeros parses too.
	}
	return id
}

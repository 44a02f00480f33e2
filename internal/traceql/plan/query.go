package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

// Query is the plan of a whole query.
type Query struct {
	AST *ast.Query
	// Search evaluates the spanset pipeline; of a metrics query it is the pipeline of the first function (S-09).
	Search *Pipeline
	// Metrics holds one entry per metrics function, in the order of ast.Queries; none if the query has no metrics.
	Metrics []*MetricsQuery
	// RowsOnly makes search results without spansets, for searches by tags (contract 11, S-22).
	RowsOnly bool
	// Exemplars overrides the request's number of exemplars if ExemplarsSet (E-82).
	Exemplars    int
	ExemplarsSet bool
}

// MetricsQuery is the plan of one metrics function.
type MetricsQuery struct {
	AST      *ast.MetricsQuery
	Pipeline *Pipeline
	// Local is like Pipeline.Local, with nestedSetParent < 0 taken as "has no parent".
	Local *Cond
	// Selection splits the spans of compare; SelectionColumns is what it reads.
	Selection        *Cond
	SelectionColumns []ast.Attr
	// WholeTrace says that Selection, grouping or the measured attribute need the whole trace.
	WholeTrace bool
}

// New plans a validated query.
func New(q *ast.Query) (*Query, error) {
	out := &Query{AST: q}
	for _, h := range q.Hints {
		out.hint(h)
	}
	switch {
	case q.Metrics != nil:
		for _, m := range ast.Queries(nil, q.Metrics) {
			part, err := newMetrics(m)
			if err != nil {
				return nil, err
			}
			out.Metrics = append(out.Metrics, part)
		}
		if len(out.Metrics) == 0 {
			return nil, fmt.Errorf("plan %s: there is no metrics query in it", q)
		}
		p, err := searchPart(out.Metrics[0].AST)
		if err != nil {
			return nil, err
		}
		out.Search = p
	case q.Pipeline != nil:
		p, err := newPipeline(q.Pipeline)
		if err != nil {
			return nil, err
		}
		out.Search = p
	default:
		return nil, fmt.Errorf("plan %s: not yet supported", q)
	}
	return out, nil
}

// searchPart plans the pipeline of a metrics query for a search, whose results list also what the function works on
// (S-09).
func searchPart(m *ast.MetricsQuery) (*Pipeline, error) {
	stages := slices.Clone(m.Pipeline.Stages)
	attrs := slices.Clone(m.By)
	if m.Fn.HasAttr() {
		attrs = append(attrs, m.Attr)
	}
	if len(attrs) > 0 {
		stages = append(stages, &ast.Select{Attrs: attrs})
	}
	return newPipeline(&ast.Pipeline{Stages: stages})
}

// hint takes the hints that change what is answered (E-80 to E-83). The newest traces come first in any case, and
// sampling hints may be answered exactly.
func (q *Query) hint(h ast.Hint) {
	if h.Name != "exemplars" {
		return
	}
	switch h.Value.Type {
	case ast.TypeBool:
		if !h.Value.True() {
			q.Exemplars, q.ExemplarsSet = 0, true
		}
	case ast.TypeInt:
		q.Exemplars, q.ExemplarsSet = int(max(0, min(h.Value.N, 1<<20))), true
	}
}

func newMetrics(m *ast.MetricsQuery) (*MetricsQuery, error) {
	b := newBuilder(m.Pipeline)
	p, err := newPipeline(m.Pipeline)
	if err != nil {
		return nil, err
	}
	b.p = p
	out := &MetricsQuery{AST: m, Pipeline: p, Local: b.localByRoot()}
	attrs := append([]ast.Attr(nil), m.By...)
	if m.Fn.HasAttr() {
		attrs = ast.AddAttr(attrs, m.Attr)
	}
	if m.Fn == ast.Compare {
		c, err := lower(m.Selection.X)
		if err != nil {
			return nil, err
		}
		out.Selection = c.rootOnly()
		out.SelectionColumns = out.Selection.Attrs(nil)
		attrs = append(attrs, out.SelectionColumns...)
	}
	for _, a := range attrs {
		out.WholeTrace = out.WholeTrace || a.TraceLevel()
		switch a.Intrinsic {
		case ast.NestedSetLeft, ast.NestedSetRight, ast.NestedSetParent, ast.ChildCount:
			p.Structure = true
		}
	}
	return out, nil
}

// ConstFalse reports whether no span can ever match (S-33, M-14).
func (p *Pipeline) ConstFalse() bool { return p.Anchor.Op == False || p.Each.Op == False }

// Explain describes the plan for people: logs, tests and the UI.
func (q *Query) Explain() string {
	var b strings.Builder
	fmt.Fprintf(&b, "query: %s\n", q.AST)
	if len(q.Metrics) == 0 {
		q.Search.explain(&b)
	}
	for _, m := range q.Metrics {
		fmt.Fprintf(&b, "metrics: %s\n", m.AST.Fn)
		m.Pipeline.explain(&b)
		if m.Local != nil && !m.WholeTrace {
			fmt.Fprintf(&b, "  spans one by one: %s\n", m.Local)
		}
		if m.Selection != nil {
			fmt.Fprintf(&b, "  selection: %s\n", m.Selection)
		}
	}
	return b.String()
}

func (p *Pipeline) explain(b *strings.Builder) {
	fmt.Fprintf(b, "  anchor: %s\n", p.Anchor)
	for _, n := range p.Needs {
		fmt.Fprintf(b, "  needs: %d of %s\n", n.Spans, n.Cond)
	}
	switch {
	case p.ConstFalse():
		b.WriteString("  nothing can match\n")
	case p.Local != nil:
		fmt.Fprintf(b, "  local: %s\n", p.Local)
	default:
		fmt.Fprintf(b, "  whole traces; structure: %v\n", p.Structure)
	}
	fmt.Fprintf(b, "  columns: %s\n", attrText(p.Columns))
	show := make([]ast.Attr, len(p.Show))
	for i, s := range p.Show {
		show[i] = s.Attr
	}
	fmt.Fprintf(b, "  show: %s\n", attrText(show))
}

func attrText(attrs []ast.Attr) string {
	if len(attrs) == 0 {
		return "none"
	}
	s := ""
	var sSb180 strings.Builder
	for i, a := range attrs {
		if i > 0 {
			sSb180.WriteString(", ")
		}
		sSb180.WriteString(a.String())
	}
	s += sSb180.String()
	return s
}

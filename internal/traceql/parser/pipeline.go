package parser

import (
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/lexer"
)

// operand is what the outer climber works on. One of spanset, scalar, filter, metrics and stages says what it is.
type operand struct {
	at      *lexer.Token
	spanset ast.Spanset
	scalar  ast.Scalar
	filter  *ast.ScalarFilter
	metrics ast.Metrics
	stages  []ast.Stage // Of a pipeline of several stages, or of one that is no spanset.

	grouped bool // All of it stands in brackets.
	multi   bool // A spanset that holds a bracketed pipeline.
}

func (o *operand) pipeline() *ast.Pipeline {
	if o.stages != nil {
		return &ast.Pipeline{Stages: o.stages}
	}
	return &ast.Pipeline{Stages: []ast.Stage{o.spanset}}
}

func (o *operand) scalarText() string { return o.scalar.String() }

// what names the operand in errors.
func (o *operand) what() string {
	switch {
	case o.spanset != nil:
		return "spans"
	case o.scalar != nil:
		return "a number"
	case o.filter != nil:
		return "a comparison"
	case o.metrics != nil:
		return "a metrics query"
	}
	return "a pipeline"
}

// chain parses stages joined by |. The last may be a scalar, which only a bracket accepts, or a metrics function.
func (p *parser) chain() (operand, error) {
	first, err := p.stage()
	if err != nil {
		return first, err
	}
	if first.metrics != nil {
		return p.metricsTail(first)
	}
	if first.multi || !p.is(lexer.Pipe) {
		return first, nil
	}
	if first.scalar != nil {
		return first, p.unexpected("expected a comparison such as > 1 after " + first.scalarText())
	}
	o := operand{at: first.at, stages: stagesOf(first)}
	for p.is(lexer.Pipe) {
		p.take()
		t := p.peek()
		if fn, ok := ast.ParseMetricsFn(t.Text); ok && t.Kind == lexer.Word {
			m, err := p.metricsFn(fn, &ast.Pipeline{Stages: o.stages})
			if err != nil {
				return o, err
			}
			return p.metricsTail(operand{at: first.at, metrics: m})
		}
		s, err := p.nextStage()
		if err != nil {
			return o, err
		}
		if s.scalar != nil {
			o.scalar = &ast.ScalarPipeline{Pipeline: &ast.Pipeline{Stages: o.stages}, Last: s.scalar}
			o.stages = nil
			return o, nil
		}
		o.stages = append(o.stages, stagesOf(s)...)
	}
	return o, nil
}

// nextStage parses a stage behind a bar.
func (p *parser) nextStage() (operand, error) {
	t := p.peek()
	if t.Kind == lexer.Word {
		switch t.Text {
		case "topk", "bottomk":
			return operand{}, fail(t, "%s works on metrics: put a function such as rate() before it", t.Text)
		case "coalesce":
			return p.coalesce()
		}
	}
	s, err := p.stage()
	switch {
	case err != nil:
	case s.metrics != nil:
		err = fail(t, "a metrics query in brackets can only be a part of arithmetic")
	case s.multi:
		err = fail(t, "a bracketed pipeline can only be joined with other bracketed ones, not be a stage")
	}
	return s, err
}

func stagesOf(o operand) []ast.Stage {
	switch {
	case o.spanset != nil:
		return []ast.Stage{o.spanset}
	case o.filter != nil:
		return []ast.Stage{o.filter}
	}
	return o.stages
}

func (p *parser) coalesce() (operand, error) {
	at := p.take()
	if err := p.expect(lexer.OpenParen, "( after coalesce"); err != nil {
		return operand{}, err
	}
	return operand{at: at, stages: []ast.Stage{&ast.Coalesce{}}}, p.expect(lexer.CloseParen, "): coalesce has no arguments")
}

// stage parses one stage: by, select, or an expression of spansets, scalars or metrics.
func (p *parser) stage() (operand, error) {
	t := p.peek()
	if t.Kind != lexer.Word {
		return p.climb(0)
	}
	switch t.Text {
	case "by":
		p.take()
		if err := p.expect(lexer.OpenParen, "( after by"); err != nil {
			return operand{}, err
		}
		x, err := p.field()
		if err != nil {
			return operand{}, err
		}
		o := operand{at: t, stages: []ast.Stage{&ast.GroupBy{X: x}}}
		return o, p.expect(lexer.CloseParen, "an operator or )")
	case "select":
		p.take()
		attrs, err := p.attrList("select")
		return operand{at: t, stages: []ast.Stage{&ast.Select{Attrs: attrs}}}, err
	case "coalesce":
		return operand{}, fail(t, "coalesce() cannot be the first stage")
	}
	return p.climb(0)
}

// attrList parses attributes in brackets.
func (p *parser) attrList(after string) ([]ast.Attr, error) {
	if err := p.expect(lexer.OpenParen, "( after "+after); err != nil {
		return nil, err
	}
	var attrs []ast.Attr
	for {
		a, err := p.attr()
		if err != nil {
			return nil, err
		}
		attrs = append(attrs, a)
		if p.accept(lexer.Comma) {
			continue
		}
		return attrs, p.expect(lexer.CloseParen, ") or , after the attribute")
	}
}

// group parses what stands in brackets outside of braces.
func (p *parser) group() (operand, error) {
	at := p.take()
	if err := p.enter(); err != nil {
		return operand{}, err
	}
	o, err := p.chain()
	p.depth--
	if err != nil {
		return o, err
	}
	if err := p.expect(lexer.CloseParen, "an operator, | or )"); err != nil {
		return o, err
	}
	o.at, o.grouped = at, true
	if o.filter != nil {
		o.stages, o.filter = []ast.Stage{o.filter}, nil
	}
	if o.stages != nil {
		o.spanset, o.stages, o.multi = &ast.Pipeline{Stages: o.stages}, nil, true
	}
	return o, nil
}

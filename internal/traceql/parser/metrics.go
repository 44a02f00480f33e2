package parser

import (
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/lexer"
)

// metricsFn parses a first-stage function behind the pipeline whose spans it takes.
func (p *parser) metricsFn(fn ast.MetricsFn, pipeline *ast.Pipeline) (*ast.MetricsQuery, error) {
	p.take()
	if err := p.expect(lexer.OpenParen, "( after "+fn.String()); err != nil {
		return nil, err
	}
	m := &ast.MetricsQuery{Pipeline: pipeline, Fn: fn}
	var err error
	switch {
	case fn == ast.Compare:
		err = p.compareArgs(m)
	case fn.HasAttr():
		if m.Attr, err = p.attr(); err == nil && fn == ast.QuantileOverTime {
			err = p.quantiles(m)
		}
	}
	if err != nil {
		return nil, err
	}
	what := ") after the arguments"
	if fn == ast.Rate || fn == ast.CountOverTime {
		what = "): " + fn.String() + " has no arguments"
	}
	if err := p.expect(lexer.CloseParen, what); err != nil {
		return nil, err
	}
	if p.isWord("by") {
		by := p.take()
		if fn == ast.Compare {
			return nil, fail(by, "compare cannot be grouped")
		}
		if m.By, err = p.attrList("by"); err != nil {
			return nil, err
		}
	}
	m.Stages, err = p.secondStages()
	return m, err
}

func (p *parser) quantiles(m *ast.MetricsQuery) error {
	if !p.is(lexer.Comma) {
		return p.unexpected("expected a comma and a quantile such as 0.99")
	}
	for p.accept(lexer.Comma) {
		t := p.peek()
		if t.Kind != lexer.Value || t.Value.Type != ast.TypeInt && t.Value.Type != ast.TypeFloat {
			return p.unexpected("expected a quantile between 0 and 1")
		}
		q, _ := p.take().Value.Number()
		m.Quantiles = append(m.Quantiles, q)
	}
	return nil
}

// compareArgs parses the selection and the optional number of values and times.
func (p *parser) compareArgs(m *ast.MetricsQuery) error {
	if !p.is(lexer.OpenBrace) {
		return p.unexpected("expected the selection, a filter {…}")
	}
	f, err := p.filter()
	if err != nil {
		return err
	}
	m.Selection, m.TopN = f, ast.DefaultTopN
	if !p.accept(lexer.Comma) {
		return nil
	}
	if m.TopN, err = p.integer("the number of values to keep per attribute"); err != nil {
		return err
	}
	m.TopNSet = true
	if !p.accept(lexer.Comma) {
		return nil
	}
	m.TimesSet = true
	if m.Start, err = p.integer("the start in Unix nanoseconds"); err != nil {
		return err
	}
	if err = p.expect(lexer.Comma, "a comma and the end in Unix nanoseconds"); err != nil {
		return err
	}
	m.End, err = p.integer("the end in Unix nanoseconds")
	return err
}

func (p *parser) integer(what string) (int64, error) {
	t := p.peek()
	if t.Kind != lexer.Value || t.Value.Type != ast.TypeInt {
		return 0, p.unexpected("expected an integer: " + what)
	}
	return p.take().Value.N, nil
}

// secondStages parses what follows a metrics function: topk, bottomk and comparisons in any order. A bar
// with anything else behind it is left for the error at the end.
func (p *parser) secondStages() ([]ast.SecondStage, error) {
	var stages []ast.SecondStage
	for {
		t := p.peek()
		if op, ok := comparisons[t.Kind]; ok {
			p.take()
			v, err := p.number()
			if err != nil {
				return nil, err
			}
			stages = append(stages, ast.SecondStage{Kind: ast.CompareValue, Op: op, Value: v})
			continue
		}
		if t.Kind != lexer.Pipe {
			return stages, nil
		}
		p.take()
		kind := ast.TopK
		switch {
		case p.isWord("topk"):
		case p.isWord("bottomk"):
			kind = ast.BottomK
		default:
			return nil, p.unexpected("expected topk(n) or bottomk(n): nothing else can follow a metrics function")
		}
		name := p.take().Text
		if err := p.expect(lexer.OpenParen, "( after "+name); err != nil {
			return nil, err
		}
		n, err := p.integer("how many series to keep")
		if err != nil {
			return nil, err
		}
		if err := p.expect(lexer.CloseParen, ") after the number"); err != nil {
			return nil, err
		}
		stages = append(stages, ast.SecondStage{Kind: kind, Limit: n})
	}
}

// metricsTail parses second stages behind arithmetic.
func (p *parser) metricsTail(o operand) (operand, error) {
	if !p.is(lexer.Pipe) {
		return o, nil
	}
	if m, ok := o.metrics.(*ast.MetricsQuery); ok && o.grouped {
		return o, fail(o.at, "brackets around a metrics query are only for arithmetic: leave them out before | in %s", m.Fn)
	}
	stages, err := p.secondStages()
	if err != nil {
		return o, err
	}
	for _, s := range stages {
		o.metrics = withStage(o.metrics, s)
	}
	o.grouped = false
	return o, nil
}

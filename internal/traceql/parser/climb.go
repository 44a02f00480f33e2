package parser

import (
	"slices"

	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/lexer"
)

// setOps are the operators between spansets.
var setOps = map[lexer.Kind]ast.Op{
	lexer.And: ast.OpAnd, lexer.Or: ast.OpOr, lexer.Greater: ast.OpChild, lexer.Less: ast.OpParent,
	lexer.Descendant: ast.OpDescendant, lexer.Ancestor: ast.OpAncestor, lexer.Tilde: ast.OpSibling,
	lexer.NotGreater: ast.OpNotChild, lexer.NotLess: ast.OpNotParent, lexer.NotDescendant: ast.OpNotDescendant,
	lexer.NotAncestor: ast.OpNotAncestor, lexer.NotMatch: ast.OpNotSibling, lexer.UnionGreater: ast.OpUnionChild,
	lexer.UnionLess: ast.OpUnionParent, lexer.UnionDescendant: ast.OpUnionDescendant,
	lexer.UnionAncestor: ast.OpUnionAncestor, lexer.UnionTilde: ast.OpUnionSibling,
}

// arithmetic are the operators between scalars and, but for % and ^, between metrics.
var arithmetic = map[lexer.Kind]ast.Op{
	lexer.Plus: ast.OpAdd, lexer.Minus: ast.OpSub, lexer.Star: ast.OpMul, lexer.Slash: ast.OpDiv,
	lexer.Percent: ast.OpMod, lexer.Caret: ast.OpPow,
}

// comparisons are the operators that make a filter of two scalars or of metrics and a number.
var comparisons = map[lexer.Kind]ast.Op{
	lexer.Equal: ast.OpEq, lexer.NotEqual: ast.OpNe, lexer.Less: ast.OpLt, lexer.LessEqual: ast.OpLe,
	lexer.Greater: ast.OpGt, lexer.GreaterEqual: ast.OpGe,
}

func outerPrec(k lexer.Kind) int {
	for _, ops := range []map[lexer.Kind]ast.Op{setOps, arithmetic, comparisons} {
		if op, ok := ops[k]; ok {
			return op.Prec()
		}
	}
	return -1
}

// climb parses an expression of spansets, scalars or metrics with operators that bind at least as tight as least.
func (p *parser) climb(least int) (operand, error) {
	l, err := p.outerAtom()
	if err != nil {
		return l, err
	}
	for {
		t := p.peek()
		prec := outerPrec(t.Kind)
		if prec < 0 || prec < least {
			return l, nil
		}
		p.take()
		right := prec + 1
		if t.Kind == lexer.Caret {
			right = prec
		}
		if err := p.enter(); err != nil {
			return l, err
		}
		r, err := p.climb(right)
		p.depth--
		if err != nil {
			return l, err
		}
		if l, err = join(t, l, r); err != nil {
			return l, err
		}
	}
}

// join applies an operator to two operands.
func join(t *lexer.Token, l, r operand) (operand, error) {
	switch {
	case l.spanset != nil && r.spanset != nil:
		return joinSpansets(t, l, r)
	case l.scalar != nil && r.scalar != nil:
		return joinScalars(t, l, r)
	case l.metrics != nil && (r.metrics != nil || r.scalar != nil), l.scalar != nil && r.metrics != nil:
		return joinMetrics(t, l, r)
	}
	return l, fail(t, "%s cannot stand between %s and %s", t.Text, l.what(), r.what())
}

func joinSpansets(t *lexer.Token, l, r operand) (operand, error) {
	op, ok := setOps[t.Kind]
	if !ok {
		return l, fail(t, "%s cannot stand between two sets of spans; use &&, ||, >, >>, <, <<, ~ or their forms with ! and &", t.Text)
	}
	for _, side := range []operand{l, r} {
		other := r
		if side.at == r.at {
			other = l
		}
		if side.multi && !other.grouped {
			return l, fail(other.at, "the other side of %s is a pipeline in brackets, so this side must be in brackets too: ({…})", t.Text)
		}
	}
	return operand{
		at: l.at, spanset: &ast.SpansetOp{Op: op, L: l.spanset, R: r.spanset},
		grouped: l.grouped && r.grouped, multi: l.multi || r.multi,
	}, nil
}

func joinScalars(t *lexer.Token, l, r operand) (operand, error) {
	if op, ok := arithmetic[t.Kind]; ok {
		return operand{at: l.at, scalar: &ast.ScalarOp{Op: op, L: l.scalar, R: r.scalar}}, nil
	}
	if op, ok := comparisons[t.Kind]; ok {
		return operand{at: l.at, filter: &ast.ScalarFilter{Op: op, L: l.scalar, R: r.scalar}}, nil
	}
	return l, fail(t, "%s cannot stand between two numbers", t.Text)
}

// joinMetrics joins series with series, or series with a number.
func joinMetrics(t *lexer.Token, l, r operand) (operand, error) {
	for _, side := range []operand{l, r} {
		if side.metrics == nil {
			if _, ok := side.scalar.(*ast.Number); !ok {
				return l, fail(side.at, "a metrics query can be combined only with a number or another metrics query")
			}
		}
	}
	if op, ok := comparisons[t.Kind]; ok {
		n, isNumber := r.scalar.(*ast.Number)
		if !isNumber {
			return l, fail(t, "metrics can be compared only with a number on the right")
		}
		stage := ast.SecondStage{Kind: ast.CompareValue, Op: op, Value: n.Value}
		return operand{at: l.at, metrics: withStage(l.metrics, stage)}, nil
	}
	op, ok := arithmetic[t.Kind]
	if !ok || op == ast.OpMod || op == ast.OpPow {
		return l, fail(t, "%s cannot stand between metrics; use +, -, * or /", t.Text)
	}
	return operand{at: l.at, metrics: &ast.MetricsOp{Op: op, L: asMetrics(l), R: asMetrics(r)}}, nil
}

func asMetrics(o operand) ast.Metrics {
	if n, ok := o.scalar.(*ast.Number); ok {
		return &ast.MetricsScalar{Value: n.Value}
	}
	return o.metrics
}

// withStage adds a second stage to bracketed metrics.
func withStage(m ast.Metrics, s ast.SecondStage) ast.Metrics {
	if have, ok := m.(*ast.MetricsStages); ok {
		return &ast.MetricsStages{X: have.X, Stages: append(slices.Clip(have.Stages), s)}
	}
	return &ast.MetricsStages{X: m, Stages: []ast.SecondStage{s}}
}

// outerAtom parses a filter, a bracket, an aggregate or a number.
func (p *parser) outerAtom() (operand, error) {
	t := p.peek()
	switch t.Kind {
	case lexer.OpenBrace:
		f, err := p.filter()
		return operand{at: t, spanset: f}, err
	case lexer.OpenParen:
		return p.group()
	case lexer.Value, lexer.Minus:
		v, err := p.number()
		return operand{at: t, scalar: &ast.Number{Value: v}}, err
	case lexer.Word:
		if fn, ok := ast.ParseAggregate(t.Text); ok {
			a, err := p.aggregate(fn)
			return operand{at: t, scalar: a}, err
		}
		if _, ok := ast.ParseMetricsFn(t.Text); ok {
			return operand{}, fail(t, "%s needs spans before it: {…} | %s(…)", t.Text, t.Text)
		}
	}
	return operand{}, p.unexpected("expected a filter {…}, ( or a function such as count(), by(…), select(…), rate()")
}

// number parses an int, float or duration with an optional sign.
func (p *parser) number() (ast.Static, error) {
	neg := p.accept(lexer.Minus)
	t := p.peek()
	if t.Kind != lexer.Value || !t.Value.Type.Numeric() {
		return ast.Static{}, p.unexpected("expected a number or a duration")
	}
	p.take()
	if neg {
		return negate(t.Value), nil
	}
	return t.Value, nil
}

func (p *parser) aggregate(fn ast.AggregateFn) (*ast.Aggregate, error) {
	p.take()
	if err := p.expect(lexer.OpenParen, "( after "+fn.String()); err != nil {
		return nil, err
	}
	a := &ast.Aggregate{Fn: fn}
	if fn != ast.Count {
		x, err := p.field()
		if err != nil {
			return nil, err
		}
		a.X = x
	}
	what := "an operator or )"
	if fn == ast.Count {
		what = "): count has no arguments"
	}
	return a, p.expect(lexer.CloseParen, what)
}

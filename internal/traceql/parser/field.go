package parser

import (
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/lexer"
)

// fieldOps are the binary operators inside braces.
var fieldOps = map[lexer.Kind]ast.Op{
	lexer.Plus: ast.OpAdd, lexer.Minus: ast.OpSub, lexer.Star: ast.OpMul, lexer.Slash: ast.OpDiv,
	lexer.Percent: ast.OpMod, lexer.Caret: ast.OpPow, lexer.Equal: ast.OpEq, lexer.NotEqual: ast.OpNe,
	lexer.Less: ast.OpLt, lexer.LessEqual: ast.OpLe, lexer.Greater: ast.OpGt, lexer.GreaterEqual: ast.OpGe,
	lexer.Match: ast.OpRegex, lexer.NotMatch: ast.OpNotRegex, lexer.And: ast.OpAnd, lexer.Or: ast.OpOr,
}

// filter parses a field expression in braces.
func (p *parser) filter() (*ast.Filter, error) {
	p.take()
	if p.accept(lexer.CloseBrace) {
		return &ast.Filter{}, nil
	}
	x, err := p.field()
	if err != nil {
		return nil, err
	}
	if err := p.expect(lexer.CloseBrace, "an operator or }"); err != nil {
		return nil, err
	}
	return &ast.Filter{X: x}, nil
}

// field parses a whole field expression, which must be more than nil.
func (p *parser) field() (ast.Expr, error) {
	at := p.peek()
	x, err := p.binary(0)
	if err == nil && ast.IsNil(x) {
		return nil, fail(at, "nil can only stand beside = or !=")
	}
	return x, err
}

// binary climbs: it takes operators that bind at least as tight as least.
func (p *parser) binary(least int) (ast.Expr, error) {
	x, err := p.prefix()
	if err != nil {
		return nil, err
	}
	for {
		t := p.peek()
		op, ok := fieldOps[t.Kind]
		if !ok || op.Prec() < least {
			return x, nil
		}
		p.take()
		right := op.Prec() + 1
		if op == ast.OpPow {
			right = op.Prec()
		}
		if err := p.enter(); err != nil {
			return nil, err
		}
		y, err := p.binary(right)
		p.depth--
		if err != nil {
			return nil, err
		}
		if (ast.IsNil(x) || ast.IsNil(y)) && op != ast.OpEq && op != ast.OpNe {
			return nil, fail(t, "nil can only stand beside = or !=, not %s", op)
		}
		x = &ast.Binary{Op: op, L: x, R: y}
	}
}

// prefix parses an operand with the operators before it. Minus takes products with it, ! too, but neither takes sums
// (L-22).
func (p *parser) prefix() (ast.Expr, error) {
	t := p.peek()
	var op ast.Op
	var least int
	switch t.Kind {
	case lexer.Minus:
		op, least = ast.OpSub, ast.PrecAdd+1
	case lexer.Not:
		op, least = ast.OpNot, ast.PrecNot+1
	default:
		return p.atom()
	}
	p.take()
	if err := p.enter(); err != nil {
		return nil, err
	}
	x, err := p.binary(least)
	p.depth--
	if err != nil {
		return nil, err
	}
	if ast.IsNil(x) {
		return nil, fail(t, "nil can only stand beside = or !=, not behind %s", op)
	}
	if l, ok := x.(*ast.Literal); ok && op == ast.OpSub && l.Value.Type.Numeric() && positive(l.Value) {
		return &ast.Literal{Value: negate(l.Value)}, nil
	}
	return &ast.Unary{Op: op, X: x}, nil
}

// positive excludes negative literals, which would lose a sign in print.
func positive(v ast.Static) bool { return v.N >= 0 && v.String()[0] != '-' }

func (p *parser) atom() (ast.Expr, error) {
	t := p.peek()
	switch t.Kind {
	case lexer.OpenParen:
		p.take()
		if err := p.enter(); err != nil {
			return nil, err
		}
		x, err := p.field()
		p.depth--
		if err != nil {
			return nil, err
		}
		return x, p.expect(lexer.CloseParen, "an operator or )")
	case lexer.Attribute, lexer.Intrinsic:
		return p.attr()
	case lexer.Value, lexer.Word:
		if v, ok := literal(t); ok {
			p.take()
			return &ast.Literal{Value: v}, nil
		}
		return p.attr()
	}
	return nil, p.unexpected("expected a value or an attribute")
}

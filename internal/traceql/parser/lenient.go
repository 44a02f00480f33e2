package parser

import (
	"fmt"

	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/lexer"
)

// MaxGroups is how many alternatives the filter of a tag request may have (G-21).
const MaxGroups = 100

// Lenient reads the filter of a tag request, which clients send while it is being typed (G-20). What is incomplete is
// left out: matchers without a right side, dangling connectors, missing brackets. The outcome is nil, meaning no
// filter, for text that is no filter, for pipelines and structural queries, and for filters that say nothing (G-21,
// G-23). The only error is too many alternatives.
func Lenient(text string) (ast.Expr, error) {
	if len(text) > MaxBytes {
		return nil, nil //nolint:nilnil // No filter is an answer here.
	}
	l := &lenient{text: text, tokens: lexer.All(text)}
	if l.tokens[0].Kind != lexer.OpenBrace {
		return nil, nil //nolint:nilnil // As above.
	}
	end := l.closing()
	if end < len(l.tokens)-1 && l.tokens[end].Kind == lexer.CloseBrace && !l.onlyHints(end+1) {
		return nil, nil //nolint:nilnil // As above.
	}
	x := l.chain(1, end, 0)
	if n := groups(x); n > MaxGroups {
		return nil, fmt.Errorf("the filter has %d alternatives, more than the limit of %d: use fewer ||", n, MaxGroups)
	}
	return x, nil
}

type lenient struct {
	text   string
	tokens []lexer.Token
}

// closing returns the index of the brace that closes the first one, or of the end.
func (l *lenient) closing() int {
	for i, t := range l.tokens {
		if t.Kind == lexer.CloseBrace || t.Kind == lexer.EOF {
			return i
		}
	}
	return len(l.tokens) - 1
}

// onlyHints reports whether nothing but hints follows.
func (l *lenient) onlyHints(from int) bool {
	t := &l.tokens[from]
	return t.Kind == lexer.EOF || t.Kind == lexer.Word && t.Text == "with"
}

// chain reads operands joined by && and ||, which bind equally (L-20), from tokens [from, to). Operands that cannot be
// read drop out together with their connector.
func (l *lenient) chain(from, to, depth int) ast.Expr {
	if depth > maxDepth {
		return nil
	}
	var out ast.Expr
	op := ast.OpNone
	for start := from; start <= to; {
		end := l.operandEnd(start, to)
		if x := l.operand(start, end, depth); x != nil {
			if out == nil {
				out = x
			} else {
				out = &ast.Binary{Op: op, L: out, R: x}
			}
		}
		if end >= to {
			break
		}
		op = fieldOps[l.tokens[end].Kind]
		start = end + 1
	}
	return out
}

// operandEnd returns the index of the next connector outside of brackets.
func (l *lenient) operandEnd(from, to int) int {
	depth := 0
	for i := from; i < to; i++ {
		switch l.tokens[i].Kind {
		case lexer.OpenParen:
			depth++
		case lexer.CloseParen:
			depth--
		case lexer.And, lexer.Or:
			if depth <= 0 {
				return i
			}
		}
	}
	return to
}

// operand reads one operand, nil if it is incomplete.
func (l *lenient) operand(from, to, depth int) ast.Expr {
	if from >= to {
		return nil
	}
	p := &parser{tokens: append(append([]lexer.Token(nil), l.tokens[from:to]...), lexer.Token{Kind: lexer.EOF})}
	if x, err := p.field(); err == nil && p.is(lexer.EOF) && ast.CheckFilter(&ast.Filter{X: x}) == nil {
		return x
	}
	negated := l.tokens[from].Kind == lexer.Not
	if negated {
		from++
	}
	if from >= to || l.tokens[from].Kind != lexer.OpenParen {
		return nil
	}
	if l.tokens[to-1].Kind == lexer.CloseParen {
		to--
	}
	x := l.chain(from+1, to, depth+1)
	if x != nil && negated {
		x = &ast.Unary{Op: ast.OpNot, X: x}
	}
	return x
}

// groups counts the alternatives of a filter when it is written as a list of conjunctions.
func groups(x ast.Expr) int {
	const enough = 1 << 20
	b, ok := x.(*ast.Binary)
	if !ok || !b.Op.Logical() {
		return 1
	}
	l, r := groups(b.L), groups(b.R)
	if b.Op == ast.OpAnd {
		return min(l*r, enough)
	}
	return min(l+r, enough)
}

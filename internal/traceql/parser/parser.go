package parser

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/lexer"
)

const (
	// MaxBytes is the longest query that is parsed (S-01).
	MaxBytes = 128 << 10
	// maxDepth bounds nested brackets and prefix operators.
	maxDepth = 250
)

// Error is a syntax error.
type Error struct {
	Line, Col int // From 1.
	Reason    string
}

func (e *Error) Error() string {
	return fmt.Sprintf("parse error at line %d, col %d: %s", e.Line, e.Col, e.Reason)
}

// parser holds all tokens, which keeps lookahead simple.
type parser struct {
	tokens []lexer.Token
	next   int
	depth  int
}

// Parse parses a whole query. The error is an *Error.
func Parse(text string) (*ast.Query, error) {
	p, err := newParser(text)
	if err != nil {
		return nil, err
	}
	return p.query()
}

func newParser(text string) (*parser, error) {
	if len(text) > MaxBytes {
		return nil, &Error{Line: 1, Col: 1, Reason: fmt.Sprintf("the query is %d bytes long, at most %d are allowed", len(text), MaxBytes)}
	}
	return &parser{tokens: lexer.All(text)}, nil
}

func (p *parser) peek() *lexer.Token { return &p.tokens[p.next] }

// take returns the next token and moves on, but not past the end.
func (p *parser) take() *lexer.Token {
	t := &p.tokens[p.next]
	if t.Kind != lexer.EOF {
		p.next++
	}
	return t
}

func (p *parser) is(k lexer.Kind) bool { return p.peek().Kind == k }

func (p *parser) isWord(word string) bool {
	t := p.peek()
	return t.Kind == lexer.Word && t.Text == word
}

// accept takes the next token if it is of the kind.
func (p *parser) accept(k lexer.Kind) bool {
	if p.is(k) {
		p.take()
		return true
	}
	return false
}

func (p *parser) expect(k lexer.Kind, what string) error {
	if p.accept(k) {
		return nil
	}
	return p.unexpected("expected " + what)
}

// fail reports an error at a token.
func fail(t *lexer.Token, format string, args ...any) error {
	return &Error{Line: t.Pos.Line, Col: t.Pos.Col, Reason: fmt.Sprintf(format, args...)}
}

// unexpected reports the next token, with what should stand there. The lexer's reason wins over the parser's.
func (p *parser) unexpected(wanted string) error {
	t := p.peek()
	if t.Kind == lexer.Invalid {
		return fail(t, "%s", t.Err)
	}
	return fail(t, "unexpected %s, %s%s", t.Describe(), wanted, p.advice())
}

// otherLanguages are words of other query languages, and what stands for them here.
var otherLanguages = map[string]string{
	"and": "logical and is &&", "or": "logical or is ||", "not": "logical not is !", "in": "use =~ with alternatives",
	"like": "use =~ with a regular expression", "contains": "use =~ with a regular expression",
}

// advice says what to write instead of the next token, if that is known.
func (p *parser) advice() string {
	t := p.peek()
	var before lexer.Token
	if p.next > 0 {
		before = p.tokens[p.next-1]
	}
	switch {
	case t.Kind == lexer.Equal && before.Kind == lexer.Equal:
		return "; equality is ="
	case t.Kind != lexer.Word:
	case before.Kind == lexer.Value && strings.Trim(before.Text, ".0123456789") == "" && slices.Contains([]string{"ns", "us", "µs", "ms", "s", "m", "h", "d", "w", "y"}, t.Text):
		return "; write " + before.Text + t.Text + " without a space"
	case otherLanguages[strings.ToLower(t.Text)] != "":
		return "; " + otherLanguages[strings.ToLower(t.Text)]
	}
	return ""
}

// enter counts nesting; the caller leaves with p.depth--.
func (p *parser) enter() error {
	p.depth++
	if p.depth > maxDepth {
		return fail(p.peek(), "the query is nested too deeply: more than %d levels of brackets and prefix operators", maxDepth)
	}
	return nil
}

func (p *parser) query() (*ast.Query, error) {
	o, err := p.chain()
	if err != nil {
		return nil, err
	}
	q := &ast.Query{}
	switch {
	case o.metrics != nil:
		if _, lone := o.metrics.(*ast.MetricsQuery); lone && o.grouped {
			return nil, fail(o.at, "a metrics query stands in brackets only as a part of arithmetic, such as (…) / (…)")
		}
		q.Metrics = o.metrics
	case o.filter != nil && o.stages == nil:
		q.Pipeline = &ast.Pipeline{Stages: []ast.Stage{o.filter}}
		if _, grouped := o.filter.L.(*ast.ScalarPipeline); grouped {
			q.Pipeline, q.Scalar = nil, o.filter
		}
	case o.scalar != nil:
		return nil, p.unexpected("expected a comparison such as > 1 after " + o.scalarText())
	default:
		q.Pipeline = o.pipeline()
	}
	for p.isWord("with") {
		if q.Hints, err = p.hints(); err != nil {
			return nil, err
		}
	}
	if !p.is(lexer.EOF) {
		return nil, p.unexpected(p.trailing(o))
	}
	return q, nil
}

// trailing says what could have followed the query.
func (p *parser) trailing(o operand) string {
	k := p.peek().Kind
	switch {
	case o.metrics != nil && arithmetic[k] != ast.OpNone:
		return "put metrics queries in brackets to compute with them: (…) / (…)"
	case k == lexer.CloseParen || k == lexer.CloseBrace:
		return "there is no bracket to close"
	case o.multi && k == lexer.Pipe:
		return "a bracketed pipeline can be joined only with other bracketed ones and not be followed by stages"
	}
	return "expected the end of the query, | or an operator"
}

// hints parses a with clause.
func (p *parser) hints() ([]ast.Hint, error) {
	p.take()
	if err := p.expect(lexer.OpenParen, "( after with"); err != nil {
		return nil, err
	}
	var hints []ast.Hint
	for {
		name := p.peek()
		if name.Kind != lexer.Word {
			return nil, p.unexpected("expected the name of a hint")
		}
		p.take()
		if err := p.expect(lexer.Equal, "= after the hint's name"); err != nil {
			return nil, err
		}
		v, err := p.constant("the hint's value")
		if err != nil {
			return nil, err
		}
		hints = append(hints, ast.Hint{Name: name.Text, Value: v})
		if p.accept(lexer.Comma) {
			continue
		}
		return hints, p.expect(lexer.CloseParen, ") or , after the hint")
	}
}

// constant parses a literal, with a sign before numbers.
func (p *parser) constant(what string) (ast.Static, error) {
	neg := p.accept(lexer.Minus)
	t := p.peek()
	v, ok := literal(t)
	if !ok || v.IsNil() || neg && !v.Type.Numeric() {
		return v, p.unexpected("expected " + what)
	}
	p.take()
	if neg {
		v = negate(v)
	}
	return v, nil
}

// literal returns the value of a token that is a constant.
func literal(t *lexer.Token) (ast.Static, bool) {
	switch t.Kind {
	case lexer.Value:
		return t.Value, true
	case lexer.Word:
		return ast.Keyword(t.Text)
	}
	return ast.Static{}, false
}

func negate(v ast.Static) ast.Static {
	if v.Type == ast.TypeFloat {
		v.F = -v.F
	} else {
		v.N = -v.N
	}
	return v
}

// ParseAttribute parses a single attribute or intrinsic, the identifier of a tag-values request (V-03).
func ParseAttribute(text string) (ast.Attr, error) {
	if !utf8.ValidString(text) {
		return ast.Attr{}, &Error{Line: 1, Col: 1, Reason: "the attribute is not valid UTF-8"}
	}
	p, err := newParser(text)
	if err != nil {
		return ast.Attr{}, err
	}
	a, err := p.attr()
	if err == nil && !p.is(lexer.EOF) {
		err = p.unexpected("expected nothing after the attribute")
	}
	if err == nil && (a.Parent || a.Intrinsic == ast.Parent) {
		err = &Error{Line: 1, Col: 1, Reason: "parent is not yet supported"}
	}
	return a, err
}

// attr parses an attribute or intrinsic.
func (p *parser) attr() (ast.Attr, error) {
	t := p.peek()
	switch t.Kind {
	case lexer.Attribute, lexer.Intrinsic:
		p.take()
		return t.Attr, nil
	case lexer.Word:
		if i, ok := ast.ParseIntrinsic(t.Text); ok {
			p.take()
			return ast.IntrinsicAttr(i), nil
		}
		if _, keyword := ast.Keyword(t.Text); !keyword {
			return ast.Attr{}, unknownWord(t)
		}
	}
	return ast.Attr{}, p.unexpected("expected an attribute such as span.x, .x or an intrinsic such as duration")
}

func unknownWord(t *lexer.Token) error {
	return fail(t, "unknown word %q: attributes begin with a scope or a point (span.%s, .%s), strings stand in double quotes",
		t.Text, t.Text, t.Text)
}

package lexer

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

// Lexer reads tokens from a text.
type Lexer struct {
	text string
	pos  Pos
}

// New returns a lexer at the beginning of the text.
func New(text string) *Lexer { return &Lexer{text: text, pos: Pos{Line: 1, Col: 1}} }

// All returns the tokens of a text, an EOF token last.
func All(text string) []Token {
	l := New(text)
	var out []Token
	for {
		t := l.Next()
		out = append(out, t)
		if t.Kind == EOF {
			return out
		}
	}
}

// Next returns the next token. At the end it returns EOF, again and again.
func (l *Lexer) Next() Token {
	if bad, ok := l.skipBlank(); !ok {
		return bad
	}
	start := l.pos
	rest := l.rest()
	if rest == "" {
		return Token{Kind: EOF, Pos: start, End: start.Offset}
	}
	c := rest[0]
	switch {
	case c == '"' || c == '`':
		return l.str(start, c)
	case c >= '0' && c <= '9', c == '.' && len(rest) > 1 && rest[1] >= '0' && rest[1] <= '9':
		return l.number(start)
	case c == '.':
		l.advance(1)
		return l.attribute(start, ast.Attr{})
	case isWordStart(firstRune(rest)):
		return l.word(start)
	}
	for _, s := range symbols {
		if strings.HasPrefix(rest, s.text) {
			l.advance(len(s.text))
			return l.token(start, s.kind)
		}
	}
	r, n := utf8.DecodeRuneInString(rest)
	l.advance(n)
	switch {
	case r == utf8.RuneError && n == 1:
		return l.invalid(start, "the query is not valid UTF-8 here")
	case r == '\'':
		return l.invalid(start, `strings are written in double quotes or back quotes, not in single quotes`)
	case r == '#':
		return l.invalid(start, `unexpected "#"; comments begin with // or stand between /* and */`)
	case r == '&':
		return l.invalid(start, `unexpected "&"; logical and is &&`)
	}
	return l.invalid(start, fmt.Sprintf("unexpected character %q", r))
}

func firstRune(s string) rune {
	r, _ := utf8.DecodeRuneInString(s)
	return r
}

func isWordStart(r rune) bool { return r == '_' || r != utf8.RuneError && unicode.IsLetter(r) }

func isWordPart(r rune) bool { return isWordStart(r) || unicode.IsDigit(r) }

func (l *Lexer) rest() string { return l.text[l.pos.Offset:] }

// advance moves n bytes forward and counts lines and characters.
func (l *Lexer) advance(n int) {
	for _, r := range l.text[l.pos.Offset : l.pos.Offset+n] {
		if r == '\n' {
			l.pos.Line++
			l.pos.Col = 0
		}
		l.pos.Col++
	}
	l.pos.Offset += n
}

func (l *Lexer) token(start Pos, kind Kind) Token {
	return Token{Kind: kind, Pos: start, End: l.pos.Offset, Text: l.text[start.Offset:l.pos.Offset]}
}

func (l *Lexer) invalid(start Pos, reason string) Token {
	t := l.token(start, Invalid)
	t.Err = reason
	return t
}

// skipBlank skips white space and comments (L-01). It fails on a comment without an end.
func (l *Lexer) skipBlank() (bad Token, ok bool) {
	for {
		rest := l.rest()
		switch {
		case strings.HasPrefix(rest, "//"):
			n := strings.IndexByte(rest, '\n')
			if n < 0 {
				n = len(rest)
			}
			l.advance(n)
		case strings.HasPrefix(rest, "/*"):
			start := l.pos
			n := strings.Index(rest[2:], "*/")
			if n < 0 {
				l.advance(len(rest))
				return l.invalid(start, "the comment has no end: */ is missing"), false
			}
			l.advance(n + 4)
		default:
			r, n := utf8.DecodeRuneInString(rest)
			if n == 0 || !unicode.IsSpace(r) {
				return Token{}, true
			}
			l.advance(n)
		}
	}
}

// word reads an identifier and, if it is a scope followed by a point or colon, what belongs to it.
func (l *Lexer) word(start Pos) Token {
	n := strings.IndexFunc(l.rest(), func(r rune) bool { return !isWordPart(r) })
	if n < 0 {
		n = len(l.rest())
	}
	word := l.rest()[:n]
	l.advance(n)
	switch {
	case strings.HasPrefix(l.rest(), "."):
		return l.scoped(start, word)
	case strings.HasPrefix(l.rest(), ":"):
		return l.scopedIntrinsic(start, word)
	}
	return l.token(start, Word)
}

// scoped reads what follows a scope and its point. A word that is no scope is left alone: the parser says what it
// thinks of it.
func (l *Lexer) scoped(start Pos, word string) Token {
	if word == "parent" {
		l.advance(1)
		attr := ast.Attr{Parent: true}
		for _, s := range []ast.Scope{ast.ScopeSpan, ast.ScopeResource} {
			if p := s.String() + "."; strings.HasPrefix(l.rest(), p) {
				l.advance(len(p))
				attr.Scope = s
			}
		}
		return l.attribute(start, attr)
	}
	scope, ok := ast.ParseScope(word)
	if !ok {
		return l.token(start, Word)
	}
	l.advance(1)
	return l.attribute(start, ast.Attr{Scope: scope})
}

// scopedIntrinsic reads what follows a scope and its colon.
func (l *Lexer) scopedIntrinsic(start Pos, word string) Token {
	if _, ok := ast.ParseScope(word); !ok && word != "trace" {
		return l.token(start, Word)
	}
	l.advance(1)
	n := strings.IndexFunc(l.rest(), func(r rune) bool { return !isWordPart(r) })
	if n < 0 {
		n = len(l.rest())
	}
	l.advance(n)
	t := l.token(start, Intrinsic)
	i, ok := ast.ParseIntrinsic(t.Text)
	if !ok {
		t.Kind, t.Err = Invalid, "unknown intrinsic "+shorten(t.Text)
		return t
	}
	t.Attr = ast.IntrinsicAttr(i)
	return t
}

// attribute reads an attribute name (L-06, L-07). attr holds scope and parent already.
func (l *Lexer) attribute(start Pos, attr ast.Attr) Token {
	var name strings.Builder
	quoted := false
	for {
		r, n := utf8.DecodeRuneInString(l.rest())
		if n == 0 || ast.EndsName(r) {
			break
		}
		if r == '"' {
			quoted = true
			if reason := l.quotedName(&name); reason != "" {
				return l.invalid(start, reason)
			}
			continue
		}
		if r == utf8.RuneError && n == 1 {
			l.advance(n)
			return l.invalid(start, "the attribute name is not valid UTF-8")
		}
		name.WriteRune(r)
		l.advance(n)
	}
	if name.Len() == 0 && !quoted {
		return l.invalid(start, "an attribute name is missing after the point")
	}
	t := l.token(start, Attribute)
	t.Attr = attr
	t.Attr.Name = name.String()
	return t
}

// quotedName reads a quoted part of a name. Inside, only \" and \\ are escapes (L-07).
func (l *Lexer) quotedName(name *strings.Builder) (reason string) {
	l.advance(1)
	for {
		rest := l.rest()
		r, n := utf8.DecodeRuneInString(rest)
		switch {
		case n == 0:
			return "the quoted attribute name has no end: a double quote is missing"
		case r == '"':
			l.advance(1)
			return ""
		case r == '\\':
			if len(rest) < 2 || rest[1] != '"' && rest[1] != '\\' {
				l.advance(1)
				return `in a quoted attribute name only \" and \\ are escapes`
			}
			name.WriteByte(rest[1])
			l.advance(2)
		case r == utf8.RuneError && n == 1:
			l.advance(1)
			return "the attribute name is not valid UTF-8"
		default:
			name.WriteRune(r)
			l.advance(n)
		}
	}
}

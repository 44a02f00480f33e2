package lexer

import (
	"fmt"

	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

// Kind is the kind of a token.
type Kind uint8

// The kinds. Word is any identifier: keyword, intrinsic, function or hint name.
const (
	EOF Kind = iota
	Invalid
	Word
	Attribute // Scoped or unscoped; Token.Attr holds it.
	Intrinsic // Scoped spelling, such as span:status; Token.Attr holds it.
	Value     // String, int, float or duration; Token.Value holds it.
	OpenBrace
	CloseBrace
	OpenParen
	CloseParen
	Comma
	Pipe
	Plus
	Minus
	Star
	Slash
	Percent
	Caret
	Equal
	NotEqual
	Less
	LessEqual
	Greater
	GreaterEqual
	Match    // =~
	NotMatch // !~, also the negated sibling operator
	Not
	And
	Or
	Descendant // >>
	Ancestor   // <<
	Tilde      // ~
	NotGreater // !>
	NotLess    // !<
	NotDescendant
	NotAncestor
	UnionGreater // &>
	UnionLess    // &<
	UnionDescendant
	UnionAncestor
	UnionTilde // &~
)

// symbols lists the operators and brackets, longer ones before their prefixes.
var symbols = []struct {
	text string
	kind Kind
}{
	{"&>>", UnionDescendant},
	{"&<<", UnionAncestor},
	{"!>>", NotDescendant},
	{"!<<", NotAncestor},
	{"&&", And},
	{"||", Or},
	{">>", Descendant},
	{"<<", Ancestor},
	{"&>", UnionGreater},
	{"&<", UnionLess},
	{"&~", UnionTilde},
	{"!>", NotGreater},
	{"!<", NotLess},
	{"!~", NotMatch},
	{"!=", NotEqual},
	{"=~", Match},
	{">=", GreaterEqual},
	{"<=", LessEqual},
	{"{", OpenBrace},
	{"}", CloseBrace},
	{"(", OpenParen},
	{")", CloseParen},
	{",", Comma},
	{"|", Pipe},
	{"+", Plus},
	{"-", Minus},
	{"*", Star},
	{"/", Slash},
	{"%", Percent},
	{"^", Caret},
	{"=", Equal},
	{"<", Less},
	{">", Greater},
	{"!", Not},
	{"~", Tilde},
}

// Pos is a position in the text.
type Pos struct {
	Offset int // In bytes, from 0.
	Line   int // From 1.
	Col    int // In characters, from 1.
}

func (p Pos) String() string { return fmt.Sprintf("line %d, col %d", p.Line, p.Col) }

// Token is one token. Pos is where it begins and End the byte offset behind it.
type Token struct {
	Kind  Kind
	Pos   Pos
	End   int
	Text  string     // As written.
	Attr  ast.Attr   // Of Attribute and Intrinsic.
	Value ast.Static // Of Value.
	Err   string     // Of Invalid: the reason.
}

// Describe names the token for an error message.
func (t *Token) Describe() string {
	switch t.Kind {
	case EOF:
		return "end of query"
	case Attribute, Intrinsic:
		return "attribute " + t.Attr.String()
	case Value:
		return t.Value.Type.String() + " " + shorten(t.Text)
	case Word:
		return fmt.Sprintf("word %q", shorten(t.Text))
	}
	return fmt.Sprintf("%q", shorten(t.Text))
}

func shorten(s string) string {
	const most = 40
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

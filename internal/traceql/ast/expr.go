package ast

import (
	"slices"
	"strings"
)

// Expr is a field expression: what stands in a filter, in by() and in an aggregate.
type Expr interface {
	String() string
	// Type is the static type of the expression's value.
	Type() Type
	prec() int
}

// Literal is a constant.
type Literal struct{ Value Static }

// Unary is - or ! before an expression.
type Unary struct {
	Op Op // OpSub or OpNot
	X  Expr
}

// Binary is an operator between two expressions. Comparisons with nil have a nil Literal on one side or both.
type Binary struct {
	Op   Op
	L, R Expr
}

// precAtom binds tighter than every operator.
const precAtom = PrecPow + 1

func (a Attr) prec() int     { return precAtom }
func (l *Literal) prec() int { return precAtom }
func (b *Binary) prec() int  { return b.Op.Prec() }

// prec of ! is that of a product: what follows may be one, but the operator itself cannot be an operand of ^.
func (u *Unary) prec() int {
	if u.Op == OpNot {
		return PrecNot
	}
	return PrecAdd
}

// Type returns the type of the constant.
func (l *Literal) Type() Type { return l.Value.Type }

// Type returns bool for !, else that of the operand.
func (u *Unary) Type() Type {
	if u.Op == OpNot {
		return TypeBool
	}
	return u.X.Type()
}

// Type returns bool for comparisons and logic; for arithmetic it is the wider of both sides (E-26).
func (b *Binary) Type() Type {
	if !b.Op.Arithmetic() {
		return TypeBool
	}
	l, r := b.L.Type(), b.R.Type()
	switch {
	case l == TypeAttribute || r == TypeAttribute:
		return TypeAttribute
	case l == TypeInt && r == TypeInt:
		return TypeInt
	}
	return TypeFloat
}

func (l *Literal) String() string { return l.Value.String() }

func (u *Unary) String() string { return printExpr(u) }

func (b *Binary) String() string { return printExpr(b) }

func printExpr(x Expr) string {
	var b strings.Builder
	write(&b, x)
	return b.String()
}

// write prints into one buffer, so that long chains of operators cost linear time.
func write(b *strings.Builder, x Expr) {
	switch x := x.(type) {
	case *Unary:
		b.WriteString(x.Op.String())
		writeExpr(b, x.X, PrecMul)
	case *Binary:
		p := x.Op.Prec()
		left, right := p, p+1
		if x.Op == OpPow {
			left, right = p+1, p
		}
		writeExpr(b, x.L, left)
		b.WriteString(" " + x.Op.String() + " ")
		writeExpr(b, x.R, right)
	default:
		b.WriteString(x.String())
	}
}

// writeExpr brackets an operand that binds weaker than its place needs. Prefix operators as operands are bracketed
// always, and negative numbers where an operator could take the digits away from their sign.
func writeExpr(b *strings.Builder, x Expr, least int) {
	_, bracket := x.(*Unary)
	bracket = bracket || x.prec() < least
	if l, ok := x.(*Literal); ok && least >= PrecMul && negative(l.Value) {
		bracket = true
	}
	if bracket {
		b.WriteByte('(')
	}
	write(b, x)
	if bracket {
		b.WriteByte(')')
	}
}

func negative(s Static) bool {
	return strings.HasPrefix(s.String(), "-")
}

// Walk calls f for the expression and everything in it, outer before inner.
func Walk(x Expr, f func(Expr)) {
	if x == nil {
		return
	}
	f(x)
	switch x := x.(type) {
	case *Unary:
		Walk(x.X, f)
	case *Binary:
		Walk(x.L, f)
		Walk(x.R, f)
	}
}

// Attrs appends the attributes of an expression that are not in dst yet, in order of appearance.
func Attrs(dst []Attr, x Expr) []Attr {
	Walk(x, func(e Expr) {
		if a, ok := e.(Attr); ok {
			dst = AddAttr(dst, a)
		}
	})
	return dst
}

// AddAttr appends an attribute unless dst has it.
func AddAttr(dst []Attr, a Attr) []Attr {
	if slices.Contains(dst, a) {
		return dst
	}
	return append(dst, a)
}

// IsNil reports whether the expression is the keyword nil.
func IsNil(x Expr) bool {
	l, ok := x.(*Literal)
	return ok && l.Value.IsNil()
}

package ast

import "fmt"

// Op is an operator of field expressions, scalars and spansets.
type Op uint8

// The operators. Structural ones come in a plain, a negated and a union form (E-42 to E-48).
const (
	OpNone Op = iota
	OpAdd
	OpSub
	OpMul
	OpDiv
	OpMod
	OpPow
	OpEq
	OpNe
	OpLt
	OpLe
	OpGt
	OpGe
	OpRegex
	OpNotRegex
	OpAnd
	OpOr
	OpNot
	OpChild
	OpParent
	OpDescendant
	OpAncestor
	OpSibling
	OpNotChild
	OpNotParent
	OpNotDescendant
	OpNotAncestor
	OpNotSibling
	OpUnionChild
	OpUnionParent
	OpUnionDescendant
	OpUnionAncestor
	OpUnionSibling
)

var opText = [...]string{
	"none", "+", "-", "*", "/", "%", "^", "=", "!=", "<", "<=", ">", ">=", "=~", "!~", "&&", "||", "!",
	">", "<", ">>", "<<", "~", "!>", "!<", "!>>", "!<<", "!~", "&>", "&<", "&>>", "&<<", "&~",
}

func (o Op) String() string {
	if int(o) < len(opText) {
		return opText[o]
	}
	return fmt.Sprintf("Op(%d)", uint8(o))
}

// Arithmetic reports whether the operator computes a number.
func (o Op) Arithmetic() bool { return o >= OpAdd && o <= OpPow }

// Comparison reports whether the operator compares two values, regular expressions included.
func (o Op) Comparison() bool { return o >= OpEq && o <= OpNotRegex }

// Logical reports whether the operator is && or ||.
func (o Op) Logical() bool { return o == OpAnd || o == OpOr }

// Structural reports whether the operator relates spans of a trace.
func (o Op) Structural() bool { return o >= OpChild && o <= OpUnionSibling }

// Negated reports whether the operator is the negated form of a structural one.
func (o Op) Negated() bool { return o >= OpNotChild && o <= OpNotSibling }

// Union reports whether the operator is the union form of a structural one.
func (o Op) Union() bool { return o >= OpUnionChild && o <= OpUnionSibling }

// Plain returns the plain form of a structural operator.
func (o Op) Plain() Op {
	switch {
	case o.Negated():
		return o - OpNotChild + OpChild
	case o.Union():
		return o - OpUnionChild + OpChild
	}
	return o
}

// Precedences of contract 4.3, lowest to highest. Unary minus has that of binary minus, and so applies to a whole
// product; ! applies to products too, but not to sums (L-22).
const (
	PrecPipe = iota + 1
	PrecLogical
	PrecCompare
	PrecAdd
	PrecNot
	PrecMul
	PrecPow
)

// Prec returns the precedence of a binary operator.
func (o Op) Prec() int {
	switch {
	case o.Logical():
		return PrecLogical
	case o.Comparison(), o.Structural():
		return PrecCompare
	case o == OpAdd, o == OpSub:
		return PrecAdd
	case o == OpMul, o == OpDiv, o == OpMod:
		return PrecMul
	case o == OpPow:
		return PrecPow
	}
	return PrecPipe
}

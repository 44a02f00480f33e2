package plan

import (
	"cmp"
	"math"
	"regexp"

	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

// EvalUnary computes - and !. ok is false for a value of the wrong type, nil included (E-18).
func EvalUnary(op ast.Op, v ast.Static) (ast.Static, bool) {
	switch {
	case op == ast.OpNot && v.Type == ast.TypeBool:
		return ast.Bool(v.N == 0), true
	case op == ast.OpNot && v.Type == ast.TypeArray: // As = false does (E-22).
		for _, e := range v.Elems {
			if e.Type == ast.TypeBool && e.N == 0 {
				return ast.Bool(true), true
			}
		}
	case op == ast.OpSub && v.Type == ast.TypeFloat:
		return ast.Float(-v.F), true
	case op == ast.OpSub && v.Type.Numeric():
		v.N = -v.N
		return v, true
	}
	return ast.Static{}, false
}

// EvalBinary computes an operator that is not about nil. re is the compiled right side of =~ and !~. ok is false when
// the outcome is no value: a missing operand, types that do not meet, an integer divided by zero. A comparison of what
// cannot be compared is not false but no value, so that its negation by an operator does not hold either (E-12);
// ! before it makes true of both (E-11).
func EvalBinary(op ast.Op, l, r ast.Static, re *regexp.Regexp) (ast.Static, bool) {
	switch {
	case op.Logical():
		if l.Type != ast.TypeBool && r.Type != ast.TypeBool {
			return ast.Static{}, false
		}
		if op == ast.OpAnd {
			return ast.Bool(l.True() && r.True()), true
		}
		return ast.Bool(l.True() || r.True()), true
	case op.Arithmetic():
		return arithmetic(op, l, r)
	}
	return ast.Bool(Compare(op, l, r, re)), true
}

// Compare decides a comparison. Arrays on one side match if any element does; for != and !~ if all do (E-22, E-23).
func Compare(op ast.Op, l, r ast.Static, re *regexp.Regexp) bool {
	if l.Type == ast.TypeArray && r.Type == ast.TypeArray {
		return false // E-25.
	}
	elems, onLeft := l.Elems, true
	switch {
	case l.Type == ast.TypeArray:
	case r.Type == ast.TypeArray:
		elems, onLeft = r.Elems, false
	default:
		holds, _ := compareScalars(op, l, r, re)
		return holds
	}
	negative := op == ast.OpNe || op == ast.OpNotRegex
	if len(elems) == 0 {
		other := r
		if !onLeft {
			other = l
		}
		return negative && !other.IsNil() && other.Type != ast.TypeStatus && other.Type != ast.TypeKind
	}
	met := false
	for _, e := range elems {
		a, b := e, r
		if !onLeft {
			a, b = l, e
		}
		holds, comparable := compareScalars(op, a, b, re)
		if holds && !negative {
			return true
		}
		if negative && comparable && !holds {
			return false
		}
		met = met || comparable
	}
	return negative && met
}

func compareScalars(op ast.Op, l, r ast.Static, re *regexp.Regexp) (holds, comparable bool) {
	switch {
	case op == ast.OpRegex || op == ast.OpNotRegex:
		if l.Type != ast.TypeString || re == nil {
			return false, false
		}
		return re.MatchString(l.S) == (op == ast.OpRegex), true
	case l.Type.Numeric() && r.Type.Numeric():
		return compareNumbers(op, l, r), true
	case l.Type != r.Type:
		return false, false
	}
	c := 0
	switch l.Type {
	case ast.TypeString:
		c = cmp.Compare(l.S, r.S)
	case ast.TypeBool, ast.TypeStatus, ast.TypeKind:
		if op != ast.OpEq && op != ast.OpNe {
			return false, false // They have no order (L-41).
		}
		c = cmp.Compare(l.N, r.N)
	default:
		return false, false
	}
	return ordered(op, c), true
}

func ordered(op ast.Op, c int) bool {
	switch op {
	case ast.OpEq:
		return c == 0
	case ast.OpNe:
		return c != 0
	case ast.OpLt:
		return c < 0
	case ast.OpLe:
		return c <= 0
	case ast.OpGt:
		return c > 0
	}
	return c >= 0
}

// compareNumbers keeps the precision of large integers when the other side is a float. NaN is only unequal.
func compareNumbers(op ast.Op, l, r ast.Static) bool {
	lf, rf := l.Type == ast.TypeFloat, r.Type == ast.TypeFloat
	if lf && math.IsNaN(l.F) || rf && math.IsNaN(r.F) {
		return op == ast.OpNe
	}
	switch {
	case lf && rf:
		return ordered(op, cmp.Compare(l.F, r.F))
	case lf:
		return ordered(op, -intFloat(r.N, l.F))
	case rf:
		return ordered(op, intFloat(l.N, r.F))
	}
	return ordered(op, cmp.Compare(l.N, r.N))
}

func intFloat(i int64, f float64) int {
	switch {
	case f >= 1<<63:
		return -1
	case f < -(1 << 63):
		return 1
	}
	whole := math.Trunc(f)
	if c := cmp.Compare(i, int64(whole)); c != 0 {
		return c
	}
	return cmp.Compare(whole, f)
}

// arithmetic computes with numbers: two ints stay int, everything else becomes float (E-26).
func arithmetic(op ast.Op, l, r ast.Static) (ast.Static, bool) {
	if l.Type == ast.TypeInt && r.Type == ast.TypeInt {
		return intArithmetic(op, l.N, r.N)
	}
	a, okA := l.Number()
	b, okB := r.Number()
	if !okA || !okB {
		return ast.Static{}, false
	}
	switch op {
	case ast.OpAdd:
		a += b
	case ast.OpSub:
		a -= b
	case ast.OpMul:
		a *= b
	case ast.OpDiv:
		a /= b
	case ast.OpMod:
		a = math.Mod(a, b)
	default:
		a = math.Pow(a, b)
	}
	return ast.Float(a), true
}

func intArithmetic(op ast.Op, a, b int64) (ast.Static, bool) {
	switch op {
	case ast.OpAdd:
		return ast.Int(a + b), true
	case ast.OpSub:
		return ast.Int(a - b), true
	case ast.OpMul:
		return ast.Int(a * b), true
	case ast.OpPow:
		if a == 0 && b < 0 {
			return ast.Static{}, false
		}
		return ast.Int(intPow(a, b)), true
	}
	if b == 0 {
		return ast.Static{}, false
	}
	if b == -1 { // The smallest int has no positive counterpart.
		if op == ast.OpMod {
			return ast.Int(0), true
		}
		return ast.Int(-a), true
	}
	if op == ast.OpMod {
		return ast.Int(a % b), true
	}
	return ast.Int(a / b), true
}

// intPow computes a to the power of b; negative powers are cut to an int.
func intPow(a, b int64) int64 {
	if b < 0 {
		return int64(math.Pow(float64(a), float64(b)))
	}
	out := int64(1)
	for b > 0 {
		if b&1 == 1 {
			out *= a
		}
		a *= a
		b >>= 1
	}
	return out
}

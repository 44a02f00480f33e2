package traceqltest

import (
	"cmp"
	"math"
	"math/big"
	"regexp"

	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

func naiveArithmetic(op ast.Op, l, r nval) nval {
	x, okX := l.(int64)
	y, okY := r.(int64)
	if okX && okY {
		switch op {
		case ast.OpAdd:
			return x + y
		case ast.OpSub:
			return x - y
		case ast.OpMul:
			return x * y
		case ast.OpPow:
			if y >= 0 {
				p := int64(1)
				for range y {
					p *= x
				}
				return p
			}
			if x == 0 {
				return nil
			}
			return int64(math.Pow(float64(x), float64(y)))
		}
		if y == 0 {
			return nil
		}
		if op == ast.OpDiv {
			return x / y
		}
		return x % y
	}
	a, okA := toNumber(l)
	b, okB := toNumber(r)
	if !okA || !okB {
		return nil
	}
	switch op {
	case ast.OpAdd:
		return a + b
	case ast.OpSub:
		return a - b
	case ast.OpMul:
		return a * b
	case ast.OpDiv:
		return a / b
	case ast.OpMod:
		return math.Mod(a, b)
	}
	return math.Pow(a, b)
}

// naiveCompare implements E-10 to E-25 for values that may be lists.
func naiveCompare(op ast.Op, l, r nval) bool {
	left, many := l.([]nval)
	right, alsoMany := r.([]nval)
	negative := op == ast.OpNe || op == ast.OpNotRegex
	var pairs [][2]nval
	switch {
	case many && alsoMany:
		return false
	case many:
		for _, e := range left {
			pairs = append(pairs, [2]nval{e, r})
		}
	case alsoMany:
		for _, e := range right {
			pairs = append(pairs, [2]nval{l, e})
		}
	default:
		holds, _ := comparePair(op, l, r)
		return holds
	}
	if len(pairs) == 0 {
		return negative && ordinary(l) && ordinary(r)
	}
	met := false
	for _, p := range pairs {
		holds, comparable := comparePair(op, p[0], p[1])
		met = met || comparable
		if !negative && holds {
			return true
		}
		if negative && comparable && !holds {
			return false
		}
	}
	return negative && met
}

// exactly keeps the precision of large integers.
func exactly(v nval) *big.Float {
	switch v := v.(type) {
	case int64:
		return new(big.Float).SetPrec(64).SetInt64(v)
	case nduration:
		return new(big.Float).SetPrec(64).SetInt64(int64(v))
	case float64:
		return new(big.Float).SetPrec(64).SetFloat64(v)
	}
	return new(big.Float)
}

// ordinary excludes what attributes never hold.
func ordinary(v nval) bool {
	switch v.(type) {
	case nil, nstatus, nkind:
		return false
	}
	return true
}

func comparePair(op ast.Op, l, r nval) (holds, comparable bool) {
	if op == ast.OpRegex || op == ast.OpNotRegex {
		s, ok := l.(string)
		expr, _ := r.(string)
		if !ok {
			return false, false
		}
		return regexp.MustCompile(`\A(?s:`+expr+`)\z`).MatchString(s) == (op == ast.OpRegex), true
	}
	if x, ok := toNumber(l); ok {
		y, ok := toNumber(r)
		if !ok {
			return false, false
		}
		if math.IsNaN(x) || math.IsNaN(y) {
			return op == ast.OpNe, true
		}
		return compareOrder(op, exactly(l).Cmp(exactly(r))), true
	}
	switch x := l.(type) {
	case string:
		if y, ok := r.(string); ok {
			return compareOrder(op, cmp.Compare(x, y)), true
		}
	case bool:
		if y, ok := r.(bool); ok && (op == ast.OpEq || op == ast.OpNe) {
			return (x == y) == (op == ast.OpEq), true
		}
	case nstatus:
		if y, ok := r.(nstatus); ok && (op == ast.OpEq || op == ast.OpNe) {
			return (x == y) == (op == ast.OpEq), true
		}
	case nkind:
		if y, ok := r.(nkind); ok && (op == ast.OpEq || op == ast.OpNe) {
			return (x == y) == (op == ast.OpEq), true
		}
	}
	return false, false
}

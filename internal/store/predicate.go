package store

import (
	"cmp"
	"math"
	"regexp"
	"strings"
)

// Op is a comparison of a column with constants.
type Op uint8

// The comparisons. OpIn and OpNotIn take any number of values; OpExists and OpNotExists none; the others one.
const (
	OpExists Op = iota
	OpNotExists
	OpEq
	OpNe
	OpLt
	OpLe
	OpGt
	OpGe
	OpRegex
	OpNotRegex
	OpIn
	OpNotIn
)

var opNames = [...]string{"exists", "not exists", "=", "!=", "<", "<=", ">", ">=", "=~", "!~", "in", "not in"}

func (o Op) String() string {
	if int(o) < len(opNames) {
		return opNames[o]
	}
	return "?"
}

// negative reports whether the comparison asks that no value matches, rather than that one does.
func (o Op) negative() bool { return o == OpNe || o == OpNotRegex || o == OpNotIn }

// Predicate is a condition on one column. Its meaning is MatchSpan, which implementations may evaluate in any way
// that gives the same answer.
type Predicate struct {
	Column Column
	Op     Op
	Values []Value
	// Regex is the compiled expression of OpRegex and OpNotRegex, already anchored at both ends (E-16).
	Regex *regexp.Regexp
	// Literal, if not empty, is a text that everything Regex matches contains (RequiredLiteral). It saves time only.
	Literal string
}

// MatchSpan decides the predicate for the values of one span: none if the attribute is missing, one for ordinary
// columns, one per event or link for those that can have several.
//
//   - No value: only OpNotExists holds (E-10, E-19).
//   - Several values (events, links, elements of an array): the positive comparisons hold if any value satisfies
//     them (E-02, E-22), the negative ones if none is equal or matches (E-23). An empty array satisfies the negative
//     ones only.
//   - Values of another type than the operand satisfy neither a comparison nor its negation (E-12), but int and
//     float are compared as numbers (E-13).
func (p *Predicate) MatchSpan(values []Value) bool {
	switch p.Op {
	case OpExists:
		return len(values) > 0
	case OpNotExists:
		return len(values) == 0
	}
	any := false
	for _, v := range values {
		holds, comparable := p.matchOne(v)
		if !p.Op.negative() && holds {
			return true
		}
		if p.Op.negative() {
			if comparable && !holds {
				return false
			}
			any = any || holds
		}
	}
	return any
}

// matchOne decides for one value, unpacking arrays. comparable is false if the types do not meet.
func (p *Predicate) matchOne(v Value) (holds, comparable bool) {
	if v.Type != TypeArray {
		return p.matchScalar(v)
	}
	elems, err := v.Elems()
	if err != nil {
		return false, false
	}
	negative := p.Op.negative()
	if len(elems) == 0 {
		return negative, true
	}
	for _, e := range elems {
		h, c := p.matchScalar(e)
		if !negative && h {
			return true, true
		}
		comparable = comparable || c
		if negative && c && !h {
			return false, true
		}
	}
	return negative && comparable, comparable
}

func (p *Predicate) matchScalar(v Value) (holds, comparable bool) {
	switch p.Op {
	case OpRegex, OpNotRegex:
		if v.Type != TypeString {
			return false, false
		}
		matches := strings.Contains(v.Str, p.Literal) && p.Regex.MatchString(v.Str)
		return matches == (p.Op == OpRegex), true
	case OpIn, OpNotIn:
		for _, o := range p.Values {
			if c, ok := Compare(v, o); ok {
				comparable = true
				if c == 0 {
					return p.Op == OpIn, true
				}
			}
		}
		return p.Op == OpNotIn && comparable, comparable
	}
	c, ok := Compare(v, p.Values[0])
	if !ok {
		return false, false
	}
	// NaN is unequal to everything and unordered.
	if c == unordered {
		return p.Op == OpNe, true
	}
	switch p.Op {
	case OpEq:
		return c == 0, true
	case OpNe:
		return c != 0, true
	case OpLt:
		return c < 0, true
	case OpLe:
		return c <= 0, true
	case OpGt:
		return c > 0, true
	case OpGe:
		return c >= 0, true
	}
	return false, false
}

// unordered is the result of Compare for floats of which one is not a number.
const unordered = 2

// Compare orders two scalars: -1, 0 or 1, or 2 if one is NaN. ok is false if their types cannot be compared. Strings
// compare bytewise (E-15), false before true, int and float as numbers without losing the precision of large ints.
func Compare(a, b Value) (c int, ok bool) {
	switch {
	case a.Type == TypeString && b.Type == TypeString:
		return cmp.Compare(a.Str, b.Str), true
	case a.Type == TypeInt && b.Type == TypeInt:
		return cmp.Compare(a.Int(), b.Int()), true
	case a.Type == TypeBool && b.Type == TypeBool:
		return cmp.Compare(a.Num, b.Num), true
	case a.Type == TypeFloat && b.Type == TypeFloat:
		return compareFloats(a.Float(), b.Float()), true
	case a.Type == TypeInt && b.Type == TypeFloat:
		return compareIntFloat(a.Int(), b.Float()), true
	case a.Type == TypeFloat && b.Type == TypeInt:
		c := compareIntFloat(b.Int(), a.Float())
		if c == unordered {
			return c, true
		}
		return -c, true
	}
	return 0, false
}

func compareFloats(a, b float64) int {
	if math.IsNaN(a) || math.IsNaN(b) {
		return unordered
	}
	return cmp.Compare(a, b)
}

func compareIntFloat(i int64, f float64) int {
	switch {
	case math.IsNaN(f):
		return unordered
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

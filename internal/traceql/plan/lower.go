package plan

import (
	"slices"
	"strings"

	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

// lower turns a boolean expression into a condition. The expression has been checked.
func lower(x ast.Expr) (*Cond, error) {
	if x == nil {
		return condTrue, nil
	}
	x = Fold(x)
	switch x := x.(type) {
	case *ast.Literal:
		if x.Value.True() {
			return condTrue, nil
		}
		return condFalse, nil
	case ast.Attr:
		return test(x, Eq, ast.Bool(true)), nil // E-17.
	case *ast.Unary:
		if a, ok := x.X.(ast.Attr); ok && x.Op == ast.OpNot {
			return test(a, Eq, ast.Bool(false)), nil // E-18: missing and other types match neither.
		}
		if x.Op == ast.OpNot && boolean(x.X) {
			c, err := lower(x.X)
			if err != nil {
				return nil, err
			}
			return not(c), nil // E-11.
		}
	case *ast.Binary:
		return lowerBinary(x)
	}
	return &Cond{Op: IsExpr, Expr: x}, nil
}

// boolean reports whether an expression always has a boolean value.
func boolean(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.Binary:
		return !x.Op.Arithmetic()
	case *ast.Unary:
		return x.Op == ast.OpNot && boolean(x.X)
	case *ast.Literal:
		return x.Value.Type == ast.TypeBool
	}
	return false
}

func lowerBinary(b *ast.Binary) (*Cond, error) {
	switch {
	case b.Op.Logical():
		return lowerChain(b)
	case ast.IsNil(b.L) || ast.IsNil(b.R):
		return lowerNil(b), nil
	}
	l, r, op := b.L, b.R, b.Op
	if _, ok := l.(*ast.Literal); ok {
		l, r, op = r, l, flip(op)
	}
	lit, isLit := r.(*ast.Literal)
	if !isLit {
		return &Cond{Op: IsExpr, Expr: b}, nil
	}
	if a, ok := l.(ast.Attr); ok {
		return lowerTest(a, op, lit.Value)
	}
	if lit.Value.Type == ast.TypeBool && boolean(l) && (op == ast.OpEq || op == ast.OpNe) {
		c, err := lower(l)
		if err == nil && lit.Value.True() != (op == ast.OpEq) {
			c = not(c)
		}
		return c, err
	}
	return &Cond{Op: IsExpr, Expr: b}, nil
}

// flip exchanges the sides of a comparison.
func flip(op ast.Op) ast.Op {
	switch op {
	case ast.OpLt:
		return ast.OpGt
	case ast.OpLe:
		return ast.OpGe
	case ast.OpGt:
		return ast.OpLt
	case ast.OpGe:
		return ast.OpLe
	}
	return op
}

// lowerChain collects operands joined by the same operator, without recursing along chains.
func lowerChain(b *ast.Binary) (*Cond, error) {
	var operands []ast.Expr
	rest := []ast.Expr{b}
	for len(rest) > 0 {
		x := rest[len(rest)-1]
		rest = rest[:len(rest)-1]
		if next, ok := x.(*ast.Binary); ok && next.Op == b.Op {
			rest = append(rest, next.R, next.L)
			continue
		}
		operands = append(operands, x)
	}
	args := make([]*Cond, len(operands))
	for i, o := range operands {
		c, err := lower(o)
		if err != nil {
			return nil, err
		}
		args[i] = c
	}
	if b.Op == ast.OpOr {
		return join(Or, args), nil
	}
	for _, scope := range []ast.Scope{ast.ScopeEvent, ast.ScopeLink} {
		if item := itemOf(scope, operands, args); item != nil {
			args = append(args, item)
		}
	}
	return join(And, args), nil
}

// itemOf returns, for several tests on events (or links) that are joined by &&, the condition that one event satisfies
// them all (observed). The tests remain: a store decides them quickly.
func itemOf(scope ast.Scope, operands []ast.Expr, args []*Cond) *Cond {
	var tests []*Test
	for i, o := range operands {
		c := args[i]
		if direct(o) && c.Op == IsTest && c.Test.Attr.OneOf() == scope && !c.Test.Op.Negative() {
			tests = append(tests, c.Test)
		}
	}
	if len(tests) < 2 {
		return nil
	}
	return &Cond{Op: IsItem, Tests: tests}
}

// direct reports whether an operand is a test as it is written: an attribute alone, negated, or compared.
func direct(x ast.Expr) bool {
	switch x := x.(type) {
	case ast.Attr:
		return true
	case *ast.Unary:
		_, ok := x.X.(ast.Attr)
		return ok
	case *ast.Binary:
		_, l := x.L.(ast.Attr)
		_, r := x.R.(ast.Attr)
		return l || r
	}
	return false
}

// lowerNil handles comparisons with nil: existence (E-19).
func lowerNil(b *ast.Binary) *Cond {
	x := b.L
	if ast.IsNil(x) {
		x = b.R
	}
	a, ok := x.(ast.Attr)
	switch {
	case ast.IsNil(x):
		return condFalse // L-44.
	case !ok:
		if _, lit := x.(*ast.Literal); lit {
			return constant(b.Op == ast.OpNe)
		}
		return &Cond{Op: IsExpr, Expr: b}
	case a.Scope == ast.ScopeIntrinsic && !a.Multi() && !a.Optional() && a.Intrinsic != ast.ParentID || a == ast.ServiceName:
		return constant(b.Op == ast.OpNe) // Always has a value.
	case b.Op == ast.OpEq:
		return test(a, NotExists)
	}
	return test(a, Exists)
}

func constant(b bool) *Cond {
	if b {
		return condTrue
	}
	return condFalse
}

var testOps = map[ast.Op]TestOp{
	ast.OpEq: Eq, ast.OpNe: Ne, ast.OpLt: Lt, ast.OpLe: Le, ast.OpGt: Gt, ast.OpGe: Ge,
	ast.OpRegex: Regex, ast.OpNotRegex: NotRegex,
}

func lowerTest(a ast.Attr, op ast.Op, v ast.Static) (*Cond, error) {
	if (v.Type == ast.TypeStatus || v.Type == ast.TypeKind) && a.Scope != ast.ScopeIntrinsic {
		return condFalse, nil // Attributes hold no keywords (E-12).
	}
	if a.Intrinsic == ast.TraceID {
		v.S = strings.TrimLeft(v.S, "0") // C-24.
	}
	t := &Test{Attr: a, Op: testOps[op], Values: []ast.Static{v}}
	holdsForEmpty := false
	if op == ast.OpRegex || op == ast.OpNotRegex {
		re, err := ast.CompileRegex(v.S)
		if err != nil {
			return nil, err
		}
		t.Regex = re
		holdsForEmpty = re.MatchString("") == (op == ast.OpRegex)
	} else if v.Type == ast.TypeString {
		c := strings.Compare("", v.S)
		holdsForEmpty = t.Op == Eq && c == 0 || t.Op == Ne && c != 0 || t.Op == Lt && c < 0 || t.Op == Le ||
			t.Op == Ge && c == 0
	}
	c := &Cond{Op: IsTest, Test: t}
	if a == ast.ServiceName && holdsForEmpty {
		return &Cond{Op: Or, Args: []*Cond{c, test(a, NotExists)}}, nil // Contract 11, X-17.
	}
	return c, nil
}

// join makes an And or Or: it drops constants, takes in nested ones, merges tests of one attribute into lists, and
// orders by cost.
func join(op CondOp, args []*Cond) *Cond {
	neutral, absorbing := True, False
	if op == Or {
		neutral, absorbing = False, True
	}
	var flat []*Cond
	for _, a := range args {
		switch a.Op {
		case absorbing:
			return &Cond{Op: absorbing}
		case neutral:
		case op:
			flat = append(flat, a.Args...)
		default:
			flat = append(flat, a)
		}
	}
	flat = merge(op, flat)
	switch len(flat) {
	case 0:
		return &Cond{Op: neutral}
	case 1:
		return flat[0]
	}
	type ranked struct {
		c    *Cond
		cost int
	}
	order := make([]ranked, len(flat))
	for i, c := range flat {
		order[i] = ranked{c, c.cost()}
	}
	slices.SortStableFunc(order, func(a, b ranked) int { return a.cost - b.cost })
	for i, r := range order {
		flat[i] = r.c
	}
	return &Cond{Op: op, Args: flat}
}

// merge turns a = x || a = y into a in (x, y), and a != x && a != y into a not in (x, y). For the latter the values
// must be of comparable types, because a value that cannot be compared satisfies neither (E-12).
func merge(op CondOp, args []*Cond) []*Cond {
	single, list := Eq, In
	if op == And {
		single, list = Ne, NotIn
	}
	type group struct {
		attr    ast.Attr
		numeric bool
		typ     ast.Type
	}
	seen := map[group]*Test{}
	out := args[:0:0]
	for _, a := range args {
		if a.Op != IsTest || a.Test.Op != single && a.Test.Op != list {
			out = append(out, a)
			continue
		}
		g := group{attr: a.Test.Attr, typ: a.Test.Values[0].Type}
		if g.typ.Numeric() {
			g.numeric, g.typ = true, ast.TypeNil
		}
		if have, ok := seen[g]; ok {
			have.Op = list
			have.Values = append(have.Values, a.Test.Values...)
			continue
		}
		t := *a.Test
		t.Values = slices.Clone(t.Values)
		seen[g] = &t
		out = append(out, &Cond{Op: IsTest, Test: &t})
	}
	return out
}

package traceqltest

import (
	"slices"
	"strings"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

// expr evaluates a field expression for a span.
func (n *Naive) expr(x ast.Expr, i int) nval {
	switch x := x.(type) {
	case *ast.Literal:
		return fromStatic(x.Value)
	case ast.Attr:
		return n.attr(x, i)
	case *ast.Unary:
		return n.unary(x, i)
	case *ast.Binary:
		return n.binary(x, i)
	}
	return nil
}

func fromStatic(s ast.Static) nval {
	switch s.Type {
	case ast.TypeInt:
		return s.N
	case ast.TypeFloat:
		return s.F
	case ast.TypeString:
		return s.S
	case ast.TypeBool:
		return s.N != 0
	case ast.TypeDuration:
		return nduration(s.N)
	case ast.TypeStatus:
		return nstatus(s.N)
	case ast.TypeKind:
		return nkind(s.N)
	}
	return nil
}

func (n *Naive) unary(u *ast.Unary, i int) nval {
	v := n.expr(u.X, i)
	if u.Op == ast.OpNot {
		switch v := v.(type) {
		case bool:
			return !v
		case []nval: // !span.flags asks for an element that is false.
			if slices.ContainsFunc(v, func(e nval) bool { return e == false }) {
				return true
			}
		}
		return nil
	}
	switch v := v.(type) {
	case int64:
		return -v
	case float64:
		return -v
	case nduration:
		return -v
	}
	return nil
}

// truth is what && and || make of an operand: a bare attribute is true if it, or an element, is true.
func truth(v nval) bool {
	if list, ok := v.([]nval); ok {
		return slices.ContainsFunc(list, func(e nval) bool { return e == true })
	}
	return v == true
}

func (n *Naive) binary(b *ast.Binary, i int) nval {
	if ast.IsNil(b.L) || ast.IsNil(b.R) {
		if ast.IsNil(b.L) && ast.IsNil(b.R) {
			return false
		}
		x := b.L
		if ast.IsNil(x) {
			x = b.R
		}
		return (n.expr(x, i) == nil) == (b.Op == ast.OpEq)
	}
	if b.Op == ast.OpAnd {
		return n.and(b, i)
	}
	l, r := n.expr(b.L, i), n.expr(b.R, i)
	switch {
	case b.Op == ast.OpOr:
		return truth(l) || truth(r)
	case b.Op.Arithmetic():
		return naiveArithmetic(b.Op, l, r)
	}
	if a, ok := b.L.(ast.Attr); ok && a.Intrinsic == ast.TraceID {
		if s, ok := r.(string); ok {
			r = strings.TrimLeft(s, "0")
		}
	}
	return naiveCompare(b.Op, l, r)
}

// and evaluates operands joined by &&. Those that test events directly must hold for one and the same event, and so for
// links (E-02).
func (n *Naive) and(b *ast.Binary, i int) bool {
	var operands []ast.Expr
	var flat func(x ast.Expr)
	flat = func(x ast.Expr) {
		if and, ok := x.(*ast.Binary); ok && and.Op == ast.OpAnd {
			flat(and.L)
			flat(and.R)
			return
		}
		operands = append(operands, x)
	}
	flat(b)
	for _, o := range operands {
		if !truth(n.expr(o, i)) {
			return false
		}
	}
	s := n.spans[i]
	return n.oneItem(operands, i, ast.ScopeEvent, len(s.Events), func(c *store.Span, k int) { c.Events = s.Events[k : k+1] }) &&
		n.oneItem(operands, i, ast.ScopeLink, len(s.Links), func(c *store.Span, k int) { c.Links = s.Links[k : k+1] })
}

// oneItem looks for an item that satisfies all direct positive tests on its scope: it evaluates them on copies of the
// span that have one item each.
func (n *Naive) oneItem(operands []ast.Expr, i int, scope ast.Scope, items int, cut func(c *store.Span, k int)) bool {
	var tests []ast.Expr
	for _, o := range operands {
		if itemTest(o, scope) {
			tests = append(tests, o)
		}
	}
	if len(tests) < 2 {
		return true
	}
	for k := range items {
		c := *n.spans[i]
		cut(&c, k)
		one := &Naive{batch: n.batch, spans: []*store.Span{&c}}
		if !slices.ContainsFunc(tests, func(x ast.Expr) bool { return !truth(one.expr(x, 0)) }) {
			return true
		}
	}
	return false
}

// itemTest recognises .x, !.x and comparisons of an attribute with a literal, but for those that deny something.
func itemTest(x ast.Expr, scope ast.Scope) bool {
	switch x := x.(type) {
	case ast.Attr:
		return x.OneOf() == scope
	case *ast.Unary:
		a, ok := x.X.(ast.Attr)
		return ok && x.Op == ast.OpNot && a.OneOf() == scope
	case *ast.Binary:
		a, ok := x.L.(ast.Attr)
		l, isLit := x.R.(*ast.Literal)
		if !ok {
			a, ok = x.R.(ast.Attr)
			l, isLit = x.L.(*ast.Literal)
		}
		if !ok || !isLit || a.OneOf() != scope || !x.Op.Comparison() || x.Op == ast.OpNotRegex {
			return false
		}
		if l.Value.IsNil() {
			return x.Op == ast.OpNe
		}
		return x.Op != ast.OpNe && l.Value.Type != ast.TypeStatus && l.Value.Type != ast.TypeKind
	}
	return false
}

package plan

import "github.com/bramble-tracing/bramble/internal/traceql/ast"

// Fold replaces constant sub-expressions by their value (L-49). What cannot be computed, such as an integer division by
// zero, stays and matches nothing (E-26).
func Fold(x ast.Expr) ast.Expr {
	switch x := x.(type) {
	case *ast.Unary:
		inner := Fold(x.X)
		if l, ok := inner.(*ast.Literal); ok {
			if v, ok := EvalUnary(x.Op, l.Value); ok {
				return &ast.Literal{Value: v}
			}
		}
		if inner == x.X {
			return x
		}
		return &ast.Unary{Op: x.Op, X: inner}
	case *ast.Binary:
		if x.Op.Logical() {
			return x // Folded by lower, operand by operand.
		}
		l, r := Fold(x.L), Fold(x.R)
		if !ast.IsNil(l) && !ast.IsNil(r) {
			a, okA := l.(*ast.Literal)
			b, okB := r.(*ast.Literal)
			if okA && okB && x.Op != ast.OpRegex && x.Op != ast.OpNotRegex {
				if v, ok := EvalBinary(x.Op, a.Value, b.Value, nil); ok {
					return &ast.Literal{Value: v}
				}
			}
		}
		if l == x.L && r == x.R {
			return x
		}
		return &ast.Binary{Op: x.Op, L: l, R: r}
	}
	return x
}

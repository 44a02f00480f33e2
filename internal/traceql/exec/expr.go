package exec

import (
	"regexp"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// env is the span that an expression is evaluated for: the i-th of a chunk, the n-th of a trace. trace is nil where
// only span-level values are asked for.
type env struct {
	chunk *chunk
	i     int
	trace *trace
	n     int
	buf   []store.Value
}

// evalFn computes the value of an expression; nil when there is none.
type evalFn func(*env) ast.Static

// compileExpr makes a function of an expression; cols gets the columns that it reads.
func compileExpr(x ast.Expr, cols *columns) evalFn {
	switch x := plan.Fold(x).(type) {
	case *ast.Literal:
		return func(*env) ast.Static { return x.Value }
	case ast.Attr:
		return compileAttr(x, cols)
	case *ast.Unary:
		inner := compileExpr(x.X, cols)
		return func(e *env) ast.Static {
			v, _ := plan.EvalUnary(x.Op, inner(e))
			return v
		}
	case *ast.Binary:
		return compileBinary(x, cols)
	}
	return func(*env) ast.Static { return ast.Static{} }
}

func compileBinary(x *ast.Binary, cols *columns) evalFn {
	if ast.IsNil(x.L) || ast.IsNil(x.R) {
		other := x.L
		if ast.IsNil(other) {
			other = x.R
		}
		v := compileExpr(other, cols)
		return func(e *env) ast.Static { return ast.Bool(v(e).IsNil() == (x.Op == ast.OpEq)) }
	}
	var re *regexp.Regexp
	if x.Op == ast.OpRegex || x.Op == ast.OpNotRegex {
		if lit, ok := x.R.(*ast.Literal); ok {
			re, _ = ast.CompileRegex(lit.Value.S) // Validation has compiled it before.
		}
	}
	l, r := compileExpr(x.L, cols), compileExpr(x.R, cols)
	return func(e *env) ast.Static {
		v, _ := plan.EvalBinary(x.Op, l(e), r(e), re)
		return v
	}
}

func compileAttr(a ast.Attr, cols *columns) evalFn {
	cols.add(a)
	col, ok := columnOf(a)
	if !ok {
		return func(e *env) ast.Static { return e.traceValue(a) }
	}
	i := cols.addColumn(col)
	if !a.Multi() {
		return func(e *env) ast.Static { return orEmpty(a, toStatic(a, e.chunk.vecs[i].At(e.i))) }
	}
	return func(e *env) ast.Static {
		e.buf = e.chunk.vecs[i].AppendTo(e.buf[:0], e.i)
		return several(a, e.buf)
	}
}

// orEmpty gives every resource a service name, if only an empty one (contract 11, X-17).
func orEmpty(a ast.Attr, s ast.Static) ast.Static {
	if s.IsNil() && a == ast.ServiceName {
		return ast.String("")
	}
	return s
}

// several makes one value of those of events or links: an array if there are several. Values that queries cannot see
// do not count (E-06).
func several(a ast.Attr, values []store.Value) ast.Static {
	if len(values) == 1 {
		return toStatic(a, values[0])
	}
	var elems []ast.Static
	var last ast.Static
	n := 0
	for _, v := range values {
		s := toStatic(a, v)
		switch s.Type {
		case ast.TypeNil:
			continue
		case ast.TypeArray:
			elems = append(elems, s.Elems...)
		default:
			elems = append(elems, s)
		}
		last = s
		n++
	}
	if n < 2 {
		return last
	}
	return ast.Array(elems...)
}

// traceValue returns a trace-level intrinsic.
func (e *env) traceValue(a ast.Attr) ast.Static {
	if e.trace == nil {
		return ast.Static{}
	}
	t := e.trace
	switch a.Intrinsic {
	case ast.TraceDuration:
		return ast.Duration(int64(t.end - t.start)) //nolint:gosec // Ends are not before starts.
	case ast.RootName:
		return ast.String(t.rootName)
	case ast.RootService:
		return ast.String(t.rootService)
	}
	tree := t.structure()
	if tree == nil {
		return ast.Static{}
	}
	switch a.Intrinsic {
	case ast.NestedSetLeft:
		return ast.Int(int64(tree.left[e.n]))
	case ast.NestedSetRight:
		return ast.Int(int64(tree.right[e.n]))
	case ast.NestedSetParent:
		return ast.Int(int64(tree.nestedParent(e.n)))
	case ast.ChildCount:
		return ast.Int(int64(tree.children[e.n]))
	}
	return ast.Static{}
}

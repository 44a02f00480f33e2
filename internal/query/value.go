package query

import (
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

// valueOf converts a value of a query: durations, status and kind become words (S-26), and so does nil.
func valueOf(s ast.Static) store.Value {
	switch s.Type {
	case ast.TypeInt:
		return store.Int(s.N)
	case ast.TypeFloat:
		return store.Float(s.F)
	case ast.TypeBool:
		return store.Bool(s.N != 0)
	case ast.TypeArray:
		elems := make([]store.Value, len(s.Elems))
		for i, e := range s.Elems {
			elems[i] = valueOf(e)
		}
		return store.Array(elems...)
	case ast.TypeNil, ast.TypeAttribute, ast.TypeString, ast.TypeDuration, ast.TypeStatus, ast.TypeKind:
	}
	return store.String(s.Text())
}

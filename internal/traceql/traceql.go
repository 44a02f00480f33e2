package traceql

import (
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/parser"
)

// Parse parses a query and validates it. Syntax errors are *parser.Error and read `parse error at line L, col C: …`
// (L-50).
func Parse(text string) (*ast.Query, error) {
	q, err := parser.Parse(text)
	if err != nil {
		return nil, err
	}
	return q, Validate(q)
}

// Validate checks what the grammar cannot: types, limits and what is not supported (contract 4.4).
func Validate(q *ast.Query) error { return ast.Check(q) }

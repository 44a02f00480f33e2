package traceql

import (
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/parser"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
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

// Compile parses, validates and plans a query.
func Compile(text string) (*plan.Query, error) {
	q, err := Parse(text)
	if err != nil {
		return nil, err
	}
	return plan.New(q)
}

// ParseAttribute parses the identifier of a tag-values request: an attribute such as span.x or .x, or an intrinsic
// (V-03).
func ParseAttribute(text string) (ast.Attr, error) { return parser.ParseAttribute(text) }

// ParseFilter reads and plans the filter of a tag request, leaving out what is incomplete (G-20). The plan is nil when
// nothing is to be filtered.
func ParseFilter(text string) (*plan.Filter, error) {
	x, err := parser.Lenient(text)
	if err != nil {
		return nil, err
	}
	return plan.NewFilter(x)
}

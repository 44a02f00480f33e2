package exec

import (
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

// intrinsicColumns maps intrinsics to columns of the store. Those of the trace are missing: they are computed.
var intrinsicColumns = map[ast.Intrinsic]string{
	ast.Name: store.SpanName, ast.StatusCode: store.SpanStatus, ast.StatusMessage: store.SpanStatusMessage,
	ast.SpanKind: store.SpanKind, ast.SpanDuration: store.SpanDuration, ast.TraceID: store.SpanTraceID,
	ast.SpanID: store.SpanID, ast.ParentID: store.SpanParentID, ast.EventName: store.EventName,
	ast.EventTimeSinceStart: store.EventTimeSinceStart, ast.LinkTraceID: store.LinkTraceID,
	ast.LinkSpanID: store.LinkSpanID, ast.ScopeName: store.ScopeName, ast.ScopeVersion: store.ScopeVersion,
	ast.TraceDecision: store.TraceDecision, ast.TracePolicy: store.TracePolicy,
}

var scopeColumns = map[ast.Scope]store.ColumnScope{
	ast.ScopeNone: store.ScopeUnscoped, ast.ScopeSpan: store.ScopeSpan, ast.ScopeResource: store.ScopeResource,
	ast.ScopeEvent: store.ScopeEvent, ast.ScopeLink: store.ScopeLink, ast.ScopeInstrumentation: store.ScopeInstrumentation,
}

// columnOf returns the column of an attribute. ok is false for trace-level intrinsics.
func columnOf(a ast.Attr) (c store.Column, ok bool) {
	if a.Scope == ast.ScopeIntrinsic {
		name, ok := intrinsicColumns[a.Intrinsic]
		return store.Intrinsic(name), ok
	}
	return store.Column{Scope: scopeColumns[a.Scope], Name: a.Name}, true
}

// toStatic converts a value that a span has in the attribute. Maps, bytes and empty values are nil: queries cannot
// look into them (E-06).
func toStatic(a ast.Attr, v store.Value) ast.Static {
	switch v.Type {
	case store.TypeString:
		return ast.String(v.Str)
	case store.TypeInt:
		switch a.Intrinsic {
		case ast.StatusCode:
			return ast.Status(v.Int())
		case ast.SpanKind:
			return ast.Kind(v.Int())
		case ast.SpanDuration, ast.EventTimeSinceStart, ast.TraceDuration:
			return ast.Duration(v.Int())
		}
		return ast.Int(v.Int())
	case store.TypeFloat:
		return ast.Float(v.Float())
	case store.TypeBool:
		return ast.Bool(v.Bool())
	case store.TypeArray:
		elems, err := v.Elems()
		if err != nil {
			return ast.Static{}
		}
		out := ast.Static{Type: ast.TypeArray, Elems: make([]ast.Static, 0, len(elems))}
		for _, e := range elems {
			out.Elems = append(out.Elems, toStatic(a, e))
		}
		return out
	}
	return ast.Static{}
}

// toValue converts a value back.
func toValue(s ast.Static) store.Value {
	switch s.Type {
	case ast.TypeString:
		return store.String(s.S)
	case ast.TypeFloat:
		return store.Float(s.F)
	case ast.TypeBool:
		return store.Bool(s.N != 0)
	case ast.TypeInt, ast.TypeDuration, ast.TypeStatus, ast.TypeKind:
		return store.Int(s.N)
	case ast.TypeArray:
		elems := make([]store.Value, len(s.Elems))
		for i, e := range s.Elems {
			elems[i] = toValue(e)
		}
		return store.Array(elems...)
	}
	return store.Value{}
}

// columns is a set of attributes that are read together. Indexes are positions in a chunk's vectors.
type columns struct {
	cols  []store.Column
	index map[store.Column]int
	needs []need // Of the traces that they are read for; traces that lack something are read as if they had no spans.
}

func newColumns() *columns { return &columns{index: map[store.Column]int{}} }

// addColumn adds a column and returns its index.
func (c *columns) addColumn(col store.Column) int {
	if i, ok := c.index[col]; ok {
		return i
	}
	i := len(c.cols)
	c.index[col] = i
	c.cols = append(c.cols, col)
	return i
}

// add adds what evaluating the attribute reads. Trace-level intrinsics need several columns.
func (c *columns) add(attrs ...ast.Attr) {
	for _, a := range attrs {
		switch a.Intrinsic {
		case ast.RootName, ast.RootService:
			c.addRoot()
		case ast.NestedSetLeft, ast.NestedSetRight, ast.NestedSetParent, ast.ChildCount:
			c.addStructure()
		}
		if col, ok := columnOf(a); ok {
			c.addColumn(col)
		}
	}
}

// addRoot adds what the trace's root is recognised and named by.
func (c *columns) addRoot() {
	c.addColumn(store.Intrinsic(store.SpanParentID))
	c.addColumn(store.Intrinsic(store.SpanID))
	c.addColumn(store.Intrinsic(store.SpanName))
	c.addColumn(serviceColumn)
}

// addIdentity adds what copies of spans are recognised by.
func (c *columns) addIdentity() {
	c.addColumn(store.Intrinsic(store.SpanID))
	c.addColumn(store.Intrinsic(store.SpanKind))
}

// addStructure adds what the tree of spans is built from.
func (c *columns) addStructure() {
	c.addColumn(store.Intrinsic(store.SpanParentID))
	c.addColumn(store.Intrinsic(store.SpanID))
	c.addColumn(store.Intrinsic(store.SpanKind))
}

var serviceColumn = store.Column{Scope: store.ScopeResource, Name: "service.name"}

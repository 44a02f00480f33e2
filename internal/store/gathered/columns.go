package gathered

import (
	"github.com/bramble-tracing/bramble/internal/store"
)

// Base are the columns by which spans are told apart and put in order. Columns must have them.
var Base = []store.Column{
	store.Intrinsic(store.SpanStart), store.Intrinsic(store.SpanEnd), store.Intrinsic(store.SpanID), store.Intrinsic(store.SpanKind),
}

// Columns are some columns of the spans that one store has of some traces: what a query looks at, instead of whole spans.
type Columns struct {
	// Columns differ, and Base is among them.
	Columns []store.Column
	// Traces is how many traces there are.
	Traces int
	// Segments have the rows, in any order.
	Segments []Segment
}

// Segment are some rows.
type Segment struct {
	// Trace has the index of the trace of each row, below Columns.Traces.
	Trace []uint32
	// Vectors have the values of each column in turn, as many rows as Trace.
	Vectors []store.Vector
}

// Rows is how many rows there are.
func (c *Columns) Rows() int {
	n := 0
	for i := range c.Segments {
		n += len(c.Segments[i].Trace)
	}
	return n
}

// Weight is about how many bytes of memory the columns take, strings apart.
func (c *Columns) Weight() int64 {
	const entry = 16
	return int64(c.Rows()) * int64(len(c.Columns)+2) * entry
}

// Carried reports whether a column can be in Columns: those that every store has, and attributes.
func Carried(c store.Column) bool {
	return c.Scope <= store.ScopeUnscoped && (c.Scope != store.ScopeIntrinsic || known(c.Name) && c.Name != store.ResourceRef)
}

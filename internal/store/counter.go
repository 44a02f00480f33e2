package store

import "context"

// SpanCount is a number of spans, and how many of them have status error.
type SpanCount struct{ Spans, Errors uint32 }

// Add counts a span.
func (c *SpanCount) Add(failed bool) {
	c.Spans++
	if failed {
		c.Errors++
	}
}

// Counter is a Part that may know, for ranges of granules, how many spans have each value of each column.
type Counter interface {
	// Ranges returns the ranges, which do not overlap, ascending.
	Ranges() []GranuleRange
	// Counts returns what is known of a range, nil if that is nothing. It must not be modified.
	Counts(ctx context.Context, n int) (*RangeCounts, error)
}

// GranuleRange are the granules from First up to but not including End.
type GranuleRange struct{ First, End int }

// RangeCounts says how many spans of a range of granules have each value. It has the attributes of all scopes and the
// intrinsics name, kind, status, statusMessage, event:name, instrumentation:name and instrumentation:version. Of spans
// with several values in a column the first counts (Vector.At).
type RangeCounts struct {
	Columns []ColumnCounts
	// Roots counts spans by the root of their trace, as far as the part knows the trace. It is nil if that is not known.
	Roots []RootCount
}

// ColumnCounts are the counts of the values of one column that have one type. TypeAbsent stands for spans that have no
// value, which only columns of resources and scopes count.
type ColumnCounts struct {
	Column Column
	Type   ValueType // of the values; of those of resources and scopes it says nothing
	Values []Value
	Counts []SpanCount // as many
	// Sum counts spans with values that are not listed because there are too many; none of them has more than Max spans.
	Sum SpanCount
	Max uint32
	// Unknown says that nothing is known about the column; then there are no values.
	Unknown bool
}

// RootCount counts the spans of traces whose root has a name and a service; both are empty without a root. Of several
// roots, the one with the latest start counts, and of those with the same the one with the largest span id.
type RootCount struct {
	Name, Service string
	SpanCount
}

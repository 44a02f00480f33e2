package store

import (
	"context"
	"iter"

	"github.com/bramble-tracing/bramble/internal/spanid"
)

// Appender takes spans. See the package comment for durability and ownership.
type Appender interface {
	// Append stores the batch as a whole or not at all. It may wait for memory or for the disk until ctx ends; the
	// error then wraps ErrFull.
	Append(ctx context.Context, b *Batch) error
}

// Viewer hands out snapshots.
type Viewer interface {
	// View returns what is stored now. The caller must Release it. It fails only when the store is closed.
	View() (View, error)
}

// Store is what components find by the `store:` setting.
type Store interface {
	Appender
	Viewer
}

// View is an immutable snapshot of the store. It is safe for concurrent use. Nothing that it handed out may be used
// after Release.
type View interface {
	// Parts returns the pieces that together hold every span once, newest first. The slice must not be modified.
	Parts() []Part
	// Split returns the traces that have spans in more than one part. What is computed per part (structure, trace
	// totals) is wrong for these, which must be evaluated from all their fragments.
	Split() TraceSet
	// Trace returns all spans of a trace, of all parts, with duplicates (same span id and kind) removed. A trace
	// larger than maxBytes (0: no limit) is cut and flagged. The error is ErrNotFound if there is no such span.
	Trace(ctx context.Context, id spanid.TraceID, maxBytes int64) (*Trace, error)
	// Release ends the use of the view. Further calls do nothing.
	Release()
}

// Incomplete is what a View implements that may have to do without spans which the store accepted, because they are
// damaged. A reader that meets a *CorruptionError takes another view, which leaves the damaged part out.
type Incomplete interface {
	// Missing says what a query over a time range cannot see, for the person who asked; empty if nothing is known to be
	// missing. Times are Unix nanoseconds, both included; to 0 means no end.
	Missing(from, to uint64) string
}

// TraceSet is a set of trace ids.
type TraceSet interface {
	Has(id spanid.TraceID) bool
	Len() int
}

// TraceNamer is a TraceSet that can name its traces.
type TraceNamer interface {
	TraceSet
	// All yields each trace once, in any order.
	All() iter.Seq[spanid.TraceID]
}

// Trace is the answer of View.Trace.
type Trace struct {
	Batch
	// InspectedBytes is how much had to be read, for the `metrics` of the answer.
	InspectedBytes uint64
	// Partial is the reason why spans were left out of a trace that is larger than the limit; empty if none were.
	Partial string
	// Missing is the reason why the store may have lost spans of the trace, as Incomplete has it.
	Missing string
}

// Why says why spans are or may be missing; empty when the trace is complete.
func (t *Trace) Why() string {
	if t.Partial != "" && t.Missing != "" {
		return t.Partial + "; " + t.Missing
	}
	return t.Partial + t.Missing
}

// Part is one piece of a view: the head, a frozen head or a block. Its rows are numbered from 0 without gaps; row r
// is in granule r/GranuleRows. Parts are safe for concurrent use.
type Part interface {
	Info() PartInfo
	// MayMatch reports false only if no row of the granule can satisfy p, by what is known without reading the
	// column (time range, zone map, dictionary, bloom). Granule -1 asks for the whole part.
	MayMatch(granule int, p *Predicate) bool
	// Filter unmarks those rows of sel that do not satisfy p. It decides as Predicate.MatchSpan does. It wraps
	// ErrUnsupported for a column that does not exist in this implementation.
	Filter(ctx context.Context, granule int, p *Predicate, sel *Bitmap) error
	// Read resets dst and fills it with the column's values for the rows marked in sel. dst's memory is reused.
	Read(ctx context.Context, granule int, c Column, sel *Bitmap, dst *Vector) error
	// TraceRows appends the part's rows of the trace in ascending order.
	TraceRows(ctx context.Context, id spanid.TraceID, dst []uint32) ([]uint32, error)
	// Spans appends the rows as whole spans, with their resources and scopes, to dst.
	Spans(ctx context.Context, rows []uint32, dst *Batch) error
	// Attributes lists what the part knows about its attribute columns, without intrinsics.
	Attributes(ctx context.Context) ([]AttributeInfo, error)
}

// Picker is a Part that can read few rows of a granule for less than all of them.
type Picker interface {
	// Pick is Read for rows that are few and of a granule that will not be read again soon: nothing is kept in memory for others.
	Pick(ctx context.Context, granule int, c Column, sel *Bitmap, dst *Vector) error
}

// Lister is a Part that can name the values of some columns without reading rows.
type Lister interface {
	// Distinct returns the values that the column has in any row, in any order, each at least once. complete is false if
	// the part does not know them all; then there are none. The values must not be modified. A part that is still being
	// appended to may list values of rows that came after the view was taken.
	Distinct(ctx context.Context, c Column) (values []Value, complete bool, err error)
}

// Ranger is a Part that knows between which numbers the values of a column lie in a granule, without reading it.
type Ranger interface {
	// Range returns the bounds of a column of numbers that no row of the granule lacks (times, durations), both
	// included. ok is false if they are not known.
	Range(granule int, c Column) (lo, hi int64, ok bool)
}

// TraceLister is a Part that can list its traces without reading rows.
type TraceLister interface {
	// EachTrace calls f for each trace from the first-th on and returns how many there are. A trace keeps its number when
	// the part grows. One whose spans were all deleted may be listed too. It wraps ErrUnsupported if this part cannot
	// list its traces after all.
	EachTrace(ctx context.Context, first int, f func(spanid.TraceID)) (n int, err error)
}

// TraceReader is a Part that hands out trace ids as they are; the column of trace ids has their text.
type TraceReader interface {
	// TraceIDs appends the trace of each marked row of a granule, in order. It wraps ErrUnsupported if this part cannot
	// after all.
	TraceIDs(ctx context.Context, granule int, sel *Bitmap, dst []spanid.TraceID) ([]spanid.TraceID, error)
}

// Sizer is a Part that knows the sizes of spans without putting them together.
type Sizer interface {
	// Sizes appends, for each marked row of a granule in order, the bytes of the span as an OTLP protobuf message (without
	// tag and length). It wraps ErrUnsupported if this part does not know after all.
	Sizes(ctx context.Context, granule int, sel *Bitmap, dst []int) ([]int, error)
}

// PartKind says how a part is kept.
type PartKind uint8

// Kinds of parts.
const (
	KindHead PartKind = iota
	KindFrozen
	KindBlock
)

// PartInfo describes a part. Times are Unix nanoseconds.
type PartInfo struct {
	ID           string // stable for blocks; unique within the process for heads
	Kind         PartKind
	Level        int // of a block; 0 otherwise
	Rows         int
	MinStartNano uint64
	MaxStartNano uint64
	MaxEndNano   uint64
	Bytes        int64 // memory or disk used
}

// Granules returns the number of granules.
func (i *PartInfo) Granules() int { return (i.Rows + GranuleRows - 1) / GranuleRows }

// GranuleLen returns the number of rows in a granule.
func (i *PartInfo) GranuleLen(granule int) int {
	return min(GranuleRows, i.Rows-granule*GranuleRows)
}

// AttributeInfo is one line of the attribute catalogue.
type AttributeInfo struct {
	Column Column
	Type   ValueType
	Rows   int // spans that have it (for events and links: values); may be an upper bound
	// Top holds values with their counts, most frequent first; Complete says that these are all there are.
	Top      []ValueCount
	Complete bool
}

// ValueCount is a value and how often it occurs.
type ValueCount struct {
	Value Value
	Count int
}

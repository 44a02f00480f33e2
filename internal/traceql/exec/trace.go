package exec

import (
	"slices"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// trace is a whole trace as evaluation sees it: all its spans, from however many parts.
type trace struct {
	id         spanid.TraceID
	spans      []spanRef
	start, end uint64 // Of the earliest and the latest span, Unix nanoseconds.

	rootName, rootService string
	root                  int           // Index of the root span, -1 if none was received.
	columns               *traceColumns // With which to make the tree; nil if the query does not need it.
	tree                  *tree         // See structure.
}

// spanRef is the i-th span of a chunk.
type spanRef struct {
	chunk *chunk
	i     int
}

// traceRef names a trace and a part that has spans of it.
type traceRef struct {
	id   spanid.TraceID
	part int
}

// traceColumns are the columns of whole-trace evaluation, with the indexes that the trace itself needs.
type traceColumns struct {
	*columns
	start, end                       int
	parent, span, kind, name, server int // -1 if not read.
}

// newTraceColumns completes a set of columns. Nothing may be added afterwards.
func newTraceColumns(c *columns) *traceColumns {
	t := &traceColumns{columns: c}
	t.start = c.addColumn(store.Intrinsic(store.SpanStart))
	t.end = c.addColumn(store.Intrinsic(store.SpanEnd))
	find := func(col store.Column) int {
		if i, ok := c.index[col]; ok {
			return i
		}
		return -1
	}
	t.parent = find(store.Intrinsic(store.SpanParentID))
	t.span = find(store.Intrinsic(store.SpanID))
	t.kind = find(store.Intrinsic(store.SpanKind))
	t.name = find(store.Intrinsic(store.SpanName))
	t.server = find(serviceColumn)
	return t
}

// row is a row of a part that belongs to the n-th trace of a load.
type row struct {
	row   uint32
	trace int
}

// load reads all spans of some traces.
type load struct {
	run    *run
	cols   *traceColumns
	traces []*trace
	chunks []*chunk
}

// release gives back what the load holds.
func (l *load) release() {
	for _, c := range l.chunks {
		l.run.meter.give(c.bytes)
	}
	l.chunks, l.traces = nil, nil
}

// loadTraces reads the traces of refs, in their order. The caller releases the load.
func (r *run) loadTraces(refs []traceRef, cols *traceColumns, structure bool) (*load, error) {
	rows := make(map[int][]row)
	var found []uint32
	for n, ref := range refs {
		for _, part := range r.partsOf(ref.id, ref.part) {
			if err := r.err(); err != nil {
				return nil, err
			}
			var err error
			if found, err = r.traceRows(part, ref.id, found[:0]); err != nil {
				return nil, err
			}
			for _, f := range found {
				rows[part] = append(rows[part], row{f, n})
			}
		}
	}
	ids := make([]spanid.TraceID, len(refs))
	for i, ref := range refs {
		ids[i] = ref.id
	}
	return r.loadRows(ids, rows, cols, structure)
}

// loadRows reads traces whose rows are known, by part.
func (r *run) loadRows(ids []spanid.TraceID, rows map[int][]row, cols *traceColumns, structure bool) (*load, error) {
	l := &load{run: r, cols: cols, traces: make([]*trace, len(ids))}
	for i, id := range ids {
		l.traces[i] = &trace{id: id, root: -1}
	}
	parts := make([]int, 0, len(rows))
	for p := range rows {
		parts = append(parts, p)
	}
	slices.Sort(parts)
	slices.Reverse(parts) // Oldest first: spans come in the order of their arrival, as far as it is known.
	for _, p := range parts {
		if err := l.readPart(p, rows[p]); err != nil {
			l.release()
			return nil, err
		}
	}
	r.traces.Add(int64(len(ids)))
	for _, t := range l.traces {
		t.complete(cols)
		if structure {
			t.columns = cols
		}
	}
	return l, nil
}

// readPart reads rows of a part, granule by granule.
func (l *load) readPart(part int, rows []row) error {
	byRow := func(a, b row) int { return int(a.row) - int(b.row) }
	if !slices.IsSortedFunc(rows, byRow) {
		slices.SortFunc(rows, byRow)
	}
	for len(rows) > 0 {
		granule := int(rows[0].row / store.GranuleRows)
		n := 0
		var sel store.Bitmap
		for n < len(rows) && int(rows[n].row/store.GranuleRows) == granule {
			sel.Set(int(rows[n].row % store.GranuleRows))
			n++
		}
		ch, err := l.run.readChunk(l.run.parts[part], granule, &sel, l.cols.columns)
		if err != nil {
			return err
		}
		ch.index = part
		l.chunks = append(l.chunks, ch)
		for i, r := range rows[:n] {
			t := l.traces[r.trace]
			t.spans = append(t.spans, spanRef{ch, i})
		}
		rows = rows[n:]
	}
	return nil
}

// number reads an integer column that is never absent.
func (s spanRef) number(column int) int64 { return s.chunk.vecs[column].At(s.i).Int() }

// text reads a string column, "" if it is absent.
func (s spanRef) text(column int) string { return s.chunk.vecs[column].At(s.i).Str }

func (s spanRef) has(column int) bool {
	return s.chunk.vecs[column].At(s.i).Type != store.TypeAbsent
}

// complete computes the totals of a trace, and its root if the columns for it were read. The root is the span without
// a parent (S-30), of several the latest (observed).
func (t *trace) complete(c *traceColumns) {
	for i, s := range t.spans {
		start := uint64(s.number(c.start))         //nolint:gosec // As stored.
		end := max(start, uint64(s.number(c.end))) //nolint:gosec // As stored.
		if i == 0 || start < t.start {
			t.start = start
		}
		t.end = max(t.end, end)
	}
	if c.parent < 0 || c.span < 0 {
		return
	}
	for i, s := range t.spans {
		if s.has(c.parent) {
			continue
		}
		if t.root < 0 || earlier(c, t.spans[t.root], s) {
			t.root = i
		}
	}
	if t.root >= 0 && c.name >= 0 {
		t.rootName = t.spans[t.root].text(c.name)
	}
	if t.root >= 0 && c.server >= 0 {
		t.rootService = t.spans[t.root].text(c.server)
	}
}

// structure returns the tree of the spans, which is made when first asked for: most traces are refused before. It is nil
// if the query does not need it.
func (t *trace) structure() *tree {
	if t.tree == nil && t.columns != nil {
		t.tree = newTree(t, t.columns)
	}
	return t.tree
}

// earlier orders spans by start, then by id.
func earlier(c *traceColumns, a, b spanRef) bool {
	if x, y := a.number(c.start), b.number(c.start); x != y {
		return x < y
	}
	return a.text(c.span) < b.text(c.span)
}

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
	root                  int // Index of the root span, -1 if none was received.
	columns               *traceColumns
	needsTree             bool
	tree                  *tree      // See structure.
	compared              bool       // See originals.
	firsts                []int32    // See originals.
	identities            []identity // Of the spans, if they were read later.
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

// loadTraces reads the traces of refs, in their order. Those that lack what the columns are read for have no spans. The
// caller releases the load.
func (r *run) loadTraces(refs []traceRef, cols *traceColumns, structure bool) (*load, error) {
	runs, sizes, err := r.runsOf(refs)
	if err != nil {
		return nil, err
	}
	if err := r.dropUnfit(cols.needs, runs, sizes); err != nil {
		return nil, err
	}
	l := &load{run: r, cols: cols, traces: make([]*trace, len(refs))}
	traces := make([]trace, len(refs))
	total := 0
	for _, n := range sizes {
		total += n
	}
	spans := make([]spanRef, total)
	for i, ref := range refs {
		traces[i] = trace{id: ref.id, root: -1, spans: spans[:0:sizes[i]], columns: cols, needsTree: structure}
		spans = spans[sizes[i]:]
		l.traces[i] = &traces[i]
	}
	for p, some := range slices.Backward(runs) { // Oldest first: spans come in the order of their arrival, as far as it is known.
		if err := l.readPart(p, some); err != nil {
			l.release()
			return nil, err
		}
	}
	for _, t := range l.traces {
		t.complete(cols)
	}
	return l, nil
}

// readPart reads rows of a part, granule by granule.
func (l *load) readPart(part int, runs []traceRun) error {
	for granule, some := range byGranule(runs) {
		var sel store.Bitmap
		for _, run := range some {
			sel.SetRange(run.within(granule))
		}
		ch, err := l.run.readChunk(l.run.parts[part], granule, &sel, l.cols.columns)
		if err != nil {
			return err
		}
		ch.index = part
		l.chunks = append(l.chunks, ch)
		from, next := 0, 0
		for k, run := range some {
			if k == 0 || run.first != some[k-1].first { // Else it is the trace of the run before: it was asked for twice.
				from = next
			}
			next = from
			t := l.traces[run.trace]
			for lo, hi := run.within(granule); lo < hi; lo++ {
				t.spans = append(t.spans, spanRef{ch, next})
				next++
			}
		}
	}
	return nil
}

// number reads an integer column that is never absent.
func (s spanRef) number(column int) int64 { return s.chunk.vecs[column].Int(s.i) }

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
	if t.tree == nil && t.needsTree {
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

package exec

import (
	"slices"

	"github.com/bramble-tracing/bramble/internal/store"
)

// A span that was sent twice is in the store twice until blocks are merged. In results it counts once: copies have the same id
// and kind (T-08), as the two sides of a call may share an id, and the same start. Filters look at all of them, because one
// may have attributes that the other lacks.

// identity is what copies of a span have in common.
type identity struct {
	id   string // As the column has it.
	kind int64
}

// originals returns for each span of a trace the first one that it is a copy of, itself if there is none before; nil if the
// trace has no copies. Ids and kinds must have been read, with the trace or by identify.
func (t *trace) originals() []int32 {
	if !t.compared {
		t.compared = true
		if t.identified() && t.startsTwice() {
			t.firsts = t.findCopies()
		}
	}
	return t.firsts
}

func (t *trace) identified() bool {
	return t.identities != nil || t.columns.span >= 0 && t.columns.kind >= 0
}

// startsTwice reports false only if no two spans start at the same time, so that there are no copies.
func (t *trace) startsTwice() bool {
	const usual = 128
	if len(t.spans) > usual {
		starts := make([]int64, len(t.spans))
		for i, s := range t.spans {
			starts[i] = s.number(t.columns.start)
		}
		slices.Sort(starts)
		return len(slices.Compact(starts)) < len(t.spans)
	}
	var table [2 * usual]int64 // 0 is free.
	for _, s := range t.spans {
		start := s.number(t.columns.start)
		if start == 0 {
			return true
		}
		const spread = 0x9e3779b97f4a7c15
		at := uint64(start) * spread >> 56 //nolint:gosec // A hash.
		for table[at] != 0 {
			if table[at] == start {
				return true
			}
			at = (at + 1) % uint64(len(table))
		}
		table[at] = start
	}
	return false
}

// identify reads the ids and kinds of the spans if that was not done with the trace and there may be copies.
func (t *trace) identify(r *run) error {
	if t.compared || t.identified() || !t.startsTwice() {
		return nil
	}
	cols := newColumns()
	cols.addIdentity()
	out := make([]identity, 0, len(t.spans))
	for len(out) < len(t.spans) {
		from := len(out)
		ch := t.spans[from].chunk
		var sel store.Bitmap
		n := 0
		for ; from+n < len(t.spans) && t.spans[from+n].chunk == ch; n++ {
			sel.Set(int(ch.rows()[t.spans[from+n].i]))
		}
		some, err := r.readChunk(ch.part, ch.granule, &sel, cols)
		if err != nil {
			return err
		}
		for i := range n {
			s := spanRef{some, i}
			out = append(out, identity{s.text(cols.index[store.Intrinsic(store.SpanID)]), s.number(cols.index[store.Intrinsic(store.SpanKind)])})
		}
		r.meter.give(some.bytes)
	}
	t.identities = out
	return nil
}

func (t *trace) identity(i int) identity {
	if t.identities != nil {
		return t.identities[i]
	}
	return identity{t.spans[i].text(t.columns.span), t.spans[i].number(t.columns.kind)}
}

func (t *trace) findCopies() []int32 {
	firsts := make([]int32, len(t.spans))
	known := make(map[identity]int32, len(t.spans))
	for i := range t.spans {
		k := t.identity(i)
		first, ok := known[k]
		if !ok {
			first = int32(i) //nolint:gosec // Spans of a trace fit.
			known[k] = first
		}
		firsts[i] = first
	}
	if len(known) == len(t.spans) {
		return nil
	}
	return firsts
}

// distinct returns spans of a trace without further copies of one among them.
func (t *trace) distinct(spans []int32) []int32 {
	firsts := t.originals()
	if firsts == nil {
		return spans
	}
	seen := make([]bool, len(firsts))
	return slices.DeleteFunc(slices.Clone(spans), func(n int32) bool {
		had := seen[firsts[n]]
		seen[firsts[n]] = true
		return had
	})
}

// isCopy reports whether there is the same span before.
func (t *trace) isCopy(n int) bool {
	firsts := t.originals()
	return firsts != nil && int(firsts[n]) != n
}

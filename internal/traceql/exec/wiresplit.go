package exec

import (
	"github.com/bramble-tracing/bramble/internal/spanid"
)

// split writes what compare counted of split traces. Names, of which there are few, are listed once.
func (w *wireWriter) split(list []SplitTrace) {
	var names []string
	known := map[string]int{}
	code := func(s string) int {
		i, ok := known[s]
		if !ok {
			i = len(names)
			known[s] = i
			names = append(names, s)
		}
		return i
	}
	for i := range list {
		if list[i].HasRoot {
			code(list[i].Name)
			code(list[i].Service)
		}
	}
	w.len(len(names))
	for _, s := range names {
		w.text(s)
	}
	w.len(len(list))
	for i := range list {
		t := &list[i]
		w.b = append(w.b, t.ID[:]...)
		w.bool(t.HasRoot)
		if t.HasRoot {
			w.int(t.Start)
			w.text(t.Span)
			w.len(code(t.Name))
			w.len(code(t.Service))
		}
		w.len(len(t.Counts))
		for _, n := range t.Counts {
			w.len(n.Bucket)
			w.bool(n.Selected)
			w.int(n.Spans)
		}
	}
}

// split reads what compare counted of split traces in so many buckets.
func (r *wireReader) split(buckets int) (out []SplitTrace) {
	var names []string
	for range r.len(1) {
		names = append(names, r.text())
	}
	name := func() string {
		n := r.uint()
		if n >= uint64(len(names)) {
			r.fail()
			return ""
		}
		return names[n]
	}
	for range r.len(len(spanid.TraceID{}) + 2) {
		if r.err != nil {
			return nil
		}
		t := SplitTrace{}
		r.id(t.ID[:])
		if t.HasRoot = r.bool(); t.HasRoot {
			t.Start, t.Span, t.Name, t.Service = r.int(), r.text(), name(), name()
		}
		for range r.len(3) {
			bucket := r.uint()
			if bucket >= uint64(buckets) { //nolint:gosec // Not negative.
				r.fail()
				return nil
			}
			t.Counts = append(t.Counts, SplitCount{int(bucket), r.bool(), r.int()}) //nolint:gosec // Checked.
		}
		out = append(out, t)
	}
	return out
}

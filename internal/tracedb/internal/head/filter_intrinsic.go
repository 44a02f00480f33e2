package head

import (
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// filterIntrinsic decides by a column that every span has.
func (p *Part) filterIntrinsic(pred *store.Predicate, lo, hi uint32, sel *store.Bitmap) {
	if pred.Column.Multi() {
		p.filterMulti(pred, lo, hi, sel)
		return
	}
	switch pred.Column.Name {
	case store.SpanName:
		p.filterName(pred, lo, sel)
	case store.SpanStatusMessage:
		p.filterText(p.h.statusMessage, pred, lo, hi, sel)
	case store.SpanTraceState:
		p.filterText(p.h.traceState, pred, lo, hi, sel)
	case store.SpanTraceID, store.SpanID, store.SpanParentID:
		p.filterID(pred, lo, sel)
	case store.ScopeName, store.ScopeVersion:
		p.filterRef(pred, lo, sel)
	default:
		p.filterInts(pred, lo, hi, sel)
	}
}

// filterName looks one name up in the dictionary or evaluates the predicate once per name.
func (p *Part) filterName(pred *store.Predicate, lo uint32, sel *store.Bitmap) {
	dir := p.h.name.view()
	if (pred.Op == store.OpEq || pred.Op == store.OpNe) && pred.Values[0].Type == store.TypeString {
		code, ok := p.h.names.lookup(pred.Values[0].Str)
		if !ok {
			code = store.NoCode
		}
		want := pred.Op == store.OpEq
		for i := range sel.Rows() {
			if (get(dir, int(lo)+i) == code) != want {
				sel.Clear(i)
			}
		}
		return
	}
	m := matcher{p: pred}
	known := p.h.memos.get(keyOf(pred, 0), p.h.names.len())
	eval := func(code uint32) bool { return m.match(store.String(p.h.names.at(code))) }
	for i := range sel.Rows() {
		if !known.match(get(dir, int(lo)+i), eval) {
			sel.Clear(i)
		}
	}
}

// filterText decides by a sparse text column, in which a row without an entry is the empty string.
func (p *Part) filterText(c *column, pred *store.Predicate, lo, hi uint32, sel *store.Bitmap) {
	m := matcher{p: pred}
	if pred.Op == store.OpExists {
		return
	}
	if pred.Op == store.OpNotExists {
		*sel = store.Bitmap{}
		return
	}
	exists := store.Predicate{Op: store.OpExists}
	var has, out store.Bitmap
	p.filterColumn(c, &exists, lo, hi, sel, &has)
	p.filterColumn(c, pred, lo, hi, sel, &out)
	if m.match(store.String("")) {
		sel.AndNot(&has)
		sel.Or(&out)
		return
	}
	*sel = out
}

// filterID compares identifiers: bytes for equality, otherwise their text.
func (p *Part) filterID(pred *store.Predicate, lo uint32, sel *store.Bitmap) {
	dir := p.h.ids.view()
	name := pred.Column.Name
	keep := func(i int, ok bool) {
		if !ok {
			sel.Clear(i)
		}
	}
	if pred.Op == store.OpEq && pred.Values[0].Type == store.TypeString {
		s := pred.Values[0].Str
		switch name {
		case store.SpanTraceID:
			id, ok := parseShort(s)
			for i := range sel.Rows() {
				keep(i, ok && get(dir, int(lo)+i).trace == id)
			}
		case store.SpanID:
			id, ok := parseSpan(s)
			for i := range sel.Rows() {
				keep(i, ok && get(dir, int(lo)+i).span == id)
			}
		default:
			id, ok := parseSpan(s)
			for i := range sel.Rows() {
				keep(i, ok && !id.IsZero() && get(dir, int(lo)+i).parent == id)
			}
		}
		return
	}
	var buf []store.Value
	for i := range sel.Rows() {
		v := get(dir, int(lo)+i).value(name)
		buf = buf[:0]
		if v.Type != store.TypeAbsent {
			buf = append(buf, v)
		}
		keep(i, pred.MatchSpan(buf))
	}
}

// value returns the text form of an identifier, absent for the parent of a root.
func (x ids) value(name string) store.Value {
	switch name {
	case store.SpanTraceID:
		return store.String(x.trace.Short())
	case store.SpanID:
		return store.String(x.span.String())
	}
	if x.parent.IsZero() {
		return store.Value{}
	}
	return store.String(x.parent.String())
}

// parseShort reads the canonical text of a trace id (C-24). Other spellings equal no id.
func parseShort(s string) (spanid.TraceID, bool) {
	if s == "" {
		return spanid.TraceID{}, true
	}
	id, err := spanid.ParseTraceID(s)
	return id, err == nil && id.Short() == s
}

// parseSpan reads the canonical text of a span id (C-22).
func parseSpan(s string) (spanid.SpanID, bool) {
	id, err := spanid.ParseSpanID(s)
	return id, err == nil && id.String() == s
}

package head

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// Read resets dst and fills it with the column's values for the rows marked in sel.
func (p *Part) Read(ctx context.Context, granule int, c store.Column, sel *store.Bitmap, dst *store.Vector) error {
	dst.Reset()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("read %q of %s: %w", c.Name, p.h.id, err)
	}
	if err := checkColumn(c); err != nil {
		return fmt.Errorf("read %s: %w", p.h.id, err)
	}
	lo, hi, err := p.marked(granule, sel)
	if err != nil {
		return fmt.Errorf("read %q: %w", c.Name, err)
	}
	p.read(c, lo, hi, sel, dst)
	return nil
}

// marked returns the rows of a granule, of which no others may be marked.
func (p *Part) marked(granule int, sel *store.Bitmap) (lo, hi uint32, err error) {
	if lo, hi, err = p.bounds(granule); err != nil {
		return 0, 0, err
	}
	if sel.Beyond(int(hi - lo)) {
		return 0, 0, fmt.Errorf("rows beyond the %d of granule %d of %s: %w", hi-lo, granule, p.h.id, store.ErrInvalid)
	}
	return lo, hi, nil
}

// TraceIDs implements store.TraceReader.
func (p *Part) TraceIDs(ctx context.Context, granule int, sel *store.Bitmap, dst []spanid.TraceID) ([]spanid.TraceID, error) {
	if err := ctx.Err(); err != nil {
		return dst, fmt.Errorf("read trace ids of %s: %w", p.h.id, err)
	}
	lo, _, err := p.marked(granule, sel)
	if err != nil {
		return dst, fmt.Errorf("read trace ids: %w", err)
	}
	dir := p.h.ids.view()
	dst = slices.Grow(dst, sel.Count())
	for i := range sel.Rows() {
		dst = append(dst, get(dir, int(lo)+i).trace)
	}
	return dst, nil
}

func (p *Part) read(c store.Column, lo, hi uint32, sel *store.Bitmap, dst *store.Vector) {
	switch c.Scope {
	case store.ScopeIntrinsic:
		p.readIntrinsic(c, lo, hi, sel, dst)
	case store.ScopeSpan:
		p.readAttr(c, lo, hi, sel, dst)
	case store.ScopeResource, store.ScopeInstrumentation:
		p.readRef(c, lo, sel, dst)
	case store.ScopeEvent:
		a, b := ownedBy(&p.h.events.row, p.s.events, lo, hi)
		p.spread(&p.h.events.row, lo, a, b, sel, dst, attrValues(&p.h.events.attrs, c.Name, a, b))
	case store.ScopeLink:
		a, b := ownedBy(&p.h.links.row, p.s.links, lo, hi)
		p.spread(&p.h.links.row, lo, a, b, sel, dst, attrValues(&p.h.links.attrs, c.Name, a, b))
	case store.ScopeUnscoped:
		p.readUnscoped(c, lo, hi, sel, dst)
	}
}

func (p *Part) readIntrinsic(c store.Column, lo, hi uint32, sel *store.Bitmap, dst *store.Vector) {
	if column := p.ints(c.Name); column != nil {
		dst.Ints = column.read(lo, sel, slices.Grow(dst.Ints, sel.Count()))
		return
	}
	switch c.Name {
	case store.SpanName:
		p.readName(lo, sel, dst)
	case store.SpanStatusMessage:
		p.readText(p.h.statusMessage, lo, hi, sel, dst)
	case store.SpanTraceState:
		p.readText(p.h.traceState, lo, hi, sel, dst)
	case store.SpanTraceID:
		p.readTraceIDs(lo, sel, dst)
	case store.SpanID, store.SpanParentID:
		p.readSpanIDs(lo, c.Name == store.SpanParentID, sel, dst)
	case store.ScopeName, store.ScopeVersion:
		p.readRef(c, lo, sel, dst)
	case store.EventName, store.EventTimeSinceStart:
		a, b := ownedBy(&p.h.events.row, p.s.events, lo, hi)
		p.spread(&p.h.events.row, lo, a, b, sel, dst, p.eventValue(c.Name))
	default:
		a, b := ownedBy(&p.h.links.row, p.s.links, lo, hi)
		p.spread(&p.h.links.row, lo, a, b, sel, dst, p.linkValue(c.Name))
	}
}

// readSpanIDs reads the texts of span ids, or of those of parents, a row of which may have none. Some texts share memory.
func (p *Part) readSpanIDs(lo uint32, parents bool, sel *store.Bitmap, dst *store.Vector) {
	const atOnce = 64
	var room [atOnce]spanid.SpanID
	some := room[:0]
	dir := p.h.ids.view()
	dst.Values = slices.Grow(dst.Values, sel.Count())
	first := len(dst.Values) // Of the rows whose texts are missing.
	flush := func() {
		var buf [2 * len(spanid.SpanID{}) * atOnce]byte
		text := buf[:0]
		for i := range some {
			text = hex.AppendEncode(text, some[i][:])
		}
		rest := string(text)
		for i := first; i < len(dst.Values); i++ {
			if v := &dst.Values[i]; v.Type == store.TypeString {
				v.Str, rest = rest[:2*len(spanid.SpanID{})], rest[2*len(spanid.SpanID{}):]
			}
		}
		some, first = some[:0], len(dst.Values)
	}
	for i := range sel.Rows() {
		e := get(dir, int(lo)+i)
		id := e.span
		if parents {
			id = e.parent
		}
		if parents && id.IsZero() {
			dst.Values = append(dst.Values, store.Value{})
			continue
		}
		dst.Values = append(dst.Values, store.Value{Type: store.TypeString})
		if some = append(some, id); len(some) == atOnce {
			flush()
		}
	}
	flush()
}

// readTraceIDs gives a dictionary entry to each run of rows of a trace.
func (p *Part) readTraceIDs(lo uint32, sel *store.Bitmap, dst *store.Vector) {
	dir := p.h.ids.view()
	var last spanid.TraceID
	code := store.NoCode
	for i := range sel.Rows() {
		e := get(dir, int(lo)+i)
		if code == store.NoCode || e.trace != last {
			last = e.trace
			code++ // From NoCode to 0 first.
			dst.Dict = append(dst.Dict, e.value(store.SpanTraceID))
		}
		dst.Codes = append(dst.Codes, code)
	}
}

func (p *Part) readName(lo uint32, sel *store.Bitmap, dst *store.Vector) {
	dir, names := p.h.name.view(), p.h.names
	if n := names.len(); n <= maxFlat {
		dst.Dict = names.values(n, store.TypeString)
		for i := range sel.Rows() {
			dst.Codes = append(dst.Codes, get(dir, int(lo)+i))
		}
		return
	}
	for i := range sel.Rows() {
		dst.Values = append(dst.Values, store.String(names.at(get(dir, int(lo)+i))))
	}
}

// readText reads a sparse text column, in which a row without an entry is the empty string.
func (p *Part) readText(c *column, lo, hi uint32, sel *store.Bitmap, dst *store.Vector) {
	vals := make([]store.Value, hi-lo)
	for i := range vals {
		vals[i] = store.String("")
	}
	fillValues(c, lo, hi, vals)
	for i := range sel.Rows() {
		dst.Values = append(dst.Values, vals[i])
	}
}

// fillValues writes the values of rows lo to hi-1 to vals, whose first element is row lo.
func fillValues(c *column, lo, hi uint32, vals []store.Value) {
	a, b := c.entries(lo, hi)
	rows := c.rows.view()
	for i := a; i < b; i++ {
		vals[get(rows, i)-lo] = c.value(i)
	}
}

// attrValues returns a function that gives the value of rows a to b-1 of a table for one key.
func attrValues(t *attrTable, key string, a, b uint32) func(i uint32) store.Value {
	vals := make([]store.Value, b-a)
	g, spilled := t.group(key)
	g.columns(func(c *column) { fillValues(c, a, b, vals) })
	if spilled {
		t.eachSpilled(key, a, b, func(row uint32, v store.Value) { vals[row-a] = v })
	}
	return func(i uint32) store.Value { return vals[i-a] }
}

// readAttr reads a span attribute: by dictionary if it has strings only, else as values.
func (p *Part) readAttr(c store.Column, lo, hi uint32, sel *store.Bitmap, dst *store.Vector) {
	g, spilled := p.h.attrs.group(c.Name)
	var only *column
	n := 0
	g.columns(func(c *column) { only = c; n++ })
	if n == 1 && !spilled && only.dict != nil && only.dict.len() <= maxFlat {
		readCodes(only, lo, hi, sel, dst)
		return
	}
	at := attrValues(&p.h.attrs, c.Name, lo, hi)
	for i := range sel.Rows() {
		dst.Values = append(dst.Values, at(lo+uint32(i)))
	}
}

// readCodes merges the marked rows with the entries of a dictionary column.
func readCodes(c *column, lo, hi uint32, sel *store.Bitmap, dst *store.Vector) {
	a, b := c.entries(lo, hi)
	rows, codes := c.rows.view(), c.codes.view()
	dst.Dict = c.dict.values(c.dict.len(), c.typ)
	for i := range sel.Rows() {
		row := lo + uint32(i)
		for a < b && get(rows, a) < row {
			a++
		}
		if a < b && get(rows, a) == row {
			dst.Codes = append(dst.Codes, get(codes, a))
		} else {
			dst.Codes = append(dst.Codes, store.NoCode)
		}
	}
}

// readRef hands out one dictionary entry per distinct resource or scope.
func (p *Part) readRef(c store.Column, lo uint32, sel *store.Bitmap, dst *store.Vector) {
	t, refs := p.refTable(c), p.refColumn(c)
	var buf [1]store.Value
	value := func(ref uint32) store.Value {
		if v := t.at(ref).values(c, buf[:]); len(v) > 0 {
			return v[0]
		}
		return store.Value{}
	}
	n := t.len()
	if n > maxFlat {
		for i := range sel.Rows() {
			dst.Values = append(dst.Values, value(get(refs, int(lo)+i)))
		}
		return
	}
	codes := make([]uint32, n)
	distinct := map[store.Value]uint32{}
	for i := range codes {
		v := value(uint32(i))
		if v.Type == store.TypeAbsent {
			codes[i] = store.NoCode
			continue
		}
		code, ok := distinct[v]
		if !ok {
			code = uint32(len(dst.Dict))
			distinct[v] = code
			dst.Dict = append(dst.Dict, v)
		}
		codes[i] = code
	}
	for i := range sel.Rows() {
		dst.Codes = append(dst.Codes, codes[get(refs, int(lo)+i)])
	}
}

// spread fills dst with the present values of events or links a to b-1, grouped by the marked spans that own them.
func (p *Part) spread(owners *chunks[uint32], lo, a, b uint32, sel *store.Bitmap, dst *store.Vector,
	at func(i uint32) store.Value,
) {
	dir := owners.view()
	dst.Offsets = append(dst.Offsets, 0)
	for i := range sel.Rows() {
		row := lo + uint32(i)
		for a < b && get(dir, int(a)) < row {
			a++
		}
		for ; a < b && get(dir, int(a)) == row; a++ {
			if v := at(a); v.Type != store.TypeAbsent {
				dst.Values = append(dst.Values, v)
			}
		}
		dst.Offsets = append(dst.Offsets, uint32(len(dst.Values)))
	}
}

func (p *Part) eventValue(name string) func(i uint32) store.Value {
	e := &p.h.events
	if name == store.EventName {
		codes := e.name.view()
		return func(i uint32) store.Value { return store.String(e.names.at(get(codes, int(i)))) }
	}
	times, rows, starts := e.time.view(), e.row.view(), p.h.start.view()
	return func(i uint32) store.Value {
		return store.Int(int64(get(times, int(i)) - get(starts, int(get(rows, int(i))))))
	}
}

func (p *Part) linkValue(name string) func(i uint32) store.Value {
	if name == store.LinkTraceID {
		dir := p.h.links.trace.view()
		return func(i uint32) store.Value { return store.String(get(dir, int(i)).String()) }
	}
	dir := p.h.links.span.view()
	return func(i uint32) store.Value { return store.String(get(dir, int(i)).String()) }
}

// readUnscoped reads each scope for the rows that the scopes before have no value for (E-03) and merges by row.
func (p *Part) readUnscoped(c store.Column, lo, hi uint32, sel *store.Bitmap, dst *store.Vector) {
	type answer struct {
		has  store.Bitmap
		vec  store.Vector
		next int
	}
	rest := *sel
	var answers []*answer
	for _, scope := range unscopedOrder {
		col := store.Column{Scope: scope, Name: c.Name}
		a := &answer{has: rest}
		p.filter(&store.Predicate{Column: col, Op: store.OpExists}, lo, hi, &a.has)
		if a.has.Any() {
			rest.AndNot(&a.has)
			p.read(col, lo, hi, &a.has, &a.vec)
			answers = append(answers, a)
		}
	}
	dst.Offsets = append(dst.Offsets, 0)
	for i := range sel.Rows() {
		for _, a := range answers {
			if a.has.Has(i) {
				dst.Values = a.vec.AppendTo(dst.Values, a.next)
				a.next++
				break
			}
		}
		dst.Offsets = append(dst.Offsets, uint32(len(dst.Values)))
	}
}

package head

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// Part is a head at a fixed number of rows. It implements store.Part and is valid as long as it is referred to.
type Part struct {
	h    *Head
	s    *snapshot
	kind store.PartKind

	mu    sync.Mutex
	attrs []store.AttributeInfo // result of Attributes, once known; guarded by mu
}

var (
	_ store.Part   = (*Part)(nil)
	_ store.Ranger = (*Part)(nil)
)

// Part returns what is published now. The kind is KindHead or KindFrozen.
func (h *Head) Part(kind store.PartKind) *Part { return &Part{h: h, s: h.snap.Load(), kind: kind} }

// Info describes the part.
func (p *Part) Info() store.PartInfo {
	return store.PartInfo{
		ID: p.h.id, Kind: p.kind, Rows: int(p.s.rows), MinStartNano: p.s.minStart, MaxStartNano: p.s.maxStart,
		MaxEndNano: p.s.maxEnd, Bytes: p.h.Bytes(),
	}
}

// bounds returns the rows of a granule.
func (p *Part) bounds(granule int) (lo, hi uint32, err error) {
	if granule < 0 || uint64(granule)*store.GranuleRows >= uint64(p.s.rows) {
		return 0, 0, fmt.Errorf("granule %d of %s, which has %d rows: %w", granule, p.h.id, p.s.rows, store.ErrInvalid)
	}
	lo = uint32(granule) * store.GranuleRows
	return lo, min(lo+store.GranuleRows, p.s.rows), nil
}

// checkColumn rejects columns that the contract does not name.
func checkColumn(c store.Column) error {
	switch {
	case c.Scope > store.ScopeUnscoped:
	case c.Scope == store.ScopeIntrinsic && !slices.Contains(store.Intrinsics, c.Name):
	default:
		return nil
	}
	return fmt.Errorf("column %q of scope %s: %w", c.Name, c.Scope, store.ErrUnsupported)
}

// checkPredicate rejects predicates that cannot be evaluated.
func checkPredicate(p *store.Predicate) error {
	if err := checkColumn(p.Column); err != nil {
		return err
	}
	switch {
	case p.Op > store.OpNotIn:
		return fmt.Errorf("operation %d: %w", p.Op, store.ErrUnsupported)
	case (p.Op == store.OpRegex || p.Op == store.OpNotRegex) && p.Regex == nil:
		return fmt.Errorf("operation %s without a regular expression: %w", p.Op, store.ErrInvalid)
	case p.Op >= store.OpEq && p.Op <= store.OpGe && len(p.Values) == 0:
		return fmt.Errorf("operation %s without a value: %w", p.Op, store.ErrInvalid)
	}
	return nil
}

// MayMatch reports false only if no row of the granule, or of the part for granule -1, can satisfy pred.
func (p *Part) MayMatch(granule int, pred *store.Predicate) bool {
	if p.s.rows == 0 {
		return false
	}
	if checkPredicate(pred) != nil || pred.Op == store.OpNotExists {
		return true // Filter tells what is wrong.
	}
	lo, hi := uint32(0), p.s.rows
	if granule >= 0 {
		var err error
		if lo, hi, err = p.bounds(granule); err != nil {
			return false
		}
	}
	switch pred.Column.Scope {
	case store.ScopeIntrinsic:
		if pred.Column.Name == store.SpanStart && granule >= 0 {
			t := p.times(granule)
			return rangeMayMatch(pred, t.min, t.max)
		}
		return p.mayMatchIntrinsic(pred)
	case store.ScopeSpan:
		return p.mayMatchAttr(&p.h.attrs, pred, lo, hi)
	case store.ScopeEvent:
		a, b := ownedBy(&p.h.events.row, p.s.events, lo, hi)
		return p.mayMatchAttr(&p.h.events.attrs, pred, a, b)
	case store.ScopeLink:
		a, b := ownedBy(&p.h.links.row, p.s.links, lo, hi)
		return p.mayMatchAttr(&p.h.links.attrs, pred, a, b)
	case store.ScopeUnscoped:
		for _, scope := range unscopedOrder {
			q := *pred
			q.Column.Scope = scope
			if p.MayMatch(granule, &q) {
				return true
			}
		}
		return false
	}
	return p.mayMatchRef(pred)
}

// mayMatchIntrinsic knows the range of times and the dictionary of names.
func (p *Part) mayMatchIntrinsic(pred *store.Predicate) bool {
	switch pred.Column.Name {
	case store.SpanStart:
		return rangeMayMatch(pred, p.s.minStart, p.s.maxStart)
	case store.SpanEnd:
		return rangeMayMatch(pred, 0, p.s.maxEnd)
	case store.SpanName:
		return dictMayMatch(p.h.names, pred)
	case store.EventName:
		return p.s.events > 0 && dictMayMatch(p.h.events.names, pred)
	case store.EventTimeSinceStart:
		return p.s.events > 0
	case store.LinkTraceID, store.LinkSpanID:
		return p.s.links > 0
	}
	return true
}

// times returns between which times the spans of a granule start, which must exist.
func (p *Part) times(granule int) times {
	if (granule+1)*store.GranuleRows >= int(p.s.rows) {
		return p.s.last
	}
	return p.h.granules.at(granule)
}

// Range implements store.Ranger. It knows about starts.
func (p *Part) Range(granule int, c store.Column) (lo, hi int64, ok bool) {
	if c != store.Intrinsic(store.SpanStart) {
		return 0, 0, false
	}
	if _, _, err := p.bounds(granule); err != nil {
		return 0, 0, false
	}
	t := p.times(granule)
	if t.max > 1<<63-1 {
		return 0, 0, false // They wrap around.
	}
	return int64(t.min), int64(t.max), true
}

// rangeMayMatch decides for times between lo and hi. Times beyond the range of int64 wrap around, so nothing is known
// about them.
func rangeMayMatch(p *store.Predicate, lo, hi uint64) bool {
	if hi > 1<<63-1 || len(p.Values) != 1 || p.Values[0].Type != store.TypeInt {
		return true
	}
	v := p.Values[0].Int()
	switch p.Op {
	case store.OpEq:
		return int64(lo) <= v && v <= int64(hi)
	case store.OpLt:
		return int64(lo) < v
	case store.OpLe:
		return int64(lo) <= v
	case store.OpGt:
		return int64(hi) > v
	case store.OpGe:
		return int64(hi) >= v
	}
	return true
}

// dictMayMatch decides equality with one string by the dictionary of a column.
func dictMayMatch(d *dict, p *store.Predicate) bool {
	if p.Op != store.OpEq || p.Values[0].Type != store.TypeString {
		return true
	}
	_, ok := d.lookup(p.Values[0].Str)
	return ok
}

// mayMatchAttr looks for the key's columns in rows lo to hi-1 of a table.
func (p *Part) mayMatchAttr(t *attrTable, pred *store.Predicate, lo, hi uint32) bool {
	g, spilled := t.group(pred.Column.Name)
	if spilled {
		return true
	}
	may := false
	g.columns(func(c *column) {
		if may {
			return
		}
		if a, b := c.entries(lo, hi); a == b {
			return
		}
		may = c.typ != store.TypeString || dictMayMatch(c.dict, pred)
	})
	return may
}

// mayMatchRef tries the distinct resources or scopes, unless there are too many.
func (p *Part) mayMatchRef(pred *store.Predicate) bool {
	t := p.refTable(pred.Column)
	n := t.len()
	if n > 1024 {
		return true
	}
	var buf [1]store.Value
	for i := range n {
		if pred.MatchSpan(t.at(uint32(i)).values(pred.Column, buf[:])) {
			return true
		}
	}
	return false
}

func (p *Part) refTable(c store.Column) *refTable {
	if c.Scope == store.ScopeResource {
		return &p.h.resources
	}
	return &p.h.scopes
}

func (p *Part) refColumn(c store.Column) [][]uint32 {
	if c.Scope == store.ScopeResource {
		return p.h.resource.view()
	}
	return p.h.scope.view()
}

// ownedBy returns the range of events or links that belong to the spans lo to hi-1, given the owners of the first n.
func ownedBy(owners *chunks[uint32], n, lo, hi uint32) (a, b uint32) {
	dir := owners.view()
	search := func(from, row uint32) uint32 {
		to := n
		for from < to {
			mid := from + (to-from)/2
			if get(dir, int(mid)) < row {
				from = mid + 1
			} else {
				to = mid
			}
		}
		return from
	}
	a = search(0, lo)
	return a, search(a, hi)
}

// TraceRows appends the part's rows of the trace in ascending order.
func (p *Part) TraceRows(ctx context.Context, id spanid.TraceID, dst []uint32) ([]uint32, error) {
	if err := ctx.Err(); err != nil {
		return dst, fmt.Errorf("rows of trace %s: %w", id, err)
	}
	return p.AppendTraceRows(id, dst), nil
}

// AppendTraceRows does the work of TraceRows.
func (p *Part) AppendTraceRows(id spanid.TraceID, dst []uint32) []uint32 {
	from := len(dst)
	for next := p.h.traces.last(id); next != 0; next = p.h.prev.at(int(next - 1)) {
		if next-1 < p.s.rows {
			dst = append(dst, next-1)
		}
	}
	slices.Reverse(dst[from:])
	return dst
}

// HasTrace reports whether the part has a row of the trace.
func (p *Part) HasTrace(id spanid.TraceID) bool {
	for next := p.h.traces.last(id); next != 0; next = p.h.prev.at(int(next - 1)) {
		if next-1 < p.s.rows {
			return true
		}
	}
	return false
}

// Traces returns the number of distinct traces.
func (p *Part) Traces() int { return int(p.s.traces) }

// EachTrace implements store.TraceLister, in order of appearance.
func (p *Part) EachTrace(ctx context.Context, first int, f func(spanid.TraceID)) (n int, err error) {
	n = p.Traces()
	for i := first; i < n; i++ {
		if i%4096 == 0 && ctx.Err() != nil {
			return 0, fmt.Errorf("list the traces of %s: %w", p.h.id, ctx.Err())
		}
		id, _ := p.TraceAt(i)
		f(id)
	}
	return n, nil
}

// TraceAt returns the i-th trace in order of appearance and its first row.
func (p *Part) TraceAt(i int) (id spanid.TraceID, firstRow uint32) {
	row := p.h.traces.first.at(i)
	return p.h.ids.at(int(row)).trace, row
}

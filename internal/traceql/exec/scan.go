package exec

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// window is a time range in Unix nanoseconds, both ends included; 0 and math.MaxInt64 leave an end open.
type window struct{ start, end int64 }

func newWindow(start, end int64) window {
	if end <= 0 {
		end = math.MaxInt64
	}
	return window{max(start, 0), end}
}

// slack is how far outside of the window a span is still looked at. A trace that overlaps the window is evaluated
// as a whole (E-01, S-07), so its matching spans may lie outside; but a search of fifteen minutes must not read the
// whole day for the sake of traces that last for hours.
const slack = int64(3600e9)

// wide returns the window extended by slack.
func (w window) wide() window {
	out := window{max(0, w.start-slack), w.end}
	if w.end < math.MaxInt64-slack {
		out.end = w.end + slack
	}
	return out
}

// overlaps reports whether a range of times has a part in the window.
func (w window) overlaps(start, end uint64) bool {
	return clampInt(start) <= w.end && clampInt(end) >= w.start
}

func clampInt(t uint64) int64 {
	if t > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(t)
}

// spot is a granule of a part.
type spot struct{ part, granule int }

func compareTime(name string, op store.Op, t int64) *store.Predicate {
	return &store.Predicate{Column: store.Intrinsic(name), Op: op, Values: []store.Value{store.Int(t)}}
}

// timeTests returns the conditions that rows of interest satisfy, nil where the window is open. A span is of interest
// if it overlaps the window.
func (w window) timeTests() []*store.Predicate {
	var out []*store.Predicate
	if w.end < math.MaxInt64 {
		out = append(out, compareTime(store.SpanStart, store.OpLe, w.end))
	}
	if w.start > 0 {
		out = append(out, compareTime(store.SpanEnd, store.OpGe, w.start))
	}
	return out
}

// spots lists the granules in which the condition may hold for a span that satisfies tests, newest first.
func (r *run) spots(c *cond, w window, tests []*store.Predicate) ([]spot, error) {
	order := make([]int, len(r.parts))
	infos := make([]store.PartInfo, len(r.parts))
	for i, p := range r.parts {
		order[i], infos[i] = i, p.Info()
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return -compareUint(infos[a].MaxStartNano, infos[b].MaxStartNano)
	})
	var out []spot
	for _, n := range order {
		if err := r.err(); err != nil {
			return nil, err
		}
		info := &infos[n]
		granules := info.Granules()
		if info.Rows == 0 || !w.overlaps(info.MinStartNano, max(info.MaxEndNano, info.MaxStartNano)) || !r.mayMatch(c, n, -1, tests) {
			r.skipped.Add(int64(granules))
			continue
		}
		for g := granules - 1; g >= 0; g-- {
			if !r.mayMatch(c, n, g, tests) {
				r.skipped.Add(1)
				continue
			}
			out = append(out, spot{n, g})
		}
	}
	return out, nil
}

func compareUint(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (r *run) mayMatch(c *cond, part, granule int, tests []*store.Predicate) bool {
	p := r.parts[part]
	for _, t := range tests {
		if !p.MayMatch(granule, t) {
			return false
		}
	}
	return c.mayMatch(p, granule)
}

// matching returns the rows of a granule that satisfy the tests and the condition.
func (r *run) matching(s spot, c *cond, tests []*store.Predicate) (sel store.Bitmap, err error) {
	p := r.parts[s.part]
	info := p.Info()
	n := info.GranuleLen(s.granule)
	sel.Fill(n)
	if !r.matched[s.part][s.granule].Swap(true) {
		r.granules.Add(1)
		r.spans.Add(int64(n))
	}
	for _, t := range tests {
		if alwaysHolds(t, &info) || r.inRange(s, t) {
			continue
		}
		if err := p.Filter(r.ctx, s.granule, t, &sel); err != nil {
			return sel, fmt.Errorf("filter times in %s: %w", info.ID, err)
		}
		if !sel.Any() {
			return sel, nil
		}
	}
	if err := c.filter(r, p, s.granule, &sel); err != nil {
		return sel, err
	}
	return sel, r.without(s, &sel)
}

// alwaysHolds reports whether a test of times holds for every row of a part.
func alwaysHolds(t *store.Predicate, info *store.PartInfo) bool {
	limit := t.Values[0].Int()
	switch {
	case t.Column.Name == store.SpanStart && t.Op == store.OpLe:
		return clampInt(info.MaxStartNano) <= limit
	case t.Column.Name == store.SpanStart && t.Op == store.OpGe:
		return clampInt(info.MinStartNano) >= limit
	}
	return false
}

// rangeOf returns the bounds of a column of numbers in a granule, if the part knows them without reading.
func (r *run) rangeOf(s spot, name string) (lo, hi int64, ok bool) {
	if p, is := r.parts[s.part].(store.Ranger); is {
		return p.Range(s.granule, store.Intrinsic(name))
	}
	return 0, 0, false
}

// inRange reports whether a test of times holds for every row of a granule.
func (r *run) inRange(s spot, t *store.Predicate) bool {
	lo, hi, ok := r.rangeOf(s, t.Column.Name)
	limit := t.Values[0].Int()
	switch {
	case !ok:
	case t.Op == store.OpLe:
		return hi <= limit
	case t.Op == store.OpGe:
		return lo >= limit
	}
	return false
}

// candidate is a trace with a span that satisfies the anchor. The trace starts at bound or before.
type candidate struct {
	traceRef
	bound int64
}

// candidates lists the traces of marked rows.
func (r *run) candidates(s spot, sel *store.Bitmap) ([]candidate, error) {
	if !sel.Any() {
		return nil, nil
	}
	starts, err := r.starts(s, sel)
	if err != nil {
		return nil, err
	}
	return r.candidatesOf(s, sel, starts)
}

// starts reads the starts of marked rows.
func (r *run) starts(s spot, sel *store.Bitmap) ([]int64, error) {
	var v store.Vector
	if err := r.parts[s.part].Read(r.ctx, s.granule, store.Intrinsic(store.SpanStart), sel, &v); err != nil {
		return nil, fmt.Errorf("read span starts: %w", err)
	}
	if n := v.Rows(); len(v.Ints) == n {
		return v.Ints, nil
	}
	out := make([]int64, v.Rows())
	for i := range out {
		out[i] = v.Int(i)
	}
	return out, nil
}

// candidatesOf lists the traces of marked rows, whose starts these are.
func (r *run) candidatesOf(s spot, sel *store.Bitmap, starts []int64) ([]candidate, error) {
	if len(starts) == 0 {
		return nil, nil
	}
	ids, err := r.traceIDs(s, sel)
	if err != nil {
		return nil, err
	}
	known := make(map[spanid.TraceID]int, len(ids)/8)
	var out []candidate
	for i, id := range ids {
		start := starts[i]
		if i > 0 && id == ids[i-1] && len(out) > 0 && out[len(out)-1].id == id {
			out[len(out)-1].bound = min(out[len(out)-1].bound, start)
			continue
		}
		if k, ok := known[id]; ok {
			out[k].bound = min(out[k].bound, start)
			continue
		}
		known[id] = len(out)
		out = append(out, candidate{traceRef{id, s.part}, start})
	}
	return out, nil
}

// traceIDs reads the trace ids of marked rows.
func (r *run) traceIDs(s spot, sel *store.Bitmap) ([]spanid.TraceID, error) {
	if p, ok := r.parts[s.part].(store.TraceReader); ok {
		ids, err := p.TraceIDs(r.ctx, s.granule, sel, nil)
		if err == nil {
			return ids, nil
		}
		if !errors.Is(err, store.ErrUnsupported) {
			return nil, fmt.Errorf("read trace ids: %w", err)
		}
	}
	codes, ids, err := r.traceCodes(s, sel)
	if err != nil {
		return nil, err
	}
	out := make([]spanid.TraceID, len(codes))
	for i, c := range codes {
		out[i] = ids[c]
	}
	return out, nil
}

// traceCodes reads the trace ids of marked rows as indexes of a list of ids, in which one may occur several times.
func (r *run) traceCodes(s spot, sel *store.Bitmap) (codes []uint32, ids []spanid.TraceID, err error) {
	return r.traceCodesBy(r.parts[s.part].Read, s, sel)
}

// readFunc reads as store.Part.Read and store.Picker.Pick do.
type readFunc func(ctx context.Context, granule int, c store.Column, sel *store.Bitmap, dst *store.Vector) error

// picking returns how few rows of a part are read.
func (r *run) picking(part int) readFunc {
	if p, ok := r.parts[part].(store.Picker); ok {
		return p.Pick
	}
	return r.parts[part].Read
}

func (r *run) traceCodesBy(read readFunc, s spot, sel *store.Bitmap) (codes []uint32, ids []spanid.TraceID, err error) {
	var v store.Vector
	if err := read(r.ctx, s.granule, store.Intrinsic(store.SpanTraceID), sel, &v); err != nil {
		return nil, nil, fmt.Errorf("read trace ids: %w", err)
	}
	if len(v.Dict) > 0 {
		for i := range v.Dict {
			ids = append(ids, parseShort(v.Dict[i].Str))
		}
		return v.Codes, ids, nil
	}
	n := sel.Count()
	codes = make([]uint32, n)
	last := ""
	for i := range n {
		if text := v.At(i).Str; i == 0 || text != last { // The id zero has no digits.
			last = text
			ids = append(ids, parseShort(text))
		}
		codes[i] = uint32(len(ids) - 1) //nolint:gosec // At most one per row.
	}
	return codes, ids, nil
}

// parseShort reads the text form of the column trace:id: hex without leading zeros. The store wrote it, so nothing is
// checked.
func parseShort(s string) (id spanid.TraceID) {
	for i := range min(len(s), 2*len(id)) {
		c := s[len(s)-1-i]
		d := c - '0'
		if d > 9 {
			d = c - 'a' + 10
		}
		id[len(id)-1-i/2] |= d << (4 * (i % 2))
	}
	return id
}

package sampling

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

var _ store.Decider = (*Policies)(nil)

// Decide implements store.Decider.
func (p *Policies) Decide(ctx context.Context, u *store.Undecided) ([]store.Decision, error) {
	results, err := p.Evaluate(ctx, u)
	if err != nil {
		return nil, err
	}
	out := make([]store.Decision, len(results))
	for i := range results {
		out[i] = results[i].Decision
	}
	return out, nil
}

// Result is the decision about a trace and its size.
type Result struct {
	store.Decision
	Spans int
	Bytes float64 // share of the bytes of the parts that the trace is in
	// StartNano is the earliest start of a span, in Unix nanoseconds. It is known only if a policy needs it.
	StartNano int64
}

// Evaluate is Decide with the sizes of the traces.
func (p *Policies) Evaluate(ctx context.Context, u *store.Undecided) ([]Result, error) {
	t, err := p.scan(ctx, u.View, u.Parts, u.Traces)
	if err != nil {
		return nil, err
	}
	if p.budgets > 0 {
		if t, err = p.withNeighbours(ctx, u, t); err != nil {
			return nil, err
		}
	}
	out := make([]Result, len(u.Traces))
	o := &outcome{policies: p, t: t, used: make([]int64, p.budgets)}
	for _, i := range p.order(t) {
		n := o.decide(int(i))
		at, ok := slices.BinarySearchFunc(u.Traces, t.ids[i], compareIDs)
		if !ok {
			continue // a neighbour
		}
		r := &out[at]
		r.Spans, r.Bytes, r.StartNano = int(t.spans[i]), t.disk[i], t.start[i]
		if n != nil {
			r.Keep, r.Policy = !n.drops(), n.name
		}
	}
	return out, nil
}

func compareIDs(a, b spanid.TraceID) int { return bytes.Compare(a[:], b[:]) }

// scan reads what the policies need of the traces, which are in parts unless they are split.
func (p *Policies) scan(ctx context.Context, view store.View, parts []store.Part, ids []spanid.TraceID) (*traces, error) {
	sc := &scan{policies: p, view: view, parts: parts, t: newTraces(ids, p)}
	if err := sc.run(ctx); err != nil {
		return nil, err
	}
	for n, l := range p.leaves {
		var err error
		switch l := l.(type) {
		case *traceqlLeaf:
			err = l.evaluate(ctx, sc, n)
		case *perService:
			err = l.evaluate(ctx, sc, n)
		}
		if err != nil {
			return nil, err
		}
	}
	return sc.t, nil
}

// order returns the traces in the order in which budgets are filled; any order will do without budgets.
func (p *Policies) order(t *traces) []int32 {
	out := make([]int32, len(t.ids))
	for i := range out {
		out[i] = int32(i) //nolint:gosec // bounded by memory
	}
	if p.budgets == 0 {
		return out
	}
	hashes := make([]uint64, len(t.ids))
	salted := saltHash("")
	for i := range hashes {
		hashes[i] = hashID(salted, &t.ids[i])
	}
	slices.SortFunc(out, func(a, b int32) int {
		return cmp.Or(cmp.Compare(second(t.start[a]), second(t.start[b])), cmp.Compare(hashes[a], hashes[b]), compareIDs(t.ids[a], t.ids[b]))
	})
	return out
}

// withNeighbours evaluates also the traces that share a second with those of u: budgets are filled from all of them.
func (p *Policies) withNeighbours(ctx context.Context, u *store.Undecided, t *traces) (*traces, error) {
	seconds := map[int64]bool{}
	for _, start := range t.start {
		seconds[second(start)] = true
	}
	more, parts, err := neighbours(ctx, u, seconds)
	if err != nil || len(more) == 0 {
		return t, err
	}
	ids := slices.Concat(u.Traces, more)
	slices.SortFunc(ids, compareIDs)
	return p.scan(ctx, u.View, parts, ids)
}

// neighbours lists traces that are not in u but have a span that starts in one of the seconds, and the parts of theirs
// and of u.
func neighbours(ctx context.Context, u *store.Undecided, seconds map[int64]bool) (ids []spanid.TraceID, parts []store.Part, err error) {
	parts = slices.Clone(u.Parts)
	found := map[spanid.TraceID]struct{}{}
	var v store.Vector
	for _, p := range u.View.Parts() {
		info := p.Info()
		if !startsIn(&info, seconds) {
			continue
		}
		before := len(found)
		for g := range info.Granules() {
			var sel store.Bitmap
			sel.Fill(info.GranuleLen(g))
			if err := p.Read(ctx, g, store.Intrinsic(store.SpanStart), &sel, &v); err != nil {
				return nil, nil, fmt.Errorf("read span starts of %s: %w", info.ID, err)
			}
			for row := range info.GranuleLen(g) {
				if !seconds[second(v.At(row).Int())] {
					sel.Clear(row)
				}
			}
			if err := readIDs(ctx, p, g, &sel, &v); err != nil {
				return nil, nil, err
			}
			for _, id := range appendIDs(nil, &v) {
				if _, ok := slices.BinarySearchFunc(u.Traces, id, compareIDs); !ok {
					found[id] = struct{}{}
				}
			}
		}
		if len(found) > before && !contains(parts, p) {
			parts = append(parts, p)
		}
	}
	for id := range found {
		ids = append(ids, id)
	}
	return ids, parts, nil
}

func startsIn(info *store.PartInfo, seconds map[int64]bool) bool {
	if info.Rows == 0 {
		return false
	}
	low, high := second(int64(info.MinStartNano)), second(int64(info.MaxStartNano)) //nolint:gosec // as the columns have it
	if high-low < int64(len(seconds)) {
		for s := low; s <= high; s++ {
			if seconds[s] {
				return true
			}
		}
		return false
	}
	for s := range seconds {
		if low <= s && s <= high {
			return true
		}
	}
	return false
}

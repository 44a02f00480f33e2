package exec

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

// MaxExemplars is how many exemplars an answer has at most.
const MaxExemplars = 100

// pick chooses exemplars among the candidates: at most one per trace, spread over series and time.
func (a *accumulator) pick(most int) (map[*accSeries][]exemplarSlot, error) {
	type offer struct {
		series *accSeries
		slot   exemplarSlot
		rank   int
	}
	var all []offer
	for _, k := range sortedKeys(a.series) {
		s := a.series[k]
		for rank, slot := range bySpread(s.slots) {
			all = append(all, offer{s, slot, rank})
		}
	}
	slices.SortStableFunc(all, func(x, y offer) int { return cmp.Compare(x.rank, y.rank) })
	const perExemplar = 4 // Some are of the same trace.
	all = all[:min(len(all), perExemplar*most)]
	slots := make([]*exemplarSlot, len(all))
	for i := range all {
		slots[i] = &all[i].slot
	}
	if err := a.run.findTraces(slots); err != nil {
		return nil, err
	}
	out := map[*accSeries][]exemplarSlot{}
	used := map[spanid.TraceID]bool{}
	for _, o := range all {
		if len(used) >= most {
			break
		}
		if !used[o.slot.trace] {
			used[o.slot.trace] = true
			out[o.series] = append(out[o.series], o.slot)
		}
	}
	return out, nil
}

// findTraces reads the trace ids and starts of candidates, granule by granule.
func (r *run) findTraces(slots []*exemplarSlot) error {
	bySpot := map[spot][]*exemplarSlot{}
	for _, s := range slots {
		bySpot[s.at] = append(bySpot[s.at], s)
	}
	for at, list := range bySpot {
		if err := r.err(); err != nil {
			return err
		}
		var sel store.Bitmap
		for _, s := range list {
			sel.Set(int(s.row))
		}
		ids, err := r.traceIDs(at, &sel)
		if err != nil {
			return err
		}
		var starts store.Vector
		if err := r.parts[at.part].Read(r.ctx, at.granule, store.Intrinsic(store.SpanStart), &sel, &starts); err != nil {
			return fmt.Errorf("read span starts: %w", err)
		}
		index := map[uint32]int{}
		for i, row := range rowsOf(&sel) {
			index[row] = i
		}
		for _, s := range list {
			i := index[s.row]
			s.trace, s.start = ids[i], starts.At(i).Int()
		}
	}
	return nil
}

// bySpread orders the used slots so that any number of first ones is spread over time: the order of bit-reversed
// positions.
func bySpread(slots []exemplarSlot) []exemplarSlot {
	var used []exemplarSlot
	for _, s := range slots {
		if s.used {
			used = append(used, s)
		}
	}
	bits := 0
	for 1<<bits < len(used) {
		bits++
	}
	out := make([]exemplarSlot, 0, len(used))
	for i := range 1 << bits {
		r := 0
		for b := range bits {
			r |= i >> b & 1 << (bits - 1 - b)
		}
		if r < len(used) {
			out = append(out, used[r])
		}
	}
	return out
}

// exemplars reads the attributes of the chosen exemplars and attaches them to their series.
func (a *accumulator) exemplars(most int) error {
	if !a.exemplar || most <= 0 {
		return nil
	}
	chosen, err := a.pick(most)
	if err != nil {
		return err
	}
	attrs := a.query.Pipeline.Columns
	for _, by := range a.query.AST.By {
		attrs = ast.AddAttr(slices.Clone(attrs), by)
	}
	if a.query.AST.Fn.HasAttr() {
		attrs = ast.AddAttr(slices.Clone(attrs), a.query.AST.Attr)
	}
	cols := newColumns()
	values := make([]evalFn, len(attrs))
	structure := false
	for i, at := range attrs {
		values[i] = compileAttr(at, cols)
		switch at.Intrinsic {
		case ast.NestedSetLeft, ast.NestedSetRight, ast.NestedSetParent, ast.ChildCount:
			structure = true
		}
	}
	tc := newTraceColumns(cols)
	for s, slots := range chosen {
		refs := make([]traceRef, len(slots))
		for i, slot := range slots {
			refs[i] = traceRef{slot.trace, slot.at.part}
		}
		l, err := a.run.loadTraces(refs, tc, structure)
		if err != nil {
			return err
		}
		for i, t := range l.traces {
			s.Exemplars = append(s.Exemplars, a.exemplarOf(t, &slots[i], attrs, values, tc))
		}
		l.release()
	}
	return nil
}

func (a *accumulator) exemplarOf(t *trace, slot *exemplarSlot, attrs []ast.Attr, values []evalFn, tc *traceColumns) Exemplar {
	e := Exemplar{
		Labels: []Attr{{"trace:id", ast.String(t.id.Short())}}, Millis: slot.start / 1e6, Value: slot.value,
		HasValue: a.query.AST.Fn.HasAttr() && a.query.AST.Fn != ast.HistogramOverTime,
	}
	if a.query.AST.Fn.Bucketed() {
		e.Value /= scale(a.query.AST)
	}
	v := env{trace: t}
	for n := range t.spans {
		if t.spans[n].number(tc.start) != slot.start {
			continue
		}
		v.at(int32(n)) //nolint:gosec // Spans of a trace fit.
		for i, at := range attrs {
			if got := values[i](&v); !got.IsNil() && at.Intrinsic != ast.TraceID {
				e.Labels = append(e.Labels, Attr{at.Label(), got})
			}
		}
		break
	}
	return e
}

// spreadExemplars cuts the exemplars of an answer to the limit, evenly over series, each trace once.
func spreadExemplars(all []*points, most int, _ *Timeline) {
	used := map[string]bool{}
	kept := make([][]Exemplar, len(all))
	for round, left := 0, true; left; round++ {
		left = false
		for i, s := range all {
			if round >= len(s.exemplars) {
				continue
			}
			left = true
			e := s.exemplars[round]
			id := ""
			if len(e.Labels) > 0 {
				id = e.Labels[0].Value.S
			}
			if len(used) < most && !used[id] {
				used[id] = true
				kept[i] = append(kept[i], e)
			}
		}
	}
	for i, s := range all {
		slices.SortStableFunc(kept[i], func(a, b Exemplar) int { return cmp.Compare(a.Millis, b.Millis) })
		s.exemplars = kept[i]
	}
}

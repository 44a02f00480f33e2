package exec

import (
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// compareTask is a granule to count: whole, or what must be corrected of a counted range.
type compareTask struct {
	spot
	in    *countedRange // nil for a whole one
	split *store.Bitmap // rows of traces that are split over parts
}

// compareSpots counts granules for compare: where the store knows how often values occur, from that, else row by row.
func (x *metricsRun) compareSpots(spots []spot, tests []*store.Predicate) error {
	ranges := x.countedRanges()
	known := map[spot]bool{}
	for _, in := range ranges {
		for g := in.granules.First; g < in.granules.End; g++ {
			known[spot{in.part, g}] = true
		}
	}
	var whole []compareTask
	for _, s := range spots {
		if !known[s] {
			whole = append(whole, compareTask{spot: s})
			x.roots[s.part].users.Add(1)
		}
	}
	for _, in := range ranges { // The roots of its part may be wanted until all is done.
		x.roots[in.part].users.Add(1)
		defer x.doneWith(in.part)
	}
	err := x.run.eachWorker(len(whole), func(worker, i int) error {
		defer x.doneWith(whole[i].part)
		return x.compareWhole(worker, whole[i].spot, tests)
	})
	if err != nil || len(ranges) == 0 {
		return err
	}
	counted := newComparer(x)
	if err := counted.addRanges(ranges); err != nil {
		return err
	}
	if err := x.settle(counted, ranges); err != nil {
		return err
	}
	tasks, err := x.corrections(ranges)
	if err != nil {
		return err
	}
	x.manyFixes = len(tasks) > fewFixes
	return x.run.eachWorker(len(tasks), func(worker, i int) error {
		if tasks[i].in.unknown {
			return x.compareWhole(worker, tasks[i].spot, tests)
		}
		return x.compare[worker].fix(&tasks[i])
	})
}

func (x *metricsRun) compareWhole(worker int, s spot, tests []*store.Predicate) error {
	sel, err := x.run.matching(s, x.local, tests)
	if err != nil || !sel.Any() {
		return err
	}
	return x.compare[worker].rows(s, &sel)
}

// errorSelection reports whether exactly the spans with status error are selected.
func (x *metricsRun) errorSelection() bool {
	c := x.compare[0].selection
	return !x.query.AST.TimesSet && c != nil && c.op == plan.IsTest && c.attr == ast.IntrinsicAttr(ast.StatusCode) &&
		c.pred.Op == store.OpEq && len(c.pred.Values) == 1 && c.pred.Values[0] == store.Int(store.StatusError)
}

// inMain reports whether all rows of a granule lie in the bucket of the range, by what the store knows of it.
func (x *metricsRun) inMain(in *countedRange, g int) bool {
	lo, hi, ok := x.run.rangeOf(spot{in.part, g}, store.SpanStart)
	return ok && x.timeline.bucket(lo) == in.main && x.timeline.bucket(hi) == in.main
}

// corrections lists the granules of counted ranges in which rows must be looked at.
func (x *metricsRun) corrections(ranges []*countedRange) ([]compareTask, error) {
	split, err := x.splitRows(ranges)
	if err != nil {
		return nil, err
	}
	var out []compareTask
	for _, in := range ranges {
		for g := in.granules.First; g < in.granules.End; g++ {
			t := compareTask{spot: spot{in.part, g}, in: in, split: split[spot{in.part, g}]}
			switch {
			case in.unknown:
				x.roots[in.part].users.Add(1)
			case t.split != nil || in.noRoots || len(in.scan) > 0 || !x.inMain(in, g):
			case x.failed || !x.compare[0].selection.mayMatch(x.run.parts[in.part], g):
				continue
			}
			out = append(out, t)
		}
	}
	return out, nil
}

// maxSplitLookups bounds the lookups of traces that are split over parts. If there are more, roots are counted row by row.
const maxSplitLookups = 100_000

// splitRows finds the rows of counted ranges whose traces are split over parts, or over stores, so that the part does not know
// their roots.
func (x *metricsRun) splitRows(ranges []*countedRange) (map[spot]*store.Bitmap, error) {
	r := x.run
	if x.rootless || r.split.Len() == 0 && len(x.elsewhere) == 0 {
		return nil, nil
	}
	at := map[spot]bool{}
	parts := map[int]bool{}
	for _, in := range ranges {
		if in.unknown || in.noRoots {
			continue
		}
		parts[in.part] = true
		for g := in.granules.First; g < in.granules.End; g++ {
			at[spot{in.part, g}] = true
		}
	}
	wanted := func(s spot) bool { return at[s] }
	out, err := x.rowsElsewhere(wanted)
	lister, ok := r.split.(store.TraceNamer)
	if !ok || err != nil {
		return out, err
	}
	var rows []uint32
	for id := range lister.All() {
		for part := range parts {
			if err := r.err(); err != nil {
				return nil, err
			}
			if rows, err = r.parts[part].TraceRows(r.ctx, id, rows[:0]); err != nil {
				return nil, err
			}
			markRows(out, part, rows, wanted)
		}
	}
	return out, nil
}

// nearRoots returns the roots of traces as a part that keeps the rows of a trace together knows them: it reads the
// granules around, or of few rows only what their traces have.
func (c *comparer) nearRoots(ids []spanid.TraceID, s spot) ([]rootNames, error) {
	r := c.x.run
	t := &rootTable{}
	defer func() { r.meter.give(t.bytes) }()
	ends := ids
	if !c.sparse {
		ends = []spanid.TraceID{ids[0], ids[len(ids)-1]}
	}
	in := store.GranuleRange{First: s.granule, End: s.granule + 1}
	of := map[int]*store.Bitmap{s.granule: {}}
	for _, id := range ends {
		rows, err := r.parts[s.part].TraceRows(r.ctx, id, nil)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			g := int(row / store.GranuleRows)
			in.First, in.End = min(in.First, g), max(in.End, g+1)
			if of[g] == nil {
				of[g] = &store.Bitmap{}
			}
			of[g].Set(int(row % store.GranuleRows))
		}
	}
	info := r.parts[s.part].Info()
	for g := in.First; g < in.End; g++ {
		sel := of[g]
		if !c.sparse {
			sel = &store.Bitmap{}
			sel.Fill(info.GranuleLen(g))
		}
		if sel == nil {
			continue
		}
		if err := r.readRoots(spot{s.part, g}, sel, c.reading(s.part), t); err != nil {
			return nil, err
		}
	}
	out := make([]rootNames, len(ids))
	for i, id := range ids {
		out[i] = t.roots[id].rootNames
	}
	return out, nil
}

// reading returns how rows of a part are read.
func (c *comparer) reading(part int) readFunc {
	if c.sparse {
		return c.x.run.picking(part)
	}
	return c.x.run.parts[part].Read
}

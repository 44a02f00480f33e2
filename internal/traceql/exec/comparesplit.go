package exec

import (
	"cmp"
	"slices"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// What is in this file lets several stores answer compare() about traces that are split over them. All but the root of its
// trace is said by a span itself, so that every store counts its own spans. Of traces that others have spans of too it says
// besides how many it counted of each, and which span may be the root; who merges that knows the roots and counts their names.

// SplitTrace is what compare counted of one trace of which other stores may have spans.
type SplitTrace struct {
	ID spanid.TraceID
	// HasRoot says that there is a span without a parent, of several the one of rootRank.
	HasRoot       bool
	Start         int64  // Of that span, Unix nanoseconds.
	Span          string // Its id, as text.
	Name, Service string
	Counts        []SplitCount
}

// SplitCount is a number of spans of a trace in one bucket.
type SplitCount struct {
	Bucket   int // Below Timeline.N.
	Selected bool
	Spans    int64
}

// comparesSpans reports whether a function is compare over spans that are found without looking at their traces.
func comparesSpans(m *plan.MetricsQuery) bool {
	return m.AST.Fn == ast.Compare && m.Local != nil && !m.WholeTrace
}

// MetricsGather reports whether a metrics query has to have the spans of split traces together (MetricsOptions.Gathered).
func MetricsGather(q *plan.Query) bool {
	return slices.ContainsFunc(q.Metrics, func(m *plan.MetricsQuery) bool { return metricsNeedTraces(m) && !comparesSpans(m) })
}

// splitTraceBytes is about what a trace costs.
const splitTraceBytes = 192

// splitTrace counts spans of a trace.
type splitTrace struct{ counts []SplitCount }

func (t *splitTrace) add(bucket int, selected bool, n int64) {
	for i := range slices.Backward(t.counts) {
		if c := &t.counts[i]; c.Bucket == bucket && c.Selected == selected {
			c.Spans += n
			return
		}
	}
	t.counts = append(t.counts, SplitCount{bucket, selected, n})
}

// addSplit counts rows of split traces, and returns the other ones of ids. codes are the indexes of the rows' traces among these.
func (c *comparer) addSplit(codes []uint32, ids []spanid.TraceID) (others []spanid.TraceID, err error) {
	traces := make([]*splitTrace, len(ids))
	for i, id := range ids {
		if _, ok := c.x.elsewhere[id]; !ok {
			others = append(others, id)
			continue
		}
		t := c.split[id]
		if t == nil {
			if err := c.x.run.meter.take(c.x.run.ctx, splitTraceBytes); err != nil {
				return nil, err
			}
			t = &splitTrace{}
			c.split[id] = t
		}
		traces[i] = t
	}
	for i, code := range codes {
		if off := c.offsets[i]; traces[code] != nil && off != outside {
			traces[code].add(c.first+int(off>>1), off&1 != 0, 1)
		}
	}
	return others, nil
}

// mergeSplit adds what another worker counted of split traces.
func (c *comparer) mergeSplit(o *comparer) {
	for id, t := range o.split {
		have := c.split[id]
		if have == nil {
			c.split[id] = t
			continue
		}
		for _, n := range t.counts {
			have.add(n.Bucket, n.Selected, n.Spans)
		}
	}
}

// splitTraces lists the split traces that have spans here, by what the first worker has, to which those of the others were added.
func (x *metricsRun) splitTraces() ([]SplitTrace, error) {
	if len(x.elsewhere) == 0 {
		return nil, nil
	}
	roots, err := x.splitRoots()
	if err != nil {
		return nil, err
	}
	counted := x.compare[0].split
	out := make([]SplitTrace, 0, max(len(counted), len(roots)))
	for id, t := range counted {
		r, ok := roots[id]
		out = append(out, SplitTrace{ID: id, HasRoot: ok, Start: r.start, Span: r.span, Name: r.name, Service: r.service, Counts: t.counts})
	}
	for id, r := range roots {
		if counted[id] == nil { // The root is not counted, but spans elsewhere may be.
			out = append(out, SplitTrace{ID: id, HasRoot: true, Start: r.start, Span: r.span, Name: r.name, Service: r.service})
		}
	}
	slices.SortFunc(out, func(a, b SplitTrace) int { return slices.Compare(a.ID[:], b.ID[:]) })
	return out, nil
}

// manySplit reports whether looking up the split traces takes longer than reading all granules.
func (x *metricsRun) manySplit() bool {
	const perGranule = 16
	granules := 0
	for _, rows := range x.run.rows {
		granules += (rows + store.GranuleRows - 1) / store.GranuleRows
	}
	return len(x.elsewhere) > perGranule*granules
}

// splitRoots finds what may be the roots of the split traces: of many in all granules, of few in their rows.
func (x *metricsRun) splitRoots() (map[spanid.TraceID]root, error) {
	r := x.run
	at := map[spot]*store.Bitmap{}
	if x.manySplit() {
		for part := range r.parts {
			info := r.parts[part].Info()
			for g := range info.Granules() {
				sel := &store.Bitmap{}
				sel.Fill(info.GranuleLen(g))
				at[spot{part, g}] = sel
			}
		}
	} else {
		var err error
		if at, err = x.rowsElsewhere(func(spot) bool { return true }); err != nil {
			return nil, err
		}
	}
	spots := make([]spot, 0, len(at))
	for s := range at {
		spots = append(spots, s)
	}
	tables := make([]rootTable, len(x.compare))
	err := r.eachWorker(len(spots), func(worker, i int) error {
		s := spots[i]
		tables[worker].only = x.elsewhere
		return r.readRoots(s, at[s], r.parts[s.part].Read, &tables[worker])
	})
	out := map[spanid.TraceID]root{}
	for i := range tables {
		for id, next := range tables[i].roots {
			if have, ok := out[id]; !ok || have.before(&next) {
				out[id] = next
			}
		}
	}
	return out, err
}

// rowsElsewhere finds the rows of the split traces in some granules.
func (x *metricsRun) rowsElsewhere(wanted func(spot) bool) (map[spot]*store.Bitmap, error) {
	out := map[spot]*store.Bitmap{}
	var rows []uint32
	for part := range x.run.parts {
		for id := range x.elsewhere {
			if err := x.run.err(); err != nil {
				return nil, err
			}
			var err error
			if rows, err = x.run.traceRows(part, id, rows[:0]); err != nil {
				return nil, err
			}
			markRows(out, part, rows, wanted)
		}
	}
	return out, nil
}

// markRows marks rows of a part.
func markRows(at map[spot]*store.Bitmap, part int, rows []uint32, wanted func(spot) bool) {
	for _, row := range rows {
		s := spot{part, int(row / store.GranuleRows)}
		if !wanted(s) {
			continue
		}
		if at[s] == nil {
			at[s] = &store.Bitmap{}
		}
		at[s].Set(int(row % store.GranuleRows))
	}
}

// joinSplit counts the names of the roots of split traces, which are known when what all stores have of them is there.
func (q *QueryPartial) joinSplit(buckets int) {
	if len(q.Split) == 0 {
		return
	}
	roots := make(map[spanid.TraceID]*SplitTrace, len(q.Split))
	for i := range q.Split {
		t := &q.Split[i]
		if have := roots[t.ID]; have == nil || rootRank(have, t) < 0 {
			roots[t.ID] = t
		}
	}
	type label struct {
		service, selected bool
		value             string
	}
	sums := map[label][]float64{}
	for i := range q.Split {
		root := roots[q.Split[i].ID]
		for _, n := range q.Split[i].Counts {
			for _, l := range []label{{false, n.Selected, root.Name}, {true, n.Selected, root.Service}} {
				if sums[l] == nil {
					sums[l] = make([]float64, buckets)
				}
				sums[l][n.Bucket] += float64(n.Spans)
			}
		}
	}
	other := QueryPartial{}
	for l, count := range sums {
		meta, attr := metaNames[0], ast.RootName
		if l.selected {
			meta = metaNames[1]
		}
		if l.service {
			attr = ast.RootService
		}
		labels := []Attr{{metaType, ast.String(meta)}, {ast.IntrinsicAttr(attr).Label(), ast.String(l.value)}}
		other.Series = append(other.Series, PartialSeries{Labels: labels, Count: count})
	}
	q.Split = nil
	_ = q.merge(&other) // It fails only for other numbers of buckets.
}

// rootRank orders what may be the root of a trace: the last is it (S-30). A trace has none if no store knows one.
func rootRank(a, b *SplitTrace) int {
	switch {
	case a.HasRoot != b.HasRoot && a.HasRoot:
		return 1
	case a.HasRoot != b.HasRoot:
		return -1
	}
	return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.Span, b.Span))
}

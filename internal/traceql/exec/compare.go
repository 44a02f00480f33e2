package exec

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

// The values of the label __meta_type, and what else compare names.
const (
	metaType      = "__meta_type"
	metaError     = "__meta_error"
	tooManyValues = "__too_many_values__"
)

var (
	metaNames  = [2]string{"baseline", "selection"}
	totalNames = [2]string{"baseline_total", "selection_total"}
)

// maxCompareValues is how many values of one attribute a worker counts. Ids, whose values are all different, would
// otherwise fill the memory; that the commonest of so many are missed is next to impossible for anything else.
const maxCompareValues = 10_000

// comparer counts the values of all attributes, for spans inside and outside of the selection.
type comparer struct {
	x         *metricsRun
	selection *cond
	attrs     map[ast.Attr]*valueCounts
	roots     map[spanid.TraceID]rootNames
	pending   map[spot]*split
}

type rootNames struct{ name, service string }

// split is the rows of a granule, and those of them that are selected.
type split struct{ all, selected store.Bitmap }

// valueCounts counts the values of one attribute.
type valueCounts struct {
	values    map[string]*valueCount
	truncated bool
}

// valueCount counts one value per side, 0 for the baseline and 1 for the selection, and bucket.
type valueCount struct {
	value  ast.Static
	counts [2][]float64
}

func newComparer(x *metricsRun) *comparer {
	c := &comparer{x: x, attrs: map[ast.Attr]*valueCounts{}, roots: map[spanid.TraceID]rootNames{}, pending: map[spot]*split{}}
	if x.query.Selection != nil {
		c.selection = compile(x.query.Selection, newColumns())
	}
	return c
}

// timeTests are the bounds of the selection in time: (start, end].
func (c *comparer) timeTests() []*store.Predicate {
	q := c.x.query.AST
	if !q.TimesSet {
		return nil
	}
	return []*store.Predicate{
		compareTime(store.SpanStart, store.OpGt, q.Start), compareTime(store.SpanStart, store.OpLe, q.End),
	}
}

// rows counts the marked rows of a granule.
func (c *comparer) rows(s spot, sel *store.Bitmap) error {
	sp := split{*sel, *sel}
	p := c.x.run.parts[s.part]
	for _, t := range c.timeTests() {
		if err := p.Filter(c.x.run.ctx, s.granule, t, &sp.selected); err != nil {
			return fmt.Errorf("filter times in %s: %w", p.Info().ID, err)
		}
	}
	if err := c.selection.filter(c.x.run, p, s.granule, &sp.selected); err != nil {
		return err
	}
	return c.count(s, &sp)
}

// trace notes surviving spans of a whole trace; flush counts them.
func (c *comparer) trace(t *trace, spans []int32, selection *cond, tc *traceColumns) error {
	v := env{trace: t}
	q := c.x.query.AST
	for _, n := range spans {
		start := t.spans[n].number(tc.start)
		if c.x.timeline.bucket(start) < 0 {
			continue
		}
		v.at(n)
		selected := !q.TimesSet || start > q.Start && start <= q.End
		if selected {
			var err error
			if selected, err = selection.holds(c.x.run, &v); err != nil {
				return err
			}
		}
		ch := t.spans[n].chunk
		key := spot{ch.index, ch.granule}
		sp := c.pending[key]
		if sp == nil {
			sp = &split{}
			c.pending[key] = sp
		}
		row := int(ch.rows()[t.spans[n].i])
		sp.all.Set(row)
		if selected {
			sp.selected.Set(row)
		}
	}
	return nil
}

// flush counts what trace noted.
func (c *comparer) flush() error {
	for s, sp := range c.pending {
		if err := c.count(s, sp); err != nil {
			return err
		}
	}
	clear(c.pending)
	return nil
}

// comparedIntrinsics are the intrinsics that compare counts, besides those of the root.
var comparedIntrinsics = []ast.Intrinsic{
	ast.Name, ast.StatusCode, ast.StatusMessage, ast.SpanKind, ast.ScopeName, ast.ScopeVersion, ast.EventName,
}

// count counts the values of the rows of a granule in every column.
func (c *comparer) count(s spot, sp *split) error {
	n := sp.all.Count()
	sides := make([]uint8, 0, n)
	for row := range sp.all.Rows() {
		side := uint8(0)
		if sp.selected.Has(row) {
			side = 1
		}
		sides = append(sides, side)
	}
	var v store.Vector
	p := c.x.run.parts[s.part]
	if err := p.Read(c.x.run.ctx, s.granule, store.Intrinsic(store.SpanStart), &sp.all, &v); err != nil {
		return fmt.Errorf("read span starts: %w", err)
	}
	buckets := make([]int32, n)
	for i := range buckets {
		buckets[i] = int32(c.x.timeline.bucket(v.At(i).Int())) //nolint:gosec // At most maxPoints.
	}
	attrs, err := c.x.run.attributesOf(s.part)
	if err != nil {
		return err
	}
	if !slices.Contains(attrs, ast.ServiceName) {
		attrs = append(slices.Clone(attrs), ast.ServiceName) // Every span has it, if empty (contract 11, X-17).
	}
	for _, a := range attrs {
		if err := c.x.run.err(); err != nil {
			return err
		}
		col, _ := columnOf(a)
		if err := p.Read(c.x.run.ctx, s.granule, col, &sp.all, &v); err != nil {
			return fmt.Errorf("read column %s: %w", a, err)
		}
		codes, values := valueCodes(&v, n, a)
		if err := c.add(a, codes, values, sides, buckets); err != nil {
			return err
		}
	}
	return c.countRoots(s, sp, sides, buckets)
}

// add adds coded values of one attribute.
func (c *comparer) add(a ast.Attr, codes []uint32, values []ast.Static, sides []uint8, buckets []int32) error {
	counts := make([]*valueCount, len(values))
	for k, v := range values {
		if v.IsNil() {
			continue
		}
		vc, err := c.of(a, v)
		if err != nil {
			return err
		}
		counts[k] = vc
	}
	for i, code := range codes {
		if vc := counts[code]; vc != nil && buckets[i] >= 0 {
			vc.add(int(sides[i]), int(buckets[i]), c.x.timeline.N)
		}
	}
	return nil
}

func (v *valueCount) add(side, bucket, n int) {
	if v.counts[side] == nil {
		v.counts[side] = make([]float64, n)
	}
	v.counts[side][bucket]++
}

// of returns the counts of a value, nil if the attribute has too many.
func (c *comparer) of(a ast.Attr, v ast.Static) (*valueCount, error) {
	all := c.attrs[a]
	if all == nil {
		all = &valueCounts{values: map[string]*valueCount{}}
		c.attrs[a] = all
	}
	key := valueKey(v)
	vc := all.values[key]
	if vc != nil {
		return vc, nil
	}
	if len(all.values) >= maxCompareValues {
		all.truncated = true
		key, v = "", ast.Static{} // Counted for the totals only.
		if vc = all.values[key]; vc != nil {
			return vc, nil
		}
	}
	if err := c.x.run.meter.take(c.x.run.ctx, 128+int64(len(key))+16*int64(c.x.timeline.N)); err != nil {
		return nil, err
	}
	vc = &valueCount{value: v}
	all.values[key] = vc
	return vc, nil
}

// countRoots counts the names of the roots of the rows' traces.
func (c *comparer) countRoots(s spot, sp *split, sides []uint8, buckets []int32) error {
	ids, err := c.x.run.traceIDs(s, &sp.all)
	if err != nil {
		return err
	}
	if err := c.readRoots(ids, s.part); err != nil {
		return err
	}
	for i, id := range ids {
		if buckets[i] < 0 {
			continue
		}
		r := c.roots[id]
		for _, named := range []struct {
			a ast.Intrinsic
			v string
		}{{ast.RootName, r.name}, {ast.RootService, r.service}} {
			vc, err := c.of(ast.IntrinsicAttr(named.a), ast.String(named.v))
			if err != nil {
				return err
			}
			vc.add(int(sides[i]), int(buckets[i]), c.x.timeline.N)
		}
	}
	return nil
}

// readRoots looks up the roots of traces that are not known yet.
func (c *comparer) readRoots(ids []spanid.TraceID, part int) error {
	var refs []traceRef
	for _, id := range ids {
		if _, ok := c.roots[id]; !ok {
			c.roots[id] = rootNames{}
			refs = append(refs, traceRef{id, part})
		}
	}
	if len(refs) == 0 {
		return nil
	}
	if err := c.x.run.meter.take(c.x.run.ctx, 2*seenBytes*int64(len(refs))); err != nil {
		return err
	}
	cols := newColumns()
	cols.addRoot()
	l, err := c.x.run.loadTraces(refs, newTraceColumns(cols), false)
	if err != nil {
		return err
	}
	defer l.release()
	for _, t := range l.traces {
		c.roots[t.id] = rootNames{t.rootName, t.rootService}
	}
	return nil
}

// merge adds the counts of another worker.
func (c *comparer) merge(o *comparer) error {
	for a, counts := range o.attrs {
		for key, vc := range counts.values {
			v := vc.value
			if key == "" {
				v = ast.Static{}
			}
			have, err := c.of(a, v)
			if err != nil {
				return err
			}
			for side, list := range vc.counts {
				for b, n := range list {
					if n > 0 {
						if have.counts[side] == nil {
							have.counts[side] = make([]float64, len(list))
						}
						have.counts[side][b] += n
					}
				}
			}
		}
		c.attrs[a].truncated = c.attrs[a].truncated || counts.truncated
	}
	return nil
}

// compared makes the partial result of compare: a series per side and value. A nil value stands for those that were
// not counted one by one.
func (x *metricsRun) compared() (*QueryPartial, error) {
	all := x.compare[0]
	for _, w := range x.compare[1:] {
		if err := all.merge(w); err != nil {
			return nil, err
		}
	}
	out := &QueryPartial{}
	for a, counts := range all.attrs {
		for _, vc := range counts.values {
			for side, list := range vc.counts {
				if list == nil {
					continue
				}
				labels := []Attr{{metaType, ast.String(metaNames[side])}, {a.Label(), vc.value}}
				out.Series = append(out.Series, PartialSeries{Labels: labels, Count: list, Truncated: counts.truncated})
			}
		}
	}
	slices.SortFunc(out.Series, func(a, b PartialSeries) int { return compareLabels(a.Labels, b.Labels) })
	return out, nil
}

// compare makes series of the commonest values per side and attribute, and totals.
func (f *finisher) compare(m *ast.MetricsQuery, p *QueryPartial) []*points {
	type side struct{ meta, attr string }
	groups := map[side][]*PartialSeries{}
	var order []side
	for i := range p.Series {
		s := &p.Series[i]
		k := side{s.Labels[0].Value.S, s.Labels[1].Key}
		if groups[k] == nil {
			order = append(order, k)
		}
		groups[k] = append(groups[k], s)
	}
	var out []*points
	for _, k := range order {
		series := groups[k]
		total := make([]float64, f.partial.Timeline.N)
		truncated := false
		for _, s := range series {
			truncated = truncated || s.Truncated
			for b, n := range s.Count {
				total[b] += n
			}
		}
		slices.SortStableFunc(series, func(a, b *PartialSeries) int {
			if c := cmp.Compare(sum(b.Count), sum(a.Count)); c != 0 {
				return c
			}
			return compareLabels(a.Labels, b.Labels)
		})
		kept := int64(0)
		for _, s := range series {
			if s.Labels[1].Value.IsNil() {
				continue
			}
			if kept++; kept > m.TopN {
				truncated = true
				break
			}
			out = append(out, &points{labels: s.Labels, values: slices.Clone(s.Count)})
		}
		meta := totalNames[0]
		if k.meta == metaNames[1] {
			meta = totalNames[1]
		}
		out = append(out, &points{labels: []Attr{{metaType, ast.String(meta)}, {k.attr, ast.String("nil")}}, values: total})
		if truncated {
			out = append(out, &points{
				labels: []Attr{{metaError, ast.String(tooManyValues)}, {metaType, ast.String(k.meta)}, {k.attr, ast.String("nil")}},
				values: slices.Repeat([]float64{math.NaN()}, f.partial.Timeline.N),
			})
		}
	}
	return out
}

func sum(list []float64) (s float64) {
	for _, v := range list {
		s += v
	}
	return s
}

package exec

import (
	"cmp"
	"slices"
	"strings"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

const (
	// maxCompareValues is how many values of one attribute a worker counts. Ids, whose values are all different, would
	// otherwise fill the memory.
	maxCompareValues = 10_000
	// rareValue is the share of spans, one in this many, that a value must have had when there were too many values for
	// it to be counted further.
	rareValue = 200
)

// valueCounts counts the values of one attribute. Once there are too many, the rare ones are given up, and no new ones
// are taken: what is left are the commonest, with counts that are right unless a value became common later.
type valueCounts struct {
	attr   ast.Attr
	values map[store.Value]*valueCount
	slab   []valueCount // Of which the next values are made.
	closed bool
	ups    int         // How often values were given up.
	other  *valueCount // of values that are not counted, for the totals; not nil when closed
}

// valueCount counts one value per side, 0 for the baseline and 1 for the selection.
type valueCount struct {
	value ast.Static
	sides [2]bucketCounts
}

// bucketCounts counts per bucket: few buckets as a list in the order of arrival, which begins in own, many in an array. It must
// not be copied.
type bucketCounts struct {
	total float64
	few   []bucketCount
	many  []float64
	own   [1]bucketCount // Most values of ids are in one bucket.
}

type bucketCount struct {
	bucket uint32
	n      int64
}

// of returns the counts of an attribute.
func (c *comparer) of(a ast.Attr) *valueCounts {
	all := c.attrs[a]
	if all == nil {
		all = &valueCounts{attr: a, values: map[store.Value]*valueCount{}}
		c.attrs[a] = all
	}
	return all
}

// valueCountBytes is about what a value with a few buckets costs.
const valueCountBytes = 448

// value returns the counts of a value, nil for one that is none.
func (c *comparer) value(all *valueCounts, v store.Value) (*valueCount, error) {
	if v.Type == store.TypeAbsent && all.attr == ast.ServiceName {
		v = store.String("") // Contract 11, X-17.
	}
	if len(all.values) > 0 || !all.closed { // Hashing a text to find it in nothing is what counting ids would take most time for.
		if vc, ok := all.values[v]; ok {
			return vc, nil
		}
	}
	shown := toStatic(all.attr, v)
	if shown.IsNil() {
		return nil, nil //nolint:nilnil // Nothing is an answer.
	}
	if len(all.values) >= maxCompareValues && !all.closed {
		if err := c.x.closeValues(all); err != nil {
			return nil, err
		}
	}
	if all.closed {
		return all.other, nil
	}
	return c.x.newValue(all, v)
}

// newValue begins to count a value.
func (x *metricsRun) newValue(all *valueCounts, v store.Value) (*valueCount, error) {
	n := int64(2 * len(v.Str))
	if len(all.slab) == 0 {
		const most = 256
		all.slab = make([]valueCount, min(max(1, len(all.values)), most))
		n += valueCountBytes * int64(len(all.slab))
	}
	if err := x.run.meter.take(x.run.ctx, n); err != nil {
		return nil, err
	}
	vc := &all.slab[0]
	all.slab = all.slab[1:]
	v.Str = strings.Clone(v.Str) // It may be a piece of all texts of a granule.
	vc.value = toStatic(all.attr, v)
	all.values[v] = vc
	return vc, nil
}

// closeValues gives up the rare values.
func (x *metricsRun) closeValues(all *valueCounts) error {
	spans := all.spans()
	return x.giveUp(all, func(_ store.Value, n float64) bool { return n*rareValue < spans })
}

// spans counts the spans with a value.
func (all *valueCounts) spans() float64 {
	spans := 0.0
	if all.other != nil {
		spans = all.other.total()
	}
	for _, vc := range all.values {
		spans += vc.total()
	}
	return spans
}

func (v *valueCount) total() float64 { return v.sides[0].total + v.sides[1].total }

// giveUp stops counting rare values, and takes no new ones.
func (x *metricsRun) giveUp(all *valueCounts, rare func(v store.Value, spans float64) bool) error {
	all.closed = true
	all.ups++
	if all.other == nil {
		all.other = &valueCount{}
	}
	before := all.values
	all.values, all.slab = map[store.Value]*valueCount{}, nil
	for v, vc := range before {
		to := all.other
		if !rare(v, vc.total()) {
			var err error
			if to, err = x.newValue(all, v); err != nil { // The others would be kept in memory with it.
				return err
			}
		}
		if err := x.mergeCounts(to, vc); err != nil {
			return err
		}
	}
	x.run.meter.give(valueCountBytes * int64(len(before)))
	return nil
}

// addCount adds n spans to a value, or takes them away if n is below 0.
func (x *metricsRun) addCount(v *valueCount, side, bucket int, n int64) error {
	s := &v.sides[side]
	s.total += float64(n)
	if s.many != nil {
		s.many[bucket] += float64(n)
		return nil
	}
	b := uint32(bucket) //nolint:gosec // At most maxPoints.
	if k := len(s.few); k > 0 && s.few[k-1].bucket == b {
		s.few[k-1].n += n
		return nil
	}
	if s.few == nil {
		s.few = s.own[:0]
	}
	if len(s.few) < max(8, x.timeline.N/4) {
		s.few = append(s.few, bucketCount{b, n})
		return nil
	}
	if err := x.run.meter.take(x.run.ctx, 8*int64(x.timeline.N)); err != nil {
		return err
	}
	s.many = s.dense(x.timeline.N)
	s.few = nil
	s.many[bucket] += float64(n)
	return nil
}

// dense returns the counts as one number per bucket.
func (s *bucketCounts) dense(n int) []float64 {
	if s.many != nil {
		return s.many
	}
	out := make([]float64, n)
	for _, f := range s.few {
		out[f.bucket] += float64(f.n)
	}
	return out
}

// merge adds the counts of another worker.
func (c *comparer) merge(o *comparer) error {
	c.mergeSplit(o)
	for a, counts := range o.attrs {
		if c.attrs[a] == nil {
			c.attrs[a] = counts
			continue
		}
		all := c.of(a)
		if counts.closed && !all.closed {
			if err := c.x.closeValues(all); err != nil {
				return err
			}
		}
		spans := -1.0
		for v, vc := range counts.values {
			have, err := c.value(all, v)
			if err == nil && have == all.other { // It may be common where it was counted.
				if spans < 0 {
					spans = all.spans() + counts.spans()
				}
				if vc.total()*rareValue >= spans {
					have, err = c.x.newValue(all, v)
				}
			}
			if err != nil {
				return err
			}
			if err := c.x.mergeCounts(have, vc); err != nil {
				return err
			}
		}
		if counts.other == nil {
			continue
		}
		if err := c.x.mergeCounts(all.other, counts.other); err != nil {
			return err
		}
	}
	return nil
}

func (x *metricsRun) mergeCounts(dst, src *valueCount) error {
	for side := range src.sides {
		s := &src.sides[side]
		for _, f := range s.few {
			if err := x.addCount(dst, side, int(f.bucket), f.n); err != nil {
				return err
			}
		}
		for b, n := range s.many {
			if n != 0 {
				if err := x.addCount(dst, side, b, int64(n)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// sentValues is how many times as many values as are wanted are sent of each attribute, so that the commonest of several
// stores together are among them.
const sentValues = 10

// compared makes the partial result of compare: a series per side and value, the commonest values of each attribute. A
// nil value stands for the others.
func (x *metricsRun) compared() (*QueryPartial, error) {
	all := x.compare[0]
	for _, w := range x.compare[1:] {
		if err := all.merge(w); err != nil {
			return nil, err
		}
		*w = comparer{}
	}
	split, err := x.splitTraces()
	if err != nil {
		return nil, err
	}
	most := int(min(max(100, sentValues*x.query.AST.TopN), maxCompareValues))
	out := &QueryPartial{Split: split}
	for a, counts := range all.attrs {
		if counts.closed { // Of rare values some may have been counted by one worker and not by another.
			if err := x.closeValues(counts); err != nil {
				return nil, err
			}
		}
		for side := range metaNames {
			series, err := x.comparedSide(a, counts, side, most)
			if err != nil {
				return nil, err
			}
			out.Series = append(out.Series, series...)
		}
	}
	slices.SortFunc(out.Series, func(a, b PartialSeries) int { return compareLabels(a.Labels, b.Labels) })
	return out, nil
}

func (x *metricsRun) comparedSide(a ast.Attr, counts *valueCounts, side, most int) ([]PartialSeries, error) {
	var list []*valueCount
	for _, vc := range counts.values {
		if vc.sides[side].total > 0 {
			list = append(list, vc)
		}
	}
	slices.SortFunc(list, func(v, w *valueCount) int {
		return cmp.Or(cmp.Compare(w.sides[side].total, v.sides[side].total), compareValues(v.value, w.value))
	})
	rest := list[min(most, len(list)):]
	list = list[:len(list)-len(rest)]
	if counts.other != nil && counts.other.sides[side].total > 0 {
		rest = append(rest, counts.other)
	}
	if err := x.run.meter.take(x.run.ctx, int64(len(list)+1)*(128+8*int64(x.timeline.N))); err != nil {
		return nil, err
	}
	truncated := len(rest) > 0
	series := func(v ast.Static, count []float64) PartialSeries {
		labels := []Attr{{metaType, ast.String(metaNames[side])}, {a.Label(), v}}
		return PartialSeries{Labels: labels, Count: count, Truncated: truncated}
	}
	out := make([]PartialSeries, 0, len(list)+1)
	for _, vc := range list {
		out = append(out, series(vc.value, vc.sides[side].dense(x.timeline.N)))
	}
	if truncated {
		sum := make([]float64, x.timeline.N)
		for _, vc := range rest {
			for b, n := range vc.sides[side].many {
				sum[b] += n
			}
			for _, f := range vc.sides[side].few {
				sum[f.bucket] += float64(f.n)
			}
		}
		out = append(out, series(ast.Static{}, sum))
	}
	return out, nil
}

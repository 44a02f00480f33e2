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
	closed bool
	other  *valueCount // of values that are not counted, for the totals; not nil when closed
}

// valueCount counts one value per side, 0 for the baseline and 1 for the selection.
type valueCount struct {
	value ast.Static
	sides [2]bucketCounts
}

// bucketCounts counts per bucket: few buckets as a list in the order of arrival, many in an array.
type bucketCounts struct {
	total float64
	few   []bucketCount
	many  []float64
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
	vc, ok := all.values[v]
	if ok {
		return vc, nil
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
	if err := c.x.run.meter.take(c.x.run.ctx, valueCountBytes+2*int64(len(v.Str))); err != nil {
		return nil, err
	}
	v.Str = strings.Clone(v.Str) // It may be a piece of all texts of a granule.
	vc = &valueCount{value: toStatic(all.attr, v)}
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
	if all.other == nil {
		all.other = &valueCount{}
	}
	for v, vc := range all.values {
		if rare(v, vc.total()) {
			if err := x.mergeCounts(all.other, vc); err != nil {
				return err
			}
			delete(all.values, v)
			x.run.meter.give(valueCountBytes)
		}
	}
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
	for a, counts := range o.attrs {
		all := c.of(a)
		if counts.closed && !all.closed {
			if err := c.x.closeValues(all); err != nil {
				return err
			}
		}
		for v, vc := range counts.values {
			have, err := c.value(all, v)
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
	most := int(min(max(100, sentValues*x.query.AST.TopN), maxCompareValues))
	out := &QueryPartial{}
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

package exec

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

// Partial is the outcome of a metrics query over a part of the data: sums that can be added to those of other parts.
// Federation sends it (MarshalBinary), merges and finishes it: a coordinator asks all stores for MetricsPartial with the
// same query, Start, End and Step (not 0, so that nobody chooses another one), merges in any order, and calls Finish once.
// What is not additive (quantiles, averages, topk, comparisons, arithmetic between series) is done by Finish alone.
type Partial struct {
	Timeline Timeline
	Queries  []QueryPartial // One per metrics function, as in plan.Query.Metrics.
	Stats    Stats
}

// QueryPartial is the part of one function.
type QueryPartial struct {
	Series []PartialSeries
	Split  []SplitTrace // Of compare: the traces that are split over stores, by id; of several parts those of one after the other.
}

// PartialSeries holds the sums of one group. Of the slices only those that the function needs are set; each has an
// entry per bucket.
type PartialSeries struct {
	Labels    []Attr // A nil value means that the spans have no such attribute.
	Count     []float64
	Sum       []float64
	Min, Max  []float64 // NaN in buckets without values.
	Hist      [][]HistCount
	Exemplars []Exemplar
	Truncated bool // Of compare: not all values were counted.
}

// HistCount counts the values in (2^(Exp-1), 2^Exp].
type HistCount struct {
	Exp   uint8
	Count float64
}

// Exemplar is a span that stands for a bucket.
type Exemplar struct {
	Labels []Attr // trace:id first, then what the query loads of the span.
	Millis int64  // Unix time of the span's start.
	Value  float64
	// HasValue says that Value is what was measured; else it is filled in with the value of the sample.
	HasValue bool
}

// labelKey is a text that is equal for equal labels only.
func labelKey(labels []Attr) string {
	var b strings.Builder
	for _, l := range labels {
		k := valueKey(l.Value)
		fmt.Fprintf(&b, "%d:%s%d:%s", len(l.Key), l.Key, len(k), k)
	}
	return b.String()
}

// Merge adds other to p. Other must not be used afterwards. Both must be of the same query and range, which is checked as
// far as they show it.
func (p *Partial) Merge(other *Partial) error {
	if p.Timeline != other.Timeline || len(p.Queries) != len(other.Queries) {
		return errors.New("merge metrics: the partial results are not of the same query and range")
	}
	for i := range p.Queries {
		if err := p.Queries[i].merge(&other.Queries[i]); err != nil {
			return err
		}
	}
	p.Stats.Add(other.Stats)
	return nil
}

func (q *QueryPartial) merge(other *QueryPartial) error {
	q.Split = append(q.Split, other.Split...)
	index := make(map[string]int, len(q.Series))
	for i := range q.Series {
		index[labelKey(q.Series[i].Labels)] = i
	}
	for _, s := range other.Series {
		i, ok := index[labelKey(s.Labels)]
		if !ok {
			q.Series = append(q.Series, s)
			continue
		}
		if err := q.Series[i].add(&s); err != nil {
			return err
		}
	}
	return nil
}

func (s *PartialSeries) add(o *PartialSeries) error {
	if len(s.Count) != len(o.Count) || len(s.Sum) != len(o.Sum) || len(s.Min) != len(o.Min) ||
		len(s.Max) != len(o.Max) || len(s.Hist) != len(o.Hist) {
		return errors.New("merge metrics: series of the same labels differ in their buckets")
	}
	for i, v := range o.Count {
		s.Count[i] += v
	}
	for i, v := range o.Sum {
		s.Sum[i] += v
	}
	for i, v := range o.Min {
		s.Min[i] = least(s.Min[i], v)
	}
	for i, v := range o.Max {
		s.Max[i] = greatest(s.Max[i], v)
	}
	for i, h := range o.Hist {
		for _, c := range h {
			s.Hist[i] = addHist(s.Hist[i], c.Exp, c.Count)
		}
	}
	s.Exemplars = append(s.Exemplars, o.Exemplars...)
	s.Truncated = s.Truncated || o.Truncated
	return nil
}

// least and greatest take NaN for "none yet".
func least(a, b float64) float64 {
	if math.IsNaN(a) || b < a {
		return b
	}
	return a
}

func greatest(a, b float64) float64 {
	if math.IsNaN(a) || b > a {
		return b
	}
	return a
}

// addHist adds to a bucket; buckets are few and kept in order.
func addHist(h []HistCount, exp uint8, n float64) []HistCount {
	i, ok := slices.BinarySearchFunc(h, exp, func(c HistCount, e uint8) int { return int(c.Exp) - int(e) })
	if ok {
		h[i].Count += n
		return h
	}
	return slices.Insert(h, i, HistCount{exp, n})
}

// needs says which sums a function keeps.
type needs struct{ count, sum, low, top, hist bool }

func needsOf(fn ast.MetricsFn) needs {
	switch fn {
	case ast.MinOverTime:
		return needs{low: true}
	case ast.MaxOverTime:
		return needs{top: true}
	case ast.SumOverTime, ast.AvgOverTime:
		return needs{count: true, sum: true}
	case ast.HistogramOverTime, ast.QuantileOverTime:
		return needs{hist: true}
	}
	return needs{count: true}
}

// bytes is what a series of n buckets costs.
func (n needs) bytes(buckets int) int64 {
	per := int64(0)
	for _, b := range []bool{n.count, n.sum, n.low, n.top} {
		if b {
			per += 8
		}
	}
	if n.hist {
		per += 24 + 4*16
	}
	return 256 + per*int64(buckets)
}

func newPartialSeries(labels []Attr, n needs, buckets int) *PartialSeries {
	s := &PartialSeries{Labels: labels}
	if n.count {
		s.Count = make([]float64, buckets)
	}
	if n.sum {
		s.Sum = make([]float64, buckets)
	}
	for _, extreme := range []struct {
		on  bool
		dst *[]float64
	}{{n.low, &s.Min}, {n.top, &s.Max}} {
		if extreme.on {
			*extreme.dst = slices.Repeat([]float64{absent}, buckets)
		}
	}
	if n.hist {
		s.Hist = make([][]HistCount, buckets)
	}
	return s
}

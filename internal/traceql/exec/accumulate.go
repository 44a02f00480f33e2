package exec

import (
	"math"
	"strings"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// accumulator sums up the spans of one metrics function. Each worker has its own; they are merged at the end.
type accumulator struct {
	run      *run
	query    *plan.MetricsQuery
	timeline *Timeline
	needs    needs
	series   map[string]*accSeries
	scale    float64 // What measured values are divided by.
	exemplar bool
}

// accSeries is a series with candidates for exemplars, at most one per slot of time.
type accSeries struct {
	*PartialSeries
	slots []exemplarSlot
}

// exemplarSlot is the candidate of a slot: the first span in the order of newer. Its trace and start are looked up only
// if it is chosen.
type exemplarSlot struct {
	used  bool
	at    spot
	row   uint32 // Of the granule.
	value float64

	trace spanid.TraceID
	start int64
}

// newer orders granules about as a run visits them, so that candidates are seldom replaced.
func newer(a, b spot) bool { return a.part < b.part || a.part == b.part && a.granule > b.granule }

// wants reports whether a row of the granule may be a better candidate.
func (s *exemplarSlot) wants(at spot) bool { return !s.used || newer(at, s.at) }

// exemplarSlots is how many candidates a series has at most.
const exemplarSlots = 50

func newAccumulator(r *run, q *plan.MetricsQuery, t *Timeline, exemplars bool) *accumulator {
	a := &accumulator{run: r, query: q, timeline: t, needs: needsOf(q.AST.Fn), series: map[string]*accSeries{}, scale: 1}
	// Only the duration of the span is measured in seconds; histograms convert at the end.
	if q.AST.Attr.Intrinsic == ast.SpanDuration && !q.AST.Fn.Bucketed() {
		a.scale = 1e9
	}
	a.exemplar = exemplars && !t.Instant && q.AST.Fn != ast.Compare
	return a
}

// of returns the series of a group.
func (a *accumulator) of(group []ast.Static) (*accSeries, error) {
	var b strings.Builder
	for _, v := range group {
		b.WriteString(valueKey(v))
		b.WriteByte(0)
	}
	key := b.String()
	if s, ok := a.series[key]; ok {
		return s, nil
	}
	size := a.needs.bytes(a.timeline.N) + 2*int64(len(key))
	if a.exemplar {
		size += int64(min(exemplarSlots, a.timeline.N)) * 64
	}
	if err := a.run.meter.take(a.run.ctx, size); err != nil {
		return nil, err
	}
	labels := make([]Attr, len(group))
	for i, v := range group {
		labels[i] = Attr{a.query.AST.By[i].Label(), v}
	}
	s := &accSeries{PartialSeries: newPartialSeries(labels, a.needs, a.timeline.N)}
	if a.exemplar {
		s.slots = make([]exemplarSlot, min(exemplarSlots, a.timeline.N))
	}
	a.series[key] = s
	return s, nil
}

// measured returns what the function measures in a value: numbers only.
func (a *accumulator) measured(v ast.Static) (float64, bool) {
	if a.query.AST.Fn.Bucketed() && v.Type == ast.TypeFloat {
		return 0, false
	}
	f, ok := v.Number()
	return f / a.scale, ok
}

// add counts one span.
func (a *accumulator) add(s *accSeries, bucket int, v float64) {
	switch {
	case a.needs.hist:
		if exp, ok := exponent(v); ok {
			s.Hist[bucket] = addHist(s.Hist[bucket], exp, 1)
		}
	case a.needs.low:
		s.Min[bucket] = least(s.Min[bucket], v)
	case a.needs.top:
		s.Max[bucket] = greatest(s.Max[bucket], v)
	default:
		s.Count[bucket]++
		if a.needs.sum {
			s.Sum[bucket] += v
		}
	}
}

// slot returns the place for an exemplar of a bucket.
func (a *accumulator) slot(s *accSeries, bucket int) *exemplarSlot {
	return &s.slots[bucket*len(s.slots)/a.timeline.N]
}

// offer proposes a span as an exemplar.
func (a *accumulator) offer(s *accSeries, bucket int, at spot, row uint32, v float64) {
	a.slot(s, bucket).offer(&exemplarSlot{used: true, at: at, row: row, value: v})
}

// offer takes a candidate if it comes before the one that is there.
func (s *exemplarSlot) offer(o *exemplarSlot) {
	if o.used && (s.wants(o.at) || o.at == s.at && o.row < s.row) {
		*s = *o
	}
}

// merge adds the sums of another worker.
func (a *accumulator) merge(o *accumulator) error {
	for key, s := range o.series {
		have, ok := a.series[key]
		if !ok {
			a.series[key] = s
			continue
		}
		if err := have.add(s.PartialSeries); err != nil {
			return err
		}
		for i := range s.slots {
			have.slots[i].offer(&s.slots[i])
		}
	}
	return nil
}

// hasValues reports whether anything was counted: of functions that measure, a group may have had no number at all.
func (s *accSeries) hasValues() bool {
	for _, c := range s.Count {
		if c > 0 {
			return true
		}
	}
	for _, list := range [][]float64{s.Min, s.Max} {
		for _, v := range list {
			if !math.IsNaN(v) {
				return true
			}
		}
	}
	for _, h := range s.Hist {
		if len(h) > 0 {
			return true
		}
	}
	return false
}

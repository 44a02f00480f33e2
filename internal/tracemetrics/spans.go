package tracemetrics

import (
	"hash/maphash"
	"strings"

	"github.com/bramble-tracing/bramble/internal/spansize"
	"github.com/bramble-tracing/bramble/internal/store"
)

// spanMetrics counts every span (N-01 to N-06).
type spanMetrics struct {
	on, calls, latency, size bool
	table                    *table
	spec                     histogramSpec
	in                       IntrinsicDimensions
	dims                     []dimension
	targetInfo               bool
	pins                     bool
	weight                   weigher
	kindHashes, statusHashes []uint64
}

// dimension is one label made of attributes: their indexes in the resource picker and in the span picker.
type dimension struct {
	resource, span []int
	join           string
}

// weigher is Weighting with its attribute's indexes; -1 if there is none.
type weigher struct {
	resource, span int
	traceState     bool
}

func newWeigher(c *Weighting, resource, span *picker) weigher {
	w := weigher{resource: -1, span: -1, traceState: c.TraceState}
	if c.MultiplierKey != "" {
		w.resource, w.span = resource.add(c.MultiplierKey), span.add(c.MultiplierKey)
	}
	return w
}

// of returns how many spans s stands for. An attribute wins over the trace state.
func (w *weigher) of(s *store.Span, r *resourceRow, span []*store.Value) float64 {
	if w.span >= 0 {
		if v := span[w.span]; v != nil {
			return ratioWeight(v)
		}
		if v := r.values[w.resource]; v != nil {
			return ratioWeight(v)
		}
	}
	if w.traceState && s.TraceState != "" {
		return stateWeight(s.TraceState)
	}
	return 1
}

func newSpanMetrics(c *Config, resource, span *picker, seed maphash.Seed) (*spanMetrics, error) {
	labels, err := spanLabels(c)
	if err != nil {
		return nil, err
	}
	m := &spanMetrics{
		calls:      c.produces(ProcessorSpanMetrics, ProcessorSpanMetricsCount),
		latency:    c.produces(ProcessorSpanMetrics, ProcessorSpanMetricsLatency),
		size:       c.produces(ProcessorSpanMetrics, ProcessorSpanMetricsSize),
		table:      newTable(c, labels, seed),
		spec:       newHistogramSpec(c, c.SpanMetrics.Buckets),
		in:         c.SpanMetrics.Intrinsic,
		targetInfo: c.SpanMetrics.TargetInfo,
		pins:       c.Exemplars.pins(),
		weight:     newWeigher(&c.SpanMetrics.Weighting, resource, span),
	}
	m.on = m.calls || m.latency || m.size
	for _, name := range kindNames {
		m.kindHashes = append(m.kindHashes, valueHash(seed, name))
	}
	for _, name := range statusNames {
		m.statusHashes = append(m.statusHashes, valueHash(seed, name))
	}
	for _, d := range c.SpanMetrics.Dimensions {
		m.dims = append(m.dims, dimension{resource: []int{resource.add(d)}, span: []int{span.add(d)}})
	}
	for _, d := range c.SpanMetrics.Mappings {
		m.dims = append(m.dims, dimension{resource: resource.addAll(d.SourceLabels), span: span.addAll(d.SourceLabels), join: d.Join})
	}
	return m, nil
}

// value is the label value of the dimension, empty if none of its attributes is there. The resource wins (N-04).
func (d *dimension) value(r *resourceRow, span []*store.Value) string {
	if len(d.span) == 1 {
		return attrText(r.values[d.resource[0]], span[d.span[0]])
	}
	var parts []string
	for i := range d.span {
		if s := attrText(r.values[d.resource[i]], span[d.span[i]]); s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, d.join)
}

func attrText(first, second *store.Value) string {
	if first != nil {
		return text(first)
	}
	if second != nil {
		return text(second)
	}
	return ""
}

// count adds one span. span holds what the span picker found, keep says that the trace is certain to be kept, and vals is
// memory for the label values.
func (m *spanMetrics) count(s *store.Span, r *resourceRow, span []*store.Value, keep bool, now int64, vals []string) []string {
	weight := m.weight.of(s, r, span)
	var hash uint64
	if m.in.Service {
		vals, hash = append(vals, r.service), mix(hash, r.serviceHash)
	}
	if m.in.SpanName {
		vals, hash = append(vals, s.Name), mix(hash, valueHash(m.table.seed, s.Name))
	}
	if m.in.SpanKind {
		vals, hash = m.appendEnum(vals, hash, kindNames[:], m.kindHashes, s.Kind)
	}
	if m.in.StatusCode {
		vals, hash = m.appendEnum(vals, hash, statusNames[:], m.statusHashes, s.StatusCode)
	}
	fixed := len(vals)
	if m.in.StatusMessage {
		vals = append(vals, s.StatusMessage)
	}
	for i := range m.dims {
		vals = append(vals, m.dims[i].value(r, span))
	}
	if m.targetInfo {
		vals = append(vals, r.job, r.instance)
	}
	vals = append(vals, "") // overflow
	for _, v := range vals[fixed:] {
		hash = mix(hash, valueHash(m.table.seed, v))
	}

	size := 0
	if m.size {
		size = spansize.Of(s)
	}
	seconds := float64(s.DurationNano()) / 1e9
	sh, x := m.table.acquire(vals, hash)
	x.seen = now
	x.counters[0] += weight
	x.counters[1] += float64(size)
	if m.latency {
		h := &x.hists[0]
		switch b := h.add(&m.spec, seconds, weight); {
		case b >= 0 && keep:
			h.setExemplar(b, exemplar{value: seconds, nano: now, trace: s.TraceID, span: s.SpanID})
		case !keep && m.pins:
			h.setSpare(exemplar{value: seconds, nano: now, trace: s.TraceID, span: s.SpanID})
		}
	}
	sh.mu.Unlock()
	return vals
}

func (m *spanMetrics) appendEnum(vals []string, hash uint64, names []string, hashes []uint64, v int32) ([]string, uint64) {
	if v >= 0 && int(v) < len(names) {
		return append(vals, names[v]), mix(hash, hashes[v])
	}
	name := enumName(names, v)
	return append(vals, name), mix(hash, valueHash(m.table.seed, name))
}

package tracemetrics

import (
	"math"
	"slices"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

func (c *collector) number(f *family, attrs pcommon.Map, start, nano int64, v float64) {
	p := f.numbers.AppendEmpty()
	attrs.CopyTo(p.Attributes())
	p.SetStartTimestamp(pcommon.Timestamp(start)) //nolint:gosec // After 1970.
	p.SetTimestamp(pcommon.Timestamp(nano))       //nolint:gosec // After 1970.
	p.SetDoubleValue(v)
}

func (c *collector) histogram(f *family, attrs pcommon.Map, start, nano int64, h *histogram) {
	if f.spec.bounds != nil {
		p := f.classic.AppendEmpty()
		attrs.CopyTo(p.Attributes())
		p.SetStartTimestamp(pcommon.Timestamp(start)) //nolint:gosec // After 1970.
		p.SetTimestamp(pcommon.Timestamp(nano))       //nolint:gosec // After 1970.
		p.SetSum(h.sum)
		p.ExplicitBounds().FromRaw(f.spec.bounds)
		p.BucketCounts().EnsureCapacity(len(f.spec.bounds) + 1)
		var count uint64
		for i := range len(f.spec.bounds) + 1 {
			n := uint64(0)
			if h.classic != nil {
				n = whole(h.classic[i])
			}
			p.BucketCounts().Append(n)
			count += n
		}
		p.SetCount(count)
		c.exemplars(p.Exemplars(), h)
	}
	if f.spec.native {
		p := f.native.AppendEmpty()
		attrs.CopyTo(p.Attributes())
		p.SetStartTimestamp(pcommon.Timestamp(start)) //nolint:gosec // After 1970.
		p.SetTimestamp(pcommon.Timestamp(nano))       //nolint:gosec // After 1970.
		p.SetSum(h.sum)
		n := &h.native
		p.SetScale(n.scale)
		if n.counts == nil {
			p.SetScale(f.spec.scale)
		}
		p.SetZeroCount(whole(n.zero))
		p.Positive().SetOffset(n.offset)
		p.Positive().BucketCounts().EnsureCapacity(len(n.counts))
		count := whole(n.zero)
		for _, x := range n.counts {
			p.Positive().BucketCounts().Append(whole(x))
			count += whole(x)
		}
		p.SetCount(count)
		c.exemplars(p.Exemplars(), h)
	}
}

// spare decides whether the spare exemplar of a histogram is proposed. Traces that are pinned anyway cost nothing.
func (c *collector) spare(h *histogram) {
	switch e := h.spare; {
	case len(h.exemplars) > 0:
		h.exemplified, h.spare = c.nano, nil
	case e == nil:
	case c.pins[e.trace] || len(c.pins) < c.a.cfg.Exemplars.Pins:
		c.pins[e.trace] = true
		h.exemplified = c.nano
		c.spares = append(c.spares, spare{exemplar: *e, label: c.a.cfg.TraceIDLabel})
	default:
		h.spare = nil
	}
}

// whole rounds an accumulator. It stays far below the largest uint64, so that sums of counts do not wrap.
func whole(x float64) uint64 { return uint64(math.Round(min(x, 1<<56))) }

// exemplars appends those of the interval, oldest first, as Prometheus takes them.
func (c *collector) exemplars(out pmetric.ExemplarSlice, h *histogram) {
	slices.SortStableFunc(h.exemplars, func(a, b exemplar) int {
		switch {
		case a.nano < b.nano:
			return -1
		case a.nano > b.nano:
			return 1
		}
		return 0
	})
	for i := range h.exemplars {
		h.exemplars[i].append(out, c.a.cfg.TraceIDLabel)
	}
	if h.spare != nil {
		last := &c.spares[len(c.spares)-1]
		last.points = append(last.points, out)
	}
}

// append adds the exemplar to those of a point, with the trace id under the label, too, unless that is empty.
func (e *exemplar) append(out pmetric.ExemplarSlice, label string) {
	x := out.AppendEmpty()
	x.SetDoubleValue(e.value)
	x.SetTimestamp(pcommon.Timestamp(e.nano)) //nolint:gosec // After 1970.
	x.SetTraceID(pcommon.TraceID(e.trace))
	x.SetSpanID(pcommon.SpanID(e.span))
	if label != "" {
		x.FilteredAttributes().PutStr(label, e.trace.String())
	}
}

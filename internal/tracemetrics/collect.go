package tracemetrics

import (
	"math"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/bramble-tracing/bramble/internal/spanid"
)

// Collection is what one call of Collect found.
type Collection struct {
	Metrics pmetric.Metrics
	// Sequence is for Delivered.
	Sequence uint64

	spares []spare
}

// spare is an exemplar that becomes one when its trace is pinned.
type spare struct {
	exemplar
	label  string
	points []pmetric.ExemplarSlice // of the classic and the native histogram
}

// Unpinned returns the traces that are to be pinned before Pinned is called, each once. Without pins the collection is
// complete but for some exemplars.
func (c *Collection) Unpinned() []spanid.TraceID {
	var ids []spanid.TraceID
	for i := range c.spares {
		if !slices.Contains(ids, c.spares[i].trace) {
			ids = append(ids, c.spares[i].trace)
		}
	}
	return ids
}

// Pinned adds the exemplars of the traces of Unpinned, which are pinned now.
func (c *Collection) Pinned() {
	for i := range c.spares {
		s := &c.spares[i]
		for _, out := range s.points {
			s.append(out, s.label)
		}
	}
	c.spares = nil
}

// Collect returns the cumulative values of all series. With last nothing is held back for a later collection. Neither
// resource nor scope have a name, because the translators to Prometheus would make labels of them.
func (a *Aggregator) Collect(now time.Time, last bool) Collection {
	a.collect.Lock()
	defer a.collect.Unlock()
	a.Expire(now)
	a.sequence++
	md := pmetric.NewMetrics()
	c := &collector{
		a: a, out: md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics(), last: last,
		// A millisecond apart at least, the resolution of Prometheus, also when the clock was set back.
		zeroNano: a.lastNano + int64(time.Millisecond), pins: make(map[spanid.TraceID]bool),
	}
	c.nano = max(now.UnixNano(), c.zeroNano+int64(time.Millisecond))
	a.lastNano = c.nano
	c.deadline = math.MinInt64
	if a.cfg.StaleDuration > 0 {
		c.deadline = now.UnixNano() - int64(a.cfg.StaleDuration)
	}

	m := a.spans
	c.table(m.table, []family{
		{on: m.calls, name: metricCalls, help: "Calls.", value: func(s *series) float64 { return s.counters[0] }},
		{on: m.size, name: metricSize, help: "Size of spans as OTLP protobuf, in bytes.", value: func(s *series) float64 { return s.counters[1] }},
		{on: m.latency, name: metricLatency, help: "Duration of spans, in seconds.", hist: func(s *series) *histogram { return &s.hists[0] }, spec: &m.spec},
	})
	g := a.graph
	edgeHist := func(i int) func(*series) *histogram { return func(s *series) *histogram { return &s.hists[i] } }
	c.table(g.table, []family{
		{on: g.on, name: metricRequests, help: "Requests between two services.", value: func(s *series) float64 { return s.counters[0] }},
		{on: g.on, name: metricFailed, help: "Failed requests between two services.", value: func(s *series) float64 { return s.counters[1] }},
		{on: g.on, name: metricServerTime, unit: "s", help: "Duration of requests as the server sees it.", hist: edgeHist(histServer), spec: &g.spec},
		{on: g.on, name: metricClientTime, unit: "s", help: "Duration of requests as the client sees it.", hist: edgeHist(histClient), spec: &g.spec},
		{
			on: g.on && g.messageDelay, name: metricMessageDelay, unit: "s", help: "Time of messages in a messaging system.",
			hist: edgeHist(histMessage), spec: &g.spec,
			has: func(s *series) bool { return s.vals[2] == connMessaging },
		},
	})
	one := func(*series) float64 { return 1 }
	c.table(a.targets.table, []family{{on: a.targets.on, name: a.targets.name, help: "Attributes of the resources of spans.", gauge: true, value: one}})
	c.table(a.hosts.table, []family{{on: a.hosts.on, name: a.hosts.name, help: "Hosts that sent spans.", gauge: true, value: one}})
	if c.out.Len() == 0 {
		md = pmetric.NewMetrics()
	}
	return Collection{Metrics: md, Sequence: a.sequence, spares: c.spares}
}

// Delivered says that the metrics of a collection were taken. The zero samples of one that was not are sent again.
func (a *Aggregator) Delivered(sequence uint64) {
	a.collect.Lock()
	defer a.collect.Unlock()
	a.delivered = max(a.delivered, sequence)
}

// family is one metric of a table.
type family struct {
	on               bool
	name, unit, help string
	gauge            bool
	value            func(*series) float64    // of a counter or gauge
	hist             func(*series) *histogram // of a histogram
	spec             *histogramSpec
	has              func(*series) bool // nil: every series of the table has it

	numbers pmetric.NumberDataPointSlice
	classic pmetric.HistogramDataPointSlice
	native  pmetric.ExponentialHistogramDataPointSlice
}

type collector struct {
	a                        *Aggregator
	out                      pmetric.MetricSlice
	nano, zeroNano, deadline int64
	last                     bool
	pins                     map[spanid.TraceID]bool // to be pinned
	spares                   []spare
}

func (c *collector) metric(f *family) pmetric.Metric {
	m := c.out.AppendEmpty()
	m.SetName(f.name)
	m.SetUnit(f.unit)
	m.SetDescription(f.help)
	return m
}

// open makes the metrics of a family; close removes those that stayed empty.
func (c *collector) open(f *family) {
	switch {
	case f.hist == nil && f.gauge:
		f.numbers = c.metric(f).SetEmptyGauge().DataPoints()
	case f.hist == nil:
		f.numbers = cumulative(c.metric(f).SetEmptySum()).DataPoints()
	default:
		if f.spec.bounds != nil {
			h := c.metric(f).SetEmptyHistogram()
			h.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
			f.classic = h.DataPoints()
		}
		if f.spec.native {
			h := c.metric(f).SetEmptyExponentialHistogram()
			h.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
			f.native = h.DataPoints()
		}
	}
}

func cumulative(s pmetric.Sum) pmetric.Sum {
	s.SetIsMonotonic(true)
	s.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	return s
}

func (c *collector) table(t *table, families []family) {
	families = slices.DeleteFunc(families, func(f family) bool { return !f.on })
	if len(families) == 0 {
		return
	}
	first := c.out.Len()
	for i := range families {
		c.open(&families[i])
	}
	opened := c.out.Len()
	var gone []*series
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		gone = append(gone, sh.expire(c.deadline)...)
		for _, s := range sh.series {
			for ; s != nil; s = s.next {
				c.series(t, s, families)
			}
		}
		sh.mu.Unlock()
	}
	t.forget(gone)
	for _, s := range gone {
		if s.start != 0 {
			c.stale(t, s, families)
		}
	}
	i := 0
	c.out.RemoveIf(func(m pmetric.Metric) bool {
		i++
		return i > first && i <= opened && points(m) == 0
	})
}

func points(m pmetric.Metric) int {
	switch m.Type() {
	case pmetric.MetricTypeSum:
		return m.Sum().DataPoints().Len()
	case pmetric.MetricTypeGauge:
		return m.Gauge().DataPoints().Len()
	case pmetric.MetricTypeHistogram:
		return m.Histogram().DataPoints().Len()
	case pmetric.MetricTypeExponentialHistogram:
		return m.ExponentialHistogram().DataPoints().Len()
	}
	return 0
}

// series appends the points of one series, with a zero before them if it is new. Its shard is locked.
func (c *collector) series(t *table, s *series, families []family) {
	attrs := c.attributes(t, s)
	zero, value := c.announce(s)
	for i := range families {
		f := &families[i]
		if f.has != nil && !f.has(s) {
			continue
		}
		switch {
		case f.gauge:
			c.number(f, attrs, 0, c.nano, 1)
		case f.hist == nil:
			if zero {
				c.number(f, attrs, s.start, s.start, 0)
			}
			if value {
				c.number(f, attrs, s.start, c.nano, f.value(s))
			}
		default:
			h := f.hist(s)
			if zero {
				c.histogram(f, attrs, s.start, s.start, &histogram{})
			}
			if value {
				c.spare(h)
				c.histogram(f, attrs, s.start, c.nano, h)
				h.clearExemplars()
			}
		}
	}
}

// announce decides which points a series gets (N-41): a zero, its value or both.
func (c *collector) announce(s *series) (zero, value bool) {
	mode := c.a.cfg.ZeroSample
	switch {
	case s.start == 0:
		s.start, s.since = c.zeroNano, c.a.sequence
		s.held = mode == ZeroBefore && !c.last
		return mode != ZeroOff, !s.held
	case s.held:
		// The zero is sent again with the value: for who missed it, it is the same point.
		s.held = false
		return s.since > c.a.delivered, true
	}
	return mode != ZeroOff && s.since > c.a.delivered, true
}

// attributes are the labels of a series. The node is on every one.
func (c *collector) attributes(t *table, s *series) pcommon.Map {
	m := pcommon.NewMap()
	m.EnsureCapacity(len(s.vals) + 1)
	m.PutStr(c.a.cfg.NodeLabel, c.a.cfg.Node)
	if t.labels == nil {
		for i := 0; i+1 < len(s.vals); i += 2 {
			m.PutStr(s.vals[i], s.vals[i+1])
		}
		return m
	}
	for i, v := range s.vals {
		if v != "" {
			m.PutStr(t.labels[i], v)
		}
	}
	return m
}

// stale ends the points of a series that is gone. Each point is a metric of its own: contrib's Prometheus exporter
// ignores what follows such a point in the same metric.
func (c *collector) stale(t *table, s *series, families []family) {
	attrs := c.attributes(t, s)
	for i := range families {
		f := families[i]
		if f.has != nil && !f.has(s) {
			continue
		}
		c.open(&f)
		flags := pmetric.DefaultDataPointFlags.WithNoRecordedValue(true)
		if f.hist == nil {
			c.number(&f, attrs, s.start, c.nano, 0)
			f.numbers.At(0).SetFlags(flags)
			continue
		}
		c.histogram(&f, attrs, s.start, c.nano, &histogram{})
		if f.spec.bounds != nil {
			f.classic.At(0).SetFlags(flags)
		}
		if f.spec.native {
			f.native.At(0).SetFlags(flags)
		}
	}
}

// Names lists the names of the metrics as Prometheus sees them, without the suffixes of histograms.
func Names() []string {
	names := []string{
		metricCalls, metricLatency, metricSize, metricTargetInfo, "traces_host_info", metricRequests, metricFailed,
		metricServerTime, metricClientTime, metricMessageDelay,
	}
	slices.SortFunc(names, strings.Compare)
	return names
}

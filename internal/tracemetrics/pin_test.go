package tracemetrics

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

// exemplarTraces counts the exemplars of a collection by trace.
func exemplarTraces(c *Collection) map[spanid.TraceID]int {
	out := make(map[spanid.TraceID]int)
	for _, p := range newest(c.Metrics) {
		if p.name != metricLatency && p.name != metricServerTime && p.name != metricClientTime {
			continue
		}
		for _, e := range p.hist.Exemplars().All() {
			out[spanid.TraceID(e.TraceID())]++
		}
	}
	return out
}

// TestPins: a histogram without an exemplar whose trace is certain to be kept gets one whose trace is pinned, and none
// if it is not; at most so many traces are proposed, and no histogram again before five minutes have passed.
func TestPins(t *testing.T) {
	const pins = 10
	a := newAggregator(t, func(c *Config) { c.Exemplars = Exemplars{Enabled: true, Pins: pins} })
	batch := testkit.NewGenerator(7).Batch(5000)
	now := benchTime
	collect := func(after time.Duration) Collection {
		now = now.Add(after)
		a.Count(batch, now)
		return a.Collect(now, false)
	}
	c := collect(time.Second)
	assert.Empty(t, exemplarTraces(&c), "nothing is certain to be kept")
	first := c.Unpinned()
	assert.Len(t, first, pins)
	c.Pinned()
	got := exemplarTraces(&c)
	assert.Len(t, got, pins)
	for _, id := range first {
		assert.Positive(t, got[id])
	}
	assert.Empty(t, c.Unpinned(), "once")

	// Other histograms have their turn, until each had one.
	turns := 0
	for _, n := range got {
		turns += n
	}
	for n := 0; ; n++ {
		require.Less(t, n, 1000)
		c = collect(10 * time.Millisecond)
		if len(c.Unpinned()) == 0 {
			break
		}
		require.LessOrEqual(t, len(c.Unpinned()), pins)
		c.Pinned()
		for _, n := range exemplarTraces(&c) {
			turns += n
		}
	}
	histograms := 0
	for _, p := range newest(c.Metrics) {
		switch p.name {
		case metricLatency, metricServerTime, metricClientTime:
			histograms++
		}
	}
	assert.GreaterOrEqual(t, turns, histograms)
	c = collect(time.Duration(pinEvery))
	assert.Len(t, c.Unpinned(), pins, "after five minutes again")
}

// TestPinsOfKeptTraces: nothing is pinned where traces are kept anyway.
func TestPinsOfKeptTraces(t *testing.T) {
	a := newAggregator(t, nil)
	a.Count(testkit.NewGenerator(7).Batch(5000), benchTime)
	c := a.Collect(after(time.Second), false)
	assert.Empty(t, c.Unpinned())
	assert.NotEmpty(t, exemplarTraces(&c))

	// While something samples and nobody has said what it keeps, nothing is certain, not even errors.
	a.SetSampled(true)
	a.Count(testkit.NewGenerator(8).Batch(5000), benchTime)
	c = a.Collect(after(10*time.Minute), false)
	assert.Empty(t, exemplarTraces(&c))
	assert.Len(t, c.Unpinned(), DefaultConfig().Exemplars.Pins)
	a.SetSampled(false)
	a.Count(testkit.NewGenerator(9).Batch(5000), benchTime)
	c = a.Collect(after(11*time.Minute), false)
	assert.NotEmpty(t, exemplarTraces(&c))

	// Without pins there is nothing to propose.
	a = newAggregator(t, func(c *Config) { c.Exemplars = Exemplars{Enabled: true} })
	a.Count(testkit.NewGenerator(7).Batch(5000), benchTime)
	c = a.Collect(after(time.Second), false)
	assert.Empty(t, c.Unpinned())
}

// TestPinsOfBothHistograms: the classic and the native histogram get the same exemplar.
func TestPinsOfBothHistograms(t *testing.T) {
	a := newAggregator(t, func(c *Config) {
		c.Exemplars, c.Histograms = Exemplars{Enabled: true, Pins: 3}, HistogramsBoth
		c.Processors = []string{ProcessorSpanMetricsLatency}
	})
	a.Count(testkit.NewGenerator(7).Batch(5000), benchTime)
	c := a.Collect(after(time.Second), false)
	c.Pinned()
	classic, native := 0, 0
	for _, m := range c.Metrics.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().All() {
		if h := m.Histogram(); m.Name() == metricLatency && m.Type().String() == "Histogram" {
			for _, p := range h.DataPoints().All() {
				classic += p.Exemplars().Len()
			}
		}
		if m.Type().String() == "ExponentialHistogram" {
			for _, p := range m.ExponentialHistogram().DataPoints().All() {
				native += p.Exemplars().Len()
			}
		}
	}
	assert.Positive(t, classic)
	assert.Equal(t, classic, native)
}

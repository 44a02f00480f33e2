package tracemetrics

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

var benchTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newAggregator(tb testing.TB, change func(*Config)) *Aggregator {
	tb.Helper()
	cfg := DefaultConfig()
	cfg.Node = "node-a"
	cfg.IngestionTimeRangeSlack = 0
	if change != nil {
		change(&cfg)
	}
	a, err := New(cfg, benchTime)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// perSpan runs f, which handles a number of spans, and reports the CPU time per span, of all threads and with garbage
// collection. Wall time would depend on what else the machine does.
func perSpan(b *testing.B, spans int, f func()) {
	b.Helper()
	b.ReportAllocs()
	before := cpuNanos(b)
	for b.Loop() {
		f()
	}
	b.ReportMetric(float64(cpuNanos(b)-before)/float64(b.N*spans), "cpu-ns/span")
}

func cpuNanos(b *testing.B) int64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

func BenchmarkCount(b *testing.B) {
	for _, bc := range []struct {
		name   string
		change func(*Config)
	}{
		{"both", nil},
		{"span_metrics", func(c *Config) { c.Processors = []string{ProcessorSpanMetrics} }},
		{"service_graph", func(c *Config) { c.Processors = []string{ProcessorServiceGraphs} }},
		{"native", func(c *Config) { c.Histograms = HistogramsNative }},
		{"two_histograms", func(c *Config) { c.Histograms = HistogramsBoth }},
		{"three_dimensions", func(c *Config) {
			c.SpanMetrics.Dimensions = []string{"k8s.pod.name", "http.response.status_code", "http.route"}
		}},
		{"kept_10_percent", func(c *Config) { c.Exemplars.KeptPercentage = 10 }},
	} {
		b.Run(bc.name, func(b *testing.B) {
			a := newAggregator(b, bc.change)
			batch := testkit.NewGenerator(1).Batch(2000)
			a.Count(batch, benchTime)
			perSpan(b, len(batch.Spans), func() { a.Count(batch, benchTime) })
		})
	}
}

func BenchmarkCountParallel(b *testing.B) {
	a := newAggregator(b, nil)
	var batches []*store.Batch
	for i := range 8 {
		batches = append(batches, testkit.NewGenerator(uint64(i)).Batch(1000)) //nolint:gosec // Small.
	}
	next := make(chan *store.Batch, len(batches))
	for _, x := range batches {
		next <- x
	}
	before := cpuNanos(b)
	b.RunParallel(func(pb *testing.PB) {
		batch := <-next
		for pb.Next() {
			a.Count(batch, benchTime)
		}
		next <- batch
	})
	b.ReportMetric(float64(cpuNanos(b)-before)/float64(b.N*len(batches[0].Spans)), "cpu-ns/span")
}

// BenchmarkManyValues counts spans whose dimension has a million distinct values; memory must not grow with them.
func BenchmarkManyValues(b *testing.B) {
	a := newAggregator(b, func(c *Config) { c.SpanMetrics.Dimensions = []string{"user"} })
	batch := testkit.NewGenerator(1).Batch(1000)
	values := make([]string, 1_000_000)
	for i := range values {
		values[i] = fmt.Sprintf("user-%07d", i)
	}
	next := 0
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	perSpan(b, len(batch.Spans), func() {
		for i := range batch.Spans {
			s := &batch.Spans[i]
			if n := len(s.Attrs); n == 0 || s.Attrs[n-1].Key != "user" {
				s.Attrs = append(s.Attrs, store.Attr{Key: "user"})
			}
			s.Attrs[len(s.Attrs)-1].Value = store.String(values[next%len(values)])
			next++
		}
		a.Count(batch, benchTime)
	})
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/1e6, "MB-heap") //nolint:gosec // Below 2^63.
	runtime.KeepAlive(a)
	runtime.KeepAlive(values)
}

func BenchmarkCollect(b *testing.B) {
	a := newAggregator(b, func(c *Config) { c.StaleDuration = 0 })
	a.Count(testkit.NewGenerator(1).Batch(20_000), benchTime)
	now := benchTime
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(15 * time.Second)
		a.Collect(now, false)
	}
	b.ReportMetric(float64(a.Stats().SpanSeries+a.Stats().GraphSeries), "series")
}

package tracemetrics

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"pgregory.net/rapid"

	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/spansize"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

// one is a batch with one span of service "shop".
func one(change func(*store.Span), resource ...store.Attr) *store.Batch {
	end := uint64(benchTime.UnixNano()) //nolint:gosec // After 1970.
	s := store.Span{
		TraceID: spanid.TraceID{15: 1}, SpanID: spanid.SpanID{7: 1}, ParentID: spanid.SpanID{7: 9}, Kind: store.KindInternal, Name: "work",
		StartNano: end - 1e8, EndNano: end,
	}
	if change != nil {
		change(&s)
	}
	attrs := append([]store.Attr{{Key: "service.name", Value: store.String("shop")}}, resource...)
	return &store.Batch{Resources: []store.Resource{{Attrs: attrs}}, Scopes: []store.Scope{{}}, Spans: []store.Span{s}}
}

func after(d time.Duration) time.Time { return benchTime.Add(d) }

// collect is the newest points by name and labels without the node.
func collect(t *testing.T, a *Aggregator, now time.Time) map[string]float64 {
	t.Helper()
	out := make(map[string]float64)
	for _, p := range newest(a.Collect(now, true).Metrics) {
		assert.NotEmpty(t, p.labels["node"], "N-42")
		delete(p.labels, "node")
		if !p.stale {
			out[strings.TrimSpace(p.name+" "+canonical(p.labels))] = p.value
		}
	}
	return out
}

// TestTruth compares every counter with what the generator made, counted in the plainest way.
func TestTruth(t *testing.T) {
	a := newAggregator(t, nil)
	batch := testkit.NewGenerator(3).Batch(5000)
	want := make(map[string]float64)
	var edges, failed float64
	byID := make(map[spanid.SpanID]*store.Span)
	for i := range batch.Spans {
		byID[batch.Spans[i].SpanID] = &batch.Spans[i]
	}
	service := func(s *store.Span) string { return batch.Resources[s.Resource].Attrs[0].Value.Str }
	for i := range batch.Spans {
		s := &batch.Spans[i]
		labels := map[string]string{
			"service": service(s), "span_name": s.Name, "span_kind": ptraceKind(s.Kind), "status_code": []string{"STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"}[s.StatusCode],
		}
		want[metricCalls+" "+canonical(labels)]++
		want[metricLatency+" "+canonical(labels)]++
		db := false
		for _, at := range s.Attrs {
			db = db || at.Key == "db.namespace" || at.Key == "db.system.name"
		}
		parent := byID[s.ParentID]
		remote := (s.Kind == store.KindServer || s.Kind == store.KindConsumer) && parent != nil && parent.Kind >= store.KindClient
		if db && s.Kind == store.KindClient || s.Kind == store.KindServer && s.ParentID.IsZero() || remote {
			edges++
			if s.StatusCode == store.StatusError || remote && parent.StatusCode == store.StatusError {
				failed++
			}
		}
	}
	// In many small batches, traces torn apart.
	for lo := 0; lo < len(batch.Spans); lo += 7 {
		a.Count(&store.Batch{Resources: batch.Resources, Scopes: batch.Scopes, Spans: batch.Spans[lo:min(lo+7, len(batch.Spans))]}, benchTime)
	}
	got := collect(t, a, after(15*time.Second))
	var gotEdges, gotFailed float64
	for k, v := range got {
		switch name, _, _ := strings.Cut(k, " "); name {
		case metricCalls, metricLatency:
			assert.InDelta(t, want[k], v, 0, k)
			delete(want, k)
		case metricRequests:
			gotEdges += v
		case metricFailed:
			gotFailed += v
		}
	}
	assert.Empty(t, want)
	assert.InDelta(t, edges, gotEdges, 0)
	assert.InDelta(t, failed, gotFailed, 0)
	assert.Positive(t, failed)
	assert.EqualValues(t, len(batch.Spans), a.Stats().Spans)
	assert.Zero(t, a.Stats().ExpiredEdges)
}

func ptraceKind(k int32) string {
	return "SPAN_KIND_" + strings.ToUpper(ptrace.SpanKind(k).String())
}

// TestConcurrent: whatever the interleaving, the sums are those of one goroutine.
func TestConcurrent(t *testing.T) {
	a, b := newAggregator(t, nil), newAggregator(t, nil)
	g := testkit.NewGenerator(4)
	var batches []*store.Batch
	for range 64 {
		batches = append(batches, g.Batch(50))
	}
	for _, x := range batches {
		b.Count(x, benchTime)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := i; j < len(batches); j += 8 {
				a.Count(batches[j], benchTime)
				if j%16 == 0 {
					a.Collect(benchTime, false)
					a.Stats()
				}
			}
		})
	}
	wg.Wait()
	assert.Equal(t, collect(t, b, after(15*time.Second)), collect(t, a, after(15*time.Second)))
}

// TestZeroSample: N-41.
func TestZeroSample(t *testing.T) {
	for _, mode := range []ZeroSample{ZeroWithFirst, ZeroBefore, ZeroOff} {
		t.Run(string(mode), func(t *testing.T) {
			a := newAggregator(t, func(c *Config) { c.ZeroSample, c.Histograms = mode, HistogramsBoth })
			var last int64
			seen := make(map[string][]float64)
			for i := range 4 {
				if i < 3 {
					a.Count(one(nil), after(time.Duration(i)*15*time.Second))
				}
				c := a.Collect(after(time.Duration(i+1)*15*time.Second), false)
				var newestNano int64
				for _, p := range pointsOf(c.Metrics) {
					assert.Greater(t, p.nano, last, "no point is older than an earlier collection's: Prometheus refuses it")
					newestNano = max(newestNano, p.nano)
					if p.name != metricSize {
						seen[p.name] = append(seen[p.name], p.value)
					}
				}
				last = newestNano
				a.Delivered(c.Sequence)
			}
			want := map[ZeroSample][]float64{
				ZeroWithFirst: {0, 1, 2, 3, 3}, ZeroBefore: {0, 2, 3, 3}, ZeroOff: {1, 2, 3, 3},
			}[mode]
			for _, name := range []string{metricCalls, metricLatency, metricLatency + " native"} {
				assert.Equal(t, want, seen[name], name)
			}
		})
	}
}

func TestClockSetBack(t *testing.T) {
	a := newAggregator(t, nil)
	a.Count(one(nil), benchTime)
	c := a.Collect(after(15*time.Second), false)
	a.Delivered(c.Sequence)
	first := newest(c.Metrics)[0].nano
	for _, p := range pointsOf(a.Collect(after(-time.Hour), false).Metrics) {
		assert.Greater(t, p.nano, first)
	}
}

// TestStale: N-42.
func TestStale(t *testing.T) {
	a := newAggregator(t, func(c *Config) { c.StaleDuration, c.MaxActiveSeries = time.Minute, 2 })
	old, busy := one(func(s *store.Span) { s.Name = "old" }), one(nil)
	a.Count(old, benchTime)
	a.Count(busy, benchTime)
	a.Collect(after(15*time.Second), false)
	a.Count(busy, after(45*time.Second))
	stale := 0
	for _, p := range pointsOf(a.Collect(after(61*time.Second), false).Metrics) {
		if p.stale {
			stale++
			assert.Equal(t, "old", p.labels["span_name"])
		}
	}
	assert.Equal(t, 3, stale, "calls, size and latency end with a stale marker")
	assert.EqualValues(t, 1, a.Stats().SpanSeries)
	for _, p := range pointsOf(a.Collect(after(76*time.Second), false).Metrics) {
		assert.False(t, p.stale, "once")
	}
	// It comes back from zero, and there is room for it.
	a.Count(old, after(80*time.Second))
	got := collect(t, a, after(91*time.Second))
	assert.InDelta(t, 1, got[metricCalls+" service=shop span_kind=SPAN_KIND_INTERNAL span_name=old status_code=STATUS_CODE_UNSET"], 0)
	assert.Zero(t, a.Stats().SpanOverflow)
}

func TestIngestionTimeRangeSlack(t *testing.T) { // N-07
	a := newAggregator(t, func(c *Config) { c.IngestionTimeRangeSlack = 30 * time.Second })
	for _, d := range []time.Duration{0, 30 * time.Second, 31 * time.Second, -30 * time.Second, -31 * time.Second, 365 * 24 * time.Hour} {
		a.Count(one(nil), after(d))
	}
	a.Count(one(func(s *store.Span) { s.EndNano = 0 }), benchTime)
	a.Count(one(func(s *store.Span) { s.EndNano = math.MaxUint64 }), benchTime)
	assert.EqualValues(t, 3, a.Stats().Spans)
	assert.EqualValues(t, 5, a.Stats().DiscardedSpans)
}

// TestManyValues: a million values of a dimension take neither memory nor counts.
func TestManyValues(t *testing.T) {
	n := 20_000
	for _, tc := range []struct {
		name             string
		perLabel, series int
		wantSeries       int64
		wantValue        string
	}{
		{"per label", 100, 0, 101, "user=" + overflowValue},
		{"per metric", 0, 100, 101, overflowLabel + "=true"},
		{"both", 200, 100, 101, overflowLabel + "=true"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAggregator(t, func(c *Config) {
				c.SpanMetrics.Dimensions = []string{"user"}
				c.MaxCardinalityPerLabel, c.MaxActiveSeries = tc.perLabel, tc.series
			})
			for i := range n {
				a.Count(one(func(s *store.Span) {
					s.Attrs = []store.Attr{{Key: "user", Value: store.String("u" + strconv.Itoa(i))}}
				}), benchTime)
			}
			total, overflow := 0.0, 0.0
			for k, v := range collect(t, a, after(15*time.Second)) {
				if strings.HasPrefix(k, metricCalls) {
					total += v
					if strings.Contains(k, tc.wantValue) {
						overflow += v
					}
				}
			}
			assert.InDelta(t, n, total, 0, "nothing is lost")
			assert.InDelta(t, n-100, overflow, 0, "the overflow is visible")
			s := a.Stats()
			assert.Equal(t, tc.wantSeries, s.SpanSeries)
			assert.EqualValues(t, n-100, s.SpanOverflow+s.SpanValuesOverflow-min(s.SpanOverflow, s.SpanValuesOverflow), "and counted")
		})
	}
}

// TestLabels: N-04.
func TestLabels(t *testing.T) {
	a := newAggregator(t, func(c *Config) {
		c.SpanMetrics.Intrinsic.StatusMessage = true
		c.SpanMetrics.Dimensions = []string{"http.route", "service", "team", "n", "list", "node", "long"}
		c.SpanMetrics.Mappings = []DimensionMapping{{Name: "end point", SourceLabels: []string{"http.method", "missing", "http.route"}, Join: " "}}
		c.MaxLabelValueLength = 40
	})
	a.Count(one(func(s *store.Span) {
		s.Kind, s.StatusCode, s.StatusMessage = 9, store.StatusError, "bad \xff"
		s.Attrs = []store.Attr{
			{Key: "http.route", Value: store.String("/a")},
			{Key: "http.method", Value: store.String("GET")},
			{Key: "service", Value: store.String("x")},
			{Key: "team", Value: store.String("span's")},
			{Key: "n", Value: store.Int(7)},
			{Key: "node", Value: store.String("other")},
			{Key: "list", Value: store.Array(store.String("a"), store.Bool(true), store.Map(store.Attr{Key: "k", Value: store.Float(1.5)}))},
			{Key: "long", Value: store.String(strings.Repeat("é", 30) + "tail")},
		}
	}, store.Attr{Key: "team", Value: store.String("resource's")}), benchTime)
	want := canonical(map[string]string{
		"service": "shop", "span_name": "work", "span_kind": "9", "status_code": "STATUS_CODE_ERROR", "status_message": "bad \uFFFD",
		"http_route": "/a", "__service": "x", "team": "resource's", "n": "7", "list": `["a",true,{"k":1.5}]`, "__node": "other",
		"end_point": "GET /a", "long": strings.Repeat("é", 20),
	})
	assert.Contains(t, collect(t, a, after(time.Second)), metricCalls+" "+want)
}

// TestDirtyValuesShareASeries: values that differ only in what is cut off or replaced are one series, not two of one name.
func TestDirtyValuesShareASeries(t *testing.T) {
	a := newAggregator(t, func(c *Config) { c.MaxLabelValueLength = 32 })
	for i := range 5 {
		a.Count(one(func(s *store.Span) { s.Name = strings.Repeat("x", 40) + strconv.Itoa(i) }), benchTime)
	}
	assert.EqualValues(t, 1, a.Stats().SpanSeries)
}

func TestTargetAndHostInfo(t *testing.T) { // N-05, N-08
	a := newAggregator(t, func(c *Config) {
		c.SpanMetrics.TargetInfo = true
		c.SpanMetrics.TargetInfoExcluded = []string{"secret"}
		c.Processors = append(c.Processors, ProcessorHostInfo)
	})
	str := func(k, v string) store.Attr { return store.Attr{Key: k, Value: store.String(v)} }
	a.Count(one(nil, str("service.namespace", "web"), str("service.instance.id", "i-1"), str("k8s.pod.name", "p"), str("1st", "x"), str("secret", "x"),
		str("job", "mine"), str("host.id", "h")), benchTime)
	a.Count(one(nil), benchTime) // A job and nothing else: no target.
	got := collect(t, a, after(time.Second))
	assert.Contains(t, got, "traces_target_info __job=mine host_id=h instance=i-1 job=web/shop k8s_pod_name=p")
	assert.Contains(t, got, "traces_host_info grafana_host_id=h host_source=host.id")
	assert.Contains(t, got, metricCalls+" instance=i-1 job=web/shop service=shop span_kind=SPAN_KIND_INTERNAL span_name=work status_code=STATUS_CODE_UNSET")
	assert.Contains(t, got, metricCalls+" job=shop service=shop span_kind=SPAN_KIND_INTERNAL span_name=work status_code=STATUS_CODE_UNSET")
	infos := 0
	for k := range got {
		if strings.HasPrefix(k, "traces_target_info") {
			infos++
		}
	}
	assert.Equal(t, 1, infos)
}

func TestProcessors(t *testing.T) { // N-08
	for p, want := range map[string][]string{
		ProcessorServiceGraphs:      {metricRequests, metricFailed, metricServerTime, metricClientTime},
		ProcessorSpanMetrics:        {metricCalls, metricSize, metricLatency},
		ProcessorSpanMetricsCount:   {metricCalls},
		ProcessorSpanMetricsSize:    {metricSize},
		ProcessorSpanMetricsLatency: {metricLatency},
	} {
		a := newAggregator(t, func(c *Config) { c.Processors = []string{p} })
		a.Count(testkit.NewGenerator(1).Batch(50), benchTime)
		names := make(map[string]bool)
		for _, x := range newest(a.Collect(after(time.Second), false).Metrics) {
			names[x.name] = true
		}
		var got []string
		for n := range names {
			got = append(got, n)
		}
		assert.ElementsMatch(t, want, got, p)
	}
}

// TestWeights: N-06.
func TestWeights(t *testing.T) {
	for state, want := range map[string]float64{
		"": 1, "ot=th:8": 2, "ot=th:c": 4, "ot=th:0": 1, "ot=th:e6666666666668": 10, "vendor=1,ot=rv:00000000000001;th:fd70a3d70a3d71": 100,
		"ot=th:ffffffffffffff": maxWeight, "ot=th:": 1, "ot=th:g": 1, "ot=th:000000000000000": 1, "ot=th:+8": 1, "th:8": 1, "a=b, ot=th:8": 2, "ot=rv:1": 1,
	} {
		assert.InEpsilon(t, want, stateWeight(state), 1e-9, state)
	}
	for v, want := range map[store.Value]float64{
		store.Float(0.1): 10, store.String("0.25"): 4, store.Int(1): 1, store.Float(0): 1, store.Float(2): 1, store.Float(-1): 1,
		store.Float(math.NaN()): 1, store.String("x"): 1, store.Bool(true): 1, store.Float(1e-300): maxWeight,
	} {
		assert.InEpsilon(t, want, ratioWeight(&v), 1e-9, "%v", v)
	}

	a := newAggregator(t, func(c *Config) { c.SpanMetrics.Weighting.MultiplierKey = "ratio"; c.Histograms = HistogramsBoth })
	b := one(func(s *store.Span) { s.TraceState = "ot=th:8" }) // Two.
	a.Count(b, benchTime)
	b.Spans[0].Attrs = []store.Attr{{Key: "ratio", Value: store.Float(0.4)}} // Two and a half.
	a.Count(b, benchTime)
	a.Count(b, benchTime)
	got := newest(a.Collect(after(time.Second), false).Metrics)
	values := make(map[string]point)
	for _, p := range got {
		values[p.name] = p
	}
	assert.InDelta(t, 7, values[metricCalls].value, 1e-9)
	assert.InDelta(t, 7, values[metricLatency].value, 0, "counts of histograms are whole")
	assert.InDelta(t, 7, values[metricLatency+" native"].value, 0)
	assert.InDelta(t, 0.7, values[metricLatency].hist.Sum(), 1e-9)
	size := 0
	for _, withRatio := range []bool{false, true, true} {
		b.Spans[0].Attrs = nil
		if withRatio {
			b.Spans[0].Attrs = []store.Attr{{Key: "ratio", Value: store.Float(0.4)}}
		}
		size += spansize.Of(&b.Spans[0])
	}
	assert.InDelta(t, size, values[metricSize].value, 0, "the size is not multiplied")
}

func FuzzStateWeight(f *testing.F) {
	f.Add("ot=th:8,a=b")
	f.Add("a=b,ot=rv:1;th:fd70a3d70a3d71")
	f.Fuzz(func(t *testing.T, s string) {
		if w := stateWeight(s); !(w >= 1 && w <= maxWeight) {
			t.Fatalf("%q: %v", s, w)
		}
	})
}

// TestSpanSizeIsPdatas: N-01, with pdata's marshaler as the oracle.
func TestSpanSizeIsPdatas(t *testing.T) {
	batches := []*store.Batch{testkit.NewGenerator(5).Batch(500)}
	nasty := testkit.NewNasty(6)
	for range 50 {
		batches = append(batches, nasty.Batch(20))
	}
	sizer := ptrace.ProtoMarshaler{}
	n := 0
	for _, b := range batches {
		for i := range b.Spans {
			s := b.Spans[i]
			td, err := otlpspan.Build(&store.Batch{Resources: b.Resources, Scopes: b.Scopes, Spans: []store.Span{s}})
			require.NoError(t, err)
			ss := td.ResourceSpans().At(0).ScopeSpans().At(0)
			with := sizer.SpanSize(ss.Spans().At(0))
			require.Equal(t, with, spansize.Of(&s), "%+v", s)
			n++
		}
	}
	assert.Greater(t, n, 1000)
}

// TestNativeHistogram compares buckets with their definition, at every resolution.
func TestNativeHistogram(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := histogramSpec{native: true, scale: rapid.Int32Range(-4, 8).Draw(t, "scale"), maxBuckets: rapid.IntRange(8, 160).Draw(t, "max")}
		values := rapid.SliceOfN(rapid.OneOf(rapid.Float64Range(0, 1e3), rapid.Float64Range(1e-9, 1e-3), rapid.SampledFrom([]float64{0, 1, 2, 0.5, 1024, 1e-6})), 1, 60).Draw(t, "values")
		var h histogram
		zero := 0.0
		for _, v := range values {
			h.add(&spec, v, 1)
			if v == 0 {
				zero++
			}
		}
		n := &h.native
		require.InDelta(t, zero, n.zero, 0)
		require.LessOrEqual(t, len(n.counts), max(spec.maxBuckets, 80), "at the lowest resolution 80 buckets span these values")
		if n.counts == nil {
			return
		}
		base := math.Exp2(math.Exp2(-float64(n.scale)))
		total := 0.0
		for i, c := range n.counts {
			total += c
			index := float64(n.offset) + float64(i)
			lo, hi := math.Pow(base, index), math.Pow(base, index+1)
			min, max := 0.0, 0.0
			for _, v := range values {
				if v > lo*(1+1e-9) && v <= hi*(1-1e-9) {
					min++
				}
				if v > lo*(1-1e-9) && v <= hi*(1+1e-9) && v > 0 {
					max++
				}
			}
			require.GreaterOrEqual(t, c, min, "bucket %v to %v", lo, hi)
			require.LessOrEqual(t, c, max, "bucket %v to %v", lo, hi)
		}
		require.InDelta(t, float64(len(values))-zero, total, 0)
	})
	assert.Equal(t, int32(-1), nativeIndex(1, 3), "upper bounds are inclusive")
	assert.Equal(t, int32(7), nativeIndex(2, 3))
	assert.Equal(t, int32(8), nativeIndex(math.Nextafter(2, 3), 3))
	assert.EqualValues(t, 3, nativeScale(1.1))
	assert.EqualValues(t, 0, nativeScale(2))
}

func TestClassicBuckets(t *testing.T) { // N-03
	bounds := DefaultConfig().SpanMetrics.Buckets
	for v, want := range map[float64]int{0: 0, 0.002: 0, 0.0021: 1, 0.004: 1, 16.384: 13, 16.4: 14, 1e9: 14} {
		assert.Equal(t, want, bucket(bounds, v), v)
	}
	a := newAggregator(t, nil)
	a.Count(one(func(s *store.Span) { s.StartNano = s.EndNano + 5e9 }), benchTime)
	for _, p := range newest(a.Collect(after(time.Second), false).Metrics) {
		if p.name == metricLatency {
			assert.EqualValues(t, 1, p.hist.BucketCounts().At(0), "negative durations count as 0")
			assert.Zero(t, p.hist.Sum())
		}
	}
}

// TestExemplarsAreKept: only spans whose trace is certain to be kept, one per bucket and collection (N-40).
func TestExemplarsAreKept(t *testing.T) {
	var kept keeper
	a := newAggregator(t, func(c *Config) {
		c.Exemplars.KeptPercentage = 10
		kept = newKeeper(&c.Exemplars)
	})
	batch := testkit.NewGenerator(7).Batch(20_000)
	bySpan := make(map[string]*store.Span)
	for i := range batch.Spans {
		bySpan[batch.Spans[i].TraceID.String()+batch.Spans[i].SpanID.String()] = &batch.Spans[i]
	}
	a.Count(batch, benchTime)
	c := a.Collect(after(15*time.Second), false)
	n, errs, slow, share := 0, 0, 0, 0
	for _, p := range newest(c.Metrics) {
		if p.name != metricLatency {
			continue
		}
		buckets := make(map[int]bool)
		for _, e := range p.hist.Exemplars().All() {
			n++
			b := bucket(DefaultConfig().SpanMetrics.Buckets, e.DoubleValue())
			assert.False(t, buckets[b], "one per bucket")
			buckets[b] = true
			label, _ := e.FilteredAttributes().Get("traceID")
			assert.Equal(t, spanid.TraceID(e.TraceID()).String(), label.Str())
			s := bySpan[label.Str()+spanid.SpanID(e.SpanID()).String()]
			require.NotNil(t, s)
			assert.InDelta(t, float64(s.DurationNano())/1e9, e.DoubleValue(), 1e-12)
			switch {
			case s.StatusCode == store.StatusError:
				errs++
			case s.DurationNano() >= 1e9:
				slow++
			default:
				assert.True(t, kept.keepsID(s.TraceID))
				share++
			}
		}
	}
	assert.Greater(t, n, 100)
	assert.Positive(t, errs)
	assert.Positive(t, slow)
	assert.Positive(t, share)
	for _, p := range newest(a.Collect(after(30*time.Second), false).Metrics) {
		if p.name == metricLatency {
			assert.Zero(t, p.hist.Exemplars().Len(), "not again")
		}
	}
}

// TestKeptShare: the decision is that of tail_sampling's probabilistic policy, which keeps a trace if the FNV-1a hash of
// salt and id is at most its share of 2^64.
func TestKeptShare(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // Not for secrets.
	for _, percent := range []float64{0, 0.5, 10, 50, 100} {
		k := newKeeper(&Exemplars{Enabled: true, KeptPercentage: percent, HashSalt: "pepper"})
		n, total := 0, 20_000
		for range total {
			var id spanid.TraceID
			binary.BigEndian.PutUint64(id[:], rng.Uint64())
			binary.BigEndian.PutUint64(id[8:], rng.Uint64())
			if k.keepsID(id) {
				n++
				h := fnv.New64a()
				h.Write([]byte("pepper"))
				h.Write(id[:])
				assert.LessOrEqual(t, float64(h.Sum64()), percent/100*math.MaxUint64)
			}
		}
		assert.InDelta(t, percent/100, float64(n)/float64(total), 0.02)
	}
	off := newKeeper(&Exemplars{KeptPercentage: 100})
	assert.False(t, off.certain(&store.Span{StatusCode: store.StatusError}, &scratch{}))
}

func TestNewWantsANode(t *testing.T) {
	_, err := New(DefaultConfig(), benchTime)
	require.ErrorContains(t, err, "node: must not be empty")
}

package query

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/oracle"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

// streaming is a service over some thousand spans of the reference workload in many parts that tells of everything at
// once.
func streaming(t *testing.T) (*Service, uint64, uint64) {
	t.Helper()
	gen := testkit.NewGenerator(3)
	o := oracle.New(150)
	last := uint64(0)
	for i := range 20 {
		gen.SetTime(time.Unix(1_700_000_000+int64(i)*10, 0)) // So that parts hold times of their own, more or less.
		b := gen.Batch(100)
		require.NoError(t, o.Append(t.Context(), b))
		for i := range b.Spans {
			last = max(last, b.Spans[i].StartNano)
		}
	}
	s := New(o, Limits{StreamInterval: time.Nanosecond, Memory: 64 << 20})
	s.sliceSpans = 100
	return s, 1_700_000_000e9, last
}

// TestSearchStream: what a stream tells early is the beginning of the result, word for word and each trace once.
func TestSearchStream(t *testing.T) {
	s, start, end := streaming(t)
	for _, q := range []string{
		`{ }`, `{ status = error }`, `{ resource.service.name = "checkout" } >> { kind = client }`, `{ } | count() > 20`,
		`{ } | by(resource.service.name)`, `{ span.nothing = 1 }`,
	} {
		for _, limit := range []int{3, 1000} {
			t.Run(fmt.Sprintf("%s %d", q, limit), func(t *testing.T) {
				r := SearchRequest{Query: q, StartNano: start, EndNano: end, Limit: limit, SpansPerSpanSet: 3}
				want, err := s.Search(t.Context(), r)
				require.NoError(t, err)
				var told []TraceRow
				messages, done := 0, uint32(0)
				got, err := s.SearchStream(t.Context(), r, func(m *SearchResult) error {
					messages++
					told = append(told, m.Traces...)
					require.Less(t, m.Stats.Completed, m.Stats.Jobs)
					require.GreaterOrEqual(t, m.Stats.Completed, done)
					done = m.Stats.Completed
					return nil
				})
				require.NoError(t, err)
				require.Equal(t, want.Traces, got.Traces, "the last message repeats everything (Q-02)")
				require.Equal(t, got.Traces[:len(told)], append([]TraceRow{}, told...))
				require.Equal(t, uint32(1), got.Stats.Jobs)
				if q == `{ }` && limit == 1000 {
					require.Greater(t, messages, 2)
					require.NotEmpty(t, told)
				}
			})
		}
	}
}

// TestMetricsStream: samples of interim messages are those of the result, each once, and the result is what it is
// without a stream.
func TestMetricsStream(t *testing.T) {
	s, start, end := streaming(t)
	for _, q := range []string{
		`{ } | rate()`, `{ } | count_over_time() by (resource.service.name)`, `{ } | quantile_over_time(duration, .5, .9) by (name)`,
		`{ } | histogram_over_time(duration)`, `{ } | avg_over_time(duration) by (kind)`, `{ } | min_over_time(duration)`,
		`{ } | max_over_time(duration)`, `{ } | sum_over_time(duration)`,
		`{ } | rate() by (name) > 1`,
		`{ status = error } >> { } | rate()`, `{ } | count() > 10 | rate()`, `({ } | rate()) / ({ kind = server } | rate())`,
		`{ span.nothing = 1 } | rate()`,
	} {
		t.Run(q, func(t *testing.T) {
			r := MetricsRequest{Query: q, StartNano: start, EndNano: end, Step: 10 * time.Second, Exemplars: -1}
			want, err := s.Metrics(t.Context(), r)
			require.NoError(t, err)
			final := map[string]float64{}
			for _, x := range want.Series {
				for _, p := range x.Samples {
					final[sampleKey(x.Labels, p)] = p.Value
				}
			}
			seen := map[string]bool{}
			messages := 0
			got, err := s.MetricsStream(t.Context(), r, func(m *MetricsResult) error {
				messages++
				require.Less(t, m.Stats.Completed, m.Stats.Jobs)
				for _, x := range m.Series {
					require.NotEmpty(t, x.Samples)
					for _, p := range x.Samples {
						k := sampleKey(x.Labels, p)
						require.False(t, seen[k], "told twice: %s", k)
						seen[k] = true
						require.Contains(t, final, k)
						require.Equal(t, fmt.Sprintf("%.9g", final[k]), fmt.Sprintf("%.9g", p.Value), k)
					}
				}
				return nil
			})
			require.NoError(t, err)
			requireSameSeries(t, want, got)
			if messages == 0 { // The condition rules out all rows.
				require.Contains(t, q, "nothing")
				return
			}
			require.Greater(t, messages, 2)
			require.NotEmpty(t, seen)
		})
	}
	// What is shown is chosen by the whole range; topk() even among series that have nothing yet.
	for _, q := range []string{`{ } | compare({ status = error })`, `{ } | rate() by (name) | topk(2)`, `({ } | rate() by (name) | bottomk(2)) * 2`} {
		_, err := s.MetricsStream(t.Context(), MetricsRequest{Query: q, StartNano: start, EndNano: end, Step: 10 * time.Second}, func(*MetricsResult) error {
			t.Fatal("no interim messages")
			return nil
		})
		require.NoError(t, err)
	}
	require.Zero(t, s.memory.Usage().Used)
}

// requireSameSeries compares but for the rounding of sums that were added up in another order.
func requireSameSeries(t *testing.T, want, got *MetricsResult) {
	t.Helper()
	require.Len(t, got.Series, len(want.Series))
	for i, w := range want.Series {
		g := got.Series[i]
		require.Equal(t, w.Labels, g.Labels)
		require.Len(t, g.Samples, len(w.Samples))
		for k := range w.Samples {
			require.Equal(t, w.Samples[k].TimeMillis, g.Samples[k].TimeMillis)
			x, y := w.Samples[k].Value, g.Samples[k].Value
			require.Condition(t, func() bool { return x == y || math.IsNaN(x) && math.IsNaN(y) || math.Abs(x-y) <= 1e-9*math.Abs(x) }, "want %g, got %g", x, y)
		}
	}
}

func sampleKey(labels []store.Attr, p Sample) string {
	return fmt.Sprintf("%v %d", labels, p.TimeMillis)
}

// TestStreamEnds: a client that does not take a message ends the query, and nothing stays taken.
func TestStreamEnds(t *testing.T) {
	s, start, end := streaming(t)
	gone := errors.New("gone")
	_, err := s.SearchStream(t.Context(), SearchRequest{Query: "{ }", StartNano: start, EndNano: end, Limit: 1000}, func(*SearchResult) error { return gone })
	require.ErrorIs(t, err, gone)
	_, err = s.MetricsStream(t.Context(), MetricsRequest{Query: "{ } | rate()", StartNano: start, EndNano: end, Step: 10 * time.Second}, func(*MetricsResult) error { return gone })
	require.ErrorIs(t, err, gone)
	require.Zero(t, s.Load())
	require.Zero(t, s.memory.Usage().Used)
}

// TestSlowQueriesAreEstimated: what was expected stands beside what came of it.
func TestSlowQueriesAreEstimated(t *testing.T) {
	s, start, end := streaming(t)
	s.limits.Slow = time.Nanosecond
	var last Done
	s.OnDone(func(d Done) { last = d })
	_, err := s.Search(t.Context(), SearchRequest{Query: "{ }", StartNano: start, EndNano: end, Limit: 5})
	require.NoError(t, err)
	require.GreaterOrEqual(t, last.Estimate.Spans, int64(2000))
	require.Less(t, last.Stats.Spans, uint64(2000), "the search stopped early")
	_, err = s.Search(t.Context(), SearchRequest{Query: `{ span.nothing = 1 }`, StartNano: start, EndNano: end, Limit: 5})
	require.NoError(t, err)
	require.Zero(t, last.Estimate.Spans)
	_, err = s.TagNames(t.Context(), TagNamesRequest{StartNano: start, EndNano: end})
	require.NoError(t, err)
	require.GreaterOrEqual(t, last.Estimate.Spans, int64(2000))
	s.limits.Slow = time.Hour
	_, err = s.Search(t.Context(), SearchRequest{Query: "{ }", StartNano: start, EndNano: end, Limit: 5})
	require.NoError(t, err)
	require.Zero(t, last.Estimate)
}

// damagedOnce is a store whose first view has a damaged part: the oldest.
type damagedOnce struct {
	store.Store
	views int
}

type damagedView struct{ store.View }

type damagedPart struct{ store.Part }

func (d *damagedOnce) View() (store.View, error) {
	v, err := d.Store.View()
	if d.views++; d.views > 1 || err != nil {
		return v, err
	}
	return damagedView{v}, nil
}

func (v damagedView) Parts() []store.Part {
	parts := slices.Clone(v.View.Parts())
	oldest := 0
	for i, p := range parts {
		if p.Info().MaxStartNano < parts[oldest].Info().MaxStartNano {
			oldest = i
		}
	}
	parts[oldest] = damagedPart{parts[oldest]}
	return parts
}

func (damagedPart) Read(context.Context, int, store.Column, *store.Bitmap, *store.Vector) error {
	return &store.CorruptionError{Path: "block", Err: errors.New("bad sum")}
}

// TestStreamOverDamage: a search that begins anew does not tell of a trace twice.
func TestStreamOverDamage(t *testing.T) {
	s, start, end := streaming(t)
	d := &damagedOnce{Store: s.store.(store.Store)}
	again := New(d, Limits{StreamInterval: time.Nanosecond, Memory: 64 << 20})
	told := map[spanid.TraceID]bool{}
	first := 0
	_, err := again.SearchStream(t.Context(), SearchRequest{Query: "{ }", StartNano: start, EndNano: end, Limit: 1000, SpansPerSpanSet: 1}, func(m *SearchResult) error {
		for _, tr := range m.Traces {
			require.False(t, told[tr.ID], "told twice")
			told[tr.ID] = true
		}
		if d.views == 1 {
			first += len(m.Traces)
		}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, 2, d.views)
	require.Positive(t, first, "something was told before the damage was met")
}

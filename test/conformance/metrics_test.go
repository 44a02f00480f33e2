package conformance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/tempopb"
)

// metricsCases are section 1.6.
var metricsCases = []testCase{
	{"M-01", rangeParameters},
	{"M-02", instantParameters},
	{"M-03", longRange},
	{"M-04", smallStep},
	{"M-05", notMetrics},
	{"M-11", seriesOrder},
	{"M-12", seriesLimit},
	{"M-13 M-14", emptySeries},
}

func metricsPath(kind, q string, more string) string {
	return "/api/metrics/" + kind + "?q=" + url.QueryEscape(q) + "&" + more
}

func sum(m *tempopb.QueryRangeResponse) (total float64) {
	for _, s := range m.GetSeries() {
		for _, p := range s.GetSamples() {
			total += p.GetValue()
		}
	}
	return total
}

// exemplarTrace is the trace:id of an exemplar.
func exemplarTrace(e *tempopb.Exemplar) string {
	for _, l := range e.GetLabels() {
		if l.GetKey() == "trace:id" {
			return l.GetValue().GetStringValue()
		}
	}
	return ""
}

func rangeParameters(t *testing.T, w *world) {
	const q = `{ resource.service.name = "shop" } | count_over_time()`
	for _, step := range []string{"step=10s", "step=10", "step=10.0", "step=1m", "step=", "step=0.5"} {
		require.Equal(t, 3.0, sum(w.rangeQuery(t, q, step)), step)
	}
	m := w.rangeQuery(t, q, "step=20s")
	s := m.GetSeries()[0].GetSamples()
	require.EqualValues(t, 20_000, s[1].GetTimestampMs()-s[0].GetTimestampMs())
	require.NotEmpty(t, m.GetSeries()[0].GetExemplars())
	require.Len(t, w.rangeQuery(t, q, "exemplars=1").GetSeries()[0].GetExemplars(), 1)
	require.Equal(t, 3.0, sum(w.rangeQuery(t, q, "mode=recent", "skip_ast_transformations=all", "maxSeries=10")))
	require.Len(t, w.rangeQuery(t, q, "instant=true").GetSeries()[0].GetSamples(), 1)
	r := w.Get("/api/metrics/query_range?query=" + url.QueryEscape(q) + "&step=10s&" + w.window())
	require.Contains(t, string(r.Body), `"value":`)
	r = w.Get(metricsPath("query_range", q, w.window()+"&query=nonsense"))
	require.Equal(t, http.StatusOK, r.Status, "q wins: %s", r.Body)
	for _, bad := range []string{"step=0", "step=-1s", "step=x", "exemplars=x", "maxSeries=-1", "instant=perhaps", "start=x"} {
		r := w.Get(metricsPath("query_range", q, bad))
		require.Equal(t, http.StatusBadRequest, r.Status, "%s: %s", bad, r.Body)
	}
	r = w.Get(metricsPath("query_range", q, "since=10m&step=10s"))
	require.Contains(t, string(r.Body), `"value":`)
}

func instantParameters(t *testing.T, w *world) {
	m := w.instant(t, `{ resource.service.name = "shop" } | count_over_time()`)
	require.Len(t, m.GetSeries(), 1)
	require.Equal(t, 3.0, m.GetSeries()[0].GetValue())
	require.NotContains(t, string(w.Get(metricsPath("query", `{} | rate()`, w.window())).Body), "exemplars")
	r := w.Get("/api/metrics/query?query=" + url.QueryEscape(`{ status = error } | count_over_time()`) + "&since=10m")
	require.Contains(t, string(r.Body), `"value":1`)
}

func longRange(t *testing.T, w *world) {
	for _, kind := range []string{"query_range", "query"} {
		w.refused(t, metricsPath(kind, "{} | rate()", fmt.Sprintf("start=%d&end=%d&step=1h", w.sec(-25*time.Hour), w.sec(0))), 400,
			"metrics query time range exceeds the maximum allowed duration of ")
	}
}

func smallStep(t *testing.T, w *world) {
	w.refused(t, metricsPath("query_range", "{} | rate()", fmt.Sprintf("start=%d&end=%d&step=1s", w.sec(-3*time.Hour), w.sec(0))), 400,
		"step of 1s is too small, minimum step for given range is 1.08s")
	w.refused(t, metricsPath("query_range", "{} | rate()", "start=20&end=10"), 400, "end must be greater than start")
}

func notMetrics(t *testing.T, w *world) {
	for _, kind := range []string{"query_range", "query"} {
		w.refused(t, metricsPath(kind, "{ status = error }", w.window()), 400, "not a metrics query")
		w.refused(t, metricsPath(kind, "{ | rate()", w.window()), 400, "parse error at line 1")
		w.refused(t, metricsPath(kind, "{} | quantile_over_time(duration, 2)", w.window()), 400, "")
		w.refused(t, "/api/metrics/"+kind, 400, "")
	}
}

func seriesOrder(t *testing.T, w *world) {
	m := w.rangeQuery(t, `{ } | rate() by (resource.service.name)`)
	var labels []string
	for _, s := range m.GetSeries() {
		require.Len(t, s.GetLabels(), 1)
		require.Equal(t, "resource.service.name", s.GetLabels()[0].GetKey())
		labels = append(labels, s.GetLabels()[0].GetValue().GetStringValue())
		require.True(t, slices.IsSortedFunc(s.GetSamples(), func(a, b *tempopb.Sample) int { return int(a.GetTimestampMs() - b.GetTimestampMs()) }))
		require.True(t, slices.IsSortedFunc(s.GetExemplars(), func(a, b *tempopb.Exemplar) int { return int(a.GetTimestampMs() - b.GetTimestampMs()) }))
	}
	require.True(t, slices.IsSorted(labels), labels)
	require.Contains(t, labels, "shop")
}

func seriesLimit(t *testing.T, w *world) {
	m := w.rangeQuery(t, `{ } | rate() by (name)`, "maxSeries=2")
	require.Len(t, m.GetSeries(), 2)
	require.Equal(t, tempopb.PartialStatus_PARTIAL, m.GetStatus())
	require.NotEmpty(t, m.GetMessage())
	m = w.rangeQuery(t, `{ } | rate() by (name)`)
	require.Greater(t, len(m.GetSeries()), 5)
	require.Equal(t, tempopb.PartialStatus_COMPLETE, m.GetStatus())
}

func emptySeries(t *testing.T, w *world) {
	body := func(kind, q string) map[string]any {
		r := w.Get(metricsPath(kind, q, w.window()+"&step=10s"))
		require.Equal(t, http.StatusOK, r.Status, "%s: %s", q, r.Body)
		return raw(t, r.Body)
	}
	for _, q := range []string{`{ name = "nothing" } | rate() by (name)`, `{ name = "nothing" } | max_over_time(duration)`, `{ false } | rate()`} {
		m := body("query_range", q)
		require.Equal(t, []any{}, m["series"], q)
		require.Contains(t, m, "metrics")
		require.NotContains(t, body("query", q), "series", q)
	}
	for _, f := range []string{"rate", "count_over_time"} {
		m := body("query_range", `{ name = "nothing" } | `+f+`()`)
		require.Len(t, m["series"], 1)
		for _, s := range dig(t, m, "series", 0, "samples").([]any) {
			require.NotContains(t, s, "value", "a 0 is left out (C-05)")
		}
		m = body("query", `{ name = "nothing" } | `+f+`()`)
		require.Len(t, m["series"], 1)
		require.NotContains(t, dig(t, m, "series", 0), "value")
	}
	require.Equal(t, json.Number("1"), dig(t, body("query", `{ status = error } | count_over_time()`), "series", 0, "value"))
}

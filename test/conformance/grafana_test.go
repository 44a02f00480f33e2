package conformance

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/tempopb"
)

// grafanaCases are section 3: what Grafana and Traces Drilldown ask.
var grafanaCases = []testCase{
	{"A-01 A-02", saveAndTest},
	{"A-03", traceView},
	{"A-04 A-05 A-07 A-11", grafanaSearch},
	{"A-06 A-13", grafanaMetrics},
	{"A-08 A-10 D-10", autocomplete},
	{"A-09", searchBuilder},
	{"A-12", exemplars},
	{"A-14 D-04", heatmap},
	{"A-15", uninstrumented},
	{"A-16", correlations},
	{"A-17", upload},
	{"D-01 D-02", drilldownRates},
	{"D-03", drilldownDurations},
	{"D-05", drilldownComparison},
	{"D-06", drilldownStructure},
	{"D-07", drilldownExceptions},
	{"D-08", drilldownSpans},
	{"D-09", drilldownProbe},
	{"D-11", drilldownSteps},
	{"D-12", drilldownFilters},
}

func saveAndTest(t *testing.T, w *world) {
	require.Equal(t, http.StatusOK, w.Get("/api/echo").Status)
	now := uint32(time.Now().Unix())
	s, err := w.client().Search(t.Context(), &tempopb.SearchRequest{Query: "{}", Limit: 1, Start: now - 900, End: now})
	got, err := collect(t, s, err)
	require.NoError(t, err)
	require.NotEmpty(t, got)
}

func traceView(t *testing.T, w *world) {
	require.NotEmpty(t, w.protoTrace(t, cart).GetTrace().GetResourceSpans())
	empty := w.protoTrace(t, missing)
	require.NotNil(t, empty.Trace, "read without a check")
	require.Empty(t, empty.GetTrace().GetResourceSpans())
}

func grafanaSearch(t *testing.T, w *world) {
	const q = `{ resource.service.name = "shop" } | select(span.http.status_code, span.ratio, span.http.method)`
	m := w.search(t, q, "limit=20", "spss=3")
	require.Len(t, m.GetTraces(), 2)
	columns := map[string]bool{}
	for _, tr := range m.GetTraces() {
		require.NotEmpty(t, tr.GetRootServiceName())
		require.NotEmpty(t, tr.GetRootTraceName())
		require.Positive(t, tr.GetStartTimeUnixNano())
		for _, s := range tr.GetSpanSets()[0].GetSpans() {
			require.Len(t, s.GetSpanID(), 16)
			require.Positive(t, s.GetDurationNanos())
			for _, a := range s.GetAttributes() {
				columns[a.GetKey()] = true
			}
		}
	}
	require.Equal(t, map[string]bool{"service.name": true, "http.status_code": true, "ratio": true, "http.method": true}, columns)
	start, end := w.bounds()
	s, err := w.client().Search(t.Context(), &tempopb.SearchRequest{Query: q, Limit: 20, SpansPerSpanSet: 3, Start: start, End: end})
	got, err := collect(t, s, err)
	require.NoError(t, err)
	require.Equal(t, texts(m), texts(got[len(got)-1]))
}

func grafanaMetrics(t *testing.T, w *world) {
	for _, f := range []string{
		"rate()", "count_over_time()", "avg_over_time(duration)", "sum_over_time(span.http.status_code)", "max_over_time(duration)", "min_over_time(duration)",
		"quantile_over_time(duration, .9, .5)", "histogram_over_time(duration)", "compare({ status = error })",
	} {
		require.NotEmpty(t, w.rangeQuery(t, `{ resource.service.name = "shop" } | `+f, "exemplars=100").GetSeries(), f)
		require.NotEmpty(t, w.instant(t, `{ resource.service.name = "shop" } | `+f).GetSeries(), f)
	}
	m := w.rangeQuery(t, `{ span.http.status_code != nil } | rate() by (span.http.status_code, resource.service.name)`)
	require.Len(t, m.GetSeries(), 3)
	for _, s := range m.GetSeries() {
		require.NotNil(t, s.GetLabels()[0].GetValue().GetValue())
		require.Positive(t, s.GetLabels()[0].GetValue().GetIntValue(), "a number stays a number")
		require.NotEmpty(t, s.GetLabels()[1].GetValue().GetStringValue())
	}
}

func autocomplete(t *testing.T, w *world) {
	require.Contains(t, w.tags(t, "limit=5000")["resource"], "service.name")
	require.Contains(t, w.values(t, "resource.service.name", "limit=5000", "tag=service.name", "q="+url.QueryEscape(`{ name = "SELECT" && }`)), "string db")
	for scope, names := range w.tags(t) { // Label names, then label values of each.
		for _, n := range names {
			id := scope + `."` + strings.ReplaceAll(n, `"`, `\"`) + `"`
			if scope == "intrinsic" {
				id = n
			}
			got := w.values(t, id)
			// Names are those of whole parts of the store, values those of the window; and bytes have none (E-06).
			if w.filled == 0 && scope != "intrinsic" && n != "blob" && n != "uid" && n != "text" {
				require.NotEmpty(t, got, id)
			}
		}
	}
}

func expectTraces(t *testing.T, w *world, q string, want ...string) {
	t.Helper()
	got := []string{}
	for _, id := range want {
		got = append(got, short(id))
	}
	require.Equal(t, got, ids(w.search(t, q)), q)
}

func searchBuilder(t *testing.T, w *world) {
	expectTraces(t, w, `{resource.service.name="shop" && name="GET /cart" && duration>10ms && (span.http.method="GET" || span.http.method="POST")}`, cart)
	expectTraces(t, w, `{resource.service.name=~"shop|db" && span.http.method=~"HEAD|PUT"}`, quick)
	expectTraces(t, w, `{resource.service.name="shop" && span.http.method!="GET" && span.http.method!="PUT"}`, quick)
	expectTraces(t, w, `{span."quo\"ted"="value 2"}`, odd)
	expectTraces(t, w, `{traceDuration>100ms && statusMessage="boom"}`, cart)
	expectTraces(t, w, `{event.exception.type="Sold<Out>"}`, cart)
}

func exemplars(t *testing.T, w *world) {
	for _, f := range []string{"rate()", "count_over_time()", "max_over_time(duration)", "quantile_over_time(duration, .9)", "histogram_over_time(duration)"} {
		m := w.rangeQuery(t, `{ resource.service.name = "shop" } | `+f)
		n := 0
		for _, s := range m.GetSeries() {
			for _, e := range s.GetExemplars() {
				n++
				require.NotZero(t, e.GetValue(), f)
				require.Positive(t, e.GetTimestampMs())
				id := exemplarTrace(e)
				require.NotNil(t, findSpan(t, raw(t, w.Get("/api/traces/"+id).Body), "GET /cart") != nil || id == quick, "the link works: %s", id)
				require.Contains(t, []string{short(cart), quick}, id)
			}
		}
		require.Positive(t, n, f)
	}
}

func heatmap(t *testing.T, w *world) {
	m := w.rangeQuery(t, `{nestedSetParent<0 && true} | histogram_over_time(duration) with(sample=true)`)
	require.NotEmpty(t, m.GetSeries())
	for _, s := range m.GetSeries() {
		require.Equal(t, "__bucket", s.GetLabels()[0].GetKey())
		require.Positive(t, s.GetLabels()[0].GetValue().GetDoubleValue())
	}
}

func uninstrumented(t *testing.T, w *world) {
	expectTraces(t, w, `{span.db.name="orders" || span.db.system="orders" || span.peer.service="orders" || span.messaging.system="orders" || span.net.peer.name="orders"}`, cart)
}

func correlations(t *testing.T, w *world) {
	for _, rs := range w.protoTrace(t, cart).GetTrace().GetResourceSpans() {
		got := map[string]string{}
		for _, a := range rs.GetResource().GetAttributes() {
			got[a.GetKey()] = a.GetValue().GetStringValue()
		}
		if got["service.name"] == "shop" {
			require.Equal(t, map[string]string{"service.name": "shop", "service.namespace": "canteen", "k8s.pod.name": "shop-1", "cluster": "c1"}, got)
			s := rs.GetScopeSpans()[0].GetSpans()[0]
			require.Positive(t, s.GetStartTimeUnixNano())
			require.Greater(t, s.GetEndTimeUnixNano(), s.GetStartTimeUnixNano())
		}
	}
}

func upload(t *testing.T, w *world) {
	require.Contains(t, raw(t, w.Get("/api/traces/"+cart).Body), "batches")
}

// primary signals and filters of Traces Drilldown.
var signals = []string{"nestedSetParent<0", "true", "kind=server", "kind=consumer", `span.db.system.name!=""`}

func drilldownRates(t *testing.T, w *world) {
	for _, p := range signals {
		for _, f := range []string{"true", `resource.service.name="shop"`} {
			for _, q := range []string{
				`{%s && %s} | rate()`, `{%s && %s && resource.service.name != nil} | rate() by(resource.service.name)`,
				`{%s && %s && resource.service.name != nil} | rate() by(resource.service.name) with(sample=true)`,
				`{%s && %s && status=error} | rate()`, `{%s && %s && status=error} | rate() by(name)`,
			} {
				w.rangeQuery(t, fmt.Sprintf(q, p, f))
			}
		}
	}
	require.InDelta(t, 0.1, sum(w.rangeQuery(t, `{nestedSetParent<0 && true && status=error} | rate() by(resource.service.name)`)), 1e-9)
	require.InDelta(t, 0.2, sum(w.rangeQuery(t, `{nestedSetParent<0 && resource.service.name="shop"} | rate()`)), 1e-9)
}

func drilldownDurations(t *testing.T, w *world) {
	m := w.rangeQuery(t, `{nestedSetParent<0 && true} | quantile_over_time(duration, 0.9,0.5) by(resource.service.name)`)
	require.NotEmpty(t, m.GetSeries())
	for _, s := range m.GetSeries() {
		require.Len(t, s.GetLabels(), 2)
		require.Equal(t, "p", s.GetLabels()[1].GetKey())
	}
}

func drilldownComparison(t *testing.T, w *world) {
	for _, q := range []string{
		`{nestedSetParent<0 && true} | compare({status = error}, 10)`, `{true && true} | compare({duration >= 10ms && duration <= 2s}, 10)`,
		fmt.Sprintf(`{true && true} | compare({status = error}, 10, %d, %d)`, w.nano(0), w.nano(time.Minute)), `{kind=server && true} | compare({})`,
	} {
		types := map[string]bool{}
		for _, s := range w.rangeQuery(t, q).GetSeries() {
			keys := []string{}
			for _, l := range s.GetLabels() {
				keys = append(keys, l.GetKey())
				if l.GetKey() == "__meta_type" {
					types[l.GetValue().GetStringValue()] = true
				}
			}
			require.Contains(t, keys, "__meta_type", q)
		}
		require.True(t, types["selection"] || types["baseline"], q)
		require.True(t, types["selection_total"] || types["baseline_total"], q)
	}
}

func drilldownStructure(t *testing.T, w *world) {
	for _, m := range []string{"kind = server", "status = error", "duration > 5ms"} {
		q := `({nestedSetParent<0 && true} &>> { ` + m + ` }) || ({nestedSetParent<0 && true}) | select(status, resource.service.name, name, nestedSetParent, nestedSetLeft, nestedSetRight)`
		res := w.search(t, q, "limit=200", "spss=20")
		require.NotEmpty(t, res.GetTraces())
		for _, tr := range res.GetTraces() {
			require.NotEmpty(t, tr.GetServiceStats())
			require.NotEmpty(t, tr.GetRootServiceName())
			for _, s := range tr.GetSpanSets()[0].GetSpans() {
				keys := map[string]int64{}
				for _, a := range s.GetAttributes() {
					keys[a.GetKey()] = a.GetValue().GetIntValue()
				}
				for _, k := range []string{"nestedSetParent", "nestedSetLeft", "nestedSetRight"} {
					require.Contains(t, keys, k, "%s of %s", k, s.GetSpanID())
				}
				require.Less(t, keys["nestedSetLeft"], keys["nestedSetRight"])
				require.NotEmpty(t, s.GetName())
			}
		}
	}
}

func drilldownExceptions(t *testing.T, w *world) {
	m := w.search(t, `{nestedSetParent<0 && true && status = error} | select(resource.service.name, event.exception.message,event.exception.stacktrace,event.exception.type) with(most_recent=true)`, "limit=400", "spss=10")
	require.Len(t, m.GetTraces(), 1)
	got := map[string]string{}
	for _, a := range m.GetTraces()[0].GetSpanSets()[0].GetSpans()[0].GetAttributes() {
		got[a.GetKey()] = a.GetValue().GetStringValue()
	}
	require.Equal(t, "no bread", got["exception.message"])
	require.Equal(t, "at a\nat b", got["exception.stacktrace"])
	require.Equal(t, "Sold<Out>", got["exception.type"])
	require.Equal(t, "shop", got["service.name"])
}

func drilldownSpans(t *testing.T, w *world) {
	for q, want := range map[string]int{
		`{nestedSetParent<0 && true}`: 6, `{nestedSetParent<0 && true && status = error}`: 1, `{nestedSetParent<0 && true && duration > 10ms}`: 2,
		`{nestedSetParent<0 && true} | select(resource.service.name, span.http.method)`: 6,
	} {
		m := w.search(t, q, "limit=200", "spss=10")
		got := slices.DeleteFunc(ids(m), func(id string) bool { return strings.HasPrefix(id, "a") }) // Those of "just now".
		require.Len(t, got, want, q)
	}
}

func drilldownProbe(t *testing.T, w *world) {
	now := time.Now().Unix()
	r := w.Get(metricsPath("query_range", "{} | rate()", fmt.Sprintf("start=%d&end=%d", now-60, now)))
	require.Equal(t, http.StatusOK, r.Status)
	require.NotContains(t, string(r.Body), "localblocks processor not found")
}

func drilldownSteps(t *testing.T, w *world) {
	for d, step := range map[time.Duration]string{time.Minute: "1s", time.Hour: "72s", 23 * time.Hour: "1656s"} {
		r := w.Get(metricsPath("query_range", "{nestedSetParent<0 && true} | rate()", fmt.Sprintf("start=%d&end=%d&step=%s", w.sec(time.Minute-d), w.sec(time.Minute), step)))
		require.Equal(t, http.StatusOK, r.Status, "%s: %s", d, r.Body)
	}
}

func drilldownFilters(t *testing.T, w *world) {
	for q, want := range map[string]int{
		`{true && span.http.status_code=500}`: 1, `{true && span.http.status_code="500"}`: 0, `{true && status=error}`: 1, `{true && kind=client}`: 2,
		`{true && duration>1.2ms && trace:id="` + cart + `"}`: 1, "{true && duration>100\u03bcs && name=\"HEAD /\"}": 1, "{true && duration>100\u00b5s && name=\"HEAD /\"}": 1,
		`{true && duration>1.2s}`: 0, `{true && resource.service.name="shop" && span.cached=true}`: 1,
	} {
		require.Len(t, w.search(t, q).GetTraces(), want, q)
	}
}

package conformance

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/protobuf/proto"

	"github.com/bramble-tracing/bramble/internal/tempopb"
)

// searchCases are section 1.3.
var searchCases = []testCase{
	{"S-01", traceQL},
	{"S-02", byTags},
	{"S-03", byParameters},
	{"S-04", traceDurations},
	{"S-05", limits},
	{"S-06", spansPerSet},
	{"S-07", searchRange},
	{"S-08", ignoredParameters},
	{"S-09", metricsInSearch},
	{"S-20", emptyAnswer},
	{"S-21", newestFirst},
	{"S-22", twoSets},
	{"S-23", matched},
	{"S-24 S-25", shownAttributes},
	{"S-26", typedValues},
	{"S-27", names},
	{"S-28 S-29", setAttributes},
	{"S-30", unknownRoots},
	{"S-31", durations},
	{"S-32", serviceStats},
	{"S-33", constantFalse},
}

func short(id string) string { return strings.TrimLeft(id, "0") }

func traceQL(t *testing.T, w *world) {
	require.Equal(t, []string{short(cart)}, ids(w.search(t, `{ span.http.status_code >= 500 && resource.service.name = "shop" }`)))
	w.refused(t, w.searchPath("{ span.a = }"), 400, "invalid TraceQL query: parse error at line 1, col 12")
	w.refused(t, w.searchPath(`{ duration = "1s" }`), 400, "invalid TraceQL query:")
	w.refused(t, w.searchPath("{}", "tags=a%3Db"), 400, "tags and q")
	fits := "{ name = `" + strings.Repeat("a", 128<<10-13) + "` }"
	require.Len(t, fits, 128<<10)
	require.Empty(t, ids(w.search(t, fits)))
	w.refused(t, w.searchPath(fits+" "), 400, "131073 bytes")
}

func byTags(t *testing.T, w *world) {
	for tags, want := range map[string][]string{
		"service.name=shop": {quick, cart}, "service.name=sho": {quick, cart}, "service.name=SHOP": {}, `name="GET /c"`: {cart}, "http.method=GE": {cart},
		"service.name=shop http.status_code=500": {cart}, "db.system=postgresql": {cart}, "db.system=postgres": {}, "status.code=error": {cart}, "error=true": {cart},
		"k8s.pod.name=shop-1": {quick, cart}, "root.service.name=shop": {quick, cart}, "root.name=HEAD": {quick}, "service.namespace=canteen": {quick, cart}, `"no such"=x`: {},
	} {
		r := w.Get("/api/search?tags=" + url.QueryEscape(tags) + "&" + w.window())
		require.Equal(t, 200, r.Status, "%s: %s", tags, r.Body)
		var m tempopb.SearchResponse
		strict(t, r.Body, &m)
		got := []string{}
		for _, id := range want {
			got = append(got, short(id))
		}
		require.Equal(t, got, ids(&m), tags)
		for _, tr := range m.GetTraces() {
			require.Nil(t, tr.SpanSet, "S-22: rows of searches by tags have no spans")
			require.Empty(t, tr.GetSpanSets())
		}
	}
	w.refused(t, "/api/search?tags="+url.QueryEscape("a=1 a=2"), 400, "twice")
}

func byParameters(t *testing.T, w *world) {
	var m tempopb.SearchResponse
	strict(t, w.Get("/api/search?service.name=shop&http.method=HEAD").Body, &m)
	require.Equal(t, []string{short(quick)}, ids(&m))
}

func traceDurations(t *testing.T, w *world) {
	for p, want := range map[string][]string{"minDuration=100ms": {cart}, "maxDuration=1ms": {quick}, "minDuration=1ms&maxDuration=200ms": {cart}, "minDuration=200ms": {}} {
		var m tempopb.SearchResponse
		strict(t, w.Get("/api/search?tags=service.name%3Dshop&"+p+"&"+w.window()).Body, &m)
		got := []string{}
		for _, id := range want {
			got = append(got, short(id))
		}
		require.Equal(t, got, ids(&m), p)
	}
	w.refused(t, "/api/search?tags=a%3Db&minDuration=2s&maxDuration=1s", 400, "maxDuration")
}

func (w *world) bulkPath(q string, more ...string) string {
	return "/api/search?" + strings.Join(append([]string{
		"q=" + url.QueryEscape(q), fmt.Sprintf("start=%d&end=%d", w.sec(-55*time.Minute), w.sec(-20*time.Minute)),
	}, more...), "&")
}

func limits(t *testing.T, w *world) {
	for p, want := range map[string]int{"": 20, "limit=1": 1, "limit=150": 150, "limit=262144": bulk} {
		r := w.Get(w.bulkPath("{}", p))
		var m tempopb.SearchResponse
		strict(t, r.Body, &m)
		require.Len(t, m.GetTraces(), want, p)
	}
	for _, bad := range []string{"limit=0", "limit=x", "limit=-1", "limit=262145", "limit=1.5", "limit=99999999999999999999"} {
		w.refused(t, w.bulkPath("{}", bad), 400, "limit")
	}
}

func spansPerSet(t *testing.T, w *world) {
	for p, want := range map[string]int{"": 3, "spss=1": 1, "spss=100": 3, "spss=0": 3} {
		set := w.search(t, `{ trace:id = "`+cart+`" }`, p).GetTraces()[0].GetSpanSet()
		require.Len(t, set.GetSpans(), want, p)
		require.EqualValues(t, 3, set.GetMatched(), p)
	}
	w.refused(t, w.searchPath("{}", "spss=101"), 400, "spans per span set exceeds")
	w.refused(t, w.searchPath("{}", "spss=x"), 400, "spss")
}

func searchRange(t *testing.T, w *world) {
	path := func(start, end int64) string {
		return fmt.Sprintf("/api/search?q=%%7B%%7D&start=%d&end=%d", start, end)
	}
	w.refused(t, path(20, 20), 400, "start must be before end")
	w.refused(t, path(20, 10), 400, "start must be before end")
	w.refused(t, path(w.sec(-169*time.Hour), w.sec(0)), 400, "range specified by start and end exceeds")
	require.Equal(t, 200, w.Get(path(w.sec(-168*time.Hour), w.sec(0))).Status)
	w.refused(t, "/api/search?start=1&end=4294967296", 400, "too far in the future")
	// A trace that begins before the window and ends in it matches.
	var m tempopb.SearchResponse
	strict(t, w.Get(fmt.Sprintf("/api/search?q=%s&start=%d&end=%d", url.QueryEscape(`{ name = "call" }`), w.sec(5*time.Second), w.sec(6*time.Second))).Body, &m)
	require.Equal(t, []string{zipkin}, ids(&m))
}

func ignoredParameters(t *testing.T, w *world) {
	require.Len(t, w.search(t, "{ status = error }", "skip_ast_transformations=or_to_in,all", "nonsense=1").GetTraces(), 1)
}

func metricsInSearch(t *testing.T, w *world) {
	require.Equal(t, []string{short(cart)}, ids(w.search(t, "{ status = error } | rate()")))
}

func emptyAnswer(t *testing.T, w *world) {
	m := raw(t, w.Get(w.searchPath(`{ name = "nothing" }`)).Body)
	require.Equal(t, []any{}, m["traces"])
	require.Contains(t, m, "metrics")
}

func newestFirst(t *testing.T, w *world) {
	var m tempopb.SearchResponse
	strict(t, w.Get(w.bulkPath("{}", "limit=300")).Body, &m)
	require.True(t, slices.IsSortedFunc(m.GetTraces(), func(a, b *tempopb.TraceSearchMetadata) int {
		return int(int64(b.GetStartTimeUnixNano()) - int64(a.GetStartTimeUnixNano()))
	}))
	require.Equal(t, fmt.Sprintf("b%031x", bulk-1), m.GetTraces()[0].GetTraceID(), "the newest, not any")
}

func twoSets(t *testing.T, w *world) {
	for _, q := range []string{`{ resource.service.name = "shop" }`, `{ resource.service.name = "shop" } | by(name)`} {
		for _, tr := range w.search(t, q).GetTraces() {
			require.True(t, proto.Equal(tr.GetSpanSet(), tr.GetSpanSets()[0]))
		}
	}
}

func matched(t *testing.T, w *world) {
	m := w.search(t, `{ trace:id = "`+cart+`" && kind != client }`, "spss=1")
	require.EqualValues(t, 2, m.GetTraces()[0].GetSpanSet().GetMatched())
	require.Len(t, m.GetTraces()[0].GetSpanSet().GetSpans(), 1)
}

// shown returns the attributes of the only span of the only trace, as JSON numbers and texts have them.
func (w *world) shown(t *testing.T, q string) map[string]*commonpb.AnyValue {
	t.Helper()
	m := w.search(t, q)
	require.Len(t, m.GetTraces(), 1, q)
	require.Len(t, m.GetTraces()[0].GetSpanSet().GetSpans(), 1, q)
	out := map[string]*commonpb.AnyValue{}
	for _, a := range m.GetTraces()[0].GetSpanSet().GetSpans()[0].GetAttributes() {
		require.NotContains(t, out, a.GetKey())
		out[a.GetKey()] = a.GetValue()
	}
	return out
}

func keys(m map[string]*commonpb.AnyValue) []string {
	out := []string{}
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func shownAttributes(t *testing.T, w *world) {
	for q, want := range map[string][]string{
		`{ span.http.status_code = 500 && resource.service.name = "shop" && kind = server && status = error }`: {"http.status_code", "kind", "service.name", "status"},
		`{ name = "GET /cart" && duration > 1ms && traceDuration > 1ms && rootName = "GET /cart" }`:            {},
		`{ span:id = "00000000000000a1" } | select(trace:id, span:id, statusMessage)`:                          {"statusMessage"},
		`{ name = "GET /cart" } | select(span.labels, span.nothing, nestedSetParent, span:childCount)`:         {"labels", "nestedSetParent", "span:childCount"},
		`{ name = "GET /cart" && span.labels = "x" }`:                                                          {"labels"},
		`{ name = "GET /cart" && span.nothing = nil }`:                                                         {},
		`{ event:name = "exception" && event.exception.type =~ "Sold.*" }`:                                     {"event:name", "exception.type"},
		`{ name = "SELECT" } | select(span:parentID)`:                                                          {"span:parentID"},
	} {
		require.Equal(t, want, keys(w.shown(t, q)), q)
	}
	require.Len(t, w.shown(t, `{ name = "GET /cart" && span.labels = "x" }`)["labels"].GetArrayValue().GetValues(), 2, "the whole array")
}

func typedValues(t *testing.T, w *world) {
	got := w.shown(t, `{ name = "GET /cart" } | select(span.big, span.ratio, span.cached, span.labels, span.http.method, status, kind, event:timeSinceStart)`)
	require.EqualValues(t, beyondDouble, got["big"].GetIntValue())
	require.Equal(t, 0.5, got["ratio"].GetDoubleValue())
	require.True(t, got["cached"].GetBoolValue())
	require.Equal(t, "GET", got["http.method"].GetStringValue())
	require.Equal(t, "x", got["labels"].GetArrayValue().GetValues()[0].GetStringValue())
	require.Equal(t, "error", got["status"].GetStringValue())
	require.Equal(t, "server", got["kind"].GetStringValue())
	require.Equal(t, "1ms", got["event:timeSinceStart"].GetStringValue())
	require.Contains(t, string(w.Get(w.searchPath(`{ span.big > 0 }`)).Body), fmt.Sprintf(`"intValue":"%d"`, beyondDouble))
}

func names(t *testing.T, w *world) {
	name := func(q string) string { return w.search(t, q).GetTraces()[0].GetSpanSet().GetSpans()[0].GetName() }
	require.Equal(t, "GET /cart", name(`{ name = "GET /cart" }`))
	require.Equal(t, "GET /cart", name(`{ status = error } | select(name)`))
	require.Empty(t, name(`{ status = error }`))
	require.NotContains(t, string(w.Get(w.searchPath(`{ status = error }`)).Body), `"name"`)
}

func setAttributes(t *testing.T, w *world) {
	of := func(q string) (out []string) {
		for _, s := range w.search(t, q).GetTraces()[0].GetSpanSets() {
			for _, a := range s.GetAttributes() {
				v := a.GetValue()
				out = append(out, fmt.Sprint(a.GetKey(), "=", v.GetStringValue(), v.GetIntValue(), v.GetDoubleValue()))
			}
		}
		slices.Sort(out)
		return out
	}
	c := `{ trace:id = "` + cart + `" }`
	require.Equal(t, []string{"by(resource.service.name)=db0 0", "by(resource.service.name)=shop0 0"}, of(c+" | by(resource.service.name)"))
	require.Equal(t, []string{"by(span.nope)=nil0 0"}, of(c+" | by(span.nope)"))
	require.Equal(t, []string{"count()=3 0"}, of(c+" | count() > 2"))
	require.Equal(t, []string{"max(span.http.status_code)=500 0"}, of(c+" | max(span.http.status_code) > 1"))
	require.Equal(t, []string{"avg(duration)=43.833333ms0 0"}, of(c+" | avg(duration) > 1ms"))
	require.Len(t, w.search(t, c).GetTraces()[0].GetSpanSets(), 1, "one set without by()")
}

func unknownRoots(t *testing.T, w *world) {
	const placeholder = "<root span not yet received>"
	for id, want := range map[string][2]string{rootless: {placeholder, ""}, nameless: {placeholder, "who"}, bare: {placeholder, "no resource"}, cart: {"shop", "GET /cart"}} {
		tr := w.search(t, `{ trace:id = "`+id+`" }`).GetTraces()[0]
		require.Equal(t, want, [2]string{tr.GetRootServiceName(), tr.GetRootTraceName()}, id)
	}
}

func durations(t *testing.T, w *world) {
	require.EqualValues(t, 120, w.search(t, `{ name = "SELECT" }`).GetTraces()[0].GetDurationMs(), "of the trace")
	require.Zero(t, w.search(t, `{ name = "HEAD /" }`).GetTraces()[0].GetDurationMs())
	require.NotContains(t, string(w.Get(w.searchPath(`{ name = "HEAD /" }`)).Body), "durationMs")
}

func serviceStats(t *testing.T, w *world) {
	s := w.search(t, `{ name = "SELECT" }`).GetTraces()[0].GetServiceStats()
	require.EqualValues(t, 2, s["shop"].GetSpanCount())
	require.EqualValues(t, 1, s["shop"].GetErrorCount())
	require.EqualValues(t, 1, s["db"].GetSpanCount())
	require.Zero(t, s["db"].GetErrorCount())
}

func constantFalse(t *testing.T, w *world) {
	for _, q := range []string{"{ false }", "{ 1 = 2 }", "{ true && false }", `{ "a" = "b" }`} {
		require.Empty(t, w.search(t, q).GetTraces(), q)
	}
}

package conformance

import (
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/bramble-tracing/bramble/internal/tempopb"
)

// conventionCases are sections 0 and 1.1.
var conventionCases = []testCase{
	{"C-01", onePort},
	{"C-03", anyMethod},
	{"C-05", jsonDialect},
	{"C-06 M-10", nothingAdded},
	{"C-07", negotiation},
	{"C-08", llm},
	{"C-09", compression},
	{"C-10", plainErrors},
	{"C-11", statusCodes},
	{"C-12 C-13", headers},
	{"C-14 C-16", times},
	{"C-15", since},
	{"C-17", atOnce},
	{"C-18", goDurations},
	{"C-20", pathIDs},
	{"C-21 C-22", searchIDs},
	{"C-23", base64IDs},
	{"C-24", traceIDValues},
	{"H-01 H-02 H-05", probes},
	{"H-03", buildInfo},
	{"H-04 H-06 H-07 M-06 O-01", pages},
	{"H-08", health},
	{"R-01", ownMetrics},
}

// protocols are the HTTP clients of the port.
var protocols = map[string]func(*http.Protocols){
	"HTTP/1.1": func(p *http.Protocols) { p.SetHTTP1(true) },
	"HTTP/2.0": func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
}

func onePort(t *testing.T, w *world) {
	for version, set := range protocols {
		tr := &http.Transport{Protocols: new(http.Protocols)}
		set(tr.Protocols)
		c := &http.Client{Transport: tr, Timeout: time.Minute}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.QueryAddr()+w.searchPath(`{ name = "SELECT" }`), http.NoBody)
		require.NoError(t, err)
		res, err := c.Do(req)
		require.NoError(t, err)
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		res.Body.Close()
		require.Equal(t, version, res.Proto)
		require.Equal(t, http.StatusOK, res.StatusCode)
		var m tempopb.SearchResponse
		strict(t, body, &m)
		require.Len(t, m.GetTraces(), 1)
		tr.CloseIdleConnections()
	}
	s, err := w.client().Search(t.Context(), &tempopb.SearchRequest{Query: `{ name = "SELECT" }`, Start: uint32(w.sec(0)), End: uint32(w.sec(time.Minute))})
	got, err := collect(t, s, err)
	require.NoError(t, err)
	require.Len(t, got[len(got)-1].GetTraces(), 1)
}

func anyMethod(t *testing.T, w *world) {
	want := w.Get(w.searchPath("{ status = error }"))
	form := url.Values{"q": {"{ nonsense"}, "limit": {"0"}}.Encode()
	for _, m := range []string{http.MethodPost, http.MethodPut, http.MethodPatch} {
		r := w.Do(m, "http://"+w.QueryAddr()+w.searchPath("{ status = error }"), strings.NewReader(form), "Content-Type", "application/x-www-form-urlencoded")
		require.Equal(t, http.StatusOK, r.Status, "%s: %s", m, r.Body)
		require.Equal(t, raw(t, want.Body)["traces"], raw(t, r.Body)["traces"], "a form is not read")
	}
}

func jsonDialect(t *testing.T, w *world) {
	r := w.Get("/api/v2/traces/" + cart)
	require.Equal(t, http.StatusOK, r.Status)
	span := findSpan(t, raw(t, r.Body), "GET /cart")
	require.Equal(t, strconv.FormatUint(w.nano(0), 10), span["startTimeUnixNano"], "64-bit numbers are strings")
	require.Equal(t, json.Number("3"), span["droppedAttributesCount"], "32-bit numbers are numbers")
	require.Equal(t, "SPAN_KIND_SERVER", span["kind"])
	require.Equal(t, map[string]any{"code": "STATUS_CODE_ERROR", "message": "boom"}, span["status"])
	attrs := map[string]any{}
	for _, a := range span["attributes"].([]any) {
		attrs[dig(t, a, "key").(string)] = dig(t, a, "value")
	}
	for key, want := range map[string]any{
		"big": map[string]any{"intValue": strconv.Itoa(beyondDouble)}, "ratio": map[string]any{"doubleValue": json.Number("0.5")},
		"cached": map[string]any{"boolValue": true}, "blob": map[string]any{"bytesValue": base64.StdEncoding.EncodeToString([]byte{0, 255})},
		"empty": map[string]any{"stringValue": ""},
	} {
		require.Equal(t, want, attrs[key], key)
	}
	require.NotContains(t, findSpan(t, raw(t, r.Body), "SELECT"), "traceState", "defaults are left out")
	inf := w.Get("/api/metrics/query?q=" + url.QueryEscape(`({ name = "SELECT" } | rate()) / ({ name = "nothing" } | rate())`) + "&" + w.window())
	require.Equal(t, http.StatusOK, inf.Status, "%s", inf.Body)
	require.Equal(t, "Infinity", dig(t, raw(t, inf.Body), "series", 0, "value"))
	search := raw(t, w.Get(w.searchPath("{ nestedSetParent < 0 }", "limit=1")).Body)
	require.IsType(t, "", dig(t, search, "traces", 0, "startTimeUnixNano"))
	require.IsType(t, json.Number(""), dig(t, search, "traces", 0, "spanSet", "matched"))
	require.IsType(t, "", dig(t, search, "metrics", "inspectedBytes"))
	require.IsType(t, json.Number(""), dig(t, search, "metrics", "totalJobs"))
}

// findSpan finds a span by name in a decoded answer for a trace.
func findSpan(t *testing.T, v any, name string) map[string]any {
	t.Helper()
	switch v := v.(type) {
	case map[string]any:
		if v["name"] == name && v["spanId"] != nil {
			return v
		}
		for _, e := range v {
			if s := findSpan(t, e, name); s != nil {
				return s
			}
		}
	case []any:
		for _, e := range v {
			if s := findSpan(t, e, name); s != nil {
				return s
			}
		}
	}
	return nil
}

func nothingAdded(t *testing.T, w *world) {
	// The helpers decode strictly.
	w.search(t, `{ } | select(name, span.labels, resource.cluster) | by(resource.service.name)`)
	require.NotEmpty(t, w.instant(t, `{ } | rate() by (name)`).GetSeries())
	require.NotEmpty(t, w.rangeQuery(t, `{ } | quantile_over_time(duration, .5) by (name)`).GetSeries())
	for _, path := range []string{"/api/metrics/query_range?q=" + url.QueryEscape("{} | rate() by (name)") + "&" + w.window(), w.searchPath("{}")} {
		require.NotContains(t, strings.ToLower(string(w.Get(path).Body)), "promlabels")
	}
}

func negotiation(t *testing.T, w *world) {
	const pb, js, llmType = "application/protobuf", "application/json", "application/vnd.grafana.llm+json"
	v2 := "/api/v2/traces/" + cart
	for _, c := range []struct{ path, accept, want string }{
		{v2, "", js},
		{v2, "*/*", js},
		{v2, "text/html", js},
		{v2, pb, pb},
		{v2, js + "," + pb, pb},
		{v2, "application/json;q=0.1", js},
		{v2, "application/vnd.grafana.llm", llmType},
		{v2, "application/vnd.grafana.llm," + js, js},
		{"/api/traces/" + cart, pb, pb},
		{"/api/traces/" + cart, "application/vnd.grafana.llm", js},
		{w.searchPath("{}"), pb, pb},
		{"/api/search/tags", pb, pb},
		{"/api/v2/search/tags", pb, pb},
		{"/api/v2/search/tag/name/values", pb, pb},
		{"/api/metrics/query_range?q=" + url.QueryEscape("{} | rate()"), pb, js},
		{"/api/metrics/query?q=" + url.QueryEscape("{} | rate()"), pb, js},
	} {
		r := w.Get(c.path, "Accept", c.accept)
		require.Equal(t, http.StatusOK, r.Status, "%s: %s", c.path, r.Body)
		require.Equal(t, c.want, r.Header.Get("Content-Type"), "%s as %q", c.path, c.accept)
	}
	var a, b tempopb.SearchResponse
	require.NoError(t, proto.Unmarshal(w.Get(w.searchPath("{ status = error }"), "Accept", pb).Body, &a))
	strict(t, w.Get(w.searchPath("{ status = error }")).Body, &b)
	a.Metrics, b.Metrics = nil, nil
	require.True(t, proto.Equal(&a, &b), "protobuf and JSON say the same")
}

func llm(t *testing.T, w *world) {
	r := w.Get("/api/v2/traces/"+cart, "Accept", "application/vnd.grafana.llm")
	text := string(r.Body)
	for _, part := range []string{`"services"`, `"serviceName":"shop"`, `"00000000000000a1"`, `"durationMs":120`} {
		require.Contains(t, text, part)
	}
	values := raw(t, w.Get("/api/v2/search/tag/span.http.status_code/values?"+w.window(), "Accept", "application/vnd.grafana.llm").Body)
	require.Contains(t, fmt.Sprint(values), "500")
	require.Equal(t, "application/json", w.Get(w.searchPath("{}"), "Accept", "application/vnd.grafana.llm").Header.Get("Content-Type"))
}

func compression(t *testing.T, w *world) {
	tr := &http.Transport{DisableCompression: true}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.QueryAddr()+"/api/v2/traces/"+cart, http.NoBody)
	require.NoError(t, err)
	req.Header.Set("Accept-Encoding", "gzip")
	res, err := (&http.Client{Transport: tr, Timeout: time.Minute}).Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, "gzip", res.Header.Get("Content-Encoding"))
	z, err := gzip.NewReader(res.Body)
	require.NoError(t, err)
	plain, err := io.ReadAll(z)
	require.NoError(t, err)
	require.NotNil(t, findSpan(t, raw(t, plain), "SELECT"))
	req.Header.Set("Accept-Encoding", "gzip;q=0, identity")
	res, err = (&http.Client{Transport: tr, Timeout: time.Minute}).Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Empty(t, res.Header.Get("Content-Encoding"))
}

func plainErrors(t *testing.T, w *world) {
	w.refused(t, "/api/search?q="+url.QueryEscape("{ nonsense"), 400, "parse error at line 1, col ")
	w.refused(t, "/api/traces/<script>", 400, "")
	w.refused(t, "/api/nothing", 404, "404 page not found")
	w.refused(t, "/nothing", 404, "404 page not found")
	r := w.Get("/api/search?limit=%3Chtml%3E")
	require.False(t, strings.HasPrefix(string(r.Body), "<"), "what the client sent may be quoted, and no more")
	require.Equal(t, "nosniff", r.Header.Get("X-Content-Type-Options"))
}

func statusCodes(t *testing.T, w *world) {
	long := url.QueryEscape(`{ name = "` + strings.Repeat("a", 140<<10) + `" }`)
	for path, want := range map[string]int{
		"/api/search?limit=x": 400, "/api/search?q=%7B": 400, "/api/v2/traces/" + missing: 200, "/api/traces/" + missing: 404, "/api/unknown": 404,
		"/api/search?q=" + long: 400, "/api/search?q=" + strings.Repeat("a", 420<<10): 413,
	} {
		r := w.Get(path)
		require.Equal(t, want, r.Status, "%.80s: %.200s", path, r.Body)
	}
	s, err := w.client().Search(t.Context(), &tempopb.SearchRequest{Query: "{ span.a = }"})
	_, err = collect(t, s, err)
	require.Equal(t, codes.InvalidArgument, status.Code(err))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	cancel()
	s, err = w.client().Search(ctx, &tempopb.SearchRequest{Query: "{}"})
	if err == nil {
		_, err = s.Recv()
	}
	require.Equal(t, codes.Canceled, status.Code(err))
}

func headers(t *testing.T, w *world) {
	want := ids(w.search(t, "{ status = error }"))
	require.Len(t, want, 1)
	for _, h := range [][]string{
		{"X-Scope-OrgID", "tenant-a"},
		{"X-Scope-OrgID", "a|b"},
		{"X-Scope-OrgID", strings.Repeat("x", 300)},
		{"X-Scope-OrgID", ".."},
		{"Authorization", "Bearer whatever"},
		{"Authorization", "Basic dTpw"},
		{"X-Grafana-User", "me"},
		{"Cookie", "a=b"},
	} {
		r := w.Get(w.searchPath("{ status = error }"), h...)
		require.Equal(t, http.StatusOK, r.Status, "%v", h)
		var m tempopb.SearchResponse
		strict(t, r.Body, &m)
		require.Equal(t, want, ids(&m), "%v", h)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-scope-orgid", "tenant-a", "authorization", "Bearer whatever")
	s, err := w.client().Search(ctx, &tempopb.SearchRequest{Query: "{ status = error }", Start: uint32(w.sec(0)), End: uint32(w.sec(time.Minute))})
	got, err := collect(t, s, err)
	require.NoError(t, err)
	require.Equal(t, want, ids(got[len(got)-1]))
}

func times(t *testing.T, w *world) {
	q := url.QueryEscape("{ status = error }")
	for _, p := range []string{
		fmt.Sprintf("start=%d&end=%d", w.sec(0), w.sec(time.Minute)),
		"start=" + url.QueryEscape(w.at.UTC().Format(time.RFC3339)) + "&end=" + url.QueryEscape(w.at.Add(time.Minute).UTC().Format(time.RFC3339)),
		"", // The last 15 minutes.
	} {
		var m tempopb.SearchResponse
		r := w.Get("/api/search?q=" + q + "&" + p)
		require.Equal(t, http.StatusOK, r.Status, "%s: %s", p, r.Body)
		strict(t, r.Body, &m)
		require.Len(t, m.GetTraces(), 1, p)
	}
	for _, f := range []string{
		fmt.Sprintf("start=%d&end=%d", w.sec(0), w.sec(time.Minute)), fmt.Sprintf("start=%d&end=%d", w.nano(0), w.nano(time.Minute)),
		fmt.Sprintf("start=%d.000&end=%d.5", w.sec(0), w.sec(time.Minute)),
		"start=" + url.QueryEscape(w.at.UTC().Format(time.RFC3339Nano)) + "&end=" + url.QueryEscape(w.at.Add(time.Minute).UTC().Format(time.RFC3339)),
	} {
		r := w.Get("/api/metrics/query?q=" + url.QueryEscape("{ status = error } | count_over_time()") + "&" + f)
		require.Equal(t, http.StatusOK, r.Status, "%s: %s", f, r.Body)
		require.Equal(t, json.Number("1"), dig(t, raw(t, r.Body), "series", 0, "value"), f)
	}
	w.refused(t, fmt.Sprintf("/api/search?start=%d", w.sec(0)), 400, "http parameter start must be before end")
	w.refused(t, fmt.Sprintf("/api/search?end=%d", w.sec(0)), 400, "error parsing date range")
	w.refused(t, fmt.Sprintf("/api/search/tags?start=%d", w.sec(0)), 400, "error parsing date range")
	w.refused(t, fmt.Sprintf("/api/v2/search/tags?end=%d", w.sec(0)), 400, "error parsing date range")
	w.refused(t, "/api/search?start=soon&end=2", 400, "invalid start")
	r := w.Get("/api/metrics/query_range?q=" + url.QueryEscape("{ status = error } | count_over_time()"))
	require.Equal(t, http.StatusOK, r.Status, "neither start nor end: the last hour")
}

func since(t *testing.T, w *world) {
	q := url.QueryEscape("{ status = error }")
	for _, path := range []string{
		"/api/search?q=" + q + "&since=1h", "/api/search?q=" + q + "&since=1h&start=5&end=10",
		"/api/metrics/query?since=1h30m&q=" + url.QueryEscape("{ status = error } | count_over_time()"),
	} {
		r := w.Get(path)
		require.Equal(t, http.StatusOK, r.Status, "%s: %s", path, r.Body)
		require.Contains(t, string(r.Body), map[bool]string{true: `"traceID"`, false: `"value":1`}[strings.Contains(path, "search")])
	}
	for _, path := range []string{"/api/search/tags?since=2h", "/api/v2/search/tags?since=2h", "/api/v2/search/tag/span.uid/values?since=2h"} {
		require.Contains(t, string(w.Get(path).Body), map[bool]string{true: "uid", false: `"399"`}[strings.Contains(path, "tags")], "reaches the bulk: %s", path)
	}
	w.refused(t, "/api/search?since=yesterday", 400, "invalid since")
}

func atOnce(t *testing.T, w *world) { // No cutoff: what was acknowledged is in the next answer, also without times.
	id := fmt.Sprintf("a%030x%x", time.Now().UnixNano(), map[bool]int{true: 1}[w.filled > 0])
	b := builder{time.Now()}
	send(t, w.Bramble, []*traceResource{resourceSpans("now", nil, nil, b.span(id, "0000000000000001", "", "just now", internal, 0, time.Millisecond))})
	r := w.Get("/api/search?q=" + url.QueryEscape(`{ trace:id = "`+id+`" }`))
	var m tempopb.SearchResponse
	strict(t, r.Body, &m)
	require.Equal(t, []string{id}, ids(&m))
}

func goDurations(t *testing.T, w *world) {
	for p, want := range map[string]int{"minDuration=1m2.5s": 0, "minDuration=100ms": 1, "minDuration=100000us&maxDuration=0.2s": 1} {
		var m tempopb.SearchResponse
		strict(t, w.Get("/api/search?tags=service.name%3Dshop&"+p+"&"+w.window()).Body, &m)
		require.Len(t, m.GetTraces(), want, p)
	}
	w.refused(t, "/api/search?tags=a%3Db&minDuration=1d", 400, "invalid minDuration")
}

func pathIDs(t *testing.T, w *world) {
	want := w.Get("/api/v2/traces/" + cart).Body
	for _, id := range []string{strings.ToUpper(cart), strings.TrimLeft(cart, "0"), "0" + strings.TrimLeft(cart, "0")} {
		require.Equal(t, string(want), string(w.Get("/api/v2/traces/"+id).Body), id)
	}
	w.refused(t, "/api/v2/traces/12x4", 400, "'x'")
	w.refused(t, "/api/traces/12x4", 400, "3")
	w.refused(t, "/api/traces/"+strings.Repeat("1", 33), 400, "")
}

func searchIDs(t *testing.T, w *world) {
	m := w.search(t, "{ status = error }")
	tr := m.GetTraces()[0]
	require.Equal(t, strings.ToLower(tr.GetTraceID()), tr.GetTraceID())
	require.Equal(t, strings.TrimLeft(cart, "0"), strings.TrimLeft(tr.GetTraceID(), "0"))
	require.NotNil(t, findSpan(t, raw(t, w.Get("/api/traces/"+tr.GetTraceID()).Body), "GET /cart"), "it goes back into the path")
	require.Equal(t, "00000000000000a1", tr.GetSpanSet().GetSpans()[0].GetSpanID())
}

func base64IDs(t *testing.T, w *world) {
	for _, path := range []string{"/api/v2/traces/", "/api/traces/"} {
		s := findSpan(t, raw(t, w.Get(path+cart).Body), "SELECT")
		require.Equal(t, base64.StdEncoding.EncodeToString(unhex(cart)), s["traceId"])
		require.Equal(t, base64.StdEncoding.EncodeToString(unhex("00000000000000a2")), s["spanId"])
		require.Equal(t, base64.StdEncoding.EncodeToString(unhex("00000000000000a1")), s["parentSpanId"])
		l := dig(t, findSpan(t, raw(t, w.Get(path+cart).Body), "GET /cart"), "links", 0)
		require.Equal(t, base64.StdEncoding.EncodeToString(unhex(quick)), dig(t, l, "traceId"))
	}
}

func traceIDValues(t *testing.T, w *world) {
	short := strings.TrimLeft(cart, "0")
	for _, q := range []string{`{ trace:id = "` + cart + `" }`, `{ trace:id = "` + short + `" }`, `{ trace:id =~ "` + short[:10] + `.*" }`, `{ trace:id =~ "00` + short[:10] + `.*" }`} {
		require.Equal(t, []string{short}, ids(w.search(t, q)), q)
	}
	s := w.rangeQuery(t, `{ name = "GET /cart" } | rate() by (trace:id)`).GetSeries()
	require.Len(t, s, 1)
	require.Equal(t, short, s[0].GetLabels()[0].GetValue().GetStringValue())
	require.Equal(t, short, exemplarTrace(s[0].GetExemplars()[0]))
}

func probes(t *testing.T, w *world) {
	for path, want := range map[string]string{"/ready": "ready", "/api/echo": "echo"} {
		r := w.Get(path)
		require.Equal(t, http.StatusOK, r.Status)
		require.Equal(t, want, strings.TrimSpace(string(r.Body)))
	}
	r := w.Get("/metrics")
	require.Equal(t, http.StatusOK, r.Status)
	require.Contains(t, string(r.Body), "# TYPE bramble_request_duration_seconds histogram")
}

func buildInfo(t *testing.T, w *world) {
	r := w.Get("/api/status/buildinfo")
	require.Equal(t, http.StatusOK, r.Status)
	info := raw(t, r.Body)
	for _, k := range []string{"version", "revision", "branch", "buildUser", "buildDate", "goVersion"} {
		require.IsType(t, "", info[k], k)
	}
	require.Len(t, info, 6)
	require.Regexp(t, `^3\.0\.\d+(\+[0-9A-Za-z.-]+)?$`, info["version"], "semver, at least 2.7.0")
}

func pages(t *testing.T, w *world) {
	for _, p := range []string{"/status", "/status/version", "/status/services", "/status/endpoints", "/status/config", "/status/runtime_config", "/status/overrides", "/status/usage-stats"} {
		r := w.Get(p)
		require.Equal(t, http.StatusOK, r.Status, p)
		require.True(t, strings.HasPrefix(r.Header.Get("Content-Type"), "text/plain"), p)
		require.NotEmpty(t, r.Body, p)
	}
	for _, p := range []string{"/debug/pprof/", "/memberlist", "/usage_metrics", "/status/backendscheduler", "/querier/api/search", "/api/metrics/summary", "/api/overrides"} {
		require.Equal(t, http.StatusNotFound, w.Get(p).Status, p)
	}
}

func health(t *testing.T, w *world) {
	r, err := grpc_health_v1.NewHealthClient(w.conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	require.NoError(t, err)
	require.Equal(t, grpc_health_v1.HealthCheckResponse_SERVING, r.GetStatus())
}

func ownMetrics(t *testing.T, w *world) {
	w.search(t, "{}")
	text := string(w.Get("/metrics").Body)
	for _, name := range []string{"bramble_build_info{", `bramble_request_duration_seconds_bucket{method="GET",route="/api/search",status_code="200",le="1"}`, "bramble_query_inspected_spans_total{", "bramble_queries_running{"} {
		require.Contains(t, text, name)
	}
}

package tempoapi

import (
	"math"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/tempopb"
)

func metricsPath(endpoint, q string, more ...string) string {
	return "/api/metrics/" + endpoint + "?q=" + url.QueryEscape(q) + "&start=1700000000&end=1700000060" + strings.Join(append([]string{""}, more...), "&")
}

func TestQueryRange(t *testing.T) {
	a := newAPI(t, query.DefaultLimits(), shopTraces())
	r := get(t, a, metricsPath("query_range", "{ } | count_over_time() by(resource.service.name)", "step=30s"), "Accept", protobuf)
	require.Equal(t, http.StatusOK, r.StatusCode)
	require.Equal(t, []string{typeJSON}, r.Header.Values("Content-Type")) // C-07: JSON always.
	text := body(t, r)
	var m tempopb.QueryRangeResponse
	decodeStrict(t, text, &m)
	require.Len(t, m.GetSeries(), 2)
	require.Equal(t, "resource.service.name", m.GetSeries()[0].GetLabels()[0].GetKey())
	require.Equal(t, "bank", m.GetSeries()[0].GetLabels()[0].GetValue().GetStringValue())
	total := 0.0
	for _, s := range m.GetSeries() {
		last := int64(math.MinInt64)
		for _, p := range s.GetSamples() {
			require.Greater(t, p.GetTimestampMs(), last) // M-11
			last = p.GetTimestampMs()
			total += p.GetValue()
		}
		for _, e := range s.GetExemplars() {
			require.Equal(t, "trace:id", e.GetLabels()[0].GetKey())
			require.NotZero(t, e.GetValue())
		}
	}
	require.InDelta(t, 5, total, 0)
	require.Regexp(t, `"timestampMs":"1700000\d{6}"`, text)
	require.Regexp(t, `\{"timestampMs":"\d+"\}`, text, "a sample of 0 has no value (C-05)")
	require.NotContains(t, text, "promLabels") // M-10
}

func TestQueryRangeAnswers(t *testing.T) {
	a := newAPI(t, query.DefaultLimits(), shopTraces())
	tests := []struct {
		name, path string
		code       int
		says       string
	}{
		{"query instead of q", "/api/metrics/query_range?query=" + url.QueryEscape("{} | rate()") + "&start=1700000000&end=1700000060", 200, `"stringValue":"rate"`},
		{"nothing found, grouped", metricsPath("query_range", `{ name = "nope" } | rate() by(name)`), 200, `{"series":[],`},         // M-13
		{"nothing found, ungrouped", metricsPath("query_range", `{ name = "nope" } | rate()`), 200, `"stringValue":"rate"`},         // M-14
		{"constant false", metricsPath("query_range", `{ false } | rate()`), 200, `{"series":[],`},                                  // M-14
		{"series limit", metricsPath("query_range", "{ } | rate() by(name)", "maxSeries=1"), 200, `"status":"PARTIAL","message":"`}, // M-12
		{"not a metrics query", metricsPath("query_range", "{ }"), 400, "not a metrics query\n"},                                    // M-05
		{"no query", "/api/metrics/query_range", 400, "parse error"},                                                                // M-05
		{"syntax", metricsPath("query_range", "{ } | rate() by()"), 400, "parse error at line 1, col "},                             // L-50
		{"types", metricsPath("query_range", `{ duration = "x" } | rate()`), 400, "compiling query: "},                              // S-01 in section 11
		{"instant, nothing found", metricsPath("query", `{ name = "nope" } | rate() by(name)`), 200, `{"metrics":{`},                // M-13
		{"instant, zero", metricsPath("query", `{ name = "nope" } | rate()`), 200, `"value":{"stringValue":"rate"}}]}]`},            // M-14
		{"instant", metricsPath("query", `{ } | count_over_time()`), 200, `"value":5}`},                                             // M-02
		{"instant syntax", metricsPath("query", `{ } | count_over_time`), 400, "parse error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := get(t, a, tt.path)
			text := body(t, r)
			require.Equal(t, tt.code, r.StatusCode, text)
			require.Contains(t, text, tt.says)
			require.NotContains(t, text, "invalid TraceQL query", "that prefix is for search")
			if tt.code != 200 {
				return
			}
			if strings.Contains(tt.path, "query_range") {
				decodeStrict(t, text, &tempopb.QueryRangeResponse{})
			} else {
				decodeStrict(t, text, &tempopb.QueryInstantResponse{})
			}
		})
	}
}

func TestStreamMetrics(t *testing.T) {
	a := newAPI(t, query.DefaultLimits(), shopTraces())
	c := stream(t, a)
	q := "{ } | rate() by(resource.service.name)"
	s, err := c.MetricsQueryRange(t.Context(), &tempopb.QueryRangeRequest{Query: q, Start: at * 1e9, End: (at + 60) * 1e9, Step: 30e9})
	got, err := receive(t, s, err)
	require.NoError(t, err)
	require.Len(t, got, 1)
	var http tempopb.QueryRangeResponse
	decodeStrict(t, body(t, get(t, a, metricsPath("query_range", q, "step=30s"))), &http)
	require.True(t, proto.Equal(&http, got[0]), "the same as over HTTP")

	i, err := c.MetricsQueryInstant(t.Context(), &tempopb.QueryInstantRequest{Query: q, Start: at * 1e9, End: (at + 60) * 1e9})
	instant, err := receive(t, i, err)
	require.NoError(t, err)
	require.Len(t, instant, 1)
	require.Len(t, instant[0].GetSeries(), 2)
	require.EqualValues(t, 1, instant[0].GetMetrics().GetTotalJobs())

	s, err = c.MetricsQueryRange(t.Context(), &tempopb.QueryRangeRequest{Query: "{ }"}) // step and range may be absent.
	_, err = receive(t, s, err)
	require.Equal(t, codes.InvalidArgument, status.Code(err))
	require.ErrorContains(t, err, "not a metrics query")
}

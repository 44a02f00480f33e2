package tempoapi

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/tempopb"
)

// now is the clock of these tests.
const now = 1_700_000_000

func paramAPI() *API {
	return New(query.New(nil, query.DefaultLimits()), Options{Now: func() time.Time { return time.Unix(now, 0) }})
}

func request(t testing.TB, raw string) *http.Request {
	t.Helper()
	return httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/x?"+raw, nil)
}

func TestSearchParams(t *testing.T) {
	const s = uint64(time.Second)
	base := func(change func(*query.SearchRequest)) query.SearchRequest {
		q := query.SearchRequest{StartNano: (now - 900) * s, EndNano: (now + 1) * s, Limit: 20, SpansPerSpanSet: 3}
		change(&q)
		return q
	}
	tests := []struct {
		raw  string
		want query.SearchRequest
		says string // of the error
	}{
		{"", base(func(*query.SearchRequest) {}), ""},
		{"q={}", base(func(q *query.SearchRequest) { q.Query = "{}" }), ""},
		{"q={}&limit=7&spss=100", base(func(q *query.SearchRequest) { q.Query, q.Limit, q.SpansPerSpanSet = "{}", 7, 100 }), ""},
		{"q={}&spss=0", base(func(q *query.SearchRequest) { q.Query = "{}" }), ""}, // S-06
		{"q={}&start=10&end=20", base(func(q *query.SearchRequest) { q.Query, q.StartNano, q.EndNano = "{}", 10*s, 20*s }), ""},
		{"q={}&start=1970-01-01T00:00:10Z&end=20.5", base(func(q *query.SearchRequest) { q.Query, q.StartNano, q.EndNano = "{}", 10*s, 20*s }), ""}, // C-14
		{"q={}&start=0&end=0", base(func(q *query.SearchRequest) { q.Query = "{}" }), ""},
		{"q={}&since=30m", base(func(q *query.SearchRequest) { q.Query, q.StartNano = "{}", (now-1800)*s }), ""},               // C-15
		{"q={}&since=1d&start=1&end=2", base(func(q *query.SearchRequest) { q.Query, q.StartNano = "{}", (now-86400)*s }), ""}, // C-15
		{"q={}&skip_ast_transformations=all", base(func(q *query.SearchRequest) { q.Query = "{}" }), ""},                       // S-08
		{"tags=service.name%3Da+x%3D%22b+c%22&minDuration=5ms&maxDuration=1.5s", base(func(q *query.SearchRequest) {
			q.Tags = map[string]string{"service.name": "a", "x": "b c"}
			q.MinDuration, q.MaxDuration = 5*time.Millisecond, 1500*time.Millisecond
		}), ""},
		{"service.name=a&limit=5", base(func(q *query.SearchRequest) { q.Tags, q.Limit = map[string]string{"service.name": "a"}, 5 }), ""}, // S-03
		{"service.name=a&start=10&end=20", base(func(q *query.SearchRequest) { q.StartNano, q.EndNano = 10*s, 20*s }), ""},                 // S-03
		{"q={}&tags=a%3Db", query.SearchRequest{}, "can't specify tags and q"},
		{"tags=a%3Db+a%3Dc", query.SearchRequest{}, "invalid tags: tag a has been set twice"},
		{"tags=%3Db", query.SearchRequest{}, "invalid tags: a key is missing"},
		{"tags=a%3D%22b", query.SearchRequest{}, "not complete"},
		{"tags=a%3D%22b%22c", query.SearchRequest{}, "a space is missing"},
		{"q={}&limit=0", query.SearchRequest{}, "invalid limit: must be a positive number"},
		{"q={}&limit=-1", query.SearchRequest{}, "invalid limit"},
		{"q={}&limit=ten", query.SearchRequest{}, "invalid limit"},
		{"q={}&limit=262145", query.SearchRequest{}, "limit 262145 exceeds max limit 262144"},
		{"q={}&spss=101", query.SearchRequest{}, "spans per span set exceeds 100. received 101"},
		{"q={}&spss=x", query.SearchRequest{}, "invalid spss"},
		{"q={}&start=20&end=10", query.SearchRequest{}, "http parameter start must be before end. received start=20 end=10"},
		{"q={}&start=20&end=20", query.SearchRequest{}, "http parameter start must be before end. received start=20 end=20"},
		{"q={}&start=20", query.SearchRequest{}, "http parameter start must be before end. received start=20 end=0"},
		{"q={}&end=20", query.SearchRequest{}, "error parsing date range: only one of start and end provided: must provide both or neither"},
		{"q={}&start=soon&end=20", query.SearchRequest{}, "invalid start"},
		{"q={}&start=10&end=99999999999999999999", query.SearchRequest{}, "invalid end"},
		{"q={}&start=1000&end=700000", query.SearchRequest{}, "range specified by start and end exceeds 168h0m0s. received start=1000 end=700000"},
		{"q={}&since=soon", query.SearchRequest{}, "invalid since"},
		{"tags=a%3Db&minDuration=5s&maxDuration=1s", query.SearchRequest{}, "invalid maxDuration: must be greater than minDuration"},
		{"tags=a%3Db&minDuration=soon", query.SearchRequest{}, "invalid minDuration"},
		{"q=" + strings.Repeat("a", maxQuery+1), query.SearchRequest{}, "more than the maximum of 131072"},
		{"q=" + strings.Repeat("a", maxQueryString), query.SearchRequest{}, "too long"},
		{"q=%zz", query.SearchRequest{}, "invalid query string"},
		{"q={}&tags=", base(func(q *query.SearchRequest) { q.Query, q.Tags = "{}", map[string]string{} }), ""},
	}
	a := paramAPI()
	for _, tt := range tests {
		got, err := a.searchParams(request(t, tt.raw))
		if tt.says != "" {
			require.ErrorContains(t, err, tt.says, "%.200s", tt.raw)
			continue
		}
		require.NoError(t, err, tt.raw)
		got.Client = ""
		require.Equal(t, tt.want, got, tt.raw)
	}
}

// TestProtoSearch: the streaming service has the same rules, with 0 for absent.
func TestProtoSearch(t *testing.T) {
	a := paramAPI()
	q, err := a.protoSearch(&tempopb.SearchRequest{Query: "{}", Limit: 1}, "me")
	require.NoError(t, err)
	require.Equal(t, query.SearchRequest{Query: "{}", StartNano: (now - 900) * 1e9, EndNano: (now + 1) * 1e9, Limit: 1, SpansPerSpanSet: 3, Client: "me"}, q)
	q, err = a.protoSearch(&tempopb.SearchRequest{Tags: map[string]string{"a": "b"}, MinDurationMs: 5, Start: 1, End: 2}, "me")
	require.NoError(t, err)
	require.Equal(t, 5*time.Millisecond, q.MinDuration)
	require.Equal(t, 20, q.Limit)
	for says, m := range map[string]*tempopb.SearchRequest{
		"spans per span set exceeds": {SpansPerSpanSet: 101},
		"exceeds max limit":          {Limit: maxLimit + 1},
		"can't specify tags and q":   {Query: "{}", Tags: map[string]string{"a": "b"}},
		"received start=3 end=2":     {Start: 3, End: 2},
		"received start=3 end=0":     {Start: 3},
		"exceeds 168h0m0s":           {Start: 1, End: 700000},
	} {
		_, err = a.protoSearch(m, "me")
		require.ErrorContains(t, err, says)
	}
}

func TestMetricsParams(t *testing.T) {
	const s = uint64(time.Second)
	tests := []struct {
		raw  string
		want query.MetricsRequest
		says string
	}{
		{"q=x&start=100&end=220&step=30s", query.MetricsRequest{Query: "x", StartNano: 100 * s, EndNano: 220 * s, Step: 30 * time.Second}, ""},
		{"query=x&start=100&end=220&step=30", query.MetricsRequest{Query: "x", StartNano: 100 * s, EndNano: 220 * s, Step: 30 * time.Second}, ""},
		{"q=x&query=y&start=100&end=220&step=1.5", query.MetricsRequest{Query: "x", StartNano: 100 * s, EndNano: 220 * s, Step: 1500 * time.Millisecond}, ""},
		{"q=x&start=1700000100000000000&end=1700000220000000000&step=1m", query.MetricsRequest{Query: "x", StartNano: 1700000100 * s, EndNano: 1700000220 * s, Step: time.Minute}, ""},
		{"q=x&start=1700000100000&end=1700000220000", query.MetricsRequest{}, "invalid start: 1700000100000 seems to be milliseconds"},
		{"q=x&start=1700000100&end=1700000220000000", query.MetricsRequest{}, "invalid end: 1700000220000000 seems to be microseconds"},
		{"q=x&start=100.5&end=220.25&step=1d", query.MetricsRequest{Query: "x", StartNano: 100*s + s/2, EndNano: 220*s + s/4, Step: 24 * time.Hour}, ""},
		{"q=x", query.MetricsRequest{Query: "x", StartNano: (now - 3600) * s, EndNano: now * s, Step: 15 * time.Second}, ""},                     // C-16
		{"q=x&since=15m", query.MetricsRequest{Query: "x", StartNano: (now - 900) * s, EndNano: now * s, Step: 3 * time.Second}, ""},             // C-15
		{"q=x&end=1699990000", query.MetricsRequest{Query: "x", StartNano: 1699986400 * s, EndNano: 1699990000 * s, Step: 15 * time.Second}, ""}, // C-16
		{"q=x&start=1&end=2&step=1s&exemplars=5&maxSeries=6&instant=true", query.MetricsRequest{Query: "x", StartNano: s, EndNano: 2 * s, Exemplars: 5, MaxSeries: 6, Instant: true}, ""},
		{"q=x&start=100&end=220&step=0", query.MetricsRequest{}, "step of 0s is too small, minimum step for given range is 12ms"},
		{"q=x&start=100&end=220&step=1ms", query.MetricsRequest{}, "step of 1ms is too small, minimum step for given range is 12ms"},
		{"q=x&start=100&end=220&step=-5s", query.MetricsRequest{}, "step of -5s is too small"},
		{"q=x&start=100&end=220&step=fast", query.MetricsRequest{}, `cannot parse "fast" to a valid duration`},
		{"q=x&start=100&end=220&step=NaN", query.MetricsRequest{}, "out of range"},
		{"q=x&start=100&end=220&step=1e300", query.MetricsRequest{}, "out of range"},
		{"q=x&start=220&end=100", query.MetricsRequest{}, "end must be greater than start"},
		{"q=x&start=1&end=90000", query.MetricsRequest{}, "metrics query time range exceeds the maximum allowed duration of 24h0m0s"},
		{"q=x&exemplars=many", query.MetricsRequest{}, "invalid exemplars"},
		{"q=x&maxSeries=-1", query.MetricsRequest{}, "invalid maxSeries"},
		{"q=x&instant=maybe", query.MetricsRequest{}, "invalid instant"},
		{"q=x&start=x", query.MetricsRequest{}, "invalid start"},
		{"q=x&end=18446744073709551615", query.MetricsRequest{}, "invalid end"},
	}
	a := paramAPI()
	for _, tt := range tests {
		got, err := a.rangeParams(request(t, tt.raw))
		if tt.says != "" {
			require.ErrorContains(t, err, tt.says, tt.raw)
			require.Equal(t, 400, statusOf(err))
			continue
		}
		require.NoError(t, err, tt.raw)
		got.Client = ""
		require.Equal(t, tt.want, got, tt.raw)
	}
	got, err := a.instantParams(request(t, "q=x&since=5m&start=1&end=2"))
	require.NoError(t, err)
	require.Equal(t, (now-300)*s, got.StartNano)
	require.Equal(t, now*s, got.EndNano)
	require.True(t, got.Instant)

	p, err := a.protoRange(&tempopb.QueryRangeRequest{Query: "x", Start: 100 * s, End: 220 * s}, "me")
	require.NoError(t, err)
	require.Equal(t, query.MetricsRequest{Query: "x", StartNano: 100 * s, EndNano: 220 * s, Step: time.Second, Client: "me"}, p)
	_, err = a.protoRange(&tempopb.QueryRangeRequest{Query: "x", Step: 1 << 63}, "me")
	require.ErrorContains(t, err, "invalid step")
}

func TestTagParams(t *testing.T) {
	a := paramAPI()
	q, err := a.tagParams(request(t, "scope=none&limit=5000&q=%7B&start=10&end=20&maxStaleValues=3"))
	require.NoError(t, err)
	q.Client = ""
	require.Equal(t, query.TagNamesRequest{Query: "{", StartNano: 10e9, EndNano: 20e9, Limit: 5000}, q)
	for raw, says := range map[string]string{
		"scope=planet": "invalid scope: planet", // G-03
		"start=10":     "error parsing date range: only one of start and end",
		"end=10":       "error parsing date range: only one of start and end",
		"limit=x":      "invalid limit", "maxStaleValues=x": "invalid maxStaleValues",
	} {
		_, err := a.tagParams(request(t, raw))
		require.ErrorContains(t, err, says)
	}
	v, err := a.valueParams(request(t, "limit=3&tag=ignored&q=%7Bx"), "span.a")
	require.NoError(t, err)
	v.Client = ""
	require.Equal(t, query.TagValuesRequest{Name: "span.a", Query: "{x", StartNano: (now - 900) * 1e9, EndNano: (now + 1) * 1e9, Limit: 3}, v)
	_, err = a.valueParams(request(t, "end=3"), "span.a")
	require.ErrorContains(t, err, "error parsing date range")
}

func TestLogfmt(t *testing.T) {
	for in, want := range map[string]map[string]string{
		"":                        {},
		"  a=b  c=d ":             {"a": "b", "c": "d"},
		`a="x y" b="q\"q" c=`:     {"a": "x y", "b": `q"q`, "c": ""},
		"flag a=1":                {"flag": "", "a": "1"},
		"a=b=c":                   {"a": "b=c"},
		`http.url="/a?b=c&d" x=ü`: {"http.url": "/a?b=c&d", "x": "ü"},
	} {
		got, err := parseLogfmt(in)
		require.NoError(t, err, in)
		require.Equal(t, want, got, in)
	}
}

func FuzzLogfmt(f *testing.F) {
	f.Add(`a=b c="d e" f`)
	f.Add(`a="\x`)
	f.Fuzz(func(t *testing.T, s string) {
		tags, err := parseLogfmt(s)
		if err != nil {
			return
		}
		// Written out again, the tags are read as they were.
		var b strings.Builder
		for k, v := range tags {
			fmt.Fprintf(&b, "%s=%q ", k, v)
		}
		again, err := parseLogfmt(b.String())
		require.NoError(t, err)
		for k, v := range tags {
			require.Equal(t, strings.ToValidUTF8(v, "\uFFFD"), strings.ToValidUTF8(again[k], "\uFFFD"))
		}
	})
}

// FuzzParams: any parameters are a request within its limits or an error that says 400 or 413.
func FuzzParams(f *testing.F) {
	f.Add("q={}&start=1&end=2&limit=3&spss=4")
	f.Add("q=x&step=1e9&since=1w&exemplars=0")
	f.Add("tags=a%3D%22&minDuration=1h&scope=span")
	f.Add("start=1e308&end=-1&step=NaN&instant=T")
	a := paramAPI()
	f.Fuzz(func(t *testing.T, raw string) {
		r := &http.Request{URL: &url.URL{Path: "/x", RawQuery: raw}, Header: http.Header{}, RemoteAddr: "127.0.0.1:1"}
		check := func(err error) bool {
			if err != nil {
				require.Contains(t, []int{400, 413}, statusOf(err), "%v", err)
			}
			return err == nil
		}
		if q, err := a.searchParams(r); check(err) {
			require.Less(t, q.StartNano, q.EndNano)
			require.True(t, q.Limit > 0 && q.Limit <= maxLimit && q.SpansPerSpanSet > 0 && q.SpansPerSpanSet <= maxSPSS)
		}
		if q, err := a.rangeParams(r); check(err) && !q.Instant {
			require.LessOrEqual(t, q.StartNano, q.EndNano)
			require.Positive(t, q.Step)
			require.LessOrEqual(t, time.Duration(q.EndNano-q.StartNano)/q.Step, time.Duration(maxSamples))
		}
		_, err := a.instantParams(r)
		check(err)
		_, err = a.tagParams(r)
		check(err)
		_, err = a.valueParams(r, "x")
		check(err)
	})
}

package conformance

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/bramble-tracing/bramble/internal/tempopb"
)

// streamCases are section 2.
var streamCases = []testCase{
	{"Q-01", streamErrors},
	{"Q-02 Q-03 Q-05", streamSearch},
	{"Q-02 Q-04 Q-05 Q-07", streamMetrics},
	{"Q-02", streamTags},
	{"Q-06", messageSizes},
	{"Q-08", cancellation},
	{"Q-09", badTagName},
}

func (w *world) bounds() (start, end uint32) { return uint32(w.sec(0)), uint32(w.sec(time.Minute)) }

func streamErrors(t *testing.T, w *world) {
	start, end := w.bounds()
	c := w.client()
	expect := func(err error, says string) {
		t.Helper()
		require.Equal(t, codes.InvalidArgument, status.Code(err), "%v", err)
		require.ErrorContains(t, err, says)
	}
	for says, m := range map[string]*tempopb.SearchRequest{
		"invalid TraceQL query: parse error at line 1": {Query: "{ span.a = }"}, "spans per span set exceeds": {Query: "{}", SpansPerSpanSet: 101},
		"limit": {Query: "{}", Limit: 262145}, "start must be before end": {Query: "{}", Start: end, End: start}, "exceeds": {Query: "{}", Start: 1, End: end},
	} {
		s, err := c.Search(t.Context(), m)
		got, err := collect(t, s, err)
		require.Empty(t, got)
		expect(err, says)
	}
	r, err := c.MetricsQueryRange(t.Context(), &tempopb.QueryRangeRequest{Query: "{ status = error }"})
	_, err = collect(t, r, err)
	expect(err, "not a metrics query")
	i, err := c.MetricsQueryInstant(t.Context(), &tempopb.QueryInstantRequest{Query: "{"})
	_, err = collect(t, i, err)
	expect(err, "parse error at")
	g, err := c.SearchTagsV2(t.Context(), &tempopb.SearchTagsRequest{Scope: "parent"})
	_, err = collect(t, g, err)
	expect(err, "scope")
}

// streamSearch: what is told early stays: the final messages repeat it, word for word.
func streamSearch(t *testing.T, w *world) {
	start, end := w.bounds()
	ask := func(m *tempopb.SearchRequest) []*tempopb.SearchResponse {
		s, err := w.client().Search(t.Context(), m)
		got, err := collect(t, s, err)
		require.NoError(t, err)
		require.NotEmpty(t, got, "also an empty result is a message")
		for _, m := range got {
			require.NotNil(t, m.Metrics)
			require.Positive(t, m.GetMetrics().GetTotalJobs())
			require.LessOrEqual(t, m.GetMetrics().GetCompletedJobs(), m.GetMetrics().GetTotalJobs())
		}
		last := got[len(got)-1].GetMetrics()
		require.Equal(t, last.GetTotalJobs(), last.GetCompletedJobs())
		return got
	}
	require.Empty(t, ask(&tempopb.SearchRequest{Query: `{ name = "nothing" }`, Start: start, End: end})[0].GetTraces())
	for _, q := range []string{"{}", "{ status = error }", "{ kind = server } >> { kind = client }", "{ } | by(resource.service.name)"} {
		got := ask(&tempopb.SearchRequest{Query: q, Start: start, End: end, Limit: 100})
		var http tempopb.SearchResponse
		strict(t, w.Get(w.searchPath(q, "limit=100")).Body, &http)
		require.Equal(t, texts(&http), texts(got[len(got)-1]), "as over HTTP: %s", q)
	}
	if w.filled == 0 {
		return
	}
	// Thousands of traces, over hours, mostly in blocks: there is something to tell early.
	got := ask(&tempopb.SearchRequest{Query: "{}", Start: uint32(w.sec(-5 * time.Hour)), End: end, Limit: 100_000, SpansPerSpanSet: 1})
	told, final := map[string]string{}, map[string]string{}
	interim := 0
	for _, m := range got {
		done := m.GetMetrics().GetCompletedJobs() == m.GetMetrics().GetTotalJobs()
		into := told
		if done {
			into = final
		} else {
			interim++
		}
		for id, text := range texts(m) {
			require.NotContains(t, into, id, "once among the interim messages and once at the end")
			into[id] = text
		}
	}
	require.Positive(t, interim)
	require.NotEmpty(t, told)
	require.Greater(t, len(final), len(told))
	for id, text := range told {
		require.Equal(t, final[id], text, "the first version that Grafana sees is the last")
	}
}

// texts are traces by id.
func texts(m *tempopb.SearchResponse) map[string]string {
	out := map[string]string{}
	for _, tr := range m.GetTraces() {
		out[tr.GetTraceID()] = fmt.Sprint(tr)
	}
	return out
}

func streamMetrics(t *testing.T, w *world) {
	req := &tempopb.QueryRangeRequest{Query: `{ resource.service.name = "shop" } | count_over_time()`, Start: w.nano(0), End: w.nano(time.Minute), Step: 10e9}
	s, err := w.client().MetricsQueryRange(t.Context(), req)
	got, err := collect(t, s, err)
	require.NoError(t, err)
	last := got[len(got)-1]
	require.Equal(t, 3.0, sum(last))
	require.Equal(t, last.GetMetrics().GetTotalJobs(), last.GetMetrics().GetCompletedJobs())
	req.Step = 0 // The default for a minute: a second.
	s, err = w.client().MetricsQueryRange(t.Context(), req)
	got, err = collect(t, s, err)
	require.NoError(t, err)
	samples := got[len(got)-1].GetSeries()[0].GetSamples()
	require.EqualValues(t, 1000, samples[1].GetTimestampMs()-samples[0].GetTimestampMs())
	instant := true
	req.Instant = &instant
	s, err = w.client().MetricsQueryRange(t.Context(), req)
	got, err = collect(t, s, err)
	require.NoError(t, err)
	require.Len(t, got[len(got)-1].GetSeries()[0].GetSamples(), 1)

	i, err := w.client().MetricsQueryInstant(t.Context(), &tempopb.QueryInstantRequest{Query: req.GetQuery(), Start: req.GetStart(), End: req.GetEnd()})
	values, err := collect(t, i, err)
	require.NoError(t, err)
	require.Len(t, values, 1, "each message replaces the one before")
	require.Equal(t, 3.0, values[0].GetSeries()[0].GetValue())
	require.Positive(t, values[0].GetMetrics().GetTotalJobs())
}

func streamTags(t *testing.T, w *world) {
	start, end := w.bounds()
	c := w.client()
	a, err := c.SearchTags(t.Context(), &tempopb.SearchTagsRequest{Start: start, End: end})
	names, err := collect(t, a, err)
	require.NoError(t, err)
	require.Contains(t, names[len(names)-1].GetTagNames(), "http.method")
	b, err := c.SearchTagsV2(t.Context(), &tempopb.SearchTagsRequest{Start: start, End: end, Scope: "span", Query: `{ resource.service.name = "db" && `, MaxTagsPerScope: 5000})
	scopes, err := collect(t, b, err)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"db.system", "db.name", "http.status_code"}, scopes[len(scopes)-1].GetScopes()[0].GetTags())
	v, err := c.SearchTagValues(t.Context(), &tempopb.SearchTagValuesRequest{TagName: "http.method", Start: start, End: end})
	values, err := collect(t, v, err)
	require.NoError(t, err)
	require.Equal(t, []string{"GET", "HEAD"}, values[len(values)-1].GetTagValues())
	x, err := c.SearchTagValuesV2(t.Context(), &tempopb.SearchTagValuesRequest{TagName: "span.nothing", Start: start, End: end})
	typed, err := collect(t, x, err)
	require.NoError(t, err)
	require.NotEmpty(t, typed, "also an empty result is a message")
	require.Empty(t, typed[0].GetTagValues())
	require.Positive(t, typed[0].GetMetrics().GetTotalJobs())
}

func messageSizes(t *testing.T, w *world) {
	s, err := w.client().Search(t.Context(), &tempopb.SearchRequest{
		Query: "{ } | select(span.text)", Start: uint32(w.sec(-55 * time.Minute)), End: uint32(w.sec(-20 * time.Minute)), Limit: 1000,
	})
	got, err := collect(t, s, err)
	require.NoError(t, err)
	final, messages := 0, 0
	for _, m := range got {
		require.LessOrEqual(t, proto.Size(m), 2<<20)
		if m.GetMetrics().GetCompletedJobs() == m.GetMetrics().GetTotalJobs() {
			messages++
			final += len(m.GetTraces())
		}
	}
	require.Equal(t, bulk, final)
	require.Greater(t, messages, 1, "the answer has more than 3 MiB")
}

// cancellation: work for a client that has gone ends. The server's own gauge says when.
func cancellation(t *testing.T, w *world) {
	heavy := strings.Repeat(`{ name =~ ".*a.*b.*c.*" } >> `, 3) + "{ }"
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s, err := w.client().Search(ctx, &tempopb.SearchRequest{Query: heavy, Start: uint32(w.sec(-5 * time.Hour)), End: uint32(w.sec(time.Minute)), Limit: 100_000})
	require.NoError(t, err)
	cancel()
	_, err = s.Recv()
	require.Equal(t, codes.Canceled, status.Code(err))
	w.idle(t)
	require.Contains(t, string(w.Get("/ready").Body), "ready")
}

func badTagName(t *testing.T, w *world) {
	s, err := w.client().SearchTagValuesV2(t.Context(), &tempopb.SearchTagValuesRequest{TagName: "nonsense"})
	_, err = collect(t, s, err)
	require.Equal(t, codes.InvalidArgument, status.Code(err))
	require.ErrorContains(t, err, strings.TrimSpace(string(w.Get("/api/v2/search/tag/nonsense/values").Body)), "the same text as over HTTP")
}

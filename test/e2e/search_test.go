package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/bramble-tracing/bramble/internal/tempopb"
	"github.com/bramble-tracing/bramble/test/harness"
)

// found is the part of a search answer that the tests look at. It is decoded strictly, as Grafana does (C-06).
type found struct {
	Traces []struct {
		TraceID           string
		RootServiceName   string
		RootTraceName     string
		StartTimeUnixNano string
		DurationMs        int
		SpanSet           json.RawMessage
		SpanSets          []struct {
			Spans      []json.RawMessage
			Matched    int
			Attributes []json.RawMessage
		}
		ServiceStats map[string]struct{ SpanCount, ErrorCount int }
	}
	Metrics struct {
		InspectedTraces, TotalBlocks, CompletedJobs, TotalJobs, TotalBlockBytes any
		InspectedBytes, InspectedSpans                                          any
	}
}

// ids returns the ids of the traces, without leading zeros (C-21).
func (f found) ids() []string {
	ids := []string{}
	for _, tr := range f.Traces {
		ids = append(ids, strings.TrimLeft(tr.TraceID, "0"))
	}
	return ids
}

func search(t *testing.T, b *harness.Bramble, params string) found {
	t.Helper()
	r := b.Get("/api/search?" + params)
	require.Equal(t, http.StatusOK, r.Status, "%s: %s", params, r.Body)
	assert.Equal(t, "application/json", r.Header.Get("Content-Type"))
	var f found
	dec := json.NewDecoder(bytes.NewReader(r.Body))
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(&f), "%s: %s", params, r.Body)
	require.NotNil(t, f.Traces, "S-20: traces is there when nothing matches: %s", r.Body)
	return f
}

// shop sends three traces: of my-service (fast), of my-service and db (slow, with an error), and of another service.
// It returns their ids as search answers have them.
func shop(t *testing.T, b *harness.Bramble) (fast, slow, other string) {
	t.Helper()
	now := time.Now()
	send := func(age, took time.Duration, service, name string, more ...*tracepb.ResourceSpans) string {
		id := "1" + randomHex(t, 16)[1:]
		start := uint64(now.Add(-age).UnixNano())
		root := &tracepb.Span{
			TraceId: unhex(t, id), SpanId: unhex(t, randomHex(t, 8)), Name: name, Kind: tracepb.Span_SPAN_KIND_SERVER,
			StartTimeUnixNano: start, EndTimeUnixNano: start + uint64(took), Attributes: []*commonpb.KeyValue{kv("http.route", str("/api/catalog/*"))},
		}
		td := &tracepb.TracesData{ResourceSpans: append([]*tracepb.ResourceSpans{{
			Resource:   &resourcepb.Resource{Attributes: []*commonpb.KeyValue{kv("service.name", str(service))}},
			ScopeSpans: []*tracepb.ScopeSpans{{Spans: []*tracepb.Span{root}}},
		}}, more...)}
		for _, s := range harness.Spans(td)[1:] {
			s.TraceId, s.ParentSpanId, s.StartTimeUnixNano, s.EndTimeUnixNano = root.GetTraceId(), root.GetSpanId(), start, start+1000
		}
		sendGRPC(t, b, td)
		return id
	}
	fast = send(15*time.Second, 3*time.Millisecond, "my-service", "GET /fast")
	slow = send(10*time.Second, 1500*time.Millisecond, "my-service", "GET /slow", &tracepb.ResourceSpans{
		Resource: &resourcepb.Resource{Attributes: []*commonpb.KeyValue{kv("service.name", str("db"))}},
		ScopeSpans: []*tracepb.ScopeSpans{{Spans: []*tracepb.Span{{
			SpanId: unhex(t, randomHex(t, 8)), Name: "SELECT", Kind: tracepb.Span_SPAN_KIND_CLIENT, Status: &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR},
			Attributes: []*commonpb.KeyValue{kv("db.system", str("postgresql"))},
		}}}},
	})
	other = send(5*time.Second, 3*time.Millisecond, "backstage", "GET /")
	return fast, slow, other
}

// TestSearchByTags does what users type after their first span: /api/search?tags=service.name=… over HTTP, before and
// after a restart (S-02 to S-08, S-20 to S-33).
func TestSearchByTags(t *testing.T) {
	b := local(t)
	fast, slow, other := shop(t, b)
	check := func() {
		t.Helper()
		for _, c := range []struct {
			params string
			want   []string
		}{
			{"tags=service.name=my-service", []string{slow, fast}},
			{"tags=" + url.QueryEscape("service.name=my-service"), []string{slow, fast}},
			{"tags=" + url.QueryEscape(`service.name="my-service" name="GET /slow"`), []string{slow}},
			{"tags=service.name=my-", []string{slow, fast}}, // A part of a well-known attribute.
			{"tags=service.name=MY-SERVICE", []string{}},
			{"tags=service.name=db", []string{slow}},
			{"tags=db.system=postgresql", []string{slow}},
			{"tags=db.system=postgres", []string{}}, // The whole of any other.
			{"tags=status.code=error", []string{slow}},
			{"tags=error=true", []string{slow}},
			{"tags=service.name=nobody", []string{}},
			{"tags=service.name=my-service&minDuration=1s", []string{slow}},
			{"tags=service.name=my-service&maxDuration=1s", []string{fast}},
			{"tags=service.name=my-service&limit=1", []string{slow}},
			{"", []string{other, slow, fast}},
		} {
			assert.Equal(t, c.want, search(t, b, c.params).ids(), "%s", c.params)
		}
		for params, want := range map[string]string{
			"tags=a=b&q={}": "", "limit=0": "", "limit=x": "", "spss=101": "spans per span set exceeds",
			"start=20&end=10": "", "tags=a=1%20a=2": "",
		} {
			r := b.Get("/api/search?" + params)
			assert.Equal(t, http.StatusBadRequest, r.Status, "%s: %s", params, r.Body)
			assert.Contains(t, string(r.Body), want, "%s", params)
		}
	}
	check()
	one := search(t, b, "tags=db.system=postgresql").Traces[0]
	assert.Equal(t, "my-service", one.RootServiceName)
	assert.Equal(t, "GET /slow", one.RootTraceName)
	assert.Equal(t, 1500, one.DurationMs, "S-31")
	assert.Empty(t, one.SpanSets, "section 11, S-22: tags= searches have no spansets")
	assert.Empty(t, one.ServiceStats, "as recorded from Tempo, only TraceQL searches have them")
	b.Kill()
	b.Restart()
	check()
}

// TestTraceQL asks what set-up B's users type, over HTTP and gRPC.
func TestTraceQL(t *testing.T) {
	b := local(t)
	fast, slow, other := shop(t, b)
	conn := harness.Dial(t, b.QueryAddr())
	for query, want := range map[string][]string{
		`{resource.service.name="backstage"}`:          {other},
		`{duration > 1s}`:                              {slow},
		`{status = error}`:                             {slow},
		`{span.db.system = "postgresql"}`:              {slow},
		`{span.http.route = "/api/catalog/*"}`:         {other, slow, fast},
		`{resource.service.name="my-service"}`:         {slow, fast},
		`{name="GET /slow"} >> {kind=client}`:          {slow},
		`{} | count() > 1`:                             {slow},
		`{resource.service.name="nobody"}`:             {},
		`{.service.name="test-service" && status=ok}`:  {},
		`{resource.service.name=~"my.*|backstage"}`:    {other, slow, fast},
		`{rootServiceName="my-service" && status!=ok}`: {slow, fast},
	} {
		t.Run(query, func(t *testing.T) {
			f := search(t, b, "q="+url.QueryEscape(query))
			assert.ElementsMatch(t, want, f.ids())
			for _, tr := range f.Traces {
				require.NotEmpty(t, tr.SpanSets, "S-22")
				assert.Positive(t, tr.SpanSets[0].Matched, "S-23")
				if strings.TrimLeft(tr.TraceID, "0") == slow {
					assert.Equal(t, 1, tr.ServiceStats["db"].SpanCount, "S-32")
					assert.Equal(t, 1, tr.ServiceStats["db"].ErrorCount, "S-32")
					assert.Equal(t, 0, tr.ServiceStats["my-service"].ErrorCount, "S-32")
				}
			}

			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			now := time.Now().Unix()
			stream, err := tempopb.NewStreamingQuerierClient(conn).Search(ctx, &tempopb.SearchRequest{
				Query: query, Limit: 20, Start: uint32(now - 3600), End: uint32(now + 60),
			})
			require.NoError(t, err)
			var last *tempopb.SearchResponse
			for {
				m, err := stream.Recv()
				if err == io.EOF { //nolint:errorlint // As grpc documents it.
					break
				}
				require.NoError(t, err)
				last = m
			}
			require.NotNil(t, last, "Q-02: a last message")
			ids := []string{}
			for _, tr := range last.GetTraces() {
				ids = append(ids, strings.TrimLeft(tr.GetTraceID(), "0"))
			}
			assert.ElementsMatch(t, want, ids, "over gRPC")
		})
	}
	r := b.Get("/api/search?q=" + url.QueryEscape("{ nonsense"))
	assert.Equal(t, http.StatusBadRequest, r.Status)
	assert.Contains(t, string(r.Body), "invalid TraceQL query:", "S-01")
}

// TestTagsAndValues asks for what Grafana offers while a user types.
func TestTagsAndValues(t *testing.T) {
	b := local(t)
	shop(t, b)
	var names struct{ TagNames []string }
	r := b.Get("/api/search/tags")
	require.Equal(t, http.StatusOK, r.Status, "%s", r.Body)
	require.NoError(t, json.Unmarshal(r.Body, &names))
	assert.Subset(t, names.TagNames, []string{"service.name", "http.route", "db.system"}, "G-01")

	var scopes struct {
		Scopes []struct {
			Name string
			Tags []string
		}
	}
	r = b.Get("/api/v2/search/tags")
	require.Equal(t, http.StatusOK, r.Status, "%s", r.Body)
	require.NoError(t, json.Unmarshal(r.Body, &scopes))
	byScope := map[string][]string{}
	for _, s := range scopes.Scopes {
		byScope[s.Name] = s.Tags
	}
	assert.Equal(t, []string{"service.name"}, byScope["resource"], "G-02")
	assert.ElementsMatch(t, []string{"http.route", "db.system"}, byScope["span"], "G-02")
	assert.Contains(t, byScope["intrinsic"], "duration", "G-04")

	var values struct {
		TagValues []struct{ Type, Value string }
	}
	r = b.Get("/api/v2/search/tag/resource.service.name/values")
	require.Equal(t, http.StatusOK, r.Status, "%s", r.Body)
	require.NoError(t, json.Unmarshal(r.Body, &values))
	var got []string
	for _, v := range values.TagValues {
		assert.Equal(t, "string", v.Type, "V-05")
		got = append(got, v.Value)
	}
	assert.ElementsMatch(t, []string{"backstage", "db", "my-service"}, got, "V-02")
}

// TestMetricsQuery counts spans over time, as Grafana's panels do.
func TestMetricsQuery(t *testing.T) {
	b := local(t)
	shop(t, b)
	now := time.Now().Unix()
	r := b.Get(fmt.Sprintf("/api/metrics/query_range?q=%s&start=%d&end=%d&step=60s",
		url.QueryEscape(`{} | count_over_time() by (resource.service.name)`), now-600, now+60))
	require.Equal(t, http.StatusOK, r.Status, "%s", r.Body)
	var answer struct {
		Series []struct {
			Labels []struct {
				Key   string
				Value struct{ StringValue string }
			}
			Samples []struct{ Value float64 }
		}
	}
	require.NoError(t, json.Unmarshal(r.Body, &answer), "%s", r.Body)
	got := map[string]float64{}
	for _, s := range answer.Series {
		require.Len(t, s.Labels, 1)
		for _, v := range s.Samples {
			got[s.Labels[0].Value.StringValue] += v.Value
		}
	}
	assert.Equal(t, map[string]float64{"my-service": 2, "db": 1, "backstage": 1}, got)
}

package conformance

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/bramble-tracing/bramble/test/harness"
)

// jaegerCases are those of section 8. Each starts a binary of its own.
var jaegerCases = []testCase{
	{"J-01 J-02 J-03 J-04 J-05 J-06 J-07", jaegerLegacy},
	{"J-22 J-23 J-24 J-25 J-26", jaegerV3HTTP},
	{"J-20 J-21 J-22", jaegerV3GRPC},
	{"J-20", jaegerLargeTrace},
}

// jaegerShop is a binary with three traces, and what they are made of.
type jaegerShop struct {
	*harness.Bramble
	begin time.Time // Start of the first span, in whole microseconds; everything is within the next minute.
}

// Ids of the traces, and of spans by what they do.
const (
	cartTrace  = "0000000000000000000000000000ca27"
	slowTrace  = "5107000000000000000000000000ca27"
	otherTrace = "07e1000000000000000000000000ca27"
	cartSpan   = "00000000000000a1"
	callSpan   = "00000000000000a2"
	stockSpan  = "00000000000000a3"
)

func attribute(key string, v any) *commonpb.KeyValue {
	value := &commonpb.AnyValue{}
	switch v := v.(type) {
	case string:
		value.Value = &commonpb.AnyValue_StringValue{StringValue: v}
	case int64:
		value.Value = &commonpb.AnyValue_IntValue{IntValue: v}
	case float64:
		value.Value = &commonpb.AnyValue_DoubleValue{DoubleValue: v}
	case bool:
		value.Value = &commonpb.AnyValue_BoolValue{BoolValue: v}
	case []byte:
		value.Value = &commonpb.AnyValue_BytesValue{BytesValue: v}
	case []string:
		array := &commonpb.ArrayValue{}
		for _, s := range v {
			array.Values = append(array.Values, attribute("", s).Value)
		}
		value.Value = &commonpb.AnyValue_ArrayValue{ArrayValue: array}
	}
	return &commonpb.KeyValue{Key: key, Value: value}
}

func fromHex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

// ofService is a ResourceSpans of a service.
func ofService(name string, scope *commonpb.InstrumentationScope, spans ...*tracepb.Span) *tracepb.ResourceSpans {
	return &tracepb.ResourceSpans{
		Resource:   &resourcepb.Resource{Attributes: []*commonpb.KeyValue{attribute("service.name", name), attribute("team", "shop")}},
		ScopeSpans: []*tracepb.ScopeSpans{{Scope: scope, Spans: spans}},
	}
}

// startJaegerShop starts the binary and sends a trace of two services with everything that Jaeger's model knows, a slow
// one, and one of another service.
func startJaegerShop(t *testing.T) jaegerShop {
	t.Helper()
	s := jaegerShop{
		Bramble: harness.Start(t, harness.Config{
			Files: []string{"config/local.yaml"}, Overlay: harness.Set("processors::pii::mode", "report"), // What is sent shall come back.
		}),
		begin: time.Now().Add(-time.Minute).Truncate(time.Second),
	}
	at := func(d time.Duration) uint64 { return uint64(s.begin.Add(d).UnixNano()) }
	span := func(trace, id, parent, name string, kind tracepb.Span_SpanKind, from, to time.Duration) *tracepb.Span {
		return &tracepb.Span{TraceId: fromHex(t, trace), SpanId: fromHex(t, id), ParentSpanId: fromHex(t, parent), Name: name, Kind: kind, StartTimeUnixNano: at(from), EndTimeUnixNano: at(to)}
	}
	cart := span(cartTrace, cartSpan, "", "GET /cart", tracepb.Span_SPAN_KIND_SERVER, 0, 2500*time.Microsecond)
	cart.TraceState = "vendor=1"
	cart.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: "out of stock"}
	cart.Attributes = []*commonpb.KeyValue{
		attribute("http.method", "GET"), attribute("http.status_code", int64(500)), attribute("big", int64(9007199254740993)), attribute("ratio", 0.5),
		attribute("cached", false), attribute("raw", []byte{0, 255}), attribute("list", []string{"a", "b"}), attribute("a \"quoted\" key", "x"),
	}
	cart.Events = []*tracepb.Span_Event{{TimeUnixNano: at(7 * time.Microsecond), Name: "cache miss", Attributes: []*commonpb.KeyValue{attribute("cache.key", "cart:7")}}}
	cart.Links = []*tracepb.Span_Link{{TraceId: fromHex(t, otherTrace), SpanId: fromHex(t, "00000000000000c1")}}
	call := span(cartTrace, callSpan, cartSpan, "call stock", tracepb.Span_SPAN_KIND_CLIENT, 100*time.Microsecond, 2*time.Millisecond)
	stock := span(cartTrace, stockSpan, callSpan, "Reserve", tracepb.Span_SPAN_KIND_SERVER, 200*time.Microsecond, 1900*time.Microsecond)
	stock.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_OK}
	orphan := span(cartTrace, "00000000000000a4", "00000000000000ff", "late", tracepb.Span_SPAN_KIND_INTERNAL, 300*time.Microsecond, 400*time.Microsecond)
	slow := span(slowTrace, "00000000000000b1", "", "GET /cart", tracepb.Span_SPAN_KIND_SERVER, 10*time.Second, 13*time.Second)
	other := span(otherTrace, "00000000000000c1", "", "tick", tracepb.Span_SPAN_KIND_UNSPECIFIED, 20*time.Second, 20*time.Second+time.Millisecond)
	scope := &commonpb.InstrumentationScope{Name: "lib", Version: "1.2"}
	_, err := coltracepb.NewTraceServiceClient(harness.Dial(t, s.GRPC())).Export(t.Context(), &coltracepb.ExportTraceServiceRequest{
		ResourceSpans: []*tracepb.ResourceSpans{
			ofService("frontend", scope, cart, call, slow), ofService("stock/eu", nil, stock, orphan), ofService("cron", nil, other),
		},
	})
	require.NoError(t, err)
	return s
}

// jaegerLarge is the id of what sendLarge sends.
const jaegerLarge = "1a96e000000000000000000000000001"

// sendLarge sends a trace of n spans with an attribute of some bytes each.
func (s jaegerShop) sendLarge(t *testing.T, n, bytes int) {
	t.Helper()
	var spans []*tracepb.Span
	for i := range n {
		spans = append(spans, &tracepb.Span{
			TraceId: fromHex(t, jaegerLarge), SpanId: fromHex(t, fmt.Sprintf("%016x", i+1)), Name: "large",
			StartTimeUnixNano: uint64(s.begin.UnixNano()), EndTimeUnixNano: uint64(s.begin.UnixNano()) + 1,
			Attributes: []*commonpb.KeyValue{attribute("payload", strings.Repeat("x", bytes))},
		})
	}
	_, err := coltracepb.NewTraceServiceClient(harness.Dial(t, s.GRPC())).Export(t.Context(), &coltracepb.ExportTraceServiceRequest{
		ResourceSpans: []*tracepb.ResourceSpans{ofService("large", nil, spans...)},
	})
	require.NoError(t, err)
}

func hexOf(b []byte) string { return hex.EncodeToString(b) }

// ask gets a path of Jaeger's HTTP port with parameters, which are pairs of a name and a value.
func (s jaegerShop) ask(t *testing.T, path string, params ...string) harness.Reply {
	t.Helper()
	q := url.Values{}
	for i := 0; i+1 < len(params); i += 2 {
		q.Add(params[i], params[i+1])
	}
	r := s.Do(http.MethodGet, "http://"+s.Addr("extensions::trace_query::jaeger::http")+path+"?"+q.Encode(), http.NoBody)
	assert.Equal(t, "application/json", r.Header.Get("Content-Type"))
	return r
}

// decodeStrictly decodes JSON and refuses fields that the client does not know.
func decodeStrictly(t *testing.T, body []byte, into any) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(into), "%s", body)
	require.False(t, dec.More(), "%s", body)
}

// envelope is J-01.
type envelope[T any] struct {
	Data                 T
	Total, Limit, Offset *int
	Errors               []struct {
		Code         int
		Msg, TraceID string
	}
}

// legacy asks for a list in the envelope of J-01.
func legacy[T any](t *testing.T, s jaegerShop, path string, params ...string) []T {
	t.Helper()
	r := s.ask(t, path, params...)
	require.Equal(t, http.StatusOK, r.Status, "%s", r.Body)
	var e envelope[[]T]
	decodeStrictly(t, r.Body, &e)
	require.NotNil(t, e.Data, "clients expect a list: %s", r.Body)
	require.Equal(t, len(e.Data), *e.Total)
	require.Zero(t, *e.Limit)
	require.Zero(t, *e.Offset)
	require.Contains(t, string(r.Body), `"errors":null`)
	return e.Data
}

// Jaeger's model as clients of the legacy API have it (J-02).
type (
	legacyTag struct {
		Key, Type string
		Value     any
	}
	legacyTrace struct {
		TraceID string
		Spans   []struct {
			TraceID, SpanID, OperationName, ProcessID string
			References                                []struct{ RefType, TraceID, SpanID string }
			StartTime, Duration                       int64
			Tags                                      []legacyTag
			Logs                                      []struct {
				Timestamp int64
				Fields    []legacyTag
			}
			Warnings []string
		}
		Processes map[string]struct {
			ServiceName string
			Tags        []legacyTag
		}
		Warnings []string
	}
)

func jaegerIDs(traces []legacyTrace) []string {
	out := make([]string, len(traces))
	for i, t := range traces {
		out[i] = t.TraceID
	}
	return out
}

func tagMap(list []legacyTag) map[string]legacyTag {
	out := map[string]legacyTag{}
	for _, tag := range list {
		out[tag.Key] = tag
	}
	return out
}

// jaegerLegacy is J-01 to J-07 against one binary.
func jaegerLegacy(t *testing.T, _ *world) {
	s := startJaegerShop(t)
	window := []string{"start", strconv.FormatInt(s.begin.Add(-time.Hour).UnixMicro(), 10), "end", strconv.FormatInt(s.begin.Add(time.Hour).UnixMicro(), 10)}

	t.Run("J-01 errors", func(t *testing.T) {
		for _, c := range []struct {
			path   string
			params []string
			code   int
			msg    string
		}{
			{"/api/traces/abad1dea", nil, 404, "trace not found"},
			{"/api/traces/xyz", nil, 400, "'x'"},
			{"/api/traces", nil, 400, "parameter 'service' is required"},
			{"/api/operations", nil, 400, "parameter 'service' is required"},
			{"/api/traces", []string{"service", "a", "start", "yesterday"}, 400, "'start'"},
			{"/api/traces", []string{"service", "a", "end", "-1"}, 400, "'end'"},
			{"/api/traces", []string{"service", "a", "start", "2000000", "end", "1000000"}, 400, "must be after its start"},
			{"/api/traces", []string{"service", "a", "start", "1"}, 400, "longer than the limit"},
			{"/api/traces", []string{"service", "a", "limit", "many"}, 400, "'limit'"},
			{"/api/traces", []string{"service", "a", "limit", "0"}, 400, "between 1 and"},
			{"/api/traces", []string{"service", "a", "minDuration", "5"}, 400, "'minDuration'"},
			{"/api/traces", []string{"service", "a", "minDuration", "5s", "maxDuration", "1s"}, 400, "minimum duration"},
			{"/api/traces", []string{"service", "a", "tags", "[1]"}, 400, "'tags'"},
			{"/api/traces", []string{"service", "a", "tags", `{"a":{}}`}, 400, "not a string"},
			{"/api/traces", []string{"service", "a", "tag", "novalue"}, 400, "key:value"},
			{"/api/traces", []string{"traceID", "xyz"}, 400, "'traceID'"},
			{"/api/operations", []string{"service", "a", "spanKind", "odd"}, 400, `"odd"`},
			{"/api/dependencies", []string{"lookback", "x"}, 400, "'lookback'"},
			{"/api/nothing", nil, 404, "no such endpoint"},
		} {
			r := s.ask(t, c.path, c.params...)
			assert.Equal(t, c.code, r.Status, "%s %q: %s", c.path, c.params, r.Body)
			var e envelope[any]
			decodeStrictly(t, r.Body, &e)
			assert.Nil(t, e.Data)
			require.Len(t, e.Errors, 1, "%s", r.Body)
			assert.Equal(t, c.code, e.Errors[0].Code)
			assert.Contains(t, e.Errors[0].Msg, c.msg)
		}
	})

	t.Run("J-02 J-03 a trace", func(t *testing.T) {
		for _, id := range []string{cartTrace, "ca27"} {
			list := legacy[legacyTrace](t, s, "/api/traces/"+id)
			require.Len(t, list, 1)
			s.checkCart(t, list[0])
		}
	})

	t.Run("J-04 searches", func(t *testing.T) {
		for _, c := range []struct {
			params []string
			want   []string // newest first
		}{
			{[]string{"service", "frontend"}, []string{slowTrace, cartTrace}},
			{[]string{"service", "frontend", "limit", "1"}, []string{slowTrace}},
			{[]string{"service", "stock/eu"}, []string{cartTrace}},
			{[]string{"service", "nobody"}, []string{}},
			{[]string{"service", "frontend", "operation", "call stock"}, []string{cartTrace}},
			{[]string{"service", "frontend", "minDuration", "1s"}, []string{slowTrace}},
			{[]string{"service", "frontend", "maxDuration", "2.5ms"}, []string{cartTrace}},
			{[]string{"service", "frontend", "minDuration", "2.5ms", "maxDuration", "2500us"}, []string{cartTrace}},
			{[]string{"service", "frontend", "tags", `{"http.method":"GET","http.status_code":"500"}`}, []string{cartTrace}},
			{[]string{"service", "frontend", "tags", `{"http.method":"GET","http.status_code":"404"}`}, []string{}},
			{[]string{"service", "frontend", "tag", "http.method:GET", "tag", "cached:false"}, []string{cartTrace}},
			{[]string{"service", "frontend", "tag", "ratio:0.5"}, []string{cartTrace}},
			{[]string{"service", "frontend", "tags", `{"error":"true"}`}, []string{cartTrace}},
			{[]string{"service", "frontend", "tags", `{"error":true}`}, []string{cartTrace}},
			{[]string{"service", "stock/eu", "tags", `{"error":"true"}`}, []string{}}, // All conditions are about one span.
			{[]string{"service", "frontend", "tag", "span.kind:client"}, []string{cartTrace}},
			{[]string{"service", "frontend", "tag", "otel.status_code:ERROR"}, []string{cartTrace}},
			{[]string{"service", "frontend", "tag", "otel.status_description:out of stock"}, []string{cartTrace}},
			{[]string{"service", "frontend", "tag", "otel.scope.name:lib", "minDuration", "1s"}, []string{slowTrace}},
			{[]string{"service", "frontend", "tag", "team:shop"}, []string{slowTrace, cartTrace}},
			{[]string{"service", "frontend", "tag", "cache.key:cart:7"}, []string{cartTrace}},
			{[]string{"service", "frontend", "tag", "event:cache miss"}, []string{cartTrace}},
			{[]string{"service", "frontend", "tags", `{"a \"quoted\" key":"x"}`}, []string{cartTrace}},
			{[]string{"service", "frontend", "tags", `{"http.method":"\" || true || \""}`}, []string{}}, // No way out of the quotes.
			{[]string{"traceID", cartTrace, "traceID", otherTrace}, []string{cartTrace, otherTrace}},
		} {
			list := legacy[legacyTrace](t, s, "/api/traces", append(window, c.params...)...)
			assert.Equal(t, c.want, jaegerIDs(list), "%q", c.params)
		}
		assert.Equal(t, []string{slowTrace, cartTrace}, jaegerIDs(legacy[legacyTrace](t, s, "/api/traces", "service", "frontend")), "without a window: the last two days")
		s.checkCart(t, legacy[legacyTrace](t, s, "/api/traces", append(window, "service", "stock/eu")...)[0])
		early := []string{"start", "1", "end", "2", "service", "frontend"}
		assert.Empty(t, legacy[legacyTrace](t, s, "/api/traces", early...), "outside of the window")

		r := s.ask(t, "/api/traces", "traceID", cartTrace, "traceID", "abad1dea")
		require.Equal(t, http.StatusOK, r.Status)
		var e envelope[[]legacyTrace]
		decodeStrictly(t, r.Body, &e)
		assert.Equal(t, []string{cartTrace}, jaegerIDs(e.Data))
		require.Len(t, e.Errors, 1)
		assert.Equal(t, 404, e.Errors[0].Code)
		assert.Equal(t, "000000000000000000000000abad1dea", e.Errors[0].TraceID)
	})

	t.Run("J-05 names", func(t *testing.T) {
		assert.Equal(t, []string{"cron", "frontend", "stock/eu"}, legacy[string](t, s, "/api/services"))
		assert.Equal(t, []string{"GET /cart", "call stock"}, legacy[string](t, s, "/api/services/frontend/operations"))
		assert.Equal(t, []string{"Reserve", "late"}, legacy[string](t, s, "/api/services/stock%2Feu/operations"))
		assert.Empty(t, legacy[string](t, s, "/api/services/nobody/operations"))
		type operation struct{ Name, SpanKind string }
		assert.Equal(t, []operation{{"GET /cart", "server"}, {"call stock", "client"}}, legacy[operation](t, s, "/api/operations", "service", "frontend"))
		assert.Equal(t, []operation{{"call stock", "client"}}, legacy[operation](t, s, "/api/operations", "service", "frontend", "spanKind", "client"))
	})

	t.Run("J-06 dependencies", func(t *testing.T) {
		type dependency struct {
			Parent, Child string
			CallCount     int
		}
		end := strconv.FormatInt(s.begin.Add(time.Hour).UnixMilli(), 10)
		want := []dependency{{"frontend", "stock/eu", 1}}
		assert.Equal(t, want, legacy[dependency](t, s, "/api/dependencies", "endTs", end, "lookback", "7200000"))
		assert.Equal(t, want, legacy[dependency](t, s, "/api/dependencies"), "the last day")
		assert.Empty(t, legacy[dependency](t, s, "/api/dependencies", "endTs", "1000", "lookback", "1000"))
	})

	t.Run("J-07 metrics and what else is not there", func(t *testing.T) {
		for _, path := range []string{"/api/metrics/latencies", "/api/metrics/calls", "/api/metrics/errors", "/api/quality-metrics", "/analytics/v1/dependencies"} {
			r := s.ask(t, path)
			assert.Equal(t, http.StatusNotImplemented, r.Status, path)
			var e envelope[any]
			decodeStrictly(t, r.Body, &e)
			require.Len(t, e.Errors, 1)
			assert.Equal(t, http.StatusNotImplemented, e.Errors[0].Code)
		}
	})

	t.Run("transform", func(t *testing.T) {
		r := s.ask(t, "/api/v3/traces/"+cartTrace)
		require.Equal(t, http.StatusOK, r.Status)
		var v3 struct{ Result json.RawMessage }
		decodeStrictly(t, r.Body, &v3)
		address := "http://" + s.Addr("extensions::trace_query::jaeger::http") + "/api/transform"
		r = s.Do(http.MethodPost, address, bytes.NewReader(v3.Result))
		require.Equal(t, http.StatusOK, r.Status, "%s", r.Body)
		var e envelope[[]legacyTrace]
		decodeStrictly(t, r.Body, &e)
		require.Len(t, e.Data, 1)
		s.checkCart(t, e.Data[0])
		assert.Equal(t, http.StatusBadRequest, s.Do(http.MethodPost, address, bytes.NewReader([]byte("{"))).Status)
	})
	assert.True(t, s.Running())
}

// checkCart compares the answer for cartTrace with what was sent.
func (s jaegerShop) checkCart(t *testing.T, got legacyTrace) {
	t.Helper()
	assert.Equal(t, cartTrace, got.TraceID)
	require.Len(t, got.Spans, 4)
	require.Len(t, got.Processes, 2)
	for _, span := range got.Spans {
		assert.Equal(t, cartTrace, span.TraceID)
		process := got.Processes[span.ProcessID]
		service := "frontend"
		if span.OperationName == "Reserve" || span.OperationName == "late" {
			service = "stock/eu"
		}
		assert.Equal(t, service, process.ServiceName)
		assert.Equal(t, []legacyTag{{"team", "string", "shop"}}, process.Tags)
		switch span.OperationName {
		case "GET /cart":
			assert.Equal(t, cartSpan, span.SpanID)
			assert.Equal(t, s.begin.UnixMicro(), span.StartTime)
			assert.EqualValues(t, 2500, span.Duration)
			assert.Equal(t, map[string]legacyTag{
				"http.method": {"http.method", "string", "GET"}, "http.status_code": {"http.status_code", "int64", 500.0},
				"big": {"big", "int64", "9007199254740993"}, "ratio": {"ratio", "float64", 0.5}, "cached": {"cached", "bool", false},
				"raw": {"raw", "binary", "AP8="}, "list": {"list", "string", `["a","b"]`}, "a \"quoted\" key": {"a \"quoted\" key", "string", "x"},
				"span.kind": {"span.kind", "string", "server"}, "error": {"error", "bool", true},
				"otel.status_code": {"otel.status_code", "string", "ERROR"}, "otel.status_description": {"otel.status_description", "string", "out of stock"},
				"otel.scope.name": {"otel.scope.name", "string", "lib"}, "otel.scope.version": {"otel.scope.version", "string", "1.2"},
				"w3c.tracestate": {"w3c.tracestate", "string", "vendor=1"},
			}, tagMap(span.Tags))
			require.Len(t, span.Logs, 1)
			assert.Equal(t, s.begin.UnixMicro()+7, span.Logs[0].Timestamp)
			assert.Equal(t, []legacyTag{{"event", "string", "cache miss"}, {"cache.key", "string", "cart:7"}}, span.Logs[0].Fields)
			require.Len(t, span.References, 1)
			assert.Equal(t, "FOLLOWS_FROM "+otherTrace+" 00000000000000c1", fmt.Sprint(span.References[0].RefType, " ", span.References[0].TraceID, " ", span.References[0].SpanID))
		case "call stock":
			require.Len(t, span.References, 1)
			assert.Equal(t, "CHILD_OF "+cartTrace+" "+cartSpan, fmt.Sprint(span.References[0].RefType, " ", span.References[0].TraceID, " ", span.References[0].SpanID))
			assert.Equal(t, "client", tagMap(span.Tags)["span.kind"].Value)
			assert.NotContains(t, tagMap(span.Tags), "error")
		case "Reserve":
			assert.Equal(t, "OK", tagMap(span.Tags)["otel.status_code"].Value)
		case "late":
			assert.Empty(t, span.Logs)
		default:
			t.Errorf("a span that was not sent: %s", span.OperationName)
		}
	}
}

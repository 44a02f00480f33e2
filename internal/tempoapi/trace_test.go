package tempoapi

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tempopb"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

// TestNotFound holds the answers for a trace that is not there to the byte.
func TestNotFound(t *testing.T) {
	a := newAPI(t, query.Limits{}, one())
	v2 := "/api/v2/traces/abad1dea"

	r := get(t, a, v2, "Accept", protobuf) // T-02
	require.Equal(t, http.StatusOK, r.StatusCode)
	require.Equal(t, protobuf, r.Header.Get("Content-Type"))
	require.Equal(t, "\x0a\x00\x12\x00", body(t, r))

	r = get(t, a, v2)
	require.Equal(t, http.StatusOK, r.StatusCode)
	require.Equal(t, "application/json", r.Header.Get("Content-Type"))
	require.Equal(t, `{"trace":{},"metrics":{}}`, body(t, r)) //nolint:testifylint // To the byte.

	for _, accept := range []string{"", protobuf, "application/json"} { // T-04
		r = get(t, a, "/api/traces/abad1dea", "Accept", accept)
		require.Equal(t, http.StatusNotFound, r.StatusCode)
		require.Empty(t, body(t, r))
	}
}

// oneJSON is the span of one() with every field, ids in base64 (C-23), 64-bit numbers as strings, enums by name (C-05).
const oneJSON = `[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}],"droppedAttributesCount":3,` +
	`"entityRefs":[{"type":"host","idKeys":["id"]}]},"scopeSpans":[{"scope":{"name":"lib","version":"1.0",` +
	`"attributes":[{"key":"s","value":{"boolValue":true}}],"droppedAttributesCount":4},"spans":[{"traceId":"fwAAAAAAAAAAAAAAAAAAKg==",` +
	`"spanId":"AAAAAAAAAKE=","traceState":"a=b","parentSpanId":"AAAAAAAAAKA=","name":"GET /x","kind":"SPAN_KIND_SERVER",` +
	`"startTimeUnixNano":"1700000000000000001","endTimeUnixNano":"1700000000000000002","attributes":[` +
	`{"key":"string","value":{"stringValue":""}},{"key":"int","value":{"intValue":"-9007199254740993"}},` +
	`{"key":"float","value":{"doubleValue":0.5}},{"key":"bool","value":{"boolValue":false}},{"key":"bytes","value":{"bytesValue":"AP8="}},` +
	`{"key":"empty","value":{}},{"key":"array","value":{"arrayValue":{"values":[{"stringValue":"a"},{"intValue":"1"},{"arrayValue":{}}]}}},` +
	`{"key":"map","value":{"kvlistValue":{"values":[{"key":"k","value":{"kvlistValue":{}}}]}}}],"droppedAttributesCount":7,` +
	`"events":[{"timeUnixNano":"3","name":"e","attributes":[{"key":"x","value":{"intValue":"0"}}],"droppedAttributesCount":5}],` +
	`"droppedEventsCount":8,"links":[{"traceId":"AAAAAAAAAAAAAAAAAAAAAQ==","spanId":"AAAAAAAAAAI=","traceState":"c=d",` +
	`"attributes":[{"key":"y","value":{"stringValue":"z"}}],"droppedAttributesCount":6,"flags":1}],"droppedLinksCount":9,` +
	`"status":{"message":"bad \u003cthing\u003e","code":"STATUS_CODE_ERROR"},"flags":257}],"schemaUrl":"https://example.com/s"}],` +
	`"schemaUrl":"https://example.com/r"}]`

func TestTraceJSON(t *testing.T) {
	a := newAPI(t, query.Limits{}, one())
	v2 := body(t, get(t, a, onePath))
	require.Regexp(t, `"metrics":\{("inspectedBytes":"\d+")?\}\}$`, v2)
	require.Equal(t, `{"trace":{"resourceSpans":`+oneJSON+`}`, v2[:strings.LastIndex(v2, `,"metrics"`)])    //nolint:testifylint // T-01, T-03: to the byte.
	require.Equal(t, `{"batches":`+oneJSON+`}`, body(t, get(t, a, strings.Replace(onePath, "/v2", "", 1)))) //nolint:testifylint // T-04: to the byte.
}

func TestTraceProto(t *testing.T) {
	a := newAPI(t, query.Limits{}, one())
	want, err := otlpspan.AppendProto(nil, one())
	require.NoError(t, err)
	r := get(t, a, strings.Replace(onePath, "/v2", "", 1), "Accept", protobuf) // T-04: a bare Trace.
	require.Equal(t, protobuf, r.Header.Get("Content-Type"))
	require.Equal(t, string(want), body(t, r))

	var v2 tempopb.TraceByIDResponse // T-01
	require.NoError(t, proto.Unmarshal([]byte(body(t, get(t, a, onePath, "Accept", protobuf))), &v2))
	var trace tempopb.Trace
	require.NoError(t, proto.Unmarshal(want, &trace))
	require.True(t, proto.Equal(&trace, v2.GetTrace()))
	require.NotNil(t, v2.GetMetrics())
	require.Equal(t, tempopb.PartialStatus_COMPLETE, v2.GetStatus())
	require.Empty(t, v2.ProtoReflect().GetUnknown())
}

// TestNilSafety: what Grafana's converter reads without looking is always there (T-06), and no resource is without
// attributes (T-07).
func TestNilSafety(t *testing.T) {
	bare := &store.Batch{Resources: make([]store.Resource, 1), Scopes: make([]store.Scope, 1), Spans: []store.Span{{TraceID: oneID}}}
	a := newAPI(t, query.Limits{}, bare)
	var r tempopb.TraceByIDResponse
	require.NoError(t, proto.Unmarshal([]byte(body(t, get(t, a, onePath, "Accept", protobuf))), &r))
	rs := r.GetTrace().GetResourceSpans()
	require.Len(t, rs, 1)
	require.NotNil(t, rs[0].Resource)
	require.Equal(t, "service.name", rs[0].Resource.Attributes[0].Key)
	require.Equal(t, "unknown_service", rs[0].Resource.Attributes[0].Value.GetStringValue())
	require.NotNil(t, rs[0].ScopeSpans[0].Scope)
	require.NotNil(t, rs[0].ScopeSpans[0].Spans[0].Status)

	json := body(t, get(t, a, onePath))
	require.Contains(t, json, `"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"unknown_service"}}]}`)
	require.Contains(t, json, `"scope":{}`)
	require.Contains(t, json, `"status":{}`)
	require.Empty(t, bare.Resources[0].Attrs, "the store's rows are not changed")
}

// TestPartial: v2 answers with what fits and says so, v1 with 422 (T-03, T-04).
func TestPartial(t *testing.T) {
	big := one()
	for i := range 20 {
		s := big.Spans[0]
		s.SpanID[0] = byte(i + 1)
		big.Spans = append(big.Spans, s)
	}
	a := newAPI(t, query.Limits{MaxTraceBytes: 1000}, big)
	var v2 struct {
		Trace struct {
			ResourceSpans []struct{ ScopeSpans []struct{ Spans []any } }
		}
		Status, Message string
	}
	require.NoError(t, json.Unmarshal([]byte(body(t, get(t, a, onePath))), &v2))
	require.Equal(t, "PARTIAL", v2.Status)
	require.NotEmpty(t, v2.Message)
	require.Less(t, len(v2.Trace.ResourceSpans[0].ScopeSpans[0].Spans), 21)
	require.NotEmpty(t, v2.Trace.ResourceSpans[0].ScopeSpans[0].Spans)

	var p tempopb.TraceByIDResponse
	require.NoError(t, proto.Unmarshal([]byte(body(t, get(t, a, onePath, "Accept", protobuf))), &p))
	require.Equal(t, tempopb.PartialStatus_PARTIAL, p.GetStatus())
	require.Equal(t, v2.Message, p.GetMessage())

	r := get(t, a, strings.Replace(onePath, "/v2", "", 1))
	require.Equal(t, http.StatusUnprocessableEntity, r.StatusCode)
	require.Contains(t, body(t, r), v2.Message)
}

// TestTraceParameters covers ids (C-20), T-05, formats (C-07, C-08) and methods (C-03).
func TestTraceParameters(t *testing.T) {
	a := newAPI(t, query.Limits{}, one())
	tests := []struct {
		name, path, accept string
		code               int
		contentType, says  string
	}{
		{"upper case", "/api/v2/traces/7F00000000000000000000000000002A", "", 200, typeJSON, "GET /x"},
		{"short id", "/api/v2/traces/2a", "", 200, typeJSON, `{"trace":{},`},
		{"odd length", "/api/v2/traces/abc", "", 200, typeJSON, `{"trace":{},`},
		{"not hex", "/api/v2/traces/xyz", "", 400, "text/plain; charset=utf-8", `'x' at position 1`},
		{"not hex later", "/api/traces/12-34", "", 400, "text/plain; charset=utf-8", `'-' at position 3`},
		{"too long", "/api/v2/traces/" + strings.Repeat("a", 33), "", 400, "text/plain; charset=utf-8", "too long"},
		{"a range", onePath + "?start=1&end=2", "", 200, typeJSON, "GET /x"},
		{"only one end", onePath + "?start=1", "", 200, typeJSON, "GET /x"},
		{"a range in RFC 3339", onePath + "?start=2026-01-01T00:00:00Z&end=2026-01-01T00:00:01Z", "", 200, typeJSON, "GET /x"},
		{"end before start", onePath + "?start=60&end=10", "", 400, "text/plain; charset=utf-8", "http parameter start must be before end. received start=60 end=10"},
		{"end is start", "/api/traces/1?start=60&end=60", "", 400, "text/plain; charset=utf-8", "received start=60 end=60"},
		{"not a time", onePath + "?start=yesterday", "", 400, "text/plain; charset=utf-8", `invalid start: "yesterday"`},
		{"mode all", onePath + "?mode=all", "", 200, typeJSON, "GET /x"},
		{"mode ingesters", onePath + "?mode=ingesters", "", 200, typeJSON, "GET /x"},
		{"mode unknown", onePath + "?mode=sideways", "", 400, "text/plain; charset=utf-8", "invalid value for mode sideways"},
		{"block", onePath + "?blockStart=00000000-0000-0000-0000-00000000000A", "", 200, typeJSON, "GET /x"},
		{"no block", onePath + "?mode=blocks&blockEnd=not-a-uuid", "", 400, "text/plain; charset=utf-8", "blockEnd"},
		{"bad escape", onePath + "?start=%zz", "", 400, "text/plain; charset=utf-8", "invalid query string"},
		{"protobuf wins", onePath, "application/json, application/protobuf", 200, typeProto, "GET /x"},
		{"other types", onePath, "text/html,application/json;q=0.9", 200, typeJSON, "GET /x"},
		{"nothing known", onePath, "text/html", 200, typeJSON, "GET /x"},
		{"LLM", onePath, "application/vnd.grafana.llm", 200, typeLLM, `"serviceName":"shop"`},
		{"LLM is for v2 only", "/api/traces/7f00000000000000000000000000002a", "application/vnd.grafana.llm", 200, typeJSON, `"batches"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := get(t, a, tt.path, "Accept", tt.accept)
			text := body(t, r)
			require.Equal(t, tt.code, r.StatusCode, text)
			require.Equal(t, tt.contentType, r.Header.Get("Content-Type"))
			require.Contains(t, text, tt.says)
		})
	}
}

// TestLLMTrace holds the shape of C-08.
func TestLLMTrace(t *testing.T) {
	a := newAPI(t, query.Limits{}, one())
	require.JSONEq(t, `{"traceId":"7f00000000000000000000000000002a","services":[{"serviceName":"shop","resource":{"service.name":"shop"},"scopes":[
		{"name":"lib","version":"1.0","spans":[{"spanId":"00000000000000a1","parentSpanId":"00000000000000a0","name":"GET /x",
		"kind":"SPAN_KIND_SERVER","startTimeUnixNano":"1700000000000000001","durationMs":0.000001,"status":"STATUS_CODE_ERROR","statusMessage":"bad <thing>",
		"attributes":{"string":"","int":-9007199254740993,"float":0.5,"bool":false,"bytes":"AP8=","empty":null,"array":["a",1,[]],"map":{"k":{}}},
		"events":[{"name":"e","attributes":{"x":0}}]}]}]}]}`, body(t, get(t, a, onePath, "Accept", "application/vnd.grafana.llm")))
	require.JSONEq(t, `{"services":[]}`, body(t, get(t, a, "/api/v2/traces/1", "Accept", "application/vnd.grafana.llm")))
}

// TestTraceJSONEqualsProtobuf compares our JSON with what protobuf's own encoder makes of our bytes, for spans that
// use every corner of OTLP.
func TestTraceJSONEqualsProtobuf(t *testing.T) {
	g := testkit.NewNasty(1)
	for range 40 {
		b := nameResources(g.Batch(8))
		wire, err := otlpspan.AppendProto(nil, b)
		require.NoError(t, err)
		var m tempopb.Trace
		require.NoError(t, proto.Unmarshal(wire, &m))
		want, err := protojson.Marshal(&m)
		require.NoError(t, err)
		var j jsonWriter
		j.object()
		require.NoError(t, j.traceJSON("resourceSpans", b))
		j.close('}')
		require.JSONEq(t, string(want), string(j.b))
		llm, err := llmTrace(&store.Trace{Batch: *b})
		require.NoError(t, err)
		require.True(t, json.Valid(llm), "%s", llm)
	}
}

func TestInvalidUTF8(t *testing.T) {
	b := one()
	b.Spans[0].Name = "a\xffb\u2028c"
	b.Spans[0].Attrs = []store.Attr{{Key: "k\xfe", Value: store.String("\xc3")}}
	text := body(t, get(t, newAPI(t, query.Limits{}, b), onePath))
	require.True(t, json.Valid([]byte(text)))
	require.Contains(t, text, `"name":"a\ufffdb\u2028c"`)
	require.Contains(t, text, `{"key":"k\ufffd","value":{"stringValue":"\ufffd"}}`)
}

// TestGzip: C-09.
func TestGzip(t *testing.T) {
	b := one()
	b.Spans[0].StatusMessage = strings.Repeat("long ", 1000)
	a := newAPI(t, query.Limits{}, b)
	plain := body(t, get(t, a, onePath))
	for _, tt := range []struct {
		accept string
		zipped bool
	}{
		{"gzip", true},
		{"deflate, gzip;q=0.5", true},
		{"*", true},
		{"GZIP", true},
		{"", false},
		{"identity", false},
		{"gzip;q=0", false},
		{"gzip;q=0, *", false},
		{"br", false},
		{"gzip;q=x", false},
	} {
		for range 2 { // The second time the writer comes from the pool.
			r := get(t, a, onePath, "Accept-Encoding", tt.accept)
			text := body(t, r)
			if !tt.zipped {
				require.Empty(t, r.Header.Get("Content-Encoding"), tt.accept)
				require.Equal(t, plain, text)
				continue
			}
			require.Equal(t, "gzip", r.Header.Get("Content-Encoding"), tt.accept)
			z, err := gzip.NewReader(strings.NewReader(text))
			require.NoError(t, err)
			unzipped, err := io.ReadAll(z)
			require.NoError(t, err)
			require.Equal(t, plain, string(unzipped))
		}
	}
	require.Empty(t, get(t, a, "/api/v2/traces/1", "Accept-Encoding", "gzip").Header.Get("Content-Encoding"), "too small to be worth it")
}

func TestStoreIsGone(t *testing.T) {
	r := get(t, gone(t), onePath)
	require.Equal(t, http.StatusServiceUnavailable, r.StatusCode)
	require.Contains(t, body(t, r), "store is closed")
}

func BenchmarkTraceJSON(b *testing.B) {
	benchmarkTrace(b, func(t *store.Trace) (int, error) {
		out, err := jsonTraceByID(t)
		return len(out), err
	})
}

func BenchmarkTraceProto(b *testing.B) {
	benchmarkTrace(b, func(t *store.Trace) (int, error) {
		out, err := protoTraceByID(t)
		return len(out), err
	})
}

func benchmarkTrace(b *testing.B, encode func(*store.Trace) (int, error)) {
	b.Helper()
	t := &store.Trace{Batch: *testkit.NewGenerator(1).Batch(10_000)}
	for i := range t.Spans {
		t.Spans[i].TraceID = oneID
	}
	b.ReportAllocs()
	size := 0
	for b.Loop() {
		n, err := encode(t)
		if err != nil {
			b.Fatal(err)
		}
		size = n
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(t.Spans)), "ns/span")
	b.ReportMetric(float64(size)/float64(len(t.Spans)), "bytes/span")
}

func ExampleNewBuildInfo() {
	fmt.Println(NewBuildInfo("bramble", "v0.1.0").Version)
	fmt.Println(NewBuildInfo("bramble", "").Version)
	fmt.Println(NewBuildInfo("bramble", "main (dirty)").Version)
	// Output:
	// 3.0.3+bramble.v0.1.0
	// 3.0.3+bramble
	// 3.0.3+bramble.main--dirty-
}

package jaegerapi

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/bramble-tracing/bramble/internal/jaegerpb"
	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/oracle"
)

// TestCutTrace: a trace beyond the limit of its size says so where the UI shows it.
func TestCutTrace(t *testing.T) {
	b := one()
	for i := range 50 {
		s := b.Spans[0]
		s.SpanID = spanid.SpanID{6: 1, 7: byte(i)}
		b.Spans = append(b.Spans, s)
	}
	a := newAPI(t, query.Limits{MaxTraceBytes: 1000}, b)
	code, text := get(t, a, "/api/traces/2a")
	require.Equal(t, http.StatusOK, code)
	var e struct{ Data []uiTrace }
	require.NoError(t, json.Unmarshal([]byte(text), &e))
	require.Less(t, len(e.Data[0].Spans), 51)
	require.Len(t, e.Data[0].Warnings, 1)
	code, _ = get(t, newAPI(t, query.Limits{}, one()), "/api/traces/2a")
	require.Equal(t, http.StatusOK, code)

	// Version 3 has no room for it but where Jaeger 2 puts warnings: an attribute of a span.
	code, text = get(t, a, "/api/v3/traces/2a")
	require.Equal(t, http.StatusOK, code)
	var v3 struct{ Result json.RawMessage }
	require.NoError(t, json.Unmarshal([]byte(text), &v3))
	td, err := new(ptrace.JSONUnmarshaler).UnmarshalTraces(v3.Result)
	require.NoError(t, err)
	require.Equal(t, e.Data[0].Warnings, warningsOf(td))
	window := func(d time.Duration) string { return now.Add(d).UTC().Format(time.RFC3339Nano) }
	code, text = get(t, a, "/api/v3/traces?query.startTimeMin="+window(-time.Hour)+"&query.startTimeMax="+window(time.Hour))
	require.Equal(t, http.StatusOK, code, text)
	require.Contains(t, text, warningsKey)
	_, text = get(t, newAPI(t, query.Limits{}, one()), "/api/v3/traces/2a")
	require.NotContains(t, text, warningsKey, "a whole trace")

	stream, err := serveGRPC(t, a).GetTrace(t.Context(), &jaegerpb.GetTraceRequest{TraceId: "2a"})
	require.NoError(t, err)
	m, err := stream.Recv()
	require.NoError(t, err)
	var said []string
	for _, s := range m.GetResourceSpans()[0].GetScopeSpans()[0].GetSpans() {
		for _, kv := range s.GetAttributes() {
			if kv.GetKey() == warningsKey {
				said = append(said, kv.GetValue().GetArrayValue().GetValues()[0].GetStringValue())
			}
		}
	}
	require.Equal(t, e.Data[0].Warnings, said)
}

func serveGRPC(t *testing.T, a *API) jaegerpb.QueryServiceClient {
	t.Helper()
	l := bufconn.Listen(1 << 20)
	s := grpc.NewServer()
	a.RegisterGRPC(s)
	var serving sync.WaitGroup
	serving.Go(func() { assert.NoError(t, s.Serve(l)) })
	conn, err := grpc.NewClient("passthrough:///memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, conn.Close())
		s.Stop()
		serving.Wait()
	})
	return jaegerpb.NewQueryServiceClient(conn)
}

// warningsOf collects the warnings at the spans of td.
func warningsOf(td ptrace.Traces) (out []string) {
	for _, rs := range td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				if v, ok := s.Attributes().Get(warningsKey); ok {
					for _, w := range v.Slice().All() {
						out = append(out, w.Str())
					}
				}
			}
		}
	}
	return out
}

// TestWarned: the reason goes to a root, before what Jaeger has said itself, and the trace stays as it is.
func TestWarned(t *testing.T) {
	whole := &store.Trace{Batch: *one()}
	require.Same(t, &whole.Batch, warned(whole))
	require.Empty(t, warned(&store.Trace{Partial: "cut"}).Spans)

	cut := &store.Trace{Batch: *one(), Partial: "cut", Missing: "damaged"}
	child := cut.Spans[0]
	child.ParentID = spanid.SpanID{7: 1}
	root := cut.Spans[0]
	root.ParentID = spanid.SpanID{}
	root.Attrs = []store.Attr{{Key: warningsKey, Value: store.Array(store.String("skewed"))}, {Key: "a", Value: store.Int(1)}}
	cut.Spans = []store.Span{child, root}
	b := warned(cut)
	require.Equal(t, child, b.Spans[0])
	require.Equal(t, []store.Attr{
		{Key: "a", Value: store.Int(1)},
		{Key: warningsKey, Value: store.Array(store.String("cut; damaged"), store.String("skewed"))},
	}, b.Spans[1].Attrs)
	require.Equal(t, root, cut.Spans[1])
	require.NotNil(t, warned(&store.Trace{Batch: store.Batch{Spans: []store.Span{child}}, Missing: "damaged"}).Spans[0].Attrs, "a trace without a root")
}

// TestNamelessService: spans without service.name are no service that could be chosen.
func TestNamelessService(t *testing.T) {
	nameless := one()
	nameless.Resources[0].Attrs = nil
	nameless.Spans[0].TraceID[0] = 1
	_, text := get(t, newAPI(t, query.Limits{}, one(), nameless), "/api/services")
	require.Contains(t, text, `"data":["shop"]`)
	_, text = get(t, newAPI(t, query.Limits{}, nameless), "/api/v3/services")
	require.JSONEq(t, `{"services":[]}`, text)
}

// TestWithoutAService: spans of a resource without a name, or without any attribute, are answered.
func TestWithoutAService(t *testing.T) {
	b := one()
	b.Resources[0].Attrs = nil
	b.Spans[0].SpanID, b.Spans[0].ParentID = spanid.SpanID{7: 2}, spanid.SpanID{7: 9}
	b.Spans[0].StartNano, b.Spans[0].EndNano = 5, 3
	a := newAPI(t, query.Limits{}, b)
	_, text := get(t, a, "/api/traces/2a")
	require.Contains(t, text, `"serviceName":"unknown_service"`)
	require.Contains(t, text, `"duration":0`)
	require.Contains(t, text, `"warnings":null`)
	s := newSummary(spanid.TraceID{15: 0x2a}, &store.Trace{Batch: *b})
	require.EqualValues(t, 1, s.orphans)
	require.Equal(t, uint64(5), s.end, "not before its start")
	require.Empty(t, s.rootName)
	require.Zero(t, newSummary(spanid.TraceID{}, &store.Trace{}).start)
}

// TestErrorsOfTheService: statuses of what is not the client's fault.
func TestErrorsOfTheService(t *testing.T) {
	s := oracle.New(5)
	require.NoError(t, s.Close())
	closed := New(query.New(s, query.Limits{}), Options{})
	for _, path := range []string{"/api/services", "/api/traces/2a", "/api/traces?service=shop", "/api/dependencies", "/api/operations?service=x"} {
		code, text := get(t, closed, path)
		require.Equal(t, http.StatusServiceUnavailable, code, "%s: %s", path, text)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := newAPI(t, query.Limits{}, one()).services(ctx, "")
	require.Equal(t, statusClientClosed, statusOf(err))
	require.Equal(t, codes.Canceled, status.Code(grpcError(err)))
}

// TestObserver is told of patterns, not of paths.
func TestObserver(t *testing.T) {
	var seen []string
	a := New(query.New(oracle.New(5), query.Limits{}), Options{Observer: observer(func(route, method, status string) {
		seen = append(seen, route+" "+method+" "+status)
	})})
	get(t, a, "/api/traces/2a")
	get(t, a, "/api/v3/services")
	ask(t, a, "BREW", "/x", "")
	require.Equal(t, []string{"jaeger GET /api/traces/{id} GET 404", "jaeger GET /api/v3/services GET 200", "jaeger / other 404"}, seen)
}

type observer func(route, method, status string)

func (o observer) Observe(route, method, status string, _ time.Duration) { o(route, method, status) }

// FuzzRequest: every request gets an answer in JSON, and none panics.
func FuzzRequest(f *testing.F) {
	a := newAPI(f, query.Limits{}, one())
	window := "?" + url.Values{
		"service": {"shop"}, "tags": {`{"code":"200"}`}, "tag": {"text:200"}, "start": {"1699999990000000"}, "end": {"1700000010000000"}, "minDuration": {"1us"}, "limit": {"5"},
	}.Encode()
	v3 := "?" + url.Values{
		"query.serviceName": {"shop"}, "query.startTimeMin": {"2023-11-14T22:00:00Z"}, "query.startTimeMax": {"2023-11-14T23:00:00.000000001Z"}, "query.attributes": {`{"code":"200"}`},
	}.Encode()
	for _, target := range []string{
		"/", "/api/services", "/api/services/shop/operations", "/api/operations?service=shop&spanKind=server", "/api/traces" + window, "/api/traces/2a",
		"/api/traces?traceID=2a&traceID=1", "/api/dependencies?endTs=1700000000000&lookback=1000", "/api/v3/services", "/api/v3/operations?service=shop",
		"/api/v3/traces" + v3, "/api/v3/traces/2a?startTime=x", "/api/v3/trace-summaries" + v3, "/api/v3/dependencies?startTime=2023-11-14T22:00:00Z&endTime=2023-11-14T23:00:00Z",
	} {
		f.Add(true, target, "")
	}
	f.Add(false, "/api/transform", `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"0000000000000000000000000000002a","spanId":"0000000000000001","attributes":[{"key":"a","value":{"arrayValue":{"values":[{"doubleValue":"NaN"}]}}}]}]}]}]}`)
	f.Fuzz(func(t *testing.T, isGet bool, target, body string) {
		method := http.MethodPost
		if isGet {
			method = http.MethodGet
		}
		code, text := ask(t, a, method, target, body)
		if code >= 300 && code < 400 { // The multiplexer cleans paths by a redirect.
			return
		}
		require.Less(t, code, 502, text)
		require.NotEqual(t, http.StatusInternalServerError, code, "%s %q: %s", method, target, text)
		require.True(t, json.Valid([]byte(text)), "%s %q: %d %s", method, target, code, text)
	})
}

package conformance

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/ptrace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bramble-tracing/bramble/internal/jaegerpb"
	"github.com/bramble-tracing/bramble/test/harness"
)

// summary is TraceSummary in JSON, as strictly as Jaeger UI reads it (J-22, J-26).
type summary struct {
	TraceID              string
	RootServiceName      string
	RootOperationName    string
	MinStartTimeUnixNano string
	MaxEndTimeUnixNano   string
	SpanCount            *uint
	ErrorSpanCount       *uint
	OrphanSpanCount      *uint
	Services             []struct {
		Name                      string
		SpanCount, ErrorSpanCount *uint
	}
}

var (
	hex32   = regexp.MustCompile(`^[0-9a-f]{32}$`)
	decimal = regexp.MustCompile(`^[0-9]+$`)
)

// v3Window has the two parameters that searches need.
func (s jaegerShop) v3Window() []string {
	return []string{
		"query.startTimeMin", s.begin.Add(-time.Hour).UTC().Format(time.RFC3339Nano),
		"query.startTimeMax", s.begin.Add(time.Hour).UTC().Format(time.RFC3339Nano),
	}
}

// traceIDs lists the traces of OTLP's JSON in the order of their first spans.
func traceIDs(t *testing.T, result []byte) []string {
	t.Helper()
	td, err := new(ptrace.JSONUnmarshaler).UnmarshalTraces(result)
	require.NoError(t, err)
	var out []string
	seen := map[string]bool{}
	for _, rs := range td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, span := range ss.Spans().All() {
				if id := span.TraceID().String(); !seen[id] {
					seen[id] = true
					out = append(out, id)
				}
			}
		}
	}
	return out
}

// jaegerV3HTTP is J-23 to J-26 against one binary.
func jaegerV3HTTP(t *testing.T, _ *world) {
	s := startJaegerShop(t)
	get := func(t *testing.T, into any, path string, params ...string) {
		t.Helper()
		r := s.ask(t, path, params...)
		require.Equal(t, http.StatusOK, r.Status, "%s", r.Body)
		decodeStrictly(t, r.Body, into)
	}

	t.Run("J-23 names", func(t *testing.T) {
		var services struct{ Services []string }
		get(t, &services, "/api/v3/services")
		assert.Equal(t, []string{"cron", "frontend", "stock/eu"}, services.Services)

		type operation struct{ Name, SpanKind string }
		var operations struct{ Operations []operation }
		get(t, &operations, "/api/v3/operations", "service", "stock/eu")
		assert.Equal(t, []operation{{"Reserve", "server"}, {"late", "internal"}}, operations.Operations)
		get(t, &operations, "/api/v3/operations", "service", "cron")
		assert.Equal(t, []operation{{"tick", "internal"}}, operations.Operations, "a span without a kind is internal")
		get(t, &operations, "/api/v3/operations", "service", "stock/eu", "span_kind", "server")
		assert.Equal(t, []operation{{"Reserve", "server"}}, operations.Operations)
		get(t, &operations, "/api/v3/operations", "service", "nobody")
		assert.Empty(t, operations.Operations)
	})

	t.Run("J-23 J-26 a trace is OTLP's JSON", func(t *testing.T) {
		var answer struct{ Result json.RawMessage }
		get(t, &answer, "/api/v3/traces/"+cartTrace, "startTime", "2026-01-01T00:00:00Z", "endTime", "2036-01-01T00:00:00.000000001Z", "rawTraces", "true")
		text := string(answer.Result)
		assert.Contains(t, text, `"traceId":"`+cartTrace+`"`, "ids are hex")
		assert.Contains(t, text, `"spanId":"`+cartSpan+`"`)
		assert.Contains(t, text, `"kind":2`, "enums are numbers")
		assert.Contains(t, text, `"intValue":"9007199254740993"`, "64-bit numbers are strings")
		td, err := new(ptrace.JSONUnmarshaler).UnmarshalTraces(answer.Result)
		require.NoError(t, err)
		want := s.Trace(fromHex(t, cartTrace))
		require.NotNil(t, want, "by Tempo's API")
		raw, err := new(ptrace.ProtoMarshaler).MarshalTraces(td)
		require.NoError(t, err)
		var got tracepb.TracesData
		require.NoError(t, proto.Unmarshal(raw, &got))
		assert.Len(t, harness.Spans(&got), len(harness.Spans(want)))
		for _, span := range harness.Spans(want) {
			assert.True(t, contains(harness.Spans(&got), span), "%s is the same in both APIs", span.GetName())
		}
	})

	t.Run("J-24 searches", func(t *testing.T) {
		for _, c := range []struct {
			params []string
			want   []string
		}{
			{nil, []string{otherTrace, slowTrace, cartTrace}},
			{[]string{"query.serviceName", "frontend"}, []string{slowTrace, cartTrace}},
			{[]string{"query.service_name", "frontend", "query.operation_name", "call stock"}, []string{cartTrace}},
			{[]string{"query.operationName", "tick"}, []string{otherTrace}},
			{[]string{"query.searchDepth", "1"}, []string{otherTrace}},
			{[]string{"query.num_traces", "2"}, []string{otherTrace, slowTrace}},
			{[]string{"query.durationMin", "1s"}, []string{slowTrace}},
			{[]string{"query.durationMax", "1.5ms", "query.serviceName", "cron"}, []string{otherTrace}},
			{[]string{"query.duration_min", "1s", "query.duration_max", "2s"}, nil},
			{[]string{"query.attributes", `{"http.status_code":"500","error":"true"}`}, []string{cartTrace}},
			{[]string{"query.rawTraces", "true", "query.serviceName", "cron"}, []string{otherTrace}},
		} {
			params := append(s.v3Window(), c.params...)
			r := s.ask(t, "/api/v3/traces", params...)
			if c.want == nil {
				assert.Equal(t, http.StatusNotFound, r.Status, "J-25: %q", c.params)
			} else {
				require.Equal(t, http.StatusOK, r.Status, "%q: %s", c.params, r.Body)
				var answer struct{ Result json.RawMessage }
				decodeStrictly(t, r.Body, &answer)
				assert.Equal(t, c.want, traceIDs(t, answer.Result), "%q", c.params)
			}
			var list struct{ Summaries []summary }
			get(t, &list, "/api/v3/trace-summaries", params...)
			require.NotNil(t, list.Summaries)
			var got []string
			for _, one := range list.Summaries {
				got = append(got, one.TraceID)
			}
			assert.Equal(t, c.want, got, "%q", c.params)
		}
		snake := []string{"query.start_time_min", s.v3Window()[1], "query.start_time_max", s.v3Window()[3], "query.serviceName", "cron"}
		var answer struct{ Result json.RawMessage }
		get(t, &answer, "/api/v3/traces", snake...)
		assert.Equal(t, []string{otherTrace}, traceIDs(t, answer.Result))
	})

	t.Run("J-22 J-26 summaries", func(t *testing.T) {
		var list struct{ Summaries []summary }
		get(t, &list, "/api/v3/trace-summaries", append(s.v3Window(), "query.serviceName", "stock/eu")...)
		require.Len(t, list.Summaries, 1)
		one := list.Summaries[0]
		assert.Regexp(t, hex32, one.TraceID)
		assert.Regexp(t, decimal, one.MinStartTimeUnixNano)
		assert.Regexp(t, decimal, one.MaxEndTimeUnixNano)
		assert.Equal(t, "frontend GET /cart", one.RootServiceName+" "+one.RootOperationName)
		assert.Equal(t, []uint{4, 1, 1}, []uint{*one.SpanCount, *one.ErrorSpanCount, *one.OrphanSpanCount})
		require.Len(t, one.Services, 2)
		assert.Equal(t, "frontend", one.Services[0].Name)
		assert.Equal(t, []uint{2, 1, 2, 0}, []uint{*one.Services[0].SpanCount, *one.Services[0].ErrorSpanCount, *one.Services[1].SpanCount, *one.Services[1].ErrorSpanCount})
	})

	t.Run("dependencies", func(t *testing.T) {
		var answer struct {
			Dependencies []struct{ Parent, Child, CallCount string }
		}
		get(t, &answer, "/api/v3/dependencies", "startTime", s.v3Window()[1], "endTime", s.v3Window()[3])
		require.Len(t, answer.Dependencies, 1)
		assert.Equal(t, struct{ Parent, Child, CallCount string }{"frontend", "stock/eu", "1"}, answer.Dependencies[0])
	})

	t.Run("J-25 errors", func(t *testing.T) {
		for _, c := range []struct {
			path   string
			params []string
			code   int
			msg    string
		}{
			{"/api/v3/traces/abad1dea", nil, 404, "no traces found"},
			{"/api/v3/traces/xyz", nil, 400, "'x'"},
			{"/api/v3/traces/1", []string{"startTime", "now"}, 400, "startTime"},
			{"/api/v3/traces/1", []string{"rawTraces", "maybe"}, 400, "rawTraces"},
			{"/api/v3/traces", nil, 400, "required"},
			{"/api/v3/traces", s.v3Window()[:2], 400, "required"},
			{"/api/v3/traces", append(s.v3Window(), "query.durationMin", "fast"), 400, "query.durationMin"},
			{"/api/v3/traces", append(s.v3Window(), "query.searchDepth", "x"), 400, "query.searchDepth"},
			{"/api/v3/traces", append(s.v3Window(), "query.searchDepth", "100000"), 400, "between 1 and"},
			{"/api/v3/traces", append(s.v3Window(), "query.attributes", "a=b"), 400, "query.attributes"},
			{"/api/v3/traces", append(s.v3Window(), "query.filter", "x"), 400, "query.filter is not supported"},
			{"/api/v3/trace-summaries", nil, 400, "required"},
			{"/api/v3/operations", nil, 400, "service is required"},
			{"/api/v3/dependencies", nil, 400, "required"},
			{"/api/v3/nothing", nil, 404, "no such endpoint"},
		} {
			r := s.ask(t, c.path, c.params...)
			assert.Equal(t, c.code, r.Status, "%s %q: %s", c.path, c.params, r.Body)
			var e struct {
				Error struct {
					HTTPCode int
					Message  string
				}
			}
			decodeStrictly(t, r.Body, &e)
			assert.Equal(t, c.code, e.Error.HTTPCode)
			assert.Contains(t, e.Error.Message, c.msg)
		}
	})
}

func contains(spans []*tracepb.Span, want *tracepb.Span) bool {
	for _, s := range spans {
		if proto.Equal(s, want) {
			return true
		}
	}
	return false
}

// receive reads a stream to its end.
func receive[T any](t *testing.T, recv func() (T, error)) []T {
	t.Helper()
	var out []T
	for {
		m, err := recv()
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		out = append(out, m)
	}
}

// jaegerV3GRPC is J-20 to J-22 over gRPC against one binary.
func jaegerV3GRPC(t *testing.T, _ *world) {
	s := startJaegerShop(t)
	c := jaegerpb.NewQueryServiceClient(harness.Dial(t, s.Addr("extensions::trace_query::jaeger::grpc")))
	ctx := t.Context()
	params := func() *jaegerpb.TraceQueryParameters {
		return &jaegerpb.TraceQueryParameters{
			StartTimeMin: timestamppb.New(s.begin.Add(-time.Hour)), StartTimeMax: timestamppb.New(s.begin.Add(time.Hour)),
		}
	}

	t.Run("J-20 GetTrace", func(t *testing.T) {
		stream, err := c.GetTrace(ctx, &jaegerpb.GetTraceRequest{TraceId: cartTrace, RawTraces: true})
		require.NoError(t, err)
		got := receive(t, stream.Recv)
		require.Len(t, got, 1)
		assert.True(t, proto.Equal(s.Trace(fromHex(t, cartTrace)), got[0]), "the same as by Tempo's API")
	})

	t.Run("J-20 J-21 FindTraces", func(t *testing.T) {
		for _, tc := range []struct {
			change func(*jaegerpb.TraceQueryParameters)
			want   []string
		}{
			{func(*jaegerpb.TraceQueryParameters) {}, []string{otherTrace, slowTrace, cartTrace}},
			{func(p *jaegerpb.TraceQueryParameters) { p.ServiceName = "frontend" }, []string{slowTrace, cartTrace}},
			{func(p *jaegerpb.TraceQueryParameters) { p.OperationName = "tick" }, []string{otherTrace}},
			{func(p *jaegerpb.TraceQueryParameters) { p.Attributes = map[string]string{"http.status_code": "500"} }, []string{cartTrace}},
			{func(p *jaegerpb.TraceQueryParameters) { p.DurationMin = durationpb.New(time.Second) }, []string{slowTrace}},
			{func(p *jaegerpb.TraceQueryParameters) {
				p.DurationMax = durationpb.New(1500 * time.Microsecond)
				p.ServiceName = "cron"
			}, []string{otherTrace}},
			{func(p *jaegerpb.TraceQueryParameters) { p.SearchDepth = 1 }, []string{otherTrace}},
			{func(p *jaegerpb.TraceQueryParameters) { p.ServiceName = "nobody" }, nil},
		} {
			p := params()
			tc.change(p)
			stream, err := c.FindTraces(ctx, &jaegerpb.FindTracesRequest{Query: p})
			require.NoError(t, err)
			var got []string
			for _, td := range receive(t, stream.Recv) {
				spans := harness.Spans(td)
				require.NotEmpty(t, spans)
				got = append(got, hexOf(spans[0].GetTraceId()))
			}
			assert.Equal(t, tc.want, got)
		}
	})

	t.Run("J-20 names and dependencies", func(t *testing.T) {
		services, err := c.GetServices(ctx, &jaegerpb.GetServicesRequest{})
		require.NoError(t, err)
		assert.Equal(t, []string{"cron", "frontend", "stock/eu"}, services.GetServices())
		operations, err := c.GetOperations(ctx, &jaegerpb.GetOperationsRequest{Service: "frontend"})
		require.NoError(t, err)
		require.Len(t, operations.GetOperations(), 2)
		assert.Equal(t, "GET /cart server", operations.GetOperations()[0].GetName()+" "+operations.GetOperations()[0].GetSpanKind())
		operations, err = c.GetOperations(ctx, &jaegerpb.GetOperationsRequest{Service: "frontend", SpanKind: "client"})
		require.NoError(t, err)
		require.Len(t, operations.GetOperations(), 1)
		dependencies, err := c.GetDependencies(ctx, &jaegerpb.GetDependenciesRequest{StartTime: params().GetStartTimeMin(), EndTime: params().GetStartTimeMax()})
		require.NoError(t, err)
		require.Len(t, dependencies.GetDependencies(), 1)
		assert.True(t, proto.Equal(&jaegerpb.Dependency{Parent: "frontend", Child: "stock/eu", CallCount: 1}, dependencies.GetDependencies()[0]))
	})

	t.Run("J-22 FindTraceSummaries", func(t *testing.T) {
		p := params()
		p.ServiceName = "stock/eu"
		stream, err := c.FindTraceSummaries(ctx, &jaegerpb.FindTraceSummariesRequest{Query: p})
		require.NoError(t, err)
		got := receive(t, stream.Recv)
		require.Len(t, got, 1)
		require.Len(t, got[0].GetSummaries(), 1)
		assert.True(t, proto.Equal(&jaegerpb.TraceSummary{
			TraceId: cartTrace, RootServiceName: "frontend", RootOperationName: "GET /cart",
			MinStartTimeUnixNano: uint64(s.begin.UnixNano()), MaxEndTimeUnixNano: uint64(s.begin.Add(2500 * time.Microsecond).UnixNano()),
			SpanCount: 4, ErrorSpanCount: 1, OrphanSpanCount: 1,
			Services: []*jaegerpb.ServiceSummary{{Name: "frontend", SpanCount: 2, ErrorSpanCount: 1}, {Name: "stock/eu", SpanCount: 2}},
		}, got[0].GetSummaries()[0]), "%v", got[0])
	})

	t.Run("errors", func(t *testing.T) {
		getTrace := func(id string) error {
			stream, err := c.GetTrace(ctx, &jaegerpb.GetTraceRequest{TraceId: id})
			require.NoError(t, err)
			_, err = stream.Recv()
			return err
		}
		assert.Equal(t, codes.NotFound, status.Code(getTrace("abad1dea")))
		assert.Equal(t, codes.InvalidArgument, status.Code(getTrace("xyz")))
		find := func(p *jaegerpb.TraceQueryParameters) error {
			stream, err := c.FindTraces(ctx, &jaegerpb.FindTracesRequest{Query: p})
			require.NoError(t, err)
			_, err = stream.Recv()
			return err
		}
		assert.Equal(t, codes.InvalidArgument, status.Code(find(nil)))
		assert.Equal(t, codes.InvalidArgument, status.Code(find(&jaegerpb.TraceQueryParameters{ServiceName: "frontend"})), "J-21: both times are required")
		filter := params() // J-21: field 10.
		filter.ProtoReflect().SetUnknown(protowire.AppendString(protowire.AppendTag(nil, 10, protowire.BytesType), "x"))
		err := find(filter)
		assert.Equal(t, codes.InvalidArgument, status.Code(err))
		assert.ErrorContains(t, err, "filter")
		_, err = c.GetOperations(ctx, &jaegerpb.GetOperationsRequest{})
		assert.Equal(t, codes.InvalidArgument, status.Code(err))
		_, err = c.GetDependencies(ctx, &jaegerpb.GetDependenciesRequest{})
		assert.Equal(t, codes.InvalidArgument, status.Code(err))
	})
	assert.True(t, s.Running())
}

// jaegerLargeTrace: a trace of 8 MiB comes in messages that clients with default limits take.
func jaegerLargeTrace(t *testing.T, _ *world) {
	s := startJaegerShop(t)
	s.sendLarge(t, 64, 128<<10)
	c := jaegerpb.NewQueryServiceClient(harness.Dial(t, s.Addr("extensions::trace_query::jaeger::grpc")))
	stream, err := c.GetTrace(t.Context(), &jaegerpb.GetTraceRequest{TraceId: jaegerLarge})
	require.NoError(t, err)
	got := receive(t, stream.Recv)
	assert.Greater(t, len(got), 1)
	spans := map[string]bool{}
	for _, td := range got {
		assert.Less(t, proto.Size(td), 4<<20)
		for _, span := range harness.Spans(td) {
			spans[hexOf(span.GetSpanId())] = true
		}
	}
	assert.Len(t, spans, 64)
	assert.Len(t, legacy[legacyTrace](t, s, "/api/traces/"+jaegerLarge)[0].Spans, 64)
}

package jaegerapi

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bramble-tracing/bramble/internal/jaegerpb"
	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// GetTrace sends a trace (J-20).
func (a *API) GetTrace(r *jaegerpb.GetTraceRequest, s grpc.ServerStreamingServer[tracepb.TracesData]) error {
	id, err := spanid.ParseTraceID(r.GetTraceId())
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	ctx, done := a.noted(s.Context(), s.SetTrailer)
	defer done()
	found, err := a.trace(ctx, peerOf(ctx), id, func(t *store.Trace) error { return sendTrace(s, warned(t)) })
	if err == nil && !found {
		return status.Error(codes.NotFound, "trace not found")
	}
	return grpcError(err)
}

// FindTraces sends the traces that match, newest first (J-20).
func (a *API) FindTraces(r *jaegerpb.FindTracesRequest, s grpc.ServerStreamingServer[tracepb.TracesData]) error {
	q, err := grpcQuery(r.GetQuery())
	if err != nil {
		return grpcError(err)
	}
	ctx, done := a.noted(s.Context(), s.SetTrailer)
	defer done()
	return grpcError(a.find(ctx, peerOf(ctx), q, func(_ spanid.TraceID, t *store.Trace) error { return sendTrace(s, warned(t)) }))
}

// chunkBytes is the size above which a message is cut in two; clients take 4 MiB by default.
const chunkBytes = 2 << 20

// sendTrace sends a trace in one message, or in several if it is large. A single span is never cut.
func sendTrace(s grpc.ServerStreamingServer[tracepb.TracesData], b *store.Batch) error {
	body, err := otlpspan.AppendProto(nil, b)
	if err != nil {
		return err
	}
	if n := len(b.Spans); len(body) > chunkBytes && n > 1 {
		first, second := *b, *b
		first.Spans, second.Spans = b.Spans[:n/2], b.Spans[n/2:]
		if err := sendTrace(s, &first); err != nil {
			return err
		}
		return sendTrace(s, &second)
	}
	// The message is encoded already: as unknown fields it is passed on as it is.
	var td tracepb.TracesData
	td.ProtoReflect().SetUnknown(body)
	return s.Send(&td)
}

// GetServices lists services (J-20).
func (a *API) GetServices(ctx context.Context, _ *jaegerpb.GetServicesRequest) (*jaegerpb.GetServicesResponse, error) {
	ctx, done := a.noted(ctx, unaryTrailer(ctx))
	defer done()
	services, err := a.services(ctx, peerOf(ctx))
	if err != nil {
		return nil, grpcError(err)
	}
	return &jaegerpb.GetServicesResponse{Services: services}, nil
}

// GetOperations lists a service's operations (J-20).
func (a *API) GetOperations(ctx context.Context, r *jaegerpb.GetOperationsRequest) (*jaegerpb.GetOperationsResponse, error) {
	if r.GetService() == "" {
		return nil, status.Error(codes.InvalidArgument, "service is required")
	}
	ctx, done := a.noted(ctx, unaryTrailer(ctx))
	defer done()
	list, err := a.operations(ctx, peerOf(ctx), r.GetService(), r.GetSpanKind())
	if err != nil {
		return nil, grpcError(err)
	}
	out := &jaegerpb.GetOperationsResponse{}
	for _, o := range list {
		out.Operations = append(out.Operations, &jaegerpb.Operation{Name: o.Name, SpanKind: o.Kind})
	}
	return out, nil
}

// GetDependencies lists calls between services (J-20).
func (a *API) GetDependencies(ctx context.Context, r *jaegerpb.GetDependenciesRequest) (*jaegerpb.DependenciesResponse, error) {
	start, end, err := window(r.GetStartTime(), r.GetEndTime(), "start_time", "end_time")
	if err != nil {
		return nil, grpcError(err)
	}
	ctx, done := a.noted(ctx, unaryTrailer(ctx))
	defer done()
	list, err := a.dependencies(ctx, peerOf(ctx), start, end)
	if err != nil {
		return nil, grpcError(err)
	}
	out := &jaegerpb.DependenciesResponse{}
	for _, d := range list {
		out.Dependencies = append(out.Dependencies, &jaegerpb.Dependency{Parent: d.Parent, Child: d.Child, CallCount: d.CallCount})
	}
	return out, nil
}

// FindTraceSummaries sends a summary of each trace that matches, newest first (J-20, J-22).
func (a *API) FindTraceSummaries(r *jaegerpb.FindTraceSummariesRequest, s grpc.ServerStreamingServer[jaegerpb.FindTraceSummariesResponse]) error {
	q, err := grpcQuery(r.GetQuery())
	if err != nil {
		return grpcError(err)
	}
	ctx, done := a.noted(s.Context(), s.SetTrailer)
	defer done()
	return grpcError(a.find(ctx, peerOf(ctx), q, func(id spanid.TraceID, t *store.Trace) error {
		return s.Send(&jaegerpb.FindTraceSummariesResponse{Summaries: []*jaegerpb.TraceSummary{protoSummary(newSummary(id, t))}})
	}))
}

func protoSummary(s summary) *jaegerpb.TraceSummary {
	out := &jaegerpb.TraceSummary{
		TraceId: s.id.String(), RootServiceName: strings.ToValidUTF8(s.rootService, "\uFFFD"), RootOperationName: strings.ToValidUTF8(s.rootName, "\uFFFD"),
		MinStartTimeUnixNano: s.start, MaxEndTimeUnixNano: s.end, SpanCount: s.spans, ErrorSpanCount: s.errors, OrphanSpanCount: s.orphans,
	}
	for name, n := range s.services {
		out.Services = append(out.Services, &jaegerpb.ServiceSummary{Name: strings.ToValidUTF8(name, "\uFFFD"), SpanCount: n.spans, ErrorSpanCount: n.errors})
	}
	slices.SortFunc(out.Services, func(x, y *jaegerpb.ServiceSummary) int { return strings.Compare(x.GetName(), y.GetName()) })
	return out
}

// grpcQuery decodes the parameters of a search (J-21).
func grpcQuery(p *jaegerpb.TraceQueryParameters) (q traceQuery, err error) {
	if p == nil {
		return q, query.Invalidf("query is required")
	}
	if len(p.ProtoReflect().GetUnknown()) > 0 {
		return q, query.Invalidf("query has a field that is not supported, such as filter: use attributes, or TraceQL on the Tempo API")
	}
	q = traceQuery{
		service: p.GetServiceName(), operation: p.GetOperationName(), tags: p.GetAttributes(), limit: int(p.GetSearchDepth()),
		minDuration: p.GetDurationMin().AsDuration(), maxDuration: p.GetDurationMax().AsDuration(),
	}
	if q.limit == 0 {
		q.limit = defaultLimit
	}
	q.start, q.end, err = window(p.GetStartTimeMin(), p.GetStartTimeMax(), "start_time_min", "start_time_max")
	return q, err
}

func window(start, end *timestamppb.Timestamp, startName, endName string) (from, to time.Time, err error) {
	if start.CheckValid() != nil || end.CheckValid() != nil {
		return from, to, query.Invalidf("%s and %s are required and must be valid times", startName, endName)
	}
	return start.AsTime(), end.AsTime(), nil
}

// noted returns a context in which queries report what they are without, and sends that as a trailer when done is called.
func (a *API) noted(ctx context.Context, trailer func(metadata.MD)) (noted context.Context, done func()) {
	report := &query.CoverageReport{}
	return query.WithCoverage(ctx, report), func() {
		md := metadata.MD{}
		a.notes(func(k, v string) { md.Append(k, v) }, report)
		if len(md) > 0 {
			trailer(md)
		}
	}
}

// unaryTrailer sets the trailer of a call with one answer. Without a stream (in tests) there is nobody to tell.
func unaryTrailer(ctx context.Context) func(metadata.MD) {
	return func(md metadata.MD) { _ = grpc.SetTrailer(ctx, md) }
}

// peerOf names who asks; see clientOf.
func peerOf(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		return clientKey(p.Addr.String(), "")
	}
	return ""
}

// grpcError gives an error the code that belongs to its HTTP status.
func grpcError(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	code := codes.Internal
	switch statusOf(err) {
	case http.StatusBadRequest:
		code = codes.InvalidArgument
	case http.StatusNotFound:
		code = codes.NotFound
	case http.StatusNotImplemented:
		code = codes.Unimplemented
	case http.StatusTooManyRequests:
		code = codes.ResourceExhausted
	case http.StatusServiceUnavailable:
		code = codes.Unavailable
	case http.StatusGatewayTimeout:
		code = codes.DeadlineExceeded
	case statusClientClosed:
		code = codes.Canceled
	}
	return status.Error(code, strings.ToValidUTF8(err.Error(), "\uFFFD"))
}

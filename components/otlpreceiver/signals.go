package otlpreceiver

import (
	"context"
	"net/http"

	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/xconsumer"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/pprofile/pprofileotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"go.opentelemetry.io/collector/receiver/receiverhelper"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// format is the data format in the receiver's own spans.
const format = "protobuf"

// tracesService takes requests with traces, of both protocols. A request without spans is good and goes nowhere, and so
// for the other signals. Spans without ids are refused, by a partial success if there are others.
type tracesService struct {
	ptraceotlp.UnimplementedGRPCServer
	next consumer.Traces
	obs  *receiverhelper.ObsReport
}

func (s *tracesService) Export(ctx context.Context, req ptraceotlp.ExportRequest) (ptraceotlp.ExportResponse, error) {
	td := req.Traces()
	n := td.SpanCount()
	if n == 0 {
		return ptraceotlp.NewExportResponse(), nil
	}
	found := inspect(td)
	if found.noID > 0 {
		s.obs.EndTracesOp(s.obs.StartTracesOp(ctx), format, found.noID, errNoID)
		if n -= found.noID; n == 0 {
			return ptraceotlp.NewExportResponse(), status.Error(codes.InvalidArgument, errNoID.Error())
		}
	}
	ctx = s.obs.StartTracesOp(ctx)
	err := s.next.ConsumeTraces(ctx, td)
	s.obs.EndTracesOp(ctx, format, n, err)
	res := ptraceotlp.NewExportResponse()
	if text := found.String(); text != "" && err == nil {
		res.PartialSuccess().SetRejectedSpans(int64(found.noID))
		res.PartialSuccess().SetErrorMessage(text)
	}
	return res, withStatus(err)
}

type metricsService struct {
	pmetricotlp.UnimplementedGRPCServer
	next consumer.Metrics
	obs  *receiverhelper.ObsReport
}

func (s *metricsService) Export(ctx context.Context, req pmetricotlp.ExportRequest) (pmetricotlp.ExportResponse, error) {
	md := req.Metrics()
	n := md.DataPointCount()
	if n == 0 {
		return pmetricotlp.NewExportResponse(), nil
	}
	ctx = s.obs.StartMetricsOp(ctx)
	err := s.next.ConsumeMetrics(ctx, md)
	s.obs.EndMetricsOp(ctx, format, n, err)
	return pmetricotlp.NewExportResponse(), withStatus(err)
}

type logsService struct {
	plogotlp.UnimplementedGRPCServer
	next consumer.Logs
	obs  *receiverhelper.ObsReport
}

func (s *logsService) Export(ctx context.Context, req plogotlp.ExportRequest) (plogotlp.ExportResponse, error) {
	ld := req.Logs()
	n := ld.LogRecordCount()
	if n == 0 {
		return plogotlp.NewExportResponse(), nil
	}
	ctx = s.obs.StartLogsOp(ctx)
	err := s.next.ConsumeLogs(ctx, ld)
	s.obs.EndLogsOp(ctx, format, n, err)
	return plogotlp.NewExportResponse(), withStatus(err)
}

type profilesService struct {
	pprofileotlp.UnimplementedGRPCServer
	next xconsumer.Profiles
	obs  *receiverhelper.ObsReport
}

func (s *profilesService) Export(ctx context.Context, req pprofileotlp.ExportRequest) (pprofileotlp.ExportResponse, error) {
	pd := req.Profiles()
	n := pd.SampleCount()
	if n == 0 {
		return pprofileotlp.NewExportResponse(), nil
	}
	ctx = s.obs.StartProfilesOp(ctx)
	err := s.next.ConsumeProfiles(ctx, pd)
	s.obs.EndProfilesOp(ctx, format, n, err)
	return pprofileotlp.NewExportResponse(), withStatus(err)
}

func (r *otlpReceiver) registerGRPC(s *grpc.Server) {
	if r.traces != nil {
		ptraceotlp.RegisterGRPCServer(s, &tracesService{next: r.traces, obs: r.obsGRPC})
	}
	if r.metrics != nil {
		pmetricotlp.RegisterGRPCServer(s, &metricsService{next: r.metrics, obs: r.obsGRPC})
	}
	if r.logs != nil {
		plogotlp.RegisterGRPCServer(s, &logsService{next: r.logs, obs: r.obsGRPC})
	}
	if r.profiles != nil {
		pprofileotlp.RegisterGRPCServer(s, &profilesService{next: r.profiles, obs: r.obsGRPC})
	}
}

func (r *otlpReceiver) mux() *http.ServeMux {
	cfg := r.cfg.Protocols.HTTP.Get()
	mux := http.NewServeMux()
	var served []string
	rooted := false // A signal may be configured to be taken at every path.
	handle := func(signal, path string, h http.Handler) {
		mux.Handle(path, h)
		served = append(served, signal+" at "+path)
		rooted = rooted || path == "/"
	}
	if r.traces != nil {
		s := &tracesService{next: r.traces, obs: r.obsHTTP}
		handle("traces", string(cfg.TracesURLPath), handler(ptraceotlp.NewExportRequest, s.Export))
	}
	if r.metrics != nil {
		s := &metricsService{next: r.metrics, obs: r.obsHTTP}
		handle("metrics", string(cfg.MetricsURLPath), handler(pmetricotlp.NewExportRequest, s.Export))
	}
	if r.logs != nil {
		s := &logsService{next: r.logs, obs: r.obsHTTP}
		handle("logs", string(cfg.LogsURLPath), handler(plogotlp.NewExportRequest, s.Export))
	}
	if r.profiles != nil {
		s := &profilesService{next: r.profiles, obs: r.obsHTTP}
		handle("profiles", profilesPath, handler(pprofileotlp.NewExportRequest, s.Export))
	}
	if !rooted {
		mux.Handle("/", elsewhere(served))
	}
	return mux
}

package jaegerreceiver

import (
	"context"
	"errors"
	"fmt"

	"github.com/jaegertracing/jaeger-idl/model/v1"
	"github.com/jaegertracing/jaeger-idl/proto-gen/api_v2"
	jaegertranslator "github.com/open-telemetry/opentelemetry-collector-contrib/pkg/translator/jaeger"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/config/configgrpc"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receiverhelper"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bramble-tracing/bramble/internal/keptport"
)

// grpcServer takes batches over gRPC (jaeger.api_v2.CollectorService), as Jaeger's collector does on port 14250.
type grpcServer struct {
	config   configgrpc.ServerConfig
	settings receiver.Settings
	next     consumer.Traces
	obsrecv  *receiverhelper.ObsReport

	serving *keptport.GRPCServing // nil before start
}

func newGRPCServer(set receiver.Settings, cfg *configgrpc.ServerConfig, next consumer.Traces) (*grpcServer, error) {
	obsrecv, err := receiverhelper.NewObsReport(receiverhelper.ObsReportSettings{
		ReceiverID: set.ID, Transport: "grpc", ReceiverCreateSettings: set,
	})
	return &grpcServer{config: *cfg, settings: set, next: next, obsrecv: obsrecv}, err
}

func (s *grpcServer) start(ctx context.Context, host component.Host) error {
	var err error
	s.serving, err = keptport.ServeGRPC(ctx, &keptport.GRPC{
		Owner: "receiver " + s.settings.ID.String(), Config: &s.config, Extensions: host.GetExtensions(), Telemetry: s.settings.TelemetrySettings,
		Register: func(server *grpc.Server) { api_v2.RegisterCollectorServiceServer(server, s) },
		Failed:   func(err error) { componentstatus.ReportStatus(host, componentstatus.NewFatalErrorEvent(err)) },
	})
	if err != nil {
		return fmt.Errorf("listen for Jaeger over gRPC on %q: %w", s.config.NetAddr.Endpoint, err)
	}
	s.settings.Logger.Info("Listening for Jaeger over gRPC", zap.Stringer("endpoint", s.serving.Addr()))
	return nil
}

// stop finishes the calls that have begun. The port stays for the receiver after a reload. It does nothing before start and the
// second time.
func (s *grpcServer) stop(ctx context.Context) error {
	if s.serving == nil {
		return nil
	}
	serving := s.serving
	s.serving = nil
	return serving.Stop(ctx)
}

// PostSpans stores a batch. InvalidArgument says that it never will be, Unavailable that it may be later.
func (s *grpcServer) PostSpans(ctx context.Context, r *api_v2.PostSpansRequest) (*api_v2.PostSpansResponse, error) {
	ctx = s.obsrecv.StartTracesOp(ctx)
	batch := r.GetBatch()
	err := s.take(ctx, &batch)
	s.obsrecv.EndTracesOp(ctx, "protobuf", len(batch.Spans), err)
	if err != nil {
		return nil, err
	}
	return &api_v2.PostSpansResponse{}, nil
}

func (s *grpcServer) take(ctx context.Context, batch *model.Batch) error {
	if len(batch.Spans) == 0 {
		return nil
	}
	td, err := translateProto(batch)
	if err != nil {
		if d, ok := errors.AsType[*dropError](err); ok && d.reason == panicked {
			s.settings.Logger.Error("Refused a batch", zap.String("reason", string(panicked)), zap.Error(err))
			err = errors.New("the batch cannot be decoded")
		}
		return status.Error(codes.InvalidArgument, fmt.Sprintf("decode the batch: %s", err))
	}
	err = s.next.ConsumeTraces(ctx, td)
	if _, has := status.FromError(err); has || err == nil {
		return err
	}
	code := codes.Unavailable
	if consumererror.IsPermanent(err) {
		code = codes.InvalidArgument
	}
	return status.Error(code, fmt.Sprintf("store the batch: %s", err))
}

// translateProto does not panic, whatever the batch holds.
func translateProto(batch *model.Batch) (td ptrace.Traces, err error) {
	defer catch(&err)
	return jaegertranslator.ProtoToTraces([]*model.Batch{batch})
}

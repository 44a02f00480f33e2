package tracequeryextension

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // Clients may send and ask for gzip.
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/bramble-tracing/bramble/internal/tempoapi"
)

// newGRPCServer returns a server for ServeHTTP: it listens to nothing itself. The health service (H-08) says the same
// as /ready.
func newGRPCServer(api *tempoapi.API, m *metrics, stopping <-chan struct{}, log *zap.Logger) (*grpc.Server, *health.Server) {
	s := grpc.NewServer(grpc.ChainStreamInterceptor(observeStreams(m, log), endWatches(stopping), api.NoteStreams()))
	api.RegisterGRPC(s)
	h := health.NewServer()
	h.SetServingStatus("", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	grpc_health_v1.RegisterHealthServer(s, h)
	return s, h
}

// observeStreams measures streams and turns a panic, which would end the process, into an error.
func observeStreams(m *metrics, log *zap.Logger) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
		start := time.Now()
		defer func() {
			if p := recover(); p != nil {
				log.Error("a request made the query API panic", zap.String("method", info.FullMethod), zap.String("panic", fmt.Sprint(p)), zap.ByteString("stack", debug.Stack()))
				err = status.Error(codes.Internal, "internal error, see the log of the server")
			}
			m.Observe(info.FullMethod, "gRPC", status.Code(err).String(), time.Since(start))
		}()
		return handler(srv, ss)
	}
}

// endWatches ends the streams of clients that watch the health, which last as long as both sides, when stopping is
// closed, so that they do not hold up a shutdown.
func endWatches(stopping <-chan struct{}) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if info.FullMethod != grpc_health_v1.Health_Watch_FullMethodName {
			return handler(srv, ss)
		}
		ctx, cancel := context.WithCancel(ss.Context())
		defer cancel()
		go func() {
			select {
			case <-stopping:
				cancel()
			case <-ctx.Done():
			}
		}()
		return handler(srv, &streamWithContext{ss, ctx})
	}
}

// streamWithContext is a stream whose context can be ended.
type streamWithContext struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // The stream's own.
}

// Context implements grpc.ServerStream.
func (s *streamWithContext) Context() context.Context { return s.ctx }

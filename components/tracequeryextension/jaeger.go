package tracequeryextension

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/config/configgrpc"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/confignet"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/extension"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bramble-tracing/bramble/internal/jaegerapi"
	"github.com/bramble-tracing/bramble/internal/keptport"
	"github.com/bramble-tracing/bramble/internal/query"
)

// JaegerConfig switches Jaeger's query API. It has ports of its own because its /api/traces/{id} is not Tempo's.
type JaegerConfig struct {
	// HTTP has the Collector's settings of an HTTP server. Both of Jaeger's HTTP APIs are there, by default on
	// localhost:16686.
	HTTP configoptional.Optional[confighttp.ServerConfig] `mapstructure:"http"`
	// GRPC has the Collector's settings of a gRPC server, by default on localhost:16685.
	GRPC configoptional.Optional[configgrpc.ServerConfig] `mapstructure:"grpc"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// Jaeger's ports, on loopback.
const (
	defaultJaegerHTTP = "localhost:16686"
	defaultJaegerGRPC = "localhost:16685"
)

func defaultJaegerConfig() JaegerConfig {
	web := confighttp.NewDefaultServerConfig()
	web.NetAddr.Endpoint = defaultJaegerHTTP
	web.ReadHeaderTimeout = defaultHeaderTimeout
	web.MaxRequestBodySize = 32 << 20 // A file to be transformed.
	rpc := configgrpc.NewDefaultServerConfig()
	rpc.NetAddr = confignet.AddrConfig{Endpoint: defaultJaegerGRPC, Transport: confignet.TransportTypeTCP}
	return JaegerConfig{HTTP: configoptional.Default(web), GRPC: configoptional.Default(rpc)}
}

// Validate names the path of each field that is out of range.
func (c *JaegerConfig) Validate() error {
	var errs []error
	if c.HTTP.HasValue() {
		errs = append(errs, checkEndpoint("http::endpoint", &c.HTTP.Get().NetAddr, defaultJaegerHTTP))
	}
	if c.GRPC.HasValue() {
		errs = append(errs, checkEndpoint("grpc::endpoint", &c.GRPC.Get().NetAddr, defaultJaegerGRPC))
	}
	return errors.Join(errs...)
}

// jaegerServers serves Jaeger's query API. The zero value serves nothing.
type jaegerServers struct {
	http     *http.Server
	httpAddr net.Addr
	grpc     *grpc.Server
	grpcAddr net.Addr
	release  func() error // gives the port for HTTP back
	// releaseGRPC gives the port for gRPC back.
	releaseGRPC func() error
	cancel      context.CancelFunc
	serve       sync.WaitGroup
}

// start listens and serves what c configures. After an error stop must be called. The context is not kept.
func (j *jaegerServers) start(ctx context.Context, host component.Host, set extension.Settings, c *JaegerConfig, s *query.Service, m *metrics) error {
	api := jaegerapi.New(s, jaegerapi.Options{Observer: m})
	if c.HTTP.HasValue() {
		if err := j.startHTTP(ctx, host, set, *c.HTTP.Get(), api); err != nil {
			return fmt.Errorf("jaeger::http: %w", err)
		}
	}
	if c.GRPC.HasValue() {
		if err := j.startGRPC(ctx, host, set, *c.GRPC.Get(), api, m); err != nil {
			return fmt.Errorf("jaeger::grpc: %w", err)
		}
	}
	return nil
}

func (j *jaegerServers) startHTTP(ctx context.Context, host component.Host, set extension.Settings, c confighttp.ServerConfig, api *jaegerapi.API) error {
	server, err := c.ToServer(ctx, host.GetExtensions(), set.TelemetrySettings, answerPanics(set.Logger, api))
	if err != nil {
		return fmt.Errorf("set up the server: %w", err)
	}
	server.Protocols = allProtocols()
	server.WriteTimeout = 0
	server.MaxHeaderBytes = maxHeaderBytes
	server.Handler = stalled(server.Handler, c.WriteTimeout)
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	server.BaseContext = func(net.Listener) context.Context { return base }
	listener, release, err := listen(ctx, set.ID, &c)
	if err != nil {
		cancel()
		return fmt.Errorf("listen on %s: %w", c.NetAddr.Endpoint, err)
	}
	j.http, j.httpAddr, j.release, j.cancel = server, listener.Addr(), release, cancel
	j.serve.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) && base.Err() == nil {
			componentstatus.ReportStatus(host, componentstatus.NewFatalErrorEvent(fmt.Errorf("serve on %s: %w", listener.Addr(), err)))
		}
	})
	set.Logger.Info("Jaeger's query API is listening for HTTP", zap.Stringer("address", j.httpAddr))
	return nil
}

// stalled bounds how long a client may leave an answer unread, instead of how long the answer takes.
func stalled(next http.Handler, stall time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sw := newStallWriter(w, stall)
		defer sw.finish(0)
		next.ServeHTTP(sw, r)
	})
}

// answerPanics turns a panic, which would be our mistake, into an answer and a log line.
func answerPanics(log *zap.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler { //nolint:errorlint // As net/http compares it.
					panic(p)
				}
				log.Error("a request made Jaeger's query API panic", zap.String("path", r.URL.Path), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
				http.Error(w, "internal error, see the log of the server", http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

func (j *jaegerServers) startGRPC(ctx context.Context, host component.Host, set extension.Settings, c configgrpc.ServerConfig, api *jaegerapi.API, m *metrics) error {
	server, err := c.ToServer(ctx, host.GetExtensions(), set.TelemetrySettings,
		configgrpc.WithGrpcServerOption(grpc.ChainStreamInterceptor(observeStreams(m, set.Logger))),
		configgrpc.WithGrpcServerOption(grpc.ChainUnaryInterceptor(observeCalls(m, set.Logger))))
	if err != nil {
		return fmt.Errorf("set up the server: %w", err)
	}
	listener, release, err := keptport.Listen(ctx, &c.NetAddr, "extension "+set.ID.String())
	if err != nil {
		return fmt.Errorf("listen on %s: %w", c.NetAddr.Endpoint, err)
	}
	api.RegisterGRPC(server)
	j.grpc, j.grpcAddr, j.releaseGRPC = server, listener.Addr(), release
	j.serve.Go(func() {
		if err := server.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			componentstatus.ReportStatus(host, componentstatus.NewFatalErrorEvent(fmt.Errorf("serve on %s: %w", listener.Addr(), err)))
		}
	})
	set.Logger.Info("Jaeger's query API is listening for gRPC", zap.Stringer("address", j.grpcAddr))
	return nil
}

// observeCalls is observeStreams for calls with one answer.
func observeCalls(m *metrics, log *zap.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (res any, err error) {
		begin := time.Now()
		defer func() {
			if p := recover(); p != nil {
				log.Error("a request made the query API panic", zap.String("method", info.FullMethod), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
				res, err = nil, status.Error(codes.Internal, "internal error, see the log of the server")
			}
			m.Observe(info.FullMethod, "gRPC", status.Code(err).String(), time.Since(begin))
		}()
		return handler(ctx, req)
	}
}

// stop gives requests in progress until ctx ends, cuts off what is left and returns when nothing runs any more. It may be
// called without start and after a start that did not succeed.
func (j *jaegerServers) stop(ctx context.Context) error {
	var errs []error
	var wait sync.WaitGroup
	if j.grpc != nil {
		wait.Go(j.grpc.GracefulStop)
	}
	if j.http != nil {
		if err := j.http.Shutdown(ctx); err != nil { // It was cut short.
			j.cancel()
			if err := j.http.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				errs = append(errs, fmt.Errorf("close Jaeger's port for HTTP: %w", err))
			}
		}
		j.cancel()
	}
	if j.grpc != nil {
		stopped := make(chan struct{})
		go func() {
			wait.Wait()
			close(stopped)
		}()
		select {
		case <-stopped:
		case <-ctx.Done():
			j.grpc.Stop()
			<-stopped
		}
	}
	j.serve.Wait()
	if j.release != nil {
		errs = append(errs, j.release())
		j.release = nil
	}
	if j.releaseGRPC != nil {
		errs = append(errs, j.releaseGRPC())
		j.releaseGRPC = nil
	}
	return errors.Join(errs...)
}

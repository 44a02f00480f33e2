package tracequeryextension

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/extension/extensioncapabilities"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/bramble-tracing/bramble/internal/exthost"
	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/selfcheck"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tempoapi"
	"github.com/bramble-tracing/bramble/internal/webmount"
)

var (
	_ extensioncapabilities.Dependent       = (*queryExtension)(nil)
	_ extensioncapabilities.PipelineWatcher = (*queryExtension)(nil)
	_ webmount.Mounter                      = (*queryExtension)(nil)
)

// queryExtension serves the query port. It is safe for concurrent use after Start.
type queryExtension struct {
	cfg *Config
	set extension.Settings
	mounts
	state atomic.Uint32
	// effective is the whole service's configuration, secrets hidden; nil until it is told.
	effective atomic.Pointer[map[string]any]

	service *query.Service
	checks  *selfcheck.Source
	peers   *peering // nil if there are none
	detect  *detector
	grpc    *grpc.Server
	health  *health.Server
	http    *http.Server
	addr    net.Addr
	// accept is the listener while it is served.
	accept net.Listener
	jaeger jaegerServers
	// release gives the port back.
	release func() error
	// cancel ends the context of all requests.
	cancel context.CancelFunc
	serve  sync.WaitGroup
	busy   busyConns
	// stopping is closed when the extension is not ready any more.
	stopping chan struct{}
	stop     sync.Once
}

// States of the extension, in their order.
const (
	stateNew uint32 = iota
	stateStarting
	stateReady
	stateStopping
)

func newQueryExtension(set extension.Settings, cfg *Config) *queryExtension {
	return &queryExtension{cfg: cfg, set: set, stopping: make(chan struct{})}
}

// Dependencies makes the Collector start the store first and stop it last.
func (e *queryExtension) Dependencies() []component.ID { return []component.ID{e.cfg.Store} }

// Start listens and serves. The context is not kept.
func (e *queryExtension) Start(ctx context.Context, host component.Host) error { //nolint:contextcheck // Requests have a context of their own.
	s, err := exthost.Find[store.Viewer](host, e.cfg.Store)
	if err != nil {
		return err
	}
	if e.checks, err = selfcheck.Join(e.set.ID.String()); err != nil {
		return fmt.Errorf("find the board of checks: %w", err)
	}
	e.service = query.New(s, e.cfg.Limits.limits())
	metrics := newMetrics(e.set.BuildInfo, e.service, e.cfg.TelemetryEndpoint)
	e.service.OnDone(func(d query.Done) {
		metrics.query(d)
		logSlow(e.set.Logger, e.cfg.Limits.SlowQuery, d)
		logDelete(e.set.Logger, d)
	})
	api := tempoapi.New(e.service, tempoapi.Options{
		Build:    tempoapi.NewBuildInfo(e.set.BuildInfo.Command, e.set.BuildInfo.Version),
		Observer: metrics,
		Delete:   e.cfg.DeleteEnabled,
	})
	if e.peers, err = e.startPeers(ctx, host); err != nil {
		return err
	}
	e.checks.ReportFunc(e.report)
	e.detect = e.startDetection()                                            //nolint:contextcheck // It outlives Start, until Shutdown.
	e.grpc, e.health = newGRPCServer(api, metrics, e.stopping, e.set.Logger) //nolint:contextcheck // Streams have contexts of their own.
	handler := &portHandler{ext: e, api: api, metrics: metrics.handler(), mcp: newMCP(e.cfg.MCP, e.set, e.service, metrics), log: e.set.Logger}
	if e.cfg.PprofEnabled {
		handler.pprof = pprofHandler()
	}
	// ToServer writes defaults into its receiver; the configuration stays as it was given.
	server := e.cfg.ServerConfig
	e.http, err = server.ToServer(ctx, host.GetExtensions(), e.set.TelemetrySettings, handler)
	if err != nil {
		return fmt.Errorf("set up the server on %s: %w", server.NetAddr.Endpoint, err)
	}
	base := e.adapt(e.http)
	listener, release, err := listen(ctx, e.set.ID, &server)
	if err != nil {
		e.cancel()
		return fmt.Errorf("listen on %s: %w", server.NetAddr.Endpoint, err)
	}
	e.release = release
	e.addr, e.accept = listener.Addr(), listener
	e.state.Store(stateStarting)
	e.serve.Go(func() {
		if err := e.http.Serve(listener); e.state.Load() != stateStopping && !errors.Is(err, http.ErrServerClosed) && base.Err() == nil {
			componentstatus.ReportStatus(host, componentstatus.NewFatalErrorEvent(fmt.Errorf("serve on %s: %w", listener.Addr(), err)))
		}
	})
	e.set.Logger.Info("query API is listening", zap.Stringer("address", e.addr), zap.Stringer("store", e.cfg.Store))
	return e.jaeger.start(ctx, host, e.set, &e.cfg.Jaeger, e.service, metrics)
}

// allProtocols are those of the query ports (C-01, C-02).
func allProtocols() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetHTTP2(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

// adapt turns the Collector's HTTP server into one that speaks all protocols on the port (C-01, C-02) and has no
// overall write timeout. It returns the context of all requests.
func (e *queryExtension) adapt(s *http.Server) context.Context {
	s.Protocols = allProtocols()
	s.WriteTimeout = 0
	s.MaxHeaderBytes = maxHeaderBytes
	s.ConnState = e.busy.observe
	s.Handler = &outerHandler{ext: e, next: s.Handler, stall: e.cfg.WriteTimeout}
	base, cancel := context.WithCancel(context.Background())
	e.cancel = cancel
	s.BaseContext = func(net.Listener) context.Context { return base }
	return base
}

// Ready is called when all pipelines run.
func (e *queryExtension) Ready() error {
	if e.state.CompareAndSwap(stateStarting, stateReady) {
		e.health.SetServingStatus("", grpc_health_v1.HealthCheckResponse_SERVING)
	}
	e.tellReady()
	return nil
}

// NotReady is called before the pipelines are stopped.
func (e *queryExtension) NotReady() error {
	e.state.Store(stateStopping)
	e.stop.Do(func() { close(e.stopping) })
	if e.health != nil {
		e.health.Shutdown() // All its services are not serving from now on.
	}
	return nil
}

// Shutdown stops listening and waits for requests; see the package comment.
func (e *queryExtension) Shutdown(ctx context.Context) error {
	if err := e.NotReady(); err != nil {
		return err
	}
	e.detect.close()
	if e.http == nil || e.addr == nil {
		return errors.Join(e.peers.close(), e.checks.Leave())
	}
	defer e.cancel()
	ctx, cancel := context.WithTimeout(ctx, e.cfg.ShutdownTimeout)
	defer cancel()
	jaeger := make(chan error, 1)
	go func() { jaeger <- e.jaeger.stop(ctx) }()
	// Nothing is accepted any more, and what was is known, before anything is closed: a request may be on its way.
	_ = e.accept.Close() // One that is closed is what is wanted.
	e.serve.Wait()
	e.busy.waitFresh(ctx)
	// Shutdown closes what is idle, and tells HTTP/2 clients to go; it would wait for those.
	var shut sync.WaitGroup
	shut.Go(func() { _ = e.http.Shutdown(ctx) }) // What it has to say is that it was cut short below.
	if err := e.busy.wait(ctx); err != nil {
		e.set.Logger.Warn("requests were cut off because they did not end in time", zap.Duration("shutdown_timeout", e.cfg.ShutdownTimeout), zap.Error(err))
		e.cancel()
	}
	errs := []error{<-jaeger, e.checks.Leave()}
	// A listener that Shutdown has closed before is none.
	if err := e.http.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		errs = append(errs, fmt.Errorf("close the query port: %w", err))
	}
	cancel()
	shut.Wait()
	e.grpc.Stop()
	errs = append(errs, e.release(), e.peers.close())
	// Queries see the cancelled context within milliseconds. They must be gone before the store closes.
	drain, done := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer done()
	return errors.Join(append(errs, e.service.Drain(drain))...)
}

// drainTimeout is how long cancelled queries may take to notice.
const drainTimeout = 5 * time.Second

// maxHeaderBytes has room for a TraceQL query of 128 KiB, percent-encoded (S-01).
const maxHeaderBytes = 512 << 10

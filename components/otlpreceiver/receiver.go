package otlpreceiver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/xconsumer"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receiverhelper"
	"go.uber.org/zap"

	"github.com/bramble-tracing/bramble/internal/keptport"
)

// otlpReceiver takes all signals that its configuration is used for; a signal without a consumer is not served.
type otlpReceiver struct {
	cfg      *Config
	set      receiver.Settings
	forget   func()
	obsGRPC  *receiverhelper.ObsReport
	obsHTTP  *receiverhelper.ObsReport
	traces   consumer.Traces
	metrics  consumer.Metrics
	logs     consumer.Logs
	profiles xconsumer.Profiles

	mu      sync.Mutex
	stopped bool
	grpc    *keptport.GRPCServing // nil unless it serves
	http    *keptport.Serving

	hostsMu sync.Mutex       // apart from mu, which is held while servers end: they may have something to tell
	hosts   []component.Host // one per signal; the first has started it
}

func newOTLPReceiver(set receiver.Settings, cfg *Config, forget func()) (*otlpReceiver, error) {
	set.TelemetrySettings = withoutSignal(set.TelemetrySettings)
	r := &otlpReceiver{cfg: cfg, set: set, forget: forget}
	for transport, obs := range map[string]**receiverhelper.ObsReport{"grpc": &r.obsGRPC, "http": &r.obsHTTP} {
		o, err := receiverhelper.NewObsReport(receiverhelper.ObsReportSettings{
			ReceiverID: set.ID, Transport: transport, ReceiverCreateSettings: set,
		})
		if err != nil {
			return nil, err
		}
		*obs = o
	}
	return r, nil
}

// Start listens and serves. The second time and later it only notes whom to tell of failures.
func (r *otlpReceiver) Start(ctx context.Context, host component.Host) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.tell(host) {
		return nil
	}
	if r.cfg.Protocols.GRPC.HasValue() {
		if err := r.startGRPC(ctx, host); err != nil {
			return fmt.Errorf("protocols::grpc: %w", err)
		}
	}
	if r.cfg.Protocols.HTTP.HasValue() {
		if err := r.startHTTP(ctx, host); err != nil {
			return errors.Join(fmt.Errorf("protocols::http: %w", err), r.stop(ctx))
		}
	}
	return nil
}

func (r *otlpReceiver) startGRPC(ctx context.Context, host component.Host) error {
	var err error
	r.grpc, err = keptport.ServeGRPC(ctx, &keptport.GRPC{
		Owner: "receiver " + r.set.ID.String(), Config: r.cfg.Protocols.GRPC.Get(), Extensions: host.GetExtensions(), Telemetry: r.set.TelemetrySettings,
		Register: r.registerGRPC, Failed: r.fatal,
	})
	if err != nil {
		return err
	}
	r.set.Logger.Info("OTLP over gRPC is listening", zap.Stringer("endpoint", r.grpc.Addr()))
	return nil
}

func (r *otlpReceiver) startHTTP(ctx context.Context, host component.Host) error {
	// ToServer writes defaults into its receiver; the configuration stays as it was given.
	cfg := r.cfg.Protocols.HTTP.Get().ServerConfig
	server, err := cfg.ToServer(ctx, host.GetExtensions(), r.set.TelemetrySettings, r.mux(), confighttp.WithErrorHandler(answerError))
	if err != nil {
		return err
	}
	r.http, err = keptport.ServeHTTP(ctx, keptport.HTTP{
		Owner: "receiver " + r.set.ID.String(), Config: &cfg, Server: server, Refuse: http.HandlerFunc(answerReloading), Failed: r.fatal,
	})
	if err != nil {
		return err
	}
	r.set.Logger.Info("OTLP over HTTP is listening", zap.Stringer("endpoint", r.http.Addr()))
	return nil
}

// tell notes whom to tell of failures, and reports whether it is the first.
func (r *otlpReceiver) tell(host component.Host) bool {
	r.hostsMu.Lock()
	defer r.hostsMu.Unlock()
	r.hosts = append(r.hosts, host)
	return len(r.hosts) == 1
}

// fatal reports that nothing can be accepted any more.
func (r *otlpReceiver) fatal(err error) {
	r.hostsMu.Lock()
	hosts := r.hosts
	r.hostsMu.Unlock()
	for _, h := range hosts {
		componentstatus.ReportStatus(h, componentstatus.NewFatalErrorEvent(err))
	}
}

// Shutdown finishes the requests that have begun; see the package comment. It does nothing the second time.
func (r *otlpReceiver) Shutdown(ctx context.Context) error {
	r.forget()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return nil
	}
	r.stopped = true
	return r.stop(ctx)
}

// stop ends both protocols at once: what a client of one waits for does not depend on the other. r.mu is held.
func (r *otlpReceiver) stop(ctx context.Context) error {
	var wg sync.WaitGroup
	var grpcErr, httpErr error
	if r.grpc != nil {
		wg.Go(func() { grpcErr = r.grpc.Stop(ctx) })
	}
	if r.http != nil {
		wg.Go(func() { httpErr = r.http.Stop(ctx) })
	}
	wg.Wait()
	r.grpc, r.http = nil, nil
	return errors.Join(grpcErr, httpErr)
}

package jaegerreceiver

import (
	"context"
	"errors"
	"fmt"

	"github.com/apache/thrift/lib/go/thrift"
	contrib "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/jaegerreceiver"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"

	"github.com/bramble-tracing/bramble/components/jaegerreceiver/internal/metadata"
)

// jaegerReceiver is what listens for the protocols that are configured.
type jaegerReceiver struct {
	grpc      *grpcServer // nil without gRPC
	http      *httpServer // nil without Thrift over HTTP
	listeners []*listener // UDP
	telemetry *metadata.TelemetryBuilder
}

func newJaegerReceiver(set receiver.Settings, cfg *Config, next consumer.Traces) (*jaegerReceiver, error) {
	telemetry, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, err
	}
	r := &jaegerReceiver{telemetry: telemetry}
	if cfg.Protocols.GRPC.HasValue() {
		if r.grpc, err = newGRPCServer(set, cfg.Protocols.GRPC.Get(), next); err != nil {
			return nil, err
		}
	}
	if cfg.Protocols.ThriftHTTP.HasValue() {
		if r.http, err = newHTTPServer(set, *cfg.Protocols.ThriftHTTP.Get(), next); err != nil {
			return nil, err
		}
	}
	for _, p := range []struct {
		name, transport string
		config          *configoptional.Optional[contrib.ProtocolUDP]
		protocol        func(*thrift.TConfiguration) thrift.TProtocolFactory
	}{
		{"thrift_binary", "udp_thrift_binary", &cfg.Protocols.ThriftBinaryUDP, binaryProtocol},
		{"thrift_compact", "udp_thrift_compact", &cfg.Protocols.ThriftCompactUDP, compactProtocol},
	} {
		if !p.config.HasValue() {
			continue
		}
		l, err := newListener(set, p.transport, *p.config.Get(), p.protocol, next, telemetry)
		if err != nil {
			return nil, fmt.Errorf("protocols::%s: %w", p.name, err)
		}
		r.listeners = append(r.listeners, l)
	}
	return r, nil
}

func (r *jaegerReceiver) Start(ctx context.Context, host component.Host) error {
	for _, l := range r.listeners {
		if err := l.start(ctx); err != nil {
			return err
		}
	}
	if r.http != nil {
		if err := r.http.start(ctx, host); err != nil {
			return err
		}
	}
	if r.grpc != nil {
		return r.grpc.start(ctx, host)
	}
	return nil
}

// Shutdown may be called without Start, and after a Start that returned an error.
func (r *jaegerReceiver) Shutdown(ctx context.Context) error {
	var errs []error
	for _, l := range r.listeners {
		errs = append(errs, l.stop())
	}
	if r.http != nil {
		errs = append(errs, r.http.stop(ctx))
	}
	if r.grpc != nil {
		errs = append(errs, r.grpc.stop(ctx))
	}
	r.telemetry.Shutdown()
	return errors.Join(errs...)
}

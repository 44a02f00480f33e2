package zipkinreceiver

import (
	"context"

	contrib "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/zipkinreceiver"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"

	"github.com/bramble-tracing/bramble/components/zipkinreceiver/internal/metadata"
)

// Config is the configuration of contrib's zipkin receiver.
type Config = contrib.Config

// NewFactory returns the factory of the zipkin receiver. Its defaults are those of contrib's.
func NewFactory() receiver.Factory {
	return receiver.NewFactory(
		metadata.Type,
		contrib.NewFactory().CreateDefaultConfig,
		receiver.WithTraces(createTraces, metadata.TracesStability),
	)
}

func createTraces(_ context.Context, set receiver.Settings, cfg component.Config, next consumer.Traces) (receiver.Traces, error) {
	return newZipkinReceiver(set, cfg.(*Config), next)
}

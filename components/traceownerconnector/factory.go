package traceownerconnector

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer"

	"github.com/bramble-tracing/bramble/components/traceownerconnector/internal/metadata"
)

// NewFactory returns the factory of the trace_owner connector.
func NewFactory() connector.Factory {
	return connector.NewFactory(metadata.Type, createDefaultConfig, connector.WithTracesToTraces(create, metadata.TracesToTracesStability))
}

func create(_ context.Context, set connector.Settings, cfg component.Config, next consumer.Traces) (connector.Traces, error) {
	return newOwnerConnector(set, cfg.(*Config), next)
}

package tailsamplingprocessor

import (
	"context"

	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/tailsamplingprocessor"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/processor"

	"github.com/bramble-tracing/bramble/processors/tailsamplingprocessor/internal/metadata"
)

var contrib = tailsamplingprocessor.NewFactory()

// NewFactory returns the factory of the tail_sampling processor.
func NewFactory() processor.Factory {
	return processor.NewFactory(metadata.Type, createDefaultConfig, processor.WithTraces(createTraces, metadata.TracesStability))
}

func createDefaultConfig() component.Config {
	return &Config{
		Query:   component.MustNewID("trace_query"),
		Contrib: contrib.CreateDefaultConfig().(*tailsamplingprocessor.Config),
	}
}

func createTraces(ctx context.Context, set processor.Settings, cfg component.Config, next consumer.Traces) (processor.Traces, error) {
	c := cfg.(*Config)
	if c.Store == nil {
		return contrib.CreateTraces(ctx, set, c.Contrib, next)
	}
	return newStoreProcessor(set, c, next)
}

package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configtelemetry"
	"go.opentelemetry.io/collector/service/telemetry"
	"go.opentelemetry.io/collector/service/telemetry/otelconftelemetry"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// SpansPerSecond is how many local root spans are recorded each second when no trace processors are configured.
const SpansPerSecond = 20

// NewFactory returns the stock telemetry factory with tracing that zPages can show.
func NewFactory() telemetry.Factory {
	stock := otelconftelemetry.NewFactory()
	return telemetry.NewFactory(
		stock.CreateDefaultConfig,
		telemetry.WithCreateResource(stock.CreateResource),
		telemetry.WithCreateLogger(stock.CreateLogger),
		telemetry.WithCreateMeterProvider(stock.CreateMeterProvider),
		telemetry.WithCreateTracerProvider(func(ctx context.Context, set telemetry.TracerSettings, cfg component.Config) (telemetry.TracerProvider, error) {
			c, ok := cfg.(*otelconftelemetry.Config)
			if !ok || c.Traces.Level == configtelemetry.LevelNone || len(c.Traces.Processors) > 0 {
				return stock.CreateTracerProvider(ctx, set, cfg)
			}
			return sdktrace.NewTracerProvider(sdktrace.WithSampler(
				sdktrace.ParentBased(newRateSampler(SpansPerSecond, time.Now)))), nil
		}),
	)
}

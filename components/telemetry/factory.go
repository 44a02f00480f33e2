package telemetry

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configtelemetry"
	"go.opentelemetry.io/collector/service/telemetry"
	"go.opentelemetry.io/collector/service/telemetry/otelconftelemetry"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/bramble-tracing/bramble/internal/liveconfig"
	"github.com/bramble-tracing/bramble/internal/procstate"
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
		telemetry.WithCreateMeterProvider(func(ctx context.Context, set telemetry.MeterSettings, cfg component.Config) (telemetry.MeterProvider, error) {
			p, err := stock.CreateMeterProvider(ctx, set, cfg)
			if err != nil {
				return nil, err
			}
			if g := liveconfig.Of(&procstate.Default); g != nil {
				if err := observeConfig(p, g); err != nil {
					return nil, errors.Join(err, p.Shutdown(ctx))
				}
			}
			return p, nil
		}),
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

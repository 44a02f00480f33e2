package otlpreceiver

import (
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// signalKey is the attribute that the Collector gives the telemetry of a component that it made for one signal.
const signalKey = "otelcol.signal"

// withoutSignal takes the signal out of the telemetry of a component that serves all of them. The Collector's own
// packages do it through these methods too; where they are not there, the attribute stays.
func withoutSignal(set component.TelemetrySettings) component.TelemetrySettings {
	set.Logger = set.Logger.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core {
		if d, ok := c.(interface{ DropInjectedAttributes(...string) zapcore.Core }); ok {
			return d.DropInjectedAttributes(signalKey)
		}
		return c
	}))
	if d, ok := set.TracerProvider.(interface {
		DropInjectedAttributes(...string) trace.TracerProvider
	}); ok {
		set.TracerProvider = d.DropInjectedAttributes(signalKey)
	}
	if d, ok := set.MeterProvider.(interface {
		DropInjectedAttributes(...string) metric.MeterProvider
	}); ok {
		set.MeterProvider = d.DropInjectedAttributes(signalKey)
	}
	return set
}

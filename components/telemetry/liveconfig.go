package telemetry

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/bramble-tracing/bramble/internal/liveconfig"
)

// scope is the instrumentation scope of the process's own metrics.
const scope = "github.com/bramble-tracing/bramble/components/telemetry"

// observeConfig registers the metrics of the live configuration. They are registered here, with every meter provider,
// since a reload replaces the provider and not every configuration has an extension of ours.
func observeConfig(p metric.MeterProvider, g *liveconfig.Guard) error {
	m := p.Meter(scope)
	ok, err1 := m.Int64ObservableGauge("bramble_config_last_reload_successful",
		metric.WithDescription("1 while the configuration's sources hold what runs, 0 after an edit that was refused or rolled back."))
	since, err2 := m.Float64ObservableGauge("bramble_config_last_success_timestamp",
		metric.WithDescription("When the running configuration was applied, as Unix time."), metric.WithUnit("s"))
	info, err3 := m.Int64ObservableGauge("bramble_config_info",
		metric.WithDescription("1, with the hash of the running configuration."))
	edits, err4 := m.Int64ObservableCounter("bramble_config_edits",
		metric.WithDescription("Configurations seen, by outcome: booted, booted_last, applied, rejected, rolled_back."))
	for _, err := range []error{err1, err2, err3, err4} {
		if err != nil {
			return fmt.Errorf("metrics of the configuration: %w", err)
		}
	}
	_, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := g.Status()
		good := int64(0)
		if s.OK {
			good = 1
		}
		o.ObserveInt64(ok, good)
		o.ObserveFloat64(since, float64(s.Since.UnixNano())/1e9)
		o.ObserveInt64(info, 1, metric.WithAttributes(attribute.String("hash", s.Hash)))
		for _, outcome := range liveconfig.Outcomes {
			o.ObserveInt64(edits, s.Counts[outcome], metric.WithAttributes(attribute.String("outcome", string(outcome))))
		}
		return nil
	}, ok, since, info, edits)
	if err != nil {
		return fmt.Errorf("metrics of the configuration: %w", err)
	}
	return nil
}

package tracequeryextension

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
)

// TestMeasuresCalls: agents see whether somebody sees gRPC's metrics of calls between them.
func TestMeasuresCalls(t *testing.T) {
	// As the Collector does below the level detailed.
	drop := sdkmetric.NewView(sdkmetric.Instrument{Scope: instrumentation.Scope{Name: callsScope}}, sdkmetric.Stream{Aggregation: sdkmetric.AggregationDrop{}})
	reader := func() sdkmetric.Option { return sdkmetric.WithReader(sdkmetric.NewManualReader()) }
	detailed, normal := sdkmetric.NewMeterProvider(reader()), sdkmetric.NewMeterProvider(reader(), sdkmetric.WithView(drop))
	t.Cleanup(func() {
		require.NoError(t, detailed.Shutdown(context.Background()))
		require.NoError(t, normal.Shutdown(context.Background()))
	})
	for _, c := range []struct {
		provider metric.MeterProvider
		want     bool
	}{{detailed, true}, {normal, false}, {noop.NewMeterProvider(), false}} {
		require.Equal(t, c.want, measuresCalls(t.Context(), c.provider))
	}
}

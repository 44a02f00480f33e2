package tracemetricsconnector

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/connector/servicegraphconnector"
	"github.com/open-telemetry/opentelemetry-collector-contrib/connector/spanmetricsconnector"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/connector/connectortest"
	"go.opentelemetry.io/collector/consumer/consumertest"

	"github.com/bramble-tracing/bramble/internal/otlpspan"
)

// BenchmarkBesideContrib counts the same spans with this connector and with contrib's, with the same buckets, labels and
// no flush in between. "accepted" is what this connector does with a store; "pipeline" without one, from pdata as
// contrib's.
func BenchmarkBesideContrib(b *testing.B) {
	batch := recent(1).Batch(2000)
	td, err := otlpspan.Build(batch)
	require.NoError(b, err)

	for _, ours := range []struct {
		name       string
		processors []string
		accepted   bool
	}{
		{"ours/span_metrics/accepted", []string{"span-metrics"}, true},
		{"ours/both/accepted", []string{"span-metrics", "service-graphs"}, true},
		{"ours/both/pipeline", []string{"span-metrics", "service-graphs"}, false},
	} {
		b.Run(ours.name, func(b *testing.B) {
			cfg := createDefaultConfig().(*Config)
			cfg.Store, cfg.Node, cfg.FlushInterval, cfg.IngestionTimeRangeSlack, cfg.Processors = "", "n", time.Hour, 0, ours.processors
			c, err := NewFactory().CreateTracesToMetrics(b.Context(), connectortest.NewNopSettings(NewFactory().Type()), cfg, consumertest.NewNop())
			require.NoError(b, err)
			run(b, c)
			perSpan(b, len(batch.Spans), func() {
				if ours.accepted {
					c.(*metricsConnector).Accepted(batch)
					return
				}
				if err := c.ConsumeTraces(b.Context(), td); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
	for _, contrib := range []struct {
		name    string
		factory connector.Factory
		cfg     map[string]any
	}{
		{"contrib/span_metrics", spanmetricsconnector.NewFactory(), map[string]any{
			"metrics_flush_interval": "1h",
			"histogram": map[string]any{"unit": "s", "explicit": map[string]any{
				"buckets": []string{"2ms", "4ms", "8ms", "16ms", "32ms", "64ms", "128ms", "256ms", "512ms", "1024ms", "2048ms", "4096ms", "8192ms", "16384ms"},
			}},
			"exemplars": map[string]any{"enabled": true},
		}},
		{"contrib/service_graph", servicegraphconnector.NewFactory(), map[string]any{
			"metrics_flush_interval": "1h", "store": map[string]any{"ttl": "10s", "max_items": 10000},
		}},
	} {
		b.Run(contrib.name, func(b *testing.B) {
			cfg := contrib.factory.CreateDefaultConfig()
			require.NoError(b, confmap.NewFromStringMap(contrib.cfg).Unmarshal(cfg))
			c, err := contrib.factory.CreateTracesToMetrics(b.Context(), connectortest.NewNopSettings(contrib.factory.Type()), cfg, consumertest.NewNop())
			require.NoError(b, err)
			run(b, c)
			perSpan(b, len(batch.Spans), func() {
				if err := c.ConsumeTraces(b.Context(), td); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}

func run(b *testing.B, c component.Component) {
	b.Helper()
	require.NoError(b, c.Start(b.Context(), componenttest.NewNopHost()))
	b.Cleanup(func() { require.NoError(b, c.Shutdown(context.Background())) })
}

// perSpan runs f, which handles a number of spans, and reports the CPU time per span, of all threads.
func perSpan(b *testing.B, spans int, f func()) {
	b.Helper()
	b.ReportAllocs()
	before := cpuNanos(b)
	for b.Loop() {
		f()
	}
	b.ReportMetric(float64(cpuNanos(b)-before)/float64(b.N*spans), "cpu-ns/span")
}

func cpuNanos(b *testing.B) int64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

package tracemetricsconnector

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/connector/connectortest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/bramble-tracing/bramble/components/tracemetricsconnector/internal/metadata"
	"github.com/bramble-tracing/bramble/components/tracemetricsconnector/internal/metadatatest"
	"github.com/bramble-tracing/bramble/internal/store"
)

// TestOwnMetrics: what is counted, discarded and overflows is visible to an operator.
func TestOwnMetrics(t *testing.T) {
	tel := componenttest.NewTelemetry()
	t.Cleanup(func() { require.NoError(t, tel.Shutdown(context.Background())) })
	set := connectortest.NewNopSettings(metadata.Type)
	set.ID, set.TelemetrySettings = component.NewID(metadata.Type), tel.NewTelemetrySettings()
	cfg := createDefaultConfig().(*Config)
	cfg.Store, cfg.Node, cfg.MaxActiveSeries, cfg.MaxCardinalityPerLabel = "", "n", 3, 2
	c := newMetricsConnector(set, cfg, consumertest.NewNop())
	require.NoError(t, c.Start(t.Context(), componenttest.NewNopHost()))
	t.Cleanup(func() { require.NoError(t, c.Shutdown(context.Background())) })

	batch := recent(1).Batch(1)
	span := batch.Spans[0] // A root server span.
	for i := range 10 {
		s := span
		s.Name = string(rune('a' + i))
		c.Accepted(&store.Batch{Resources: batch.Resources, Scopes: batch.Scopes, Spans: []store.Span{s}})
	}
	late := span
	late.EndNano = 1
	c.Accepted(&store.Batch{Resources: batch.Resources, Scopes: batch.Scopes, Spans: []store.Span{late}})

	ignore := metricdatatest.IgnoreTimestamp()
	one := func(v int64) []metricdata.DataPoint[int64] { return []metricdata.DataPoint[int64]{{Value: v}} }
	groups := func(spans, graph int64) (out []metricdata.DataPoint[int64]) {
		for group, v := range map[string]int64{"span_metrics": spans, "service_graph": graph, "info": 0} {
			out = append(out, metricdata.DataPoint[int64]{Attributes: attribute.NewSet(attribute.String("group", group)), Value: v})
		}
		return out
	}
	metadatatest.AssertEqualTraceMetricsSpans(t, tel, one(10), ignore)
	metadatatest.AssertEqualTraceMetricsDiscardedSpans(t, tel, one(1), ignore)
	// N-29, by the names of our own telemetry.
	metadatatest.AssertEqualTraceMetricsServiceGraphEdges(t, tel, one(10), ignore)
	metadatatest.AssertEqualTraceMetricsServiceGraphDroppedSpans(t, tel, one(0), ignore)
	metadatatest.AssertEqualTraceMetricsServiceGraphExpiredEdges(t, tel, one(0), ignore)
	metadatatest.AssertEqualTraceMetricsServiceGraphWaitingSpans(t, tel, one(0), ignore)
	metadatatest.AssertEqualTraceMetricsFailedFlushes(t, tel, one(0), ignore)
	// Two names, then the value that stands for all others: three series.
	metadatatest.AssertEqualTraceMetricsActiveSeries(t, tel, groups(3, 1), ignore)
	metadatatest.AssertEqualTraceMetricsOverflowValues(t, tel, groups(8, 0), ignore)
	metadatatest.AssertEqualTraceMetricsOverflowSeries(t, tel, groups(0, 0), ignore)
}

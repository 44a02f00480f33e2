package tracemetricsconnector

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/bramble-tracing/bramble/components/tracemetricsconnector/internal/metadata"
	"github.com/bramble-tracing/bramble/internal/tracemetrics"
)

// Groups of metrics that share their labels and limits.
var (
	groupSpans = metric.WithAttributes(attribute.String("group", "span_metrics"))
	groupGraph = metric.WithAttributes(attribute.String("group", "service_graph"))
	groupInfo  = metric.WithAttributes(attribute.String("group", "info"))
)

// registerMetrics publishes the connector's own numbers. The meter provider is a new one after each reload.
func (c *metricsConnector) registerMetrics() (err error) {
	if c.telemetry, err = metadata.NewTelemetryBuilder(c.settings); err != nil {
		return err
	}
	one := func(f func(tracemetrics.Stats) int64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(f(c.aggregator.Stats()))
			return nil
		}
	}
	grouped := func(f func(tracemetrics.Stats) (spans, graph, info int64)) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			spans, graph, info := f(c.aggregator.Stats())
			o.Observe(spans, groupSpans)
			o.Observe(graph, groupGraph)
			o.Observe(info, groupInfo)
			return nil
		}
	}
	t := c.telemetry
	return errors.Join(
		t.RegisterTraceMetricsSpansCallback(one(func(s tracemetrics.Stats) int64 { return s.Spans })),
		t.RegisterTraceMetricsDiscardedSpansCallback(one(func(s tracemetrics.Stats) int64 { return s.DiscardedSpans })),
		t.RegisterTraceMetricsFailedFlushesCallback(one(func(tracemetrics.Stats) int64 { return c.failed.Load() })),
		t.RegisterTraceMetricsPinnedTracesCallback(one(func(tracemetrics.Stats) int64 { return c.pinned.Load() })),
		t.RegisterTraceMetricsRefusedPinsCallback(one(func(tracemetrics.Stats) int64 { return c.unpinned.Load() })),
		t.RegisterTraceMetricsServiceGraphEdgesCallback(one(func(s tracemetrics.Stats) int64 { return s.Edges })),
		t.RegisterTraceMetricsServiceGraphExpiredEdgesCallback(one(func(s tracemetrics.Stats) int64 { return s.ExpiredEdges })),
		t.RegisterTraceMetricsServiceGraphDroppedSpansCallback(one(func(s tracemetrics.Stats) int64 { return s.DroppedGraphSpans })),
		t.RegisterTraceMetricsServiceGraphWaitingSpansCallback(one(func(s tracemetrics.Stats) int64 { return s.PendingHalves })),
		t.RegisterTraceMetricsActiveSeriesCallback(grouped(func(s tracemetrics.Stats) (int64, int64, int64) {
			return s.SpanSeries, s.GraphSeries, s.InfoSeries
		})),
		t.RegisterTraceMetricsOverflowSeriesCallback(grouped(func(s tracemetrics.Stats) (int64, int64, int64) {
			return s.SpanOverflow, s.GraphOverflow, s.InfoOverflow
		})),
		t.RegisterTraceMetricsOverflowValuesCallback(grouped(func(s tracemetrics.Stats) (int64, int64, int64) {
			return s.SpanValuesOverflow, s.GraphValuesOverflow, 0
		})),
	)
}

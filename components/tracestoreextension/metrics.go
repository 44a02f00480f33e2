package tracestoreextension

import (
	"context"
	"errors"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/bramble-tracing/bramble/components/tracestoreextension/internal/metadata"
	"github.com/bramble-tracing/bramble/internal/memlimit"
	"github.com/bramble-tracing/bramble/internal/tracedb"
)

// registerMetrics publishes the store's numbers. The meter provider is a new one after each reload.
func (e *storeExtension) registerMetrics(stats func() tracedb.Stats) (err error) {
	if e.telemetry, err = metadata.NewTelemetryBuilder(e.settings); err != nil {
		return err
	}
	observe := func(f func(tracedb.Stats) int64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(f(stats()))
			return nil
		}
	}
	t := e.telemetry
	return errors.Join(
		t.RegisterTraceStoreAppendedSpansCallback(observe(func(s tracedb.Stats) int64 { return int64(s.AppendedSpans) })),
		t.RegisterTraceStoreRefusedBatchesCallback(observe(func(s tracedb.Stats) int64 { return int64(s.RefusedBatches) })),
		t.RegisterTraceStoreDroppedSpansCallback(observe(func(s tracedb.Stats) int64 { return int64(s.DroppedSpans) })),
		t.RegisterTraceStoreSpansCallback(observe(func(s tracedb.Stats) int64 { return int64(s.Spans) })),
		t.RegisterTraceStoreBlockSizeCallback(observeBlocks(stats)),
		t.RegisterTraceStoreReceivedSizeCallback(observe(func(s tracedb.Stats) int64 { return int64(s.ReceivedBytes) })),
		t.RegisterTraceStoreWrittenSizeCallback(observe(func(s tracedb.Stats) int64 { return s.WrittenBytes })),
		t.RegisterTraceStoreFreedSizeCallback(observe(func(s tracedb.Stats) int64 { return s.FreedBytes })),
		t.RegisterTraceStoreQuarantineSizeCallback(observe(func(s tracedb.Stats) int64 { return s.QuarantinedBytes })),
		t.RegisterTraceStoreRepairedBlocksCallback(observe(func(s tracedb.Stats) int64 { return int64(s.Repaired) })),
		t.RegisterTraceStoreScrubbedSizeCallback(observe(func(s tracedb.Stats) int64 { return int64(s.ScrubbedBytes) })),
		t.RegisterTraceStoreBlocksCallback(observe(func(s tracedb.Stats) int64 { return int64(s.Blocks) })),
		t.RegisterTraceStoreBlocksWrittenCallback(observe(func(s tracedb.Stats) int64 { return int64(s.BlocksWritten) })),
		t.RegisterTraceStoreCutHeadsCallback(observe(func(s tracedb.Stats) int64 { return int64(s.Cuts) })),
		t.RegisterTraceStoreHeadsCallback(observe(func(s tracedb.Stats) int64 { return int64(s.Heads) })),
		t.RegisterTraceStoreDroppedBlocksCallback(observe(func(s tracedb.Stats) int64 { return int64(s.DroppedBlocks) })),
		t.RegisterTraceStoreDeletedTracesCallback(observe(func(s tracedb.Stats) int64 { return int64(s.DeletedTraces) })),
		t.RegisterTraceStoreCorruptionsCallback(observe(func(s tracedb.Stats) int64 { return int64(s.Corruptions) })),
		t.RegisterTraceStoreDecidedTracesCallback(observe(func(s tracedb.Stats) int64 { return int64(s.DecidedTraces) })),
		t.RegisterTraceStoreKeptTracesCallback(observe(func(s tracedb.Stats) int64 { return int64(s.KeptTraces) })),
		t.RegisterTraceStoreCompactionsCallback(observe(func(s tracedb.Stats) int64 { return int64(s.Merges) })),
		t.RegisterTraceStoreCompactedSpansCallback(observe(func(s tracedb.Stats) int64 { return int64(s.MergedSpans) })),
		t.RegisterTraceStoreCopiedSpansCallback(observe(func(s tracedb.Stats) int64 { return int64(s.CopiedSpans) })),
		t.RegisterTraceStoreCompactionFailuresCallback(observe(func(s tracedb.Stats) int64 { return int64(s.MergeFailures) })),
		t.RegisterTraceStoreCompactionTimeCallback(func(_ context.Context, o metric.Float64Observer) error {
			o.Observe(stats().MergeTime.Seconds())
			return nil
		}),
		t.RegisterTraceStoreFlushFailuresCallback(observe(func(s tracedb.Stats) int64 { return int64(s.FlushFailures) })),
		t.RegisterTraceStoreFlushTimeCallback(func(_ context.Context, o metric.Float64Observer) error {
			o.Observe(stats().FlushTime.Seconds())
			return nil
		}),
		t.RegisterTraceStoreQuarantinedBlocksCallback(observe(func(s tracedb.Stats) int64 { return int64(s.Quarantined) })),
		t.RegisterTraceStoreWalLagCallback(observe(func(s tracedb.Stats) int64 { return int64(s.WALLag) })),
		t.RegisterTraceStoreWalSizeCallback(observe(func(s tracedb.Stats) int64 { return s.WALBytes })),
		t.RegisterTraceStoreMemorySizeCallback(observeMemory(stats, func(u memlimit.Usage) int64 { return u.Used })),
		t.RegisterTraceStoreMemoryLimitCallback(observeMemory(stats, func(u memlimit.Usage) int64 { return u.Limit })),
	)
}

// observeBlocks reports the size of blocks by level.
func observeBlocks(stats func() tracedb.Stats) metric.Int64Callback {
	return func(_ context.Context, o metric.Int64Observer) error {
		s := stats()
		for level, n := range s.LevelBytes {
			o.Observe(n, metric.WithAttributes(attribute.String("level", strconv.Itoa(level))))
		}
		o.Observe(s.DoomedBytes, metric.WithAttributes(attribute.String("level", "doomed")))
		return nil
	}
}

// observeMemory reports a number of each part of the store's memory.
func observeMemory(stats func() tracedb.Stats, of func(memlimit.Usage) int64) metric.Int64Callback {
	return func(_ context.Context, o metric.Int64Observer) error {
		s := stats()
		for _, part := range []struct {
			kind  string
			usage memlimit.Usage
		}{
			{"heads", s.Memory},
			{"cache", memlimit.Usage{Limit: s.CacheLimit, Used: s.CacheBytes}},
			{"flush", s.Flushing},
			{"merge", s.Merging},
		} {
			o.Observe(of(part.usage), metric.WithAttributes(attribute.String("kind", part.kind)))
		}
		return nil
	}
}

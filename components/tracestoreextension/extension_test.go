package tracestoreextension

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/bramble-tracing/bramble/components/tracestoreextension/internal/metadata"
	"github.com/bramble-tracing/bramble/components/tracestoreextension/internal/metadatatest"
	"github.com/bramble-tracing/bramble/internal/memlimit"
	"github.com/bramble-tracing/bramble/internal/procstate"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb"
)

func config(dir string) *Config {
	cfg := createDefaultConfig().(*Config)
	cfg.Directory = dir
	cfg.Memory.LimitMiB = 64
	return cfg
}

func start(t *testing.T, cfg *Config) *storeExtension {
	t.Helper()
	ext, err := NewFactory().Create(t.Context(), extensiontest.NewNopSettings(metadata.Type), cfg)
	require.NoError(t, err)
	require.NoError(t, ext.Start(t.Context(), componenttest.NewNopHost()))
	return ext.(*storeExtension)
}

func spansIn(t *testing.T, s store.Viewer) int {
	t.Helper()
	view, err := s.View()
	require.NoError(t, err)
	defer view.Release()
	n := 0
	for _, p := range view.Parts() {
		info := p.Info()
		n += info.Rows
	}
	return n
}

func TestSpansSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	batch := testkit.NewGenerator(1).Batch(100)
	ext := start(t, config(dir))
	require.NoError(t, ext.Append(t.Context(), batch))
	require.NoError(t, ext.Shutdown(context.Background()))
	require.ErrorIs(t, ext.Append(t.Context(), batch), store.ErrClosed)

	ext = start(t, config(dir))
	assert.Equal(t, len(batch.Spans), spansIn(t, ext))
	deleted, err := ext.DeleteTrace(t.Context(), batch.Spans[0].TraceID)
	require.NoError(t, err)
	assert.Equal(t, len(batch.Spans)-deleted, spansIn(t, ext))
	require.NoError(t, ext.Shutdown(context.Background()))
}

func TestStoreStaysOpenAcrossAReload(t *testing.T) {
	dir := t.TempDir() // It is removed after the store is closed.
	procstate.Default.SetGrace(time.Minute)
	t.Cleanup(func() {
		procstate.Default.SetGrace(0)
		require.NoError(t, procstate.Default.CloseAll())
	})
	first := start(t, config(dir))
	require.NoError(t, first.Append(t.Context(), testkit.NewGenerator(1).Batch(10)))
	require.NoError(t, first.Shutdown(context.Background()))
	second := start(t, config(dir))
	assert.Same(t, first.db, second.db, "the next configuration finds the store as it was")
	require.NoError(t, second.Shutdown(context.Background()))

	changed := config(dir)
	changed.Memory.LimitMiB = 128
	third := start(t, changed)
	assert.NotSame(t, first.db, third.db, "changed settings open it anew")
	assert.Positive(t, spansIn(t, third))
	require.NoError(t, third.Shutdown(context.Background()))
}

func TestTwoExtensionsWithOtherSettingsForOneDirectory(t *testing.T) {
	dir := t.TempDir()
	ext := start(t, config(dir))
	defer func() { require.NoError(t, ext.Shutdown(context.Background())) }()
	other := config(dir)
	other.WAL.Sync = "always"
	second, err := NewFactory().Create(t.Context(), extensiontest.NewNopSettings(metadata.Type), other)
	require.NoError(t, err)
	require.ErrorContains(t, second.Start(t.Context(), componenttest.NewNopHost()), "in use with other settings")
	require.NoError(t, second.Shutdown(context.Background()))
}

// counter is an observer that counts spans.
type counter struct{ spans atomic.Int64 }

func (c *counter) Accepted(b *store.Batch) { c.spans.Add(int64(len(b.Spans))) }

func TestObserversSeeWhatWasAcceptedAndNothingElse(t *testing.T) {
	ext := start(t, config(t.TempDir()))
	defer func() { require.NoError(t, ext.Shutdown(context.Background())) }()
	var c counter
	cancel := ext.Observe(&c)
	batch := testkit.NewGenerator(1).Batch(10)
	require.NoError(t, ext.Append(t.Context(), batch))
	assert.EqualValues(t, len(batch.Spans), c.spans.Load())

	bad := &store.Batch{Spans: []store.Span{{Resource: 3}}}
	require.ErrorIs(t, ext.Append(t.Context(), bad), store.ErrInvalid)
	assert.EqualValues(t, len(batch.Spans), c.spans.Load(), "a refused batch is not counted")
	cancel()
	require.NoError(t, ext.Append(t.Context(), batch))
	assert.EqualValues(t, len(batch.Spans), c.spans.Load(), "nor one after the observer has gone")
}

func TestMetrics(t *testing.T) {
	tel := componenttest.NewTelemetry()
	defer func() { require.NoError(t, tel.Shutdown(context.Background())) }()
	set := extensiontest.NewNopSettings(metadata.Type)
	set.TelemetrySettings = tel.NewTelemetrySettings()
	ext, err := NewFactory().Create(t.Context(), set, config(t.TempDir()))
	require.NoError(t, err)
	require.NoError(t, ext.Start(t.Context(), componenttest.NewNopHost()))
	batch := testkit.NewGenerator(1).Batch(10)
	require.NoError(t, ext.(store.Appender).Append(t.Context(), batch))
	n := int64(len(batch.Spans))
	metadatatest.AssertEqualTraceStoreAppendedSpans(t, tel, []metricdata.DataPoint[int64]{{Value: n}}, metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualTraceStoreSpans(t, tel, []metricdata.DataPoint[int64]{{Value: n}}, metricdatatest.IgnoreTimestamp())
	limit := func(kind string, n int64) metricdata.DataPoint[int64] {
		return metricdata.DataPoint[int64]{Value: n, Attributes: attribute.NewSet(attribute.String("kind", kind))}
	}
	const memory = 64 * mib
	metadatatest.AssertEqualTraceStoreMemoryLimit(t, tel, []metricdata.DataPoint[int64]{
		limit("heads", memory/2), limit("cache", memory/5), limit("flush", memory/5), limit("merge", memory/6),
	}, metricdatatest.IgnoreTimestamp())
	require.NoError(t, ext.Shutdown(context.Background()))
}

// numbers are the store's numbers that metrics publish, each a number of its own.
var numbers = tracedb.Stats{
	AppendedSpans: 1, LevelBytes: [tracedb.Levels]int64{2, 3, 4}, DoomedBytes: 5, Blocks: 6, BlocksWritten: 7, MergedSpans: 8, MergeFailures: 9,
	MergeTime: 10 * time.Second, Merges: 11, CopiedSpans: 12, Corruptions: 13, Cuts: 14, DecidedTraces: 15, DeletedTraces: 16, DroppedBlocks: 17,
	DroppedSpans: 18, FlushFailures: 19, FlushTime: 20 * time.Second, FreedBytes: 21, Heads: 22, KeptTraces: 23, Memory: memlimit.Usage{Limit: 24, Used: 25},
	CacheLimit: 36, CacheBytes: 37, Flushing: memlimit.Usage{Limit: 38, Used: 39}, Merging: memlimit.Usage{Limit: 40, Used: 41},
	QuarantinedBytes: 26, Quarantined: 27, ReceivedBytes: 28, RefusedBatches: 29, Repaired: 30, ScrubbedBytes: 31, Spans: 32, WALLag: 33, WALBytes: 34,
	WrittenBytes: 35,
}

// TestEveryMetric publishes numbers and compares what comes out: each is where it belongs, and none is missing.
func TestEveryMetric(t *testing.T) {
	tel := componenttest.NewTelemetry()
	defer func() { require.NoError(t, tel.Shutdown(context.Background())) }()
	ext := &storeExtension{settings: tel.NewTelemetrySettings()}
	require.NoError(t, ext.registerMetrics(func() tracedb.Stats { return numbers }))
	want := map[string]float64{
		"appended_spans": 1, "block_size 0": 2, "block_size 1": 3, "block_size 2": 4, "block_size doomed": 5, "blocks": 6, "blocks_written": 7,
		"compacted_spans": 8, "compaction_failures": 9, "compaction_time": 10, "compactions": 11, "copied_spans": 12, "corruptions": 13, "cut_heads": 14,
		"decided_traces": 15, "deleted_traces": 16, "dropped_blocks": 17, "dropped_spans": 18, "flush_failures": 19, "flush_time": 20, "freed_size": 21,
		"heads": 22, "kept_traces": 23, "memory_limit heads": 24, "memory_size heads": 25, "quarantine_size": 26, "quarantined_blocks": 27, "received_size": 28,
		"refused_batches": 29, "repaired_blocks": 30, "scrubbed_size": 31, "spans": 32, "wal_lag": 33, "wal_size": 34, "written_size": 35,
		"memory_limit cache": 36, "memory_size cache": 37, "memory_limit flush": 38, "memory_size flush": 39, "memory_limit merge": 40, "memory_size merge": 41,
	}
	var all metricdata.ResourceMetrics
	require.NoError(t, tel.Reader.Collect(t.Context(), &all))
	got := map[string]float64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			require.NotEmpty(t, m.Description)
			name := strings.TrimPrefix(m.Name, "otelcol_trace_store_")
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				points(got, name, data.DataPoints)
			case metricdata.Gauge[int64]:
				points(got, name, data.DataPoints)
			case metricdata.Sum[float64]:
				points(got, name, data.DataPoints)
			default:
				t.Fatalf("%s is a %T", m.Name, data)
			}
		}
	}
	require.Equal(t, want, got)
	ext.telemetry.Shutdown()
}

func points[N int64 | float64](got map[string]float64, name string, list []metricdata.DataPoint[N]) {
	for _, p := range list {
		key := []string{name}
		for _, a := range p.Attributes.ToSlice() {
			key = append(key, a.Value.AsString())
		}
		got[strings.Join(key, " ")] = float64(p.Value)
	}
}

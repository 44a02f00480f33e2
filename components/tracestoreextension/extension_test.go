package tracestoreextension

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/bramble-tracing/bramble/components/tracestoreextension/internal/metadata"
	"github.com/bramble-tracing/bramble/components/tracestoreextension/internal/metadatatest"
	"github.com/bramble-tracing/bramble/internal/procstate"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
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
	metadatatest.AssertEqualTraceStoreMemoryLimit(t, tel, []metricdata.DataPoint[int64]{{Value: 32 * mib}}, metricdatatest.IgnoreTimestamp())
	require.NoError(t, ext.Shutdown(context.Background()))
}

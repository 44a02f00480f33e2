package tracemetricsconnector

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/connector/connectortest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/bramble-tracing/bramble/components/tracemetricsconnector/internal/metadata"
	"github.com/bramble-tracing/bramble/internal/exthost"
	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/procstate"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/oracle"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

// storeExtension is the oracle as an extension that tells observers; with err set it refuses everything.
type storeExtension struct {
	component.StartFunc
	component.ShutdownFunc
	*oracle.Store
	err error

	mu        sync.Mutex
	observers map[int]store.Observer
	next      int
}

func newStoreExtension() *storeExtension {
	return &storeExtension{Store: oracle.New(0), observers: make(map[int]store.Observer)}
}

func (s *storeExtension) Append(ctx context.Context, b *store.Batch) error {
	if s.err != nil {
		return s.err
	}
	if err := s.Store.Append(ctx, b); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.observers {
		o.Accepted(b)
	}
	return nil
}

func (s *storeExtension) Observe(o store.Observer) func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	id := s.next
	s.observers[id] = o
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.observers, id)
	}
}

type host map[component.ID]component.Component

func (h host) GetExtensions() map[component.ID]component.Component { return h }

func create(t *testing.T, change func(*Config), next consumer.Metrics) *metricsConnector {
	t.Helper()
	cfg := createDefaultConfig().(*Config)
	cfg.Node = "node-a"
	cfg.FlushInterval = time.Hour // Tests flush themselves.
	if change != nil {
		change(cfg)
	}
	set := connectortest.NewNopSettings(metadata.Type)
	set.ID = component.NewID(metadata.Type)
	c, err := NewFactory().CreateTracesToMetrics(t.Context(), set, cfg, next)
	require.NoError(t, err)
	return c.(*metricsConnector)
}

func start(t *testing.T, h component.Host, change func(*Config), next consumer.Metrics) *metricsConnector {
	t.Helper()
	c := create(t, change, next)
	require.NoError(t, c.Start(t.Context(), h))
	return c
}

// recent makes a generator whose spans are of now, so that they are within metrics_ingestion_time_range_slack.
func recent(seed uint64) *testkit.Generator {
	g := testkit.NewGenerator(seed)
	g.SetTime(time.Now())
	return g
}

// calls sums traces_spanmetrics_calls_total over the newest points of a flush.
func calls(md pmetric.Metrics) (sum float64) {
	for _, m := range metricsOf(md) {
		if m.Name() != "traces_spanmetrics_calls_total" {
			continue
		}
		var newest int64
		for _, p := range m.Sum().DataPoints().All() {
			newest = max(newest, int64(p.Timestamp())) //nolint:gosec // Of this century.
		}
		for _, p := range m.Sum().DataPoints().All() {
			if int64(p.Timestamp()) == newest { //nolint:gosec // As above.
				sum += p.DoubleValue()
			}
		}
	}
	return sum
}

func metricsOf(md pmetric.Metrics) (out []pmetric.Metric) {
	for _, rm := range md.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				out = append(out, m)
			}
		}
	}
	return out
}

func last(t *testing.T, sink *consumertest.MetricsSink) pmetric.Metrics {
	t.Helper()
	all := sink.AllMetrics()
	require.NotEmpty(t, all)
	return all[len(all)-1]
}

func TestCountsWhatTheStoreAccepted(t *testing.T) {
	ext, sink := newStoreExtension(), &consumertest.MetricsSink{}
	c := start(t, host{component.MustNewID("trace_store"): ext}, nil, sink)
	assert.False(t, c.Capabilities().MutatesData)
	batch := recent(1).Batch(300)
	td, err := otlpspan.Build(batch)
	require.NoError(t, err)

	// A refused batch that comes again counts once, and what the pipeline brings does not count.
	ext.err = store.ErrFull
	require.ErrorIs(t, ext.Append(t.Context(), batch), store.ErrFull)
	require.NoError(t, c.ConsumeTraces(t.Context(), td))
	ext.err = nil
	require.NoError(t, ext.Append(t.Context(), batch))
	require.NoError(t, c.flush(t.Context(), false))
	assert.InDelta(t, len(batch.Spans), calls(last(t, sink)), 0)

	require.NoError(t, c.Shutdown(context.Background()))
	require.NoError(t, ext.Append(t.Context(), batch), "nobody observes any more")
	require.NoError(t, c.Shutdown(context.Background()), "twice is no error")
}

func TestWithoutAStoreItCountsThePipeline(t *testing.T) {
	sink := &consumertest.MetricsSink{}
	c := start(t, componenttest.NewNopHost(), func(cfg *Config) { cfg.Store = "" }, sink)
	td, err := otlpspan.Build(recent(1).Batch(300))
	require.NoError(t, err)
	require.NoError(t, c.ConsumeTraces(t.Context(), td))
	require.NoError(t, c.ConsumeTraces(t.Context(), td))
	require.NoError(t, c.Shutdown(context.Background()), "Shutdown flushes")
	assert.InDelta(t, 2*td.SpanCount(), calls(last(t, sink)), 0)
}

func TestMissingStore(t *testing.T) {
	c := create(t, nil, &consumertest.MetricsSink{})
	err := c.Start(t.Context(), componenttest.NewNopHost())
	require.ErrorIs(t, err, exthost.ErrNotFound)
	require.ErrorContains(t, err, `add "trace_store"`)
	require.ErrorContains(t, err, "or set `store: \"\"`")
	require.NoError(t, c.Shutdown(context.Background()))
}

func TestCountersSurviveAReload(t *testing.T) {
	procstate.Default.SetGrace(time.Minute)
	t.Cleanup(func() {
		procstate.Default.SetGrace(0)
		require.NoError(t, procstate.Default.CloseAll())
	})
	ext, sink := newStoreExtension(), &consumertest.MetricsSink{}
	h := host{component.MustNewID("trace_store"): ext}
	g := recent(1)
	sent := 0
	for i := range 3 {
		// What does not decide about the series may change.
		c := start(t, h, func(cfg *Config) { cfg.FlushInterval += time.Duration(i) * time.Second }, sink)
		batch := g.Batch(200)
		sent += len(batch.Spans)
		require.NoError(t, ext.Append(t.Context(), batch))
		require.NoError(t, c.Shutdown(context.Background()))
		assert.InDelta(t, sent, calls(last(t, sink)), 0, "after reload %d", i)
	}
	// Other series are another matter.
	c := start(t, h, func(cfg *Config) { cfg.SpanMetrics.Dimensions = []string{"http.route"} }, sink)
	batch := g.Batch(200)
	require.NoError(t, ext.Append(t.Context(), batch))
	require.NoError(t, c.Shutdown(context.Background()))
	assert.InDelta(t, len(batch.Spans), calls(last(t, sink)), 0)
}

// TestFlushesByItself is the only test of the timer.
func TestFlushesByItself(t *testing.T) {
	sink := &consumertest.MetricsSink{}
	flushed := make(chan struct{}, 100)
	next, err := consumer.NewMetrics(func(ctx context.Context, md pmetric.Metrics) error {
		defer func() { flushed <- struct{}{} }()
		return sink.ConsumeMetrics(ctx, md)
	})
	require.NoError(t, err)
	c := start(t, componenttest.NewNopHost(), func(cfg *Config) { cfg.Store, cfg.FlushInterval = "", 5*time.Millisecond }, next)
	td := recent(1).Traces(100)
	require.NoError(t, c.ConsumeTraces(t.Context(), td))
	<-flushed
	<-flushed
	require.NoError(t, c.Shutdown(context.Background()))
	assert.InDelta(t, td.SpanCount(), calls(last(t, sink)), 0)
}

func TestARefusedFlushLosesNothing(t *testing.T) {
	sink := &consumertest.MetricsSink{}
	refuse := true
	next, err := consumer.NewMetrics(func(ctx context.Context, md pmetric.Metrics) error {
		if refuse {
			return errors.New("queue is full")
		}
		return sink.ConsumeMetrics(ctx, md)
	})
	require.NoError(t, err)
	c := start(t, componenttest.NewNopHost(), func(cfg *Config) { cfg.Store = "" }, next)
	td := recent(1).Traces(100)
	require.NoError(t, c.ConsumeTraces(t.Context(), td))
	require.ErrorContains(t, c.flush(t.Context(), false), "queue is full")
	assert.EqualValues(t, 1, c.failed.Load())
	refuse = false
	require.NoError(t, c.flush(t.Context(), false))
	md := last(t, sink)
	assert.InDelta(t, td.SpanCount(), calls(md), 0)
	zeros := 0
	for _, m := range metricsOf(md) {
		if m.Name() == "traces_spanmetrics_calls_total" {
			for _, p := range m.Sum().DataPoints().All() {
				if p.DoubleValue() == 0 {
					zeros++
				}
			}
			assert.Equal(t, m.Sum().DataPoints().Len(), 2*zeros, "the zero samples (N-41) come again")
		}
	}
	require.NoError(t, c.Shutdown(context.Background()))
}

package tracemetricsconnector

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// retainingStore samples, and notes what is pinned or refuses it.
type retainingStore struct {
	*storeExtension
	store.Retainer // Never called but for Pin.
	deciding       bool
	refuse         error
	pinned         map[spanid.TraceID]bool
}

func (s *retainingStore) Deciding() bool { return s.deciding }

func (s *retainingStore) Pin(_ context.Context, ids []spanid.TraceID) error {
	if s.refuse != nil {
		return s.refuse
	}
	for _, id := range ids {
		s.pinned[id] = true
	}
	return nil
}

// exemplars returns the traces of all exemplars.
func exemplars(md pmetric.Metrics) map[spanid.TraceID]bool {
	out := map[spanid.TraceID]bool{}
	for _, m := range metricsOf(md) {
		if m.Type() != pmetric.MetricTypeHistogram {
			continue
		}
		for _, p := range m.Histogram().DataPoints().All() {
			for _, e := range p.Exemplars().All() {
				out[spanid.TraceID(e.TraceID())] = true
			}
		}
	}
	return out
}

// TestExemplarsOfPinnedTraces: while the store samples, each exemplar is of a trace that it has pinned, before the
// exemplar is sent; what it does not pin is no exemplar.
func TestExemplarsOfPinnedTraces(t *testing.T) {
	s := &retainingStore{storeExtension: newStoreExtension(), deciding: true, pinned: map[spanid.TraceID]bool{}}
	sink := new(consumertest.MetricsSink)
	c := start(t, host{component.MustNewID("trace_store"): s}, nil, sink)
	t.Cleanup(func() { require.NoError(t, c.Shutdown(context.Background())) })

	s.refuse = store.ErrFull
	require.NoError(t, s.Append(t.Context(), recent(1).Batch(2000)))
	require.NoError(t, c.flush(t.Context(), false))
	assert.Empty(t, exemplars(last(t, sink)))
	assert.EqualValues(t, 20, c.unpinned.Load())
	assert.Zero(t, c.pinned.Load())

	s.refuse = nil
	require.NoError(t, s.Append(t.Context(), recent(2).Batch(4000)))
	require.NoError(t, c.flush(t.Context(), false))
	assert.Equal(t, s.pinned, exemplars(last(t, sink)))
	assert.Len(t, s.pinned, 20)
	assert.EqualValues(t, 20, c.pinned.Load())

	// Nothing samples any more: every trace is kept, and none needs a pin.
	s.deciding = false
	require.NoError(t, s.Append(t.Context(), recent(3).Batch(500)))
	require.NoError(t, c.flush(t.Context(), false))
	assert.Greater(t, len(exemplars(last(t, sink))), 20)
}

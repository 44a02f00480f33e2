package oracle_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/oracle"
	"github.com/bramble-tracing/bramble/internal/store/storetest"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

func TestConformance(t *testing.T) {
	for _, partRows := range []int{0, 16} {
		t.Run(fmt.Sprintf("partRows=%d", partRows), func(t *testing.T) {
			storetest.Run(t, func(testing.TB) store.Store { return oracle.New(partRows) })
		})
	}
}

func TestPartsAreCut(t *testing.T) {
	s := oracle.New(7)
	require.NoError(t, s.Append(t.Context(), testkit.NewGenerator(1).Batch(100)))
	v, err := s.View()
	require.NoError(t, err)
	require.Greater(t, len(v.Parts()), 14)
	require.Positive(t, v.Split().Len())
}

func TestDeleteTrace(t *testing.T) {
	s := oracle.New(10)
	b := testkit.NewGenerator(2).Batch(100)
	require.NoError(t, s.Append(t.Context(), b))
	old, err := s.View()
	require.NoError(t, err)
	id := b.Spans[50].TraceID
	whole, err := old.Trace(t.Context(), id, 0)
	require.NoError(t, err)

	require.Equal(t, len(whole.Spans), s.DeleteTrace(id))
	require.Zero(t, s.DeleteTrace(id))
	now, err := s.View()
	require.NoError(t, err)
	_, err = now.Trace(t.Context(), id, 0)
	require.ErrorIs(t, err, store.ErrNotFound)
	again, err := old.Trace(t.Context(), id, 0)
	require.NoError(t, err, "a view is immutable")
	require.Len(t, again.Spans, len(whole.Spans))
}

func TestClosed(t *testing.T) {
	s := oracle.New(0)
	require.NoError(t, s.Close())
	err := s.Append(t.Context(), testkit.NewGenerator(3).Batch(10))
	require.ErrorIs(t, err, store.ErrClosed)
	require.True(t, store.Retryable(err))
	_, err = s.View()
	require.ErrorIs(t, err, store.ErrClosed)
}

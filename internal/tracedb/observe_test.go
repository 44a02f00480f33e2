package tracedb_test

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb"
)

// tally counts accepted spans.
type tally struct{ spans atomic.Int64 }

func (o *tally) Accepted(b *store.Batch) { o.spans.Add(int64(len(b.Spans))) }

// TestObserve counts accepted batches: not refused ones, not those read back from the log, none after cancel.
func TestObserve(t *testing.T) {
	fsys := fsx.NewMem()
	db := open(t, tracedb.Options{FS: fsys})
	var a, b tally
	cancelA := db.Observe(&a)
	defer db.Observe(&b)()
	g := testkit.NewGenerator(1)
	first, second := g.Batch(20), g.Batch(30)
	require.NoError(t, db.Append(t.Context(), first))
	bad := g.Batch(10)
	bad.Spans[0].Resource = -1
	require.ErrorIs(t, db.Append(t.Context(), bad), store.ErrInvalid)
	cancelA()
	require.NoError(t, db.Append(t.Context(), second))
	require.Equal(t, int64(len(first.Spans)), a.spans.Load())
	require.Equal(t, int64(len(first.Spans)+len(second.Spans)), b.spans.Load())
	require.NoError(t, db.Close(t.Context()))
	db = open(t, tracedb.Options{FS: fsys})
	var late tally
	defer db.Observe(&late)()
	require.Zero(t, late.spans.Load())
	require.Equal(t, len(first.Spans)+len(second.Spans), db.Stats().Spans)
}

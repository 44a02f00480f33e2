package tracedb_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb"
)

// TestWritingWithoutMemory takes all of the store's memory: heads become blocks all the same, since that is what gives
// memory back, while appends and merges wait until there is some, and then go on.
func TestWritingWithoutMemory(t *testing.T) {
	const memory = 64 << 20
	db := open(t, tracedb.Options{FS: fsx.NewMem(), Dir: "data", MemoryBytes: memory, Compaction: tracedb.CompactionOptions{Off: true, MinBlocks: 2}})
	g := testkit.NewGenerator(1)
	for range 3 {
		require.NoError(t, db.Append(t.Context(), g.Batch(200)))
		require.NoError(t, db.Cut())
		require.NoError(t, db.Flush())
	}
	require.NoError(t, db.Append(t.Context(), g.Batch(200)))
	spans := db.Stats().Spans
	require.Equal(t, 3, db.Stats().Blocks)

	db.Memory().Force(memory)
	require.NoError(t, db.Cut())
	require.NoError(t, db.Flush(), "a flush does not wait")
	require.Equal(t, 4, db.Stats().Blocks)
	require.Positive(t, db.Stats().Flushing.Peak)

	shortly := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	err := db.Append(shortly(), g.Batch(200))
	require.ErrorIs(t, err, store.ErrFull)
	require.True(t, store.Retryable(err))
	db.CompactionOn()
	require.ErrorIs(t, db.Compact(shortly()), context.DeadlineExceeded)
	require.Zero(t, db.Stats().Merging.Peak, "a merge begins when there is memory for it")

	db.Memory().Release(memory)
	require.NoError(t, db.Compact(t.Context()))
	st := db.Stats()
	require.Equal(t, 1, st.Blocks)
	require.Equal(t, spans, st.Spans)
	require.Positive(t, st.Merging.Peak)
	require.NoError(t, db.Append(t.Context(), g.Batch(200)))
}

// TestWritingIsAccounted writes and merges spans of several kinds and looks at what was counted: the parts are given back,
// ordinary spans stay within them, and what large values need beyond is taken from what others could have.
func TestWritingIsAccounted(t *testing.T) {
	const memory = 64 << 20
	for name, tc := range map[string]struct {
		change  func(*store.Batch)
		batches int
		beyond  bool
	}{
		"ordinary": {func(*store.Batch) {}, 20, false},
		"large values": {func(b *store.Batch) {
			b.Spans[0].Attrs = append(b.Spans[0].Attrs, store.Attr{Key: "large", Value: store.String(strings.Repeat("large", 1<<20))})
		}, 4, true},
	} {
		t.Run(name, func(t *testing.T) {
			db := open(t, tracedb.Options{FS: fsx.NewMem(), Dir: "data", MemoryBytes: memory, Compaction: tracedb.CompactionOptions{Off: true, MinBlocks: 2}})
			empty := db.Stats()
			require.Zero(t, empty.Flushing.Used)
			g := testkit.NewGenerator(1)
			resume := db.HoldFlush() // The head is as large as it gets.
			for range tc.batches {
				b := g.Batch(400)
				tc.change(b)
				require.NoError(t, db.Append(t.Context(), b))
			}
			require.NoError(t, db.Cut())
			resume()
			require.NoError(t, db.Flush())
			st := db.Stats()
			require.Zero(t, st.Flushing.Used)
			require.Equal(t, empty.AllMemory.Used+st.Memory.Used-empty.Memory.Used, st.AllMemory.Used, "what was taken is given back")
			if tc.beyond {
				require.Greater(t, st.Flushing.Peak, st.Flushing.Limit)
				require.Greater(t, st.AllMemory.Peak, st.Memory.Peak+empty.AllMemory.Used-empty.Memory.Used, "taken from all")
				return
			}
			require.LessOrEqual(t, st.Flushing.Peak, st.Flushing.Limit)
			require.NoError(t, db.Append(t.Context(), g.Batch(400)))
			require.NoError(t, db.Cut())
			require.NoError(t, db.Flush())
			db.CompactionOn()
			require.NoError(t, db.Compact(t.Context()))
			st = db.Stats()
			require.Equal(t, 1, st.Blocks)
			require.Zero(t, st.Merging.Used)
			require.Positive(t, st.Merging.Peak)
			require.LessOrEqual(t, st.Merging.Peak, st.Merging.Limit)
			require.LessOrEqual(t, st.AllMemory.Peak, st.AllMemory.Limit)
		})
	}
}

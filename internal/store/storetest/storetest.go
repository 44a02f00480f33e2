package storetest

import (
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/store"
)

// Open returns a new, empty store. Closing it is registered with t.Cleanup.
type Open func(t testing.TB) store.Store

// Run runs the whole suite.
func Run(t *testing.T, open Open) {
	t.Helper()
	t.Run("Empty", func(t *testing.T) { testEmpty(t, open(t)) })
	t.Run("Visible", func(t *testing.T) { testVisible(t, open(t)) })
	t.Run("Invalid", func(t *testing.T) { testInvalid(t, open(t)) })
	t.Run("Ownership", func(t *testing.T) { testOwnership(t, open(t)) })
	t.Run("Immutable", func(t *testing.T) { testImmutable(t, open(t)) })
	t.Run("Trace", func(t *testing.T) { testTrace(t, open(t)) })
	t.Run("TraceDuplicates", func(t *testing.T) { testTraceDuplicates(t, open(t)) })
	t.Run("TraceLimit", func(t *testing.T) { testTraceLimit(t, open(t)) })
	t.Run("BadArguments", func(t *testing.T) { testBadArguments(t, open(t)) })
	t.Run("Random", func(t *testing.T) { testRandom(t, open) })
	t.Run("Granules", func(t *testing.T) { testGranules(t, open(t)) })
	t.Run("Concurrent", func(t *testing.T) { testConcurrent(t, open(t)) })
}

func full() bool { return os.Getenv("BRAMBLE_FULL") == "1" }

// seeds returns the seeds of the random tests.
func seeds(t *testing.T) []uint64 {
	t.Helper()
	if s := os.Getenv("BRAMBLE_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		require.NoError(t, err, "BRAMBLE_SEED")
		return []uint64{n}
	}
	n := 3
	if full() {
		n = 200
	}
	out := make([]uint64, n)
	for i := range out {
		out[i] = uint64(i + 1) //nolint:gosec // Small.
	}
	return out
}

func view(t testing.TB, s store.Viewer) store.View {
	t.Helper()
	v, err := s.View()
	require.NoError(t, err)
	t.Cleanup(v.Release)
	return v
}

func appendBatch(t testing.TB, s store.Store, b *store.Batch) {
	t.Helper()
	require.NoError(t, s.Append(t.Context(), b))
}

// everything reads all spans of a view, part by part, and checks what Info promises about them.
func everything(t testing.TB, v store.View) *store.Batch {
	t.Helper()
	out := &store.Batch{}
	for _, p := range v.Parts() {
		info := p.Info()
		first := len(out.Spans)
		require.NoError(t, p.Spans(t.Context(), allRows(info.Rows), out))
		require.Len(t, out.Spans[first:], info.Rows, "rows of %s", info.ID)
		for i := range out.Spans[first:] {
			s := &out.Spans[first+i]
			require.LessOrEqual(t, info.MinStartNano, s.StartNano, "MinStartNano of %s", info.ID)
			require.GreaterOrEqual(t, info.MaxStartNano, s.StartNano, "MaxStartNano of %s", info.ID)
			require.GreaterOrEqual(t, info.MaxEndNano, s.EndNano, "MaxEndNano of %s", info.ID)
		}
	}
	return out
}

func allRows(n int) []uint32 {
	rows := make([]uint32, n)
	for i := range rows {
		rows[i] = uint32(i) //nolint:gosec // A row.
	}
	return rows
}

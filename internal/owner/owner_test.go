package owner_test

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bramble-tracing/bramble/internal/owner"
	"github.com/bramble-tracing/bramble/internal/spanid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func traceID(n uint64) (id spanid.TraceID) {
	binary.BigEndian.PutUint64(id[8:], n)
	return id
}

// TestOf: shares are fair, do not depend on the order of names, and only the share of a node that goes moves.
func TestOf(t *testing.T) {
	const traces = 30_000
	names := []string{"a", "b", "c", "d"}
	all, turned, fewer := owner.New(names), owner.New([]string{"d", "b", "a", "c"}), owner.New(names[:3])
	counts := map[string]int{}
	for n := range uint64(traces) {
		id := traceID(n)
		of := names[all.Of(id)]
		counts[of]++
		require.Equal(t, of, []string{"d", "b", "a", "c"}[turned.Of(id)])
		if of != "d" {
			require.Equal(t, of, names[fewer.Of(id)])
		}
	}
	for _, n := range names {
		require.InDelta(t, traces/len(names), counts[n], traces/100, "share of %s", n)
	}
	require.Equal(t, -1, owner.New(nil).Of(traceID(1)))
}

func BenchmarkOf(b *testing.B) {
	r := owner.New([]string{"node-1", "node-2", "node-3"})
	id := traceID(7)
	for b.Loop() {
		r.Of(id)
	}
}

package block

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

// BenchmarkWriterMemory writes a million spans in pieces and reports the largest live heap on the way, which must not
// grow with the block.
func BenchmarkWriterMemory(b *testing.B) {
	for b.Loop() {
		g := testkit.NewGenerator(2)
		w, err := NewWriter(fsx.OS{}, b.TempDir(), WriterOptions{ID: "x"})
		require.NoError(b, err)
		peak, spans := uint64(0), 0
		for spans < 1_000_000 {
			batch := g.Batch(20_000)
			sortRows(batch)
			require.NoError(b, w.Append(b.Context(), batch))
			spans += len(batch.Spans)
			batch = nil
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapAlloc)
		}
		m, err := w.Finish(b.Context())
		require.NoError(b, err)
		b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
		b.ReportMetric(float64(m.Bytes())/float64(spans), "B/span")
	}
}

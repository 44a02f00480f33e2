package block

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

// sortRows puts spans into the order of a block.
func sortRows(b *store.Batch) {
	start := make(map[[16]byte]uint64)
	for i := range b.Spans {
		s := &b.Spans[i]
		if t, ok := start[s.TraceID]; !ok || s.StartNano < t {
			start[s.TraceID] = s.StartNano
		}
	}
	slices.SortStableFunc(b.Spans, func(x, y store.Span) int {
		if a, b := start[x.TraceID], start[y.TraceID]; a != b {
			if a < b {
				return -1
			}
			return 1
		}
		if c := strings.Compare(string(x.TraceID[:]), string(y.TraceID[:])); c != 0 {
			return c
		}
		switch {
		case x.StartNano < y.StartNano:
			return -1
		case x.StartNano > y.StartNano:
			return 1
		}
		return 0
	})
}

// workload returns n spans of the reference workload in the order of a block.
func workload(n int) *store.Batch {
	b := testkit.NewGenerator(1).Batch(n)
	sortRows(b)
	return b
}

func writeBlock(tb testing.TB, fs fsx.FS, id string, b *store.Batch, opts WriterOptions) (*Meta, *Writer) {
	tb.Helper()
	opts.ID = id
	w, err := NewWriter(fs, "blocks", opts)
	require.NoError(tb, err)
	require.NoError(tb, w.Append(context.Background(), b))
	m, err := w.Finish(context.Background())
	require.NoError(tb, err)
	return m, w
}

func BenchmarkWrite(b *testing.B) {
	const n = 300_000
	batch := workload(n)
	spans := len(batch.Spans)
	var m *Meta
	b.ReportAllocs()
	cpu := cpuTime()
	for b.Loop() {
		fs := fsx.NewMem()
		require.NoError(b, fs.MkdirAll("blocks"))
		m, _ = writeBlock(b, fs, "x", batch, WriterOptions{})
	}
	b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/float64(b.N)/float64(spans), "cpu-ns/span")
	b.ReportMetric(float64(m.Bytes())/float64(spans), "B/span")
}

// TestSizePerColumn holds small blocks to a size. With BRAMBLE_FULL=1 and -v it prints what each column costs in a
// block of 300,000 spans.
func TestSizePerColumn(t *testing.T) {
	n, limit := 5_000, 65.0
	if full() {
		n, limit = 300_000, 45
	}
	batch := workload(n)
	fs := fsx.NewMem()
	require.NoError(t, fs.MkdirAll("blocks"))
	m, w := writeBlock(t, fs, "x", batch, WriterOptions{})
	spans := float64(len(batch.Spans))
	require.Less(t, float64(m.Bytes())/spans, limit, "bytes per span")
	if !testing.Verbose() || !full() {
		return
	}
	for file, stats := range w.Stats() {
		type line struct {
			name  string
			bytes int64
			bloom int64
			how   string
		}
		lines := map[string]*line{}
		for _, s := range stats {
			l := lines[s.Column]
			if l == nil {
				l = &line{name: s.Column}
				lines[s.Column] = l
			}
			l.bytes += s.Bytes
			l.bloom += s.Index
			l.how += " " + s.Encoding.String()
		}
		var sorted []*line
		for _, l := range lines {
			sorted = append(sorted, l)
		}
		slices.SortFunc(sorted, func(a, b *line) int { return int(b.bytes + b.bloom - a.bytes - a.bloom) })
		layout := m.Files[file]
		fmt.Printf("%s: %.2f B/span, page index %.2f, footer %.2f\n", file, float64(layout.Size)/spans,
			float64(layout.FooterOffset-layout.IndexOffset)/spans, float64(layout.Size-layout.FooterOffset)/spans)
		for _, l := range sorted {
			fmt.Printf("  %-40s %6.2f + bloom %5.2f %s\n", l.name, float64(l.bytes)/spans, float64(l.bloom)/spans, l.how)
		}
	}
	for file, l := range m.Files {
		fmt.Printf("%-20s %9d %6.2f B/span\n", file, l.Size, float64(l.Size)/spans)
	}
	fmt.Printf("all %.2f B/span\n", float64(m.Bytes())/spans)
}

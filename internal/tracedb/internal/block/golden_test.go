package block

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/storetest"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

var update = flag.Bool("update", false, "write the golden block of a new format version; existing ones are never replaced")

// goldens are the forms that version 1 had: it got counts.idx, which is optional, later.
var goldens = []struct {
	dir    string
	counts bool
}{{"testdata/v1", false}, {"testdata/v1-counts", true}}

// TestGolden reads the block of each format version that was ever released, and of each form that a version had. A directory
// below testdata holds the block's directory, an overlay and spans.txt with what must come out, and counts.txt with the
// counts of its values.
func TestGolden(t *testing.T) {
	for _, g := range goldens {
		t.Run(g.dir, func(t *testing.T) { testGolden(t, g.dir, g.counts) })
	}
}

func testGolden(t *testing.T, dir string, counts bool) {
	if _, err := os.Stat(dir); *update && os.IsNotExist(err) {
		writeGolden(t, dir, counts)
	}
	r := newTestReader(t, fsx.OS{})
	b, err := r.Open(filepath.Join(dir, "01GOLDEN"))
	require.NoError(t, err)
	require.NoError(t, b.Verify(t.Context(), nil))
	require.Equal(t, 1, b.Meta().Version)
	require.Equal(t, []string{"01PARENT"}, b.Meta().Parents)
	require.Equal(t, string(mustRead(t, filepath.Join(dir, "spans.txt"))), goldenText(t, b))
	if counts {
		require.Len(t, b.Ranges(), 1)
		require.Equal(t, string(mustRead(t, filepath.Join(dir, "counts.txt"))), goldenCounts(t, b))
	} else {
		require.Empty(t, b.Ranges(), "blocks of version 1 once had no counts.idx")
	}
	o, err := DecodeOverlay(mustRead(t, filepath.Join(dir, "overlay-0000000000000003")), "overlay")
	require.NoError(t, err)
	require.Equal(t, someOverlay().Patches, o.Patches)
	require.Equal(t, someOverlay().Traces, o.Traces)
	require.NoError(t, b.Release())
}

// goldenCounts lists what counts.idx has: each value of each column, and each root.
func goldenCounts(tb testing.TB, b *Block) string {
	tb.Helper()
	var w strings.Builder
	for i, r := range b.Ranges() {
		fmt.Fprintf(&w, "granules %d to %d\n", r.First, r.End)
		counts, err := b.Counts(tb.Context(), i)
		require.NoError(tb, err)
		for _, c := range counts.Columns {
			fmt.Fprintf(&w, "%v %v unknown=%v more=%v max=%d\n", c.Column, c.Type, c.Unknown, c.Sum, c.Max)
			for k, v := range c.Values {
				fmt.Fprintf(&w, "  %v %q %d %v\n", v.Type, v.Str, v.Num, c.Counts[k])
			}
		}
		for _, root := range counts.Roots {
			fmt.Fprintf(&w, "root %q %q %v\n", root.Name, root.Service, root.SpanCount)
		}
	}
	return w.String()
}

func mustRead(tb testing.TB, path string) []byte {
	tb.Helper()
	b, err := os.ReadFile(path)
	require.NoError(tb, err)
	return b
}

func goldenText(tb testing.TB, b *Block) string {
	tb.Helper()
	var rows []uint32
	for i := range b.Info().Rows {
		rows = append(rows, uint32(i))
	}
	var all store.Batch
	require.NoError(tb, b.Spans(tb.Context(), rows, &all))
	var w strings.Builder
	for i := range all.Spans {
		w.WriteString(storetest.Canonical(&all, i))
		w.WriteByte('\n')
	}
	return w.String()
}

func writeGolden(t *testing.T, dir string, counts bool) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	b := testkit.NewGenerator(1).Batch(24)
	if !counts { // Nothing is counted where keys overflow.
		g := testkit.NewNasty(1)
		g.MaxString = 0
		mergeBatch(b, g.Batch(24))
	}
	sortRows(b)
	w, err := NewWriter(fsx.OS{}, dir, WriterOptions{ID: "01GOLDEN", Level: 1, Parents: []string{"01PARENT"}})
	require.NoError(t, err)
	require.NoError(t, w.Append(t.Context(), b))
	_, err = w.Finish(t.Context())
	require.NoError(t, err)
	_, err = WriteOverlay(fsx.OS{}, dir, someOverlay())
	require.NoError(t, err)
	r := newTestReader(t, fsx.OS{})
	blk, err := r.Open(filepath.Join(dir, "01GOLDEN"))
	require.NoError(t, err)
	text, listed := goldenText(t, blk), goldenCounts(t, blk)
	require.NoError(t, blk.Release())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "spans.txt"), []byte(text), 0o644))
	if counts {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "counts.txt"), []byte(listed), 0o644))
	}
}

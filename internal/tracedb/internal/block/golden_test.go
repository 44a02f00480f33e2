package block

import (
	"flag"
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

// TestGolden reads the block of each format version that was ever released. testdata/vN holds the block's directory, an
// overlay and spans.txt with what must come out.
func TestGolden(t *testing.T) {
	dir := "testdata/v1"
	if *update {
		writeGolden(t, dir)
	}
	r := newTestReader(t, fsx.OS{})
	b, err := r.Open(filepath.Join(dir, "01GOLDEN"))
	require.NoError(t, err)
	require.NoError(t, b.Verify(t.Context(), nil))
	require.Equal(t, 1, b.Meta().Version)
	require.Empty(t, b.Ranges(), "blocks of version 1 once had no counts.idx")
	require.Equal(t, []string{"01PARENT"}, b.Meta().Parents)
	want, err := os.ReadFile(filepath.Join(dir, "spans.txt"))
	require.NoError(t, err)
	require.Equal(t, string(want), goldenText(t, b))

	o, err := DecodeOverlay(mustRead(t, filepath.Join(dir, "overlay-0000000000000003")), "overlay")
	require.NoError(t, err)
	require.Equal(t, someOverlay().Patches, o.Patches)
	require.Equal(t, someOverlay().Traces, o.Traces)
	require.NoError(t, b.Release())
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

func writeGolden(t *testing.T, dir string) {
	t.Helper()
	_, err := os.Stat(dir)
	require.ErrorIs(t, err, os.ErrNotExist, "a golden block is never replaced")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	g := testkit.NewNasty(1)
	g.MaxString = 0
	b := g.Batch(24)
	mergeBatch(b, testkit.NewGenerator(1).Batch(8))
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
	text := goldenText(t, blk)
	require.NoError(t, blk.Release())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "spans.txt"), []byte(text), 0o644))
}

package column

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/store"
)

func TestCodesOfEveryWidth(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for width := 1; width <= 16; width++ {
		for _, n := range []int{1, 7, 8, 9, 31, 500, store.GranuleRows} {
			codes := make([]uint16, n)
			for i := range codes {
				codes[i] = uint16(rng.IntN(1 << width))
			}
			codes[rng.IntN(n)] = uint16(1<<width - 1)
			packed := appendCodes(nil, codes, width)
			got, err := readCodes(nil, packed, n, 1<<width)
			require.NoError(t, err)
			require.Equal(t, codes, got, "width %d", width)
			_, err = readCodes(nil, packed, n, 1<<width-1)
			require.ErrorIs(t, err, errCodes, "the largest of %d codes of width %d is not in a dictionary of %d", n, width, 1<<width-1)
		}
	}
}

// TestLevelsFromAnywhere reads levels of pages that begin and end at any row.
func TestLevelsFromAnywhere(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for range 2000 {
		from := rng.IntN(store.GranuleRows)
		to := from + 1 + rng.IntN(store.GranuleRows-from)
		if rng.IntN(2) == 0 {
			to = min(to, from+200)
		}
		var want, got Presence
		for row, on := from, false; row < to; row++ {
			if rng.IntN(8) == 0 {
				on = rng.IntN(2) == 0
			}
			if on {
				want.set(row)
			}
		}
		require.NoError(t, readLevels(&got, from, to-from, appendLevels(nil, &want, from, to)))
		require.Equal(t, want.words, got.words, "rows %d to %d", from, to)
	}
}

// TestWidthOfIndexes: indexes that come again in the same order take a byte each, which zstd sees; others as many bits as
// they need.
func TestWidthOfIndexes(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	again := testColumn{spec: Spec{Name: "again", Type: Int, Value: store.TypeInt}}
	random := testColumn{spec: Spec{Name: "random", Type: Int, Value: store.TypeInt}}
	period := make([]uint64, 37)
	for i := range period {
		period[i] = uint64(rng.IntN(6))
	}
	for i := range 2 * store.GranuleRows {
		again.cells = append(again.cells, cell{ok: true, num: period[i%len(period)]})
		random.cells = append(random.cells, cell{ok: true, num: rng.Uint64N(6)})
	}
	cols := []testColumn{again, random}
	data, l, _ := writeTable(t, cols, 2*store.GranuleRows, 2)
	f, err := openTable(t, data, l, cols)
	require.NoError(t, err)
	for col, want := range []byte{byteWidth, 3} {
		require.True(t, f.HasDict(0, col))
		pages, err := f.pageRefs(0, col)
		require.NoError(t, err)
		p, err := f.dataPage(&f.groups[0].chunks[col], &pages[0])
		require.NoError(t, err)
		require.Equal(t, want, p.raw[0], "width of column %q", cols[col].spec.Name)
		f.freePage(p)
		compareColumn(t, f, col, &cols[col])
	}
	compareWithParquetGo(t, data, cols)
}

package column

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/store"
)

// TestDamagedIndexes flips bits of the page indexes and of bloom filters, which say where values cannot be: none is believed.
func TestDamagedIndexes(t *testing.T) {
	const rows = 300
	rng := rand.New(rand.NewPCG(1, 2))
	cols := newTestColumns(rng, rows)
	data, l, _ := writeTable(t, cols, rows, 1)
	good, err := openTable(t, data, l, cols)
	require.NoError(t, err)
	flipped := func(at int64) *File {
		bad := bytes.Clone(data)
		bad[at] ^= 1 << rng.IntN(8)
		f, err := openTable(t, bad, l, cols)
		require.NoError(t, err, "the footer is whole")
		return f
	}
	var corrupt *store.CorruptionError
	for range 200 {
		f := flipped(l.IndexOffset + rng.Int64N(l.FooterOffset-l.IndexOffset))
		_, err := f.Bounds(0, 1, 0, rows)
		require.ErrorAs(t, err, &corrupt)
		require.ErrorContains(t, err, "page indexes")
	}
	filters := 0
	for col := range cols {
		if good.Empty(0, col) || !good.HasBloom(0, col) {
			continue
		}
		filters++
		_, err := good.Bloom(0, col)
		require.NoError(t, err)
		c := &good.groups[0].chunks[col]
		for range 30 {
			_, err := flipped(c.bloomOffset+rng.Int64N(int64(c.bloomLen))).Bloom(0, col)
			require.ErrorAs(t, err, &corrupt)
			require.ErrorContains(t, err, "bloom filter")
		}
	}
	require.Positive(t, filters)
}

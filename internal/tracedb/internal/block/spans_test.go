package block

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/storetest"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

// TestSomeRows reads few rows, in any order and some twice, and compares them with those of a reading of everything: from
// granules that are not in the cache, are there as a whole, or are kept because they were read before.
func TestSomeRows(t *testing.T) {
	g := testkit.NewNasty(11)
	g.MaxString = 0
	batch := g.Batch(3000)
	mergeBatch(batch, testkit.NewGenerator(11).Batch(15_000))
	sortRows(batch)
	fs := fsx.NewMem()
	require.NoError(t, fs.MkdirAll("blocks"))
	writeBlock(t, fs, "x", batch, WriterOptions{})
	for name, cache := range map[string]int64{"without cache": 0, "with cache": 256 << 20} {
		t.Run(name, func(t *testing.T) {
			r, err := NewReader(fs, NewLRU(cache), 1)
			require.NoError(t, err)
			defer r.Close()
			b, err := r.Open("blocks/x")
			require.NoError(t, err)
			defer func() { require.NoError(t, b.Release()) }()
			info := b.Info()
			require.Greater(t, info.Granules(), 2)

			rng := rand.New(rand.NewPCG(11, 11))
			type answer struct {
				rows  []uint32
				spans store.Batch
			}
			var answers []answer
			for range 60 {
				var a answer
				start, n := rng.IntN(info.Rows), 1+rng.IntN(40)
				for range n {
					switch rng.IntN(3) {
					case 0:
						a.rows = append(a.rows, uint32(rng.IntN(info.Rows)))
					default:
						a.rows = append(a.rows, uint32(min(info.Rows-1, start+rng.IntN(n))))
					}
				}
				require.NoError(t, b.Spans(t.Context(), a.rows, &a.spans))
				answers = append(answers, a)
			}
			all := make([]uint32, info.Rows)
			for i := range all {
				all[i] = uint32(i)
			}
			var whole store.Batch
			require.NoError(t, b.Spans(t.Context(), all, &whole))
			for _, a := range answers {
				require.Len(t, a.spans.Spans, len(a.rows))
				for i, row := range a.rows {
					require.Equal(t, storetest.Canonical(&whole, int(row)), storetest.Canonical(&a.spans, i), "row %d", row)
				}
			}
		})
	}
}

package column

import (
	"math/rand/v2"
	"testing"

	"github.com/bramble-tracing/bramble/internal/store"
)

// BenchmarkDecode decodes the levels and the dictionary indexes of a granule.
func BenchmarkDecode(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	var sparse, runs Presence
	for row := range store.GranuleRows {
		if rng.IntN(4) == 0 {
			sparse.set(row)
		}
		if row/500%2 == 0 {
			runs.set(row)
		}
	}
	for name, p := range map[string]*Presence{"levels/scattered": &sparse, "levels/runs": &runs} {
		levels := appendLevels(nil, p, 0, store.GranuleRows)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				var p Presence
				if err := readLevels(&p, 0, store.GranuleRows, levels); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	codes := make([]uint16, store.GranuleRows)
	for i := range codes {
		codes[i] = uint16(rng.IntN(200))
	}
	packed := appendCodes(nil, codes, codeWidth(200))
	b.Run("codes", func(b *testing.B) {
		dst := make([]uint16, 0, len(codes))
		for b.Loop() {
			if _, err := readCodes(dst, packed, len(codes), 200); err != nil {
				b.Fatal(err)
			}
		}
	})
}

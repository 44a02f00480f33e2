package block

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

// TestLargeValuesAreNotCopiedOften writes three values of 10 MB: what is allocated meanwhile is a small multiple of them,
// also when there are so many keys that columns have to go.
func TestLargeValuesAreNotCopiedOften(t *testing.T) {
	const values, size = 3, 10_000_000
	for name, keys := range map[string]int{"few keys": 0, "many keys": 2500} {
		t.Run(name, func(t *testing.T) {
			allocated := func(large string) uint64 {
				b := testkit.NewGenerator(2).Batch(max(keys, 1000))
				sortRows(b)
				for i := range b.Spans {
					s := &b.Spans[i]
					if i < values {
						s.Attrs = append(s.Attrs, store.Attr{Key: "large", Value: store.String(large)})
					}
					if i < keys {
						s.Attrs = append(s.Attrs, store.Attr{Key: fmt.Sprintf("key.%d", i), Value: store.Int(int64(i))})
					}
				}
				w, err := NewWriter(fsx.OS{}, t.TempDir(), WriterOptions{ID: "x"})
				require.NoError(t, err)
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				require.NoError(t, w.Append(t.Context(), b))
				_, err = w.Finish(t.Context())
				require.NoError(t, err)
				runtime.ReadMemStats(&after)
				return after.TotalAlloc - before.TotalAlloc
			}
			without := allocated("")
			with := allocated(strings.Repeat("0123456789", size/10))
			t.Logf("%.1f bytes for each byte of the values", float64(with-without)/(values*size))
			require.Less(t, with-without, uint64(7*values*size/2))
		})
	}
}

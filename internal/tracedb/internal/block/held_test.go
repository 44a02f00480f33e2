package block

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

// TestHeldIsReal compares what a writer says of its memory with what the garbage collector sees, with several granules of
// a row group in it and after the row group.
func TestHeldIsReal(t *testing.T) {
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc) //nolint:gosec // bytes of memory
	}
	for _, tc := range []struct {
		name string
		attr func(n int) store.Attr
		each int
	}{
		{"reference", nil, 0},
		{"unique values", func(n int) store.Attr {
			return store.Attr{Key: "unique", Value: store.String(fmt.Sprintf("value %0256d", n))}
		}, 1},
		{"keys", func(n int) store.Attr {
			return store.Attr{Key: fmt.Sprintf("key.%d", n%20_000), Value: store.Int(int64(n))}
		}, 10},
		{"large values", func(n int) store.Attr {
			if n%2000 != 0 {
				return store.Attr{Key: "small", Value: store.Int(1)}
			}
			return store.Attr{Key: "large", Value: store.String(strings.Repeat("large", 1<<18) + strconv.Itoa(n))}
		}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := heap()
			var told int64
			w, err := NewWriter(fsx.OS{}, t.TempDir(), WriterOptions{ID: "x", GroupGranules: 5, Held: func(n int64) { told = n }})
			require.NoError(t, err)
			n := 0
			g := testkit.NewGenerator(2)
			fill := func(granules int) {
				for target := w.meta.Rows + granules*store.GranuleRows; w.meta.Rows < target; {
					b := g.Batch(1000)
					for i := range b.Spans {
						for range tc.each {
							b.Spans[i].Attrs = append(b.Spans[i].Attrs, tc.attr(n))
							n++
						}
					}
					sortRows(b)
					require.NoError(t, w.Append(t.Context(), b))
				}
			}
			for _, granules := range []int{3, 2} { // The second time into the next row group.
				fill(granules)
				used, held := heap()-before, w.Held()
				t.Logf("%d rows: told %d KiB, now %d KiB, heap grew by %d KiB", w.meta.Rows, told>>10, held>>10, used>>10)
				require.InDelta(t, float64(used), float64(held), 0.5*float64(used)+float64(2<<20))
				require.Positive(t, told)
			}
			require.NoError(t, w.Abort())
		})
	}
}

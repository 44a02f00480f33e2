package column

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/store"
)

// someRows returns up to n rows of a granule, ascending: neighbours, as the spans of a trace are, or any.
func someRows(rng *rand.Rand, rows, n int) []uint16 {
	var out []uint16
	if rng.IntN(2) == 0 {
		for r, end := rng.IntN(rows), 0; r < rows && end < n; r, end = r+1, end+1 {
			out = append(out, uint16(r))
		}
		return out
	}
	for r := range rows {
		if rng.IntN(rows) < n {
			out = append(out, uint16(r))
		}
	}
	return out
}

// requirePicked compares values of some rows with those of the whole granule.
func requirePicked(t *testing.T, want []uint16, whole, picked *Values, name string) {
	t.Helper()
	require.Equal(t, len(want), picked.Rows, name)
	n := 0
	for i, row := range want {
		from, at := whole.Index(int(row)), picked.Index(i)
		if (from < 0) != (at < 0) {
			t.Fatalf("%s row %d: picked value is at %d, that of the granule at %d", name, row, at, from)
		}
		if at < 0 {
			continue
		}
		n++
		if got, want := picked.Value(at), whole.Value(from); got != want {
			t.Fatalf("%s row %d: picked %v, want %v", name, row, got, want)
		}
	}
	require.Equal(t, n, picked.Len(), name)
}

func TestPick(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	cols := newTestColumns(rng, 20000)
	constant := testColumn{spec: Spec{Name: "constant", Type: Int, Value: store.TypeInt}}
	runs := testColumn{spec: Spec{Name: "runs", Type: Int, Value: store.TypeInt}}
	huge := testColumn{spec: Spec{Name: "huge", Type: Text, Optional: true, NoDict: true, Value: store.TypeString}} // Several pages in a granule.
	for r := range 20000 {
		constant.cells = append(constant.cells, cell{ok: true, num: 42})
		runs.cells = append(runs.cells, cell{ok: true, num: uint64(r / 3000)})
		c := cell{}
		if r%30 == 0 {
			c = cell{ok: true, str: strconv.Itoa(r) + strings.Repeat("x", 50_000)}
		}
		huge.cells = append(huge.cells, c)
	}
	cols = append(cols, constant, runs, huge)
	data, l, _ := writeTable(t, cols, 20000, 2)
	f, err := openTable(t, data, l, cols)
	require.NoError(t, err)
	pages, err := f.pageRefs(0, len(cols)-1)
	require.NoError(t, err)
	require.Greater(t, len(pages), 2, "large text is to be in several pages of a granule")
	for col := range cols {
		name := cols[col].spec.Name
		for g := range f.Groups() {
			var dict *Dict
			if f.HasDict(g, col) {
				dict, err = f.Dict(g, col)
				require.NoError(t, err)
			}
			for first := 0; first < f.GroupRows(g); first += store.GranuleRows {
				rows := min(store.GranuleRows, f.GroupRows(g)-first)
				whole, err := f.Granule(g, col, first, rows, dict)
				require.NoError(t, err)
				for _, n := range []int{0, 1, 2, 30, 300} {
					want := someRows(rng, rows, n)
					v, err := f.Pick(g, col, first, rows, want, dict)
					require.NoError(t, err, name)
					requirePicked(t, want, whole, v, name)
					requirePicked(t, want, whole, whole.Pick(want), name)
				}
				_, err = f.Pick(g, col, first, rows, []uint16{uint16(rows)}, dict)
				require.ErrorIs(t, err, store.ErrInvalid)
			}
		}
	}
}

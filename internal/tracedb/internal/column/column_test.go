package column

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/store"
)

// cell is a value or the lack of one.
type cell struct {
	ok  bool
	num uint64
	str string
}

// testColumn is a column with what it was given.
type testColumn struct {
	spec  Spec
	cells []cell
}

func newTestColumns(rng *rand.Rand, rows int) []testColumn {
	words := make([]string, 50)
	for i := range words {
		words[i] = strings.Repeat(string(rune('a'+i%26)), rng.IntN(40)) + strconv.Itoa(i)
	}
	text := func(s string) cell { return cell{ok: true, str: s} }
	num := func(n uint64) cell { return cell{ok: true, num: n} }
	sparse := func(share float64, make func(i int) cell) func(int) cell {
		return func(i int) cell {
			if rng.Float64() >= share {
				return cell{}
			}
			return make(i)
		}
	}
	id := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return string(b)
	}
	specs := []struct {
		spec Spec
		make func(i int) cell
	}{
		{Spec{Name: "id", Type: Fixed, Width: 8, NoDict: true, Raw: true, Value: store.TypeBytes}, func(int) cell { return text(id(8)) }},
		{Spec{Name: "start", Type: Int, NoDict: true, Timestamp: true, Value: store.TypeInt}, func(i int) cell { return num(uint64(1e18 + i*1000 + rng.IntN(900))) }},
		{Spec{Name: "noise", Type: Int, NoDict: true, Value: store.TypeInt}, func(int) cell { return num(rng.Uint64()) }},
		{Spec{Name: "kind", Type: Int, Value: store.TypeInt}, func(int) cell { return num(uint64(rng.IntN(6))) }},
		{Spec{Name: "name", Type: Text, Value: store.TypeString}, func(int) cell { return text(words[rng.IntN(50)]) }},
		{Spec{Name: "one", Type: Text, Value: store.TypeString}, func(int) cell { return text("") }},
		{Spec{Name: "span.word", Type: Text, Optional: true, Bloom: true, Value: store.TypeString}, sparse(0.3, func(int) cell { return text(words[rng.IntN(50)]) })},
		{Spec{Name: "span.url", Type: Text, Optional: true, Bloom: true, Value: store.TypeString}, sparse(0.9, func(int) cell { return text(fmt.Sprintf("/api/items/%d?q=%x", rng.IntN(1e9), rng.Uint32())) })},
		// One column for each encoding of text, in all granules.
		{Spec{Name: "delta-length", Type: Text, Value: store.TypeString}, func(int) cell { return text(hex.EncodeToString([]byte(id(1 + rng.IntN(12))))) }},
		{Spec{Name: "delta-bytes", Type: Text, Value: store.TypeString}, func(i int) cell { return text(fmt.Sprintf("message-%012d-%s", i*7, hex.EncodeToString([]byte(id(3))))) }},
		{Spec{Name: "span.late", Type: Text, Optional: true, Bloom: true, Value: store.TypeString}, func(i int) cell {
			if i < rows*3/4 {
				return cell{}
			}
			return text("late")
		}},
		{Spec{Name: "span.runs", Type: Text, Optional: true, Value: store.TypeString}, func(i int) cell {
			if i/300%2 == 0 {
				return cell{}
			}
			return text(words[i/700%50])
		}},
		{Spec{Name: "span.id", Type: Fixed, Width: 16, Optional: true, NoDict: true, Value: store.TypeBytes}, sparse(0.5, func(int) cell { return text(id(16)) })},
		{Spec{Name: "span.n@int", Type: Int, Optional: true, Bloom: true, Value: store.TypeInt}, sparse(0.5, func(int) cell { return num(rng.Uint64()) })},
		{Spec{Name: "span.code@int", Type: Int, Optional: true, Bloom: true, Value: store.TypeInt}, sparse(0.5, func(int) cell { return num(uint64(200 + rng.IntN(5))) })},
		{Spec{Name: "span.f@float", Type: Float, Optional: true, Bloom: true, Value: store.TypeFloat}, sparse(0.5, func(int) cell { return num(math.Float64bits(rng.NormFloat64())) })},
		{Spec{Name: "span.nan@float", Type: Float, Optional: true, Value: store.TypeFloat}, sparse(0.5, func(int) cell { return num(math.Float64bits(math.NaN())) })},
		{Spec{Name: "span.b@bool", Type: Bool, Optional: true, Value: store.TypeBool}, sparse(0.5, func(int) cell { return num(uint64(rng.IntN(2))) })},
		{Spec{Name: "span.bytes@bytes", Type: Bytes, Optional: true, Bloom: true, Value: store.TypeBytes}, sparse(0.2, func(int) cell { return text(id(rng.IntN(30))) })},
		{Spec{Name: "span.never", Type: Text, Optional: true, Value: store.TypeString}, func(int) cell { return cell{} }},
	}
	cols := make([]testColumn, len(specs))
	for i, s := range specs {
		cols[i].spec = s.spec
		for r := range rows {
			cols[i].cells = append(cols[i].cells, s.make(r))
		}
	}
	return cols
}

// writeTable writes columns as row groups of the given number of granules.
func writeTable(tb testing.TB, cols []testColumn, rows, perGroup int) ([]byte, Layout, *FileWriter) {
	tb.Helper()
	var buf bytes.Buffer
	w := NewFileWriter(&buf)
	enc, err := NewFlatEncoder(1)
	require.NoError(tb, err)
	builders := make([]*Builder, len(cols))
	for i := range cols {
		w.AddColumn(cols[i].spec)
		builders[i] = NewBuilder(cols[i].spec)
	}
	var c Chunk
	for first := 0; first < rows; {
		var granules []int
		for len(granules) < perGroup && first < rows {
			n := min(store.GranuleRows, rows-first)
			for i, b := range builders {
				for r := range n {
					cell := cols[i].cells[first+r]
					switch {
					case !cell.ok:
					case cols[i].spec.Type.number():
						b.AddNum(r, cell.num)
					default:
						b.AddText(r, cell.str)
					}
				}
				b.EndGranule()
			}
			granules = append(granules, n)
			first += n
		}
		g := w.BeginGroup(granules)
		for i, b := range builders {
			if b.Len() > 0 || !cols[i].spec.Optional {
				require.NoError(tb, enc.Encode(b, granules, &c))
				require.NoError(tb, w.WriteChunk(g, i, &c))
			}
			b.Reset()
		}
	}
	l, err := w.Finish()
	require.NoError(tb, err)
	return buf.Bytes(), l, w
}

func openTable(tb testing.TB, data []byte, l Layout, cols []testColumn) (*File, error) {
	tb.Helper()
	unzip, err := NewDecompressor(1)
	require.NoError(tb, err)
	tb.Cleanup(unzip.Close)
	return Open(bytes.NewReader(data), "table.parquet", l, unzip, func(name string) (Spec, bool) {
		for i := range cols {
			if cols[i].spec.Name == name {
				return cols[i].spec, true
			}
		}
		return Spec{}, false
	})
}

func TestRoundTrip(t *testing.T) {
	for _, tc := range []struct{ rows, perGroup int }{
		{1, 1}, {7, 1}, {8, 2}, {8191, 2}, {8193, 1}, {20000, 2},
	} {
		t.Run(strconv.Itoa(tc.rows), func(t *testing.T) {
			cols := newTestColumns(rand.New(rand.NewPCG(1, uint64(tc.rows))), tc.rows)
			data, l, _ := writeTable(t, cols, tc.rows, tc.perGroup)
			f, err := openTable(t, data, l, cols)
			require.NoError(t, err)
			require.Equal(t, tc.rows, f.Rows())
			for i := range cols {
				compareColumn(t, f, i, &cols[i])
			}
			compareWithParquetGo(t, data, cols)
		})
	}
}

// TestEncodings makes sure that the columns above meet every encoding in a row group of several pages.
func TestEncodings(t *testing.T) {
	cols := newTestColumns(rand.New(rand.NewPCG(1, 1)), 20000)
	_, _, w := writeTable(t, cols, 20000, 4)
	seen := map[Encoding]bool{}
	for _, s := range w.Stats() {
		seen[s.Encoding] = true
	}
	for _, e := range []Encoding{Plain, DeltaBinary, DeltaLengthBytes, DeltaBytes, Dictionary} {
		require.True(t, seen[e], "no column is encoded as %s", e)
	}
}

func compareColumn(t *testing.T, f *File, col int, want *testColumn) {
	t.Helper()
	row := 0
	for g := range f.Groups() {
		var dict *Dict
		var err error
		if f.HasDict(g, col) {
			dict, err = f.Dict(g, col)
			require.NoError(t, err)
		}
		for first := 0; first < f.GroupRows(g); first += store.GranuleRows {
			n := min(store.GranuleRows, f.GroupRows(g)-first)
			v, err := f.Granule(g, col, first, n, dict)
			require.NoError(t, err, want.spec.Name)
			b, err := f.Bounds(g, col, first, n)
			require.NoError(t, err)
			for r := range n {
				cell := want.cells[row]
				row++
				i := v.Index(r)
				if cell.ok != (i >= 0) {
					t.Fatalf("%s row %d: value present is %t, want %t", want.spec.Name, row, i >= 0, cell.ok)
				}
				if i < 0 {
					continue
				}
				got := v.Value(i)
				if wanted := (store.Value{Type: want.spec.Value, Num: cell.num, Str: cell.str}); got != wanted {
					t.Fatalf("%s row %d: %v, want %v", want.spec.Name, row, got, wanted)
				}
				if b.Empty {
					t.Fatalf("%s row %d: the zone map says that there are no values", want.spec.Name, row)
				}
				if b.Known {
					lo, _ := store.Compare(b.Min, got)
					hi, _ := store.Compare(got, b.Max)
					if lo > 0 || hi > 0 {
						t.Fatalf("%s: %v not within %v and %v", want.spec.Name, got, b.Min, b.Max)
					}
				}
			}
		}
	}
}

// compareWithParquetGo reads the file with an independent implementation.
func compareWithParquetGo(t *testing.T, data []byte, cols []testColumn) {
	t.Helper()
	pf, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	require.NoError(t, err)
	row := 0
	for _, rg := range pf.RowGroups() {
		for i, chunk := range rg.ColumnChunks() {
			at := row
			pages := chunk.Pages()
			for {
				page, err := pages.ReadPage()
				if errors.Is(err, io.EOF) {
					break
				}
				require.NoError(t, err, cols[i].spec.Name)
				vals := make([]parquet.Value, page.NumValues())
				n, _ := page.Values().ReadValues(vals)
				require.Equal(t, int(page.NumValues()), n)
				for _, v := range vals {
					cell := cols[i].cells[at]
					at++
					same := cell.ok == !v.IsNull()
					if same && cell.ok {
						switch cols[i].spec.Type {
						case Bool:
							same = v.Boolean() == (cell.num == 1)
						case Int:
							same = v.Int64() == int64(cell.num)
						case Float:
							same = math.Float64bits(v.Double()) == cell.num
						default:
							same = string(v.ByteArray()) == cell.str
						}
					}
					if !same {
						t.Fatalf("%s row %d: parquet-go reads %v, want %+v", cols[i].spec.Name, at, v, cell)
					}
				}
			}
			require.NoError(t, pages.Close())
			require.Equal(t, row+int(rg.NumRows()), at, cols[i].spec.Name)
			if bf := chunk.BloomFilter(); bf != nil {
				for r := row; r < at; r += 97 {
					if cell := cols[i].cells[r]; cell.ok && !cols[i].spec.Type.number() {
						ok, err := bf.Check(parquet.ByteArrayValue([]byte(cell.str)))
						require.NoError(t, err)
						require.True(t, ok)
					}
				}
			}
		}
		row += int(rg.NumRows())
	}
	require.Equal(t, len(cols[0].cells), row)
}

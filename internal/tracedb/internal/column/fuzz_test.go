package column

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/store"
)

// readAll reads everything of a file that can be read, whatever the bytes are.
func readAll(f *File) error {
	var errs []error
	for g := range f.Groups() {
		for col := range f.Columns() {
			if f.specs[col].Name == "" {
				continue
			}
			var dict *Dict
			var err error
			if f.HasDict(g, col) {
				dict, err = f.Dict(g, col)
				errs = append(errs, err)
			}
			if f.HasBloom(g, col) {
				b, err := f.Bloom(g, col)
				errs = append(errs, err)
				if err == nil {
					b.MayHave(store.String("x"))
				}
			}
			if f.HasDict(g, col) && dict == nil {
				continue
			}
			for first := 0; first < min(f.GroupRows(g), 1<<16); first += store.GranuleRows {
				n := min(store.GranuleRows, f.GroupRows(g)-first)
				_, err := f.Bounds(g, col, first, n)
				errs = append(errs, err)
				_, err = f.Pick(g, col, first, n, []uint16{uint16(n / 2)}, dict)
				errs = append(errs, err)
				v, err := f.Granule(g, col, first, n, dict)
				errs = append(errs, err)
				if err != nil {
					continue
				}
				for r := range n {
					if i := v.Index(r); i >= 0 {
						v.Value(i)
					}
				}
			}
		}
	}
	return errors.Join(errs...)
}

// layoutOf makes up the layout of arbitrary bytes with the right sums, so that parsers see them.
func layoutOf(data []byte, index uint32) (Layout, bool) {
	n := int64(len(data))
	if n < 16 {
		return Layout{}, false
	}
	l := Layout{Size: n}
	l.FooterOffset = n - tailLen - int64(binary.LittleEndian.Uint32(data[n-tailLen:]))
	if l.FooterOffset < 0 || l.FooterOffset > n {
		return l, false
	}
	l.IndexOffset = min(int64(index), l.FooterOffset)
	l.FooterCRC = crc32.Checksum(data[l.FooterOffset:], Castagnoli)
	l.IndexCRC = crc32.Checksum(data[l.IndexOffset:l.FooterOffset], Castagnoli)
	return l, true
}

// FuzzFile opens and reads arbitrary bytes as a table whose footer and page indexes have the right sums.
func FuzzFile(f *testing.F) {
	cols := newTestColumns(rand.New(rand.NewPCG(5, 5)), 100)
	data, l, _ := writeTable(f, cols, 100, 1)
	f.Add(data, uint32(l.IndexOffset))
	f.Add([]byte("PAR1PAR1PAR1PAR1PAR1"), uint32(4))
	specs := map[string]Spec{}
	for i := range cols {
		specs[cols[i].spec.Name] = cols[i].spec
	}
	unzip, err := NewDecompressor(1)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, data []byte, index uint32) {
		l, ok := layoutOf(data, index)
		if !ok {
			return
		}
		file, err := Open(bytes.NewReader(data), "fuzz", l, unzip, func(name string) (Spec, bool) {
			s, ok := specs[name]
			return s, ok
		})
		if err == nil {
			err = readAll(file)
		}
		if _, ok := errors.AsType[*store.CorruptionError](err); err != nil && !ok {
			t.Fatalf("not a corruption error: %v", err)
		}
	})
}

// FuzzReadChunk copies the chunks of arbitrary bytes, as a table whose footer and page indexes have the right sums, to
// another table. What could be copied without an error holds what the original does.
func FuzzReadChunk(f *testing.F) {
	cols := newTestColumns(rand.New(rand.NewPCG(6, 6)), 100)
	data, l, _ := writeTable(f, cols, 100, 1)
	f.Add(data, uint32(l.IndexOffset))
	f.Add([]byte("PAR1PAR1PAR1PAR1PAR1"), uint32(4))
	unzip, err := NewDecompressor(1)
	require.NoError(f, err)
	specs := func(name string) (Spec, bool) {
		for i := range cols {
			if cols[i].spec.Name == name {
				return cols[i].spec, true
			}
		}
		return Spec{}, false
	}
	f.Fuzz(func(t *testing.T, data []byte, index uint32) {
		l, ok := layoutOf(data, index)
		if !ok {
			return
		}
		file, err := Open(bytes.NewReader(data), "fuzz", l, unzip, specs)
		for g := 0; err == nil && g < file.Groups(); g++ {
			for col := 0; err == nil && col < file.Columns(); col++ {
				if file.specs[col].Name == "" || file.GroupRows(g) > store.GranuleRows {
					continue
				}
				var c Chunk
				if err = file.ReadChunk(g, col, &c); err == nil {
					copyAndCompare(t, file, g, col, &c, unzip, specs)
				}
			}
		}
		if _, ok := errors.AsType[*store.CorruptionError](err); err != nil && !ok {
			t.Fatalf("not a corruption error: %v", err)
		}
	})
}

// copyAndCompare writes a chunk to a table of its own. If its values can be decoded there they are those of the original.
func copyAndCompare(t *testing.T, src *File, g, col int, c *Chunk, unzip *Decompressor, specs func(string) (Spec, bool)) {
	t.Helper()
	var buf bytes.Buffer
	w := NewFileWriter(&buf)
	w.AddColumn(src.specs[col])
	w.BeginGroup([]int{src.GroupRows(g)})
	if err := w.WriteChunk(0, 0, c); err != nil {
		return // It does not fit the row group, which the writer sees.
	}
	l, err := w.Finish()
	require.NoError(t, err)
	copied, err := Open(bytes.NewReader(buf.Bytes()), "copy", l, unzip, specs)
	if err != nil {
		return
	}
	want, err := granuleOf(src, g, col)
	if err != nil {
		return
	}
	got, err := granuleOf(copied, 0, 0)
	require.NoError(t, err, "what can be read of the original can be of the copy")
	for r := range src.GroupRows(g) {
		i, j := want.Index(r), got.Index(r)
		require.Equal(t, i, j)
		if i >= 0 {
			require.Equal(t, want.Value(i), got.Value(j))
		}
	}
}

func granuleOf(f *File, g, col int) (*Values, error) {
	var dict *Dict
	if f.HasDict(g, col) {
		var err error
		if dict, err = f.Dict(g, col); err != nil {
			return nil, err
		}
	}
	return f.Granule(g, col, 0, f.GroupRows(g), dict)
}

// FuzzPage decodes arbitrary bytes as a page that passed its checksum.
func FuzzPage(f *testing.F) {
	for typ := Bool; typ <= Fixed; typ++ {
		for _, enc := range []Encoding{Plain, DeltaBinary, DeltaLengthBytes, DeltaBytes, Dictionary} {
			f.Add(uint8(typ), uint8(enc), true, uint16(9), []byte{2, 0, 0, 0, 3, 0x55, 1, 2, 3, 4, 5, 6, 7, 8})
			f.Add(uint8(typ), uint8(enc), false, uint16(3), []byte{0x80, 1, 4, 3, 2, 0, 0, 0, 0, 0, 0, 0, 0})
		}
	}
	file := &File{unzip: &Decompressor{}}
	f.Fuzz(func(t *testing.T, typ, enc uint8, optional bool, rows uint16, data []byte) {
		spec := Spec{Type: Type(typ % 6), Width: 8, Optional: optional}
		n := int(rows) % (store.GranuleRows + 1)
		v := &Values{Rows: n, width: 8, Dict: &Dict{Values: make([]store.Value, 5)}}
		if optional {
			v.Present = new(Presence)
		}
		if Encoding(enc) != Dictionary {
			v.Dict = nil
		}
		text, err := v.decodePage(nil, data, 0, n, Encoding(enc), &spec)
		want := make([]uint16, 0, 3)
		for _, row := range []int{0, n / 3, n - 1} {
			if row >= 0 && row < n && (len(want) == 0 || row > int(want[len(want)-1])) {
				want = append(want, uint16(row))
			}
		}
		picked := *v
		picked.Rows, picked.count, picked.Codes, picked.Nums, picked.ends = len(want), 0, nil, nil, nil
		if optional {
			picked.Present = new(Presence)
		}
		p := picker{f: file, v: &picked, spec: &spec, chunk: &chunk{encoding: Encoding(enc)}}
		pickErr := p.decode(data, 0, 0, n, want)
		if err != nil {
			return // Picking need not notice.
		}
		require.NoError(t, pickErr)
		if optional {
			picked.Present.rank()
		}
		picked.finish(p.text, spec.Type)
		v.finish(text, spec.Type)
		requirePicked(t, want, v, &picked, "column")
		for r := range n {
			if i := v.Index(r); i >= 0 {
				v.Value(i)
			}
		}
	})
}

// FuzzRuns checks that presence bits and dictionary indexes survive a round trip.
func FuzzRuns(f *testing.F) {
	f.Add([]byte{0, 1, 1, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5}, uint8(3))
	f.Add(bytes.Repeat([]byte{7}, 300), uint8(200))
	f.Fuzz(func(t *testing.T, data []byte, from uint8) {
		if len(data) > 4000 {
			return
		}
		codes := make([]uint16, len(data))
		var p Presence
		start := int(from)
		for i, b := range data {
			codes[i] = uint16(b) * 17
			if b&1 == 1 {
				p.set(start + i)
			}
		}
		got, err := readCodes(nil, appendCodes(nil, codes, codeWidth(256*17)), len(codes), 256*17)
		if err != nil || len(got) != len(codes) {
			t.Fatalf("read %d codes of %d: %v", len(got), len(codes), err)
		}
		for i := range codes {
			if got[i] != codes[i] {
				t.Fatalf("code %d is %d, want %d", i, got[i], codes[i])
			}
		}
		var q Presence
		if err := readLevels(&q, start, len(data), appendLevels(nil, &p, start, start+len(data))); err != nil {
			t.Fatal(err)
		}
		if q.words != p.words {
			t.Fatal("presence differs")
		}
	})
}

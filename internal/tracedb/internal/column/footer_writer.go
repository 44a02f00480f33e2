package column

import (
	"encoding/binary"
	"math"
	"strconv"
)

// footer returns Parquet's FileMetaData.
func (f *FileWriter) footer() []byte {
	var w thriftWriter
	w.begin()
	w.i32(1, 2)
	w.list(2, thriftStruct, len(f.specs)+1)
	w.begin()
	w.text(4, "schema")
	w.i32(5, int64(len(f.specs)))
	w.end()
	for i := range f.specs {
		schemaElement(&w, &f.specs[i])
	}
	rows := 0
	for i := range f.groups {
		rows += f.groups[i].total
	}
	w.i64(3, int64(rows))
	w.list(4, thriftStruct, len(f.groups))
	for i := range f.groups {
		f.rowGroup(&w, i)
	}
	w.text(6, createdBy)
	w.list(7, thriftStruct, len(f.specs))
	for range f.specs { // column order: by the type's definition
		w.begin()
		w.open(1)
		w.end()
		w.end()
	}
	w.end()
	return w.b
}

func schemaElement(w *thriftWriter, s *Spec) {
	w.begin()
	w.i32(1, s.Type.parquet())
	if s.Type == Fixed {
		w.i32(2, int64(s.Width))
	}
	if s.Optional {
		w.i32(3, 1)
	} else {
		w.i32(3, 0)
	}
	w.text(4, s.Name)
	switch {
	case s.Type == Text:
		w.i32(6, 0) // converted type UTF8
		w.open(10)
		w.open(1) // STRING
		w.end()
		w.end()
	case s.Timestamp:
		w.open(10)
		w.open(8)           // TIMESTAMP
		w.boolean(1, false) // isAdjustedToUTC: DuckDB would cut UTC timestamps to microseconds
		w.open(2)
		w.open(3) // NANOS
		w.end()
		w.end()
		w.end()
		w.end()
	}
	w.end()
}

func (f *FileWriter) rowGroup(w *thriftWriter, gi int) {
	g := &f.groups[gi]
	var raw, stored int64
	first := int64(math.MaxInt64)
	for _, m := range g.chunks {
		raw += int64(m.chunk.RawBytes)
		stored += m.size
		first = min(first, m.start)
	}
	w.begin()
	w.list(1, thriftStruct, len(f.specs))
	for col := range f.specs {
		f.columnChunk(w, &f.specs[col], g.chunks[col])
	}
	w.i64(2, raw)
	w.i64(3, int64(g.total))
	w.i64(5, first)
	w.i64(6, stored)
	w.end()
}

func (f *FileWriter) columnChunk(w *thriftWriter, s *Spec, m *chunkMeta) {
	w.begin()
	w.i64(2, 0) // file_offset, deprecated: must be 0
	w.open(3)
	w.i32(1, s.Type.parquet())
	encodings := []Encoding{m.chunk.Encoding}
	if m.chunk.DictPage {
		encodings = append(encodings, Plain)
	}
	if s.Optional {
		encodings = append(encodings, rleLevels)
	}
	w.list(2, thriftI32, len(encodings))
	for _, e := range encodings {
		w.b = binary.AppendVarint(w.b, int64(e))
	}
	w.list(3, thriftBinary, 1)
	w.b = append(binary.AppendUvarint(w.b, uint64(len(s.Name))), s.Name...)
	w.i32(4, int64(m.chunk.Codec))
	w.i64(5, int64(m.chunk.Rows))
	w.i64(6, int64(m.chunk.RawBytes))
	w.i64(7, m.size)
	if m.bloomLen > 0 {
		w.list(8, thriftStruct, 1)
		w.begin()
		w.text(1, bloomCRCKey)
		w.text(2, strconv.FormatUint(uint64(m.bloomCRC), 10))
		w.end()
	}
	w.i64(9, m.start+int64(m.chunk.DataStart))
	if m.chunk.DictPage {
		w.i64(11, m.start)
	}
	chunkStatistics(w, s, &m.chunk)
	if m.bloomLen > 0 {
		w.i64(14, m.bloomAt)
		w.i32(15, int64(m.bloomLen))
	}
	w.end()
	w.i64(4, m.offsetIndex[0])
	w.i32(5, m.offsetIndex[1])
	if m.columnIndex[1] > 0 {
		w.i64(6, m.columnIndex[0])
		w.i32(7, m.columnIndex[1])
	}
	w.end()
}

// chunkStatistics writes the number of rows without value and, where they are exact, the bounds.
func chunkStatistics(w *thriftWriter, s *Spec, c *Chunk) {
	w.open(12)
	w.i64(3, int64(c.nulls()))
	if c.Values > 0 && s.Type != Fixed && bounded(c.Pages) {
		if lo, hi := chunkBounds(s.Type, c.Pages); len(lo) < maxBound && len(hi) < maxBound {
			w.bytes(5, hi)
			w.bytes(6, lo)
		}
	}
	w.end()
}

func chunkBounds(t Type, pages []Page) (lo, hi []byte) {
	for i := range pages {
		p := &pages[i]
		if !p.HasBounds {
			continue
		}
		if lo == nil || compareBounds(t, p.Min, lo) < 0 {
			lo = p.Min
		}
		if hi == nil || compareBounds(t, p.Max, hi) > 0 {
			hi = p.Max
		}
	}
	return lo, hi
}

package column

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
)

// Castagnoli is the polynomial of all our checksums but those that Parquet prescribes.
var Castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Layout says where the parts of a finished file are and what their CRC32C is. Who owns the file keeps it elsewhere,
// so that indexes and footer can be checked before they are parsed.
type Layout struct {
	Size         int64  `json:"size"`
	CRC          uint32 `json:"crc32c"`
	IndexOffset  int64  `json:"index_offset"`
	IndexCRC     uint32 `json:"index_crc32c"`
	FooterOffset int64  `json:"footer_offset"`
	FooterCRC    uint32 `json:"footer_crc32c"`
}

const (
	magic = "PAR1"
	// tailLen is the length of what follows the footer: its length and the magic.
	tailLen = 8
	// bloomCRCKey is the metadata key of a column chunk that holds the CRC32C of its bloom filter in decimal digits.
	bloomCRCKey = "bramble.bloom_crc32c"
	createdBy   = "bramble format 1"
)

// ChunkStats tells what a column chunk costs, for reports.
type ChunkStats struct {
	Column   string
	Encoding Encoding
	Values   int
	Distinct int
	Bytes    int64 // pages
	Index    int64 // bloom filter and page index
}

// FileWriter lays out a Parquet file. Column chunks may be written in any order, columns added at any time: chunks
// that were never written become chunks without values.
type FileWriter struct {
	w      io.Writer
	off    int64
	crc    uint32
	specs  []Spec
	groups []groupMeta
	stats  []ChunkStats
	held   int64
	err    error
}

type groupMeta struct {
	rows   []int // per granule
	total  int
	chunks map[int]*chunkMeta
}

type chunkMeta struct {
	chunk       Chunk // without Buf and Bloom
	start       int64
	bloomAt     int64
	bloomLen    int
	bloomCRC    uint32
	size        int64
	columnIndex [2]int64 // offset and length
	offsetIndex [2]int64
}

// NewFileWriter begins a file. The caller closes and syncs what w writes to.
func NewFileWriter(w io.Writer) *FileWriter {
	f := &FileWriter{w: w}
	f.write([]byte(magic))
	return f
}

// AddColumn adds a column and returns its number.
func (f *FileWriter) AddColumn(spec Spec) int {
	f.specs = append(f.specs, spec)
	return len(f.specs) - 1
}

// Columns returns the number of columns.
func (f *FileWriter) Columns() int { return len(f.specs) }

// BeginGroup adds a row group with granules of the given lengths and returns its number.
func (f *FileWriter) BeginGroup(rows []int) int {
	g := groupMeta{rows: append([]int(nil), rows...), chunks: make(map[int]*chunkMeta)}
	for _, n := range rows {
		g.total += n
	}
	f.groups = append(f.groups, g)
	return len(f.groups) - 1
}

// GroupRows returns the lengths of the granules of a row group.
func (f *FileWriter) GroupRows(group int) []int { return f.groups[group].rows }

// WriteChunk writes the pages of a column in a row group. Bounds are kept, the rest of c can be reused.
func (f *FileWriter) WriteChunk(group, col int, c *Chunk) error {
	g := &f.groups[group]
	if c.Rows != g.total {
		return fmt.Errorf("write column %q: %d rows in a row group of %d", f.specs[col].Name, c.Rows, g.total)
	}
	if g.chunks[col] != nil {
		return fmt.Errorf("write column %q: row group %d has it already", f.specs[col].Name, group)
	}
	m := &chunkMeta{chunk: *c, start: f.off}
	m.chunk.Pages = append([]Page(nil), c.Pages...)
	f.write(c.Buf)
	m.size = f.off - m.start
	m.chunk.Buf, m.chunk.Bloom = nil, nil
	if len(c.Bloom) > 0 {
		f.writeBloom(m, c.Bloom)
	}
	g.chunks[col] = m
	f.hold(c)
	f.stats = append(f.stats, ChunkStats{
		Column: f.specs[col].Name, Encoding: c.Encoding, Values: c.Values, Distinct: c.Distinct,
		Bytes: m.size, Index: int64(m.bloomLen),
	})
	return f.err
}

func (f *FileWriter) writeBloom(m *chunkMeta, bits []byte) {
	var w thriftWriter
	w.begin()
	w.i32(1, int64(len(bits)))
	for id := int16(2); id <= 4; id++ { // algorithm BLOCK, hash XXHASH, compression UNCOMPRESSED: all first of a union
		w.open(id)
		w.open(1)
		w.end()
		w.end()
	}
	w.end()
	m.bloomAt, m.bloomLen = f.off, len(w.b)+len(bits)
	m.bloomCRC = crc32.Update(crc32.Checksum(w.b, Castagnoli), Castagnoli, bits)
	f.write(w.b)
	f.write(bits)
}

// Finish writes page indexes and footer.
func (f *FileWriter) Finish() (Layout, error) {
	f.fillGaps()
	var l Layout
	l.IndexOffset = f.off
	idx := f.indexes()
	l.IndexCRC = crc32.Checksum(idx, Castagnoli)
	f.write(idx)
	l.FooterOffset = f.off
	footer := f.footer()
	footer = binary.LittleEndian.AppendUint32(footer, uint32(len(footer))) //nolint:gosec // checked by caps on columns
	footer = append(footer, magic...)
	l.FooterCRC = crc32.Checksum(footer, Castagnoli)
	f.write(footer)
	l.Size, l.CRC = f.off, f.crc
	return l, f.err
}

// Stats returns what each chunk costs.
func (f *FileWriter) Stats() []ChunkStats { return f.stats }

// Offset returns the number of bytes written so far.
func (f *FileWriter) Offset() int64 { return f.off }

func (f *FileWriter) write(b []byte) {
	if f.err != nil {
		return
	}
	f.crc = crc32.Update(f.crc, Castagnoli, b)
	n, err := f.w.Write(b)
	f.off += int64(n)
	f.err = err
}

// fillGaps gives every row group a chunk of every column, as Parquet wants it.
func (f *FileWriter) fillGaps() {
	var enc FlatEncoder // needs no compressor for chunks without values
	var c Chunk
	for gi := range f.groups {
		g := &f.groups[gi]
		for col := range f.specs {
			if g.chunks[col] != nil {
				continue
			}
			if !f.specs[col].Optional {
				f.err = fmt.Errorf("write column %q: required, but without values in row group %d", f.specs[col].Name, gi)
				return
			}
			c.reset()
			c.Rows = g.total
			enc.encodeNulls(&f.specs[col], &c)
			if err := f.WriteChunk(gi, col, &c); err != nil {
				return
			}
		}
	}
}

// compareBounds orders two bounds by the type's order in Parquet.
func compareBounds(t Type, a, b []byte) int {
	switch t {
	case Int:
		x, y := int64(binary.LittleEndian.Uint64(a)), int64(binary.LittleEndian.Uint64(b)) //nolint:gosec // the bits
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	case Float:
		x, y := math.Float64frombits(binary.LittleEndian.Uint64(a)), math.Float64frombits(binary.LittleEndian.Uint64(b))
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	}
	return bytes.Compare(a, b)
}

package column

// Encoder turns the values of a builder into the pages of a column chunk. It is the place to put another page encoder.
type Encoder interface {
	// Encode fills dst, which it resets first. rows holds the length of each granule.
	Encode(b *Builder, rows []int, dst *Chunk) error
}

// Chunk is an encoded column chunk. Offsets are relative to its first byte.
type Chunk struct {
	Encoding  Encoding
	Codec     Codec
	Buf       []byte // dictionary page, if any, and data pages, each with its header
	DictPage  bool
	DataStart int // where the data pages begin
	Pages     []Page
	Bloom     []byte // split-block filter without header; empty if there is none
	Values    int
	Rows      int
	Distinct  int // estimate
	RawBytes  int // what Buf would be without compression
}

// Page describes a data page.
type Page struct {
	Offset   int
	Size     int // with header
	FirstRow int // within the row group
	Rows     int
	Nulls    int
	// Min and Max bound the values as Parquet's page index has them. They are absent (HasBounds is false) for pages
	// without values and where no order exists (floats that are not a number).
	Min, Max  []byte
	HasBounds bool
}

func (c *Chunk) reset() {
	*c = Chunk{Buf: c.Buf[:0], Pages: c.Pages[:0], Bloom: c.Bloom[:0]}
}

// nulls is the number of rows without value.
func (c *Chunk) nulls() int { return c.Rows - c.Values }

// pageHeader appends Parquet's PageHeader of a page.
func pageHeader(w *thriftWriter, dict bool, values, raw, stored int, crc uint32, e Encoding) {
	w.begin()
	if dict {
		w.i32(1, 2)
	} else {
		w.i32(1, 0)
	}
	w.i32(2, int64(raw))
	w.i32(3, int64(stored))
	w.i32(4, int64(int32(crc))) //nolint:gosec // the bits of the sum
	if dict {
		w.open(7)
		w.i32(1, int64(values))
		w.i32(2, int64(Plain))
	} else {
		w.open(5)
		w.i32(1, int64(values))
		w.i32(2, int64(e))
		w.i32(3, int64(rleLevels))
		w.i32(4, int64(rleLevels))
	}
	w.end()
	w.end()
}

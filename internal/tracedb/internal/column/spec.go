package column

import "github.com/bramble-tracing/bramble/internal/store"

// Type is the physical form of a column's values.
type Type uint8

// The types of columns and what they are in Parquet.
const (
	Bool  Type = iota // BOOLEAN
	Int               // INT64
	Float             // DOUBLE
	Text              // BYTE_ARRAY annotated STRING
	Bytes             // BYTE_ARRAY
	Fixed             // FIXED_LEN_BYTE_ARRAY of Spec.Width bytes
)

// Parquet's numbers of physical types (parquet.thrift, Type).
const (
	parquetBoolean = 0
	parquetInt64   = 2
	parquetDouble  = 5
	parquetBytes   = 6
	parquetFixed   = 7
)

func (t Type) parquet() int64 {
	return [...]int64{parquetBoolean, parquetInt64, parquetDouble, parquetBytes, parquetBytes, parquetFixed}[t]
}

// number reports whether values are kept in 64 bits.
func (t Type) number() bool { return t <= Float }

// Spec describes a column.
type Spec struct {
	Name     string
	Type     Type
	Width    int  // bytes of a Fixed value
	Optional bool // rows may have no value
	// Timestamp annotates an Int as nanoseconds since the Unix epoch in UTC.
	Timestamp bool
	// NoDict leaves out the attempt at a dictionary, for ids and times.
	NoDict bool
	// Raw leaves out compression, for random ids. It holds for a column and not for a chunk, because parquet-go takes
	// the codec of a column from the first row group.
	Raw bool
	// Bloom adds a bloom filter when the values do not fit into a dictionary.
	Bloom bool
	// Value is the type that decoded values have.
	Value store.ValueType
}

func (s *Spec) codec() Codec {
	if s.Raw {
		return Uncompressed
	}
	return Zstd
}

// Encoding is Parquet's number of a value encoding (parquet.thrift, Encoding).
type Encoding uint8

// The encodings in use. Levels are always RLE.
const (
	Plain            Encoding = 0
	rleLevels        Encoding = 3
	DeltaBinary      Encoding = 5
	DeltaLengthBytes Encoding = 6
	DeltaBytes       Encoding = 7
	Dictionary       Encoding = 8
)

func (e Encoding) String() string {
	switch e {
	case Plain:
		return "plain"
	case DeltaBinary:
		return "delta"
	case DeltaLengthBytes:
		return "delta-length"
	case DeltaBytes:
		return "delta-bytes"
	case Dictionary:
		return "dictionary"
	}
	return "unknown"
}

// Codec is Parquet's number of a compression codec (parquet.thrift, CompressionCodec).
type Codec uint8

// The codecs in use.
const (
	Uncompressed Codec = 0
	Zstd         Codec = 6
)

const (
	// maxDictBytes and the half in distinctEnough bound dictionaries: see docs/format/block.md, "Encodings".
	maxDictBytes = 64 << 10
	// maxDictValues follows from maxDictBytes, as the shortest dictionary entry has four bytes.
	maxDictValues = maxDictBytes / 4
	// maxPageBytes cuts a page of text within a granule, so that huge values do not make huge pages.
	maxPageBytes = 8 << 20
	// maxPageRaw is the largest page that the reader takes memory for: a page that was begun below maxPageBytes and
	// ended with one value of the largest size a batch may have.
	maxPageRaw = 1 << 30
	// maxBound is how much of a text value is kept as the bound of a zone map.
	maxBound = 64
)

// distinctEnough reports whether a dictionary pays: at most half of the values are distinct.
func distinctEnough(distinct, values int) bool { return distinct*2 <= values }

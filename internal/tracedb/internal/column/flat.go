package column

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/delta"

	"github.com/bramble-tracing/bramble/internal/store"
)

// FlatEncoder encodes columns without nesting: presence bits, dictionary indexes, delta-packed integers and text,
// each page compressed with zstd unless the column is Spec.Raw. It belongs to one goroutine.
type FlatEncoder struct {
	zstd     *zstd.Encoder
	presence Presence
	head     thriftWriter
	levels   []byte
	raw      []byte
	packed   []byte
	trial    []byte
	tmp      []byte
	ints     []int64
	offs     []uint32
	numDict  numDict
	codes    []uint16
	width    int // of the dictionary indexes, in bits
	distinct linearCounter
	rawBuf   []byte // one page before compression
}

// NewFlatEncoder returns an encoder that compresses with a zstd level (1 is fast, 3 is dense).
func NewFlatEncoder(level int) (*FlatEncoder, error) {
	z, err := newCompressor(level)
	if err != nil {
		return nil, err
	}
	return &FlatEncoder{zstd: z}, nil
}

// Encode implements Encoder.
func (e *FlatEncoder) Encode(b *Builder, rows []int, dst *Chunk) error {
	dst.reset()
	if b.err != nil {
		return fmt.Errorf("encode column %q: %w", b.spec.Name, b.err)
	}
	if len(b.ends) != len(rows) {
		return fmt.Errorf("encode column %q: %d granules, want %d", b.spec.Name, len(b.ends), len(rows))
	}
	dst.Values = b.Len()
	for _, n := range rows {
		dst.Rows += n
	}
	if b.spec.Optional && dst.Values == 0 {
		e.encodeNulls(&b.spec, dst)
		return nil
	}
	if b.spec.Type.number() {
		dst.Encoding = e.chooseNums(b)
	} else {
		dst.Encoding = e.chooseText(b)
	}
	e.countDistinct(b, dst)
	e.storeDict(b, dst)
	e.storePages(b, rows, dst)
	e.dropLarge()
	if b.spec.Bloom && dst.Encoding != Dictionary && dst.Values >= minBloomValues {
		e.addBloom(b, dst)
	}
	return nil
}

// encodeNulls makes the chunk of a row group in which the column has no value: one page of levels.
func (e *FlatEncoder) encodeNulls(spec *Spec, dst *Chunk) {
	dst.Encoding, dst.Codec = Plain, spec.codec()
	e.levels = append(binary.AppendUvarint(e.levels[:0], uint64(dst.Rows)<<1), 0)
	e.rawBuf = binary.LittleEndian.AppendUint32(e.rawBuf[:0], uint32(len(e.levels))) //nolint:gosec // a few bytes
	e.rawBuf = append(e.rawBuf, e.levels...)
	e.appendDataPage(dst, Page{Rows: dst.Rows, Nulls: dst.Rows})
}

// dropLarge gives up buffers that few columns need.
func (e *FlatEncoder) dropLarge() {
	for _, b := range []*[]byte{&e.rawBuf, &e.raw, &e.tmp, &e.packed, &e.trial} {
		if cap(*b) > keptBuffer {
			*b = nil
		}
	}
}

// storePages appends all data pages to dst, one after the other, so that of a large column one page at a time is held
// again.
func (e *FlatEncoder) storePages(b *Builder, rows []int, dst *Chunk) {
	dst.DataStart = len(dst.Buf)
	first := 0
	for g, n := range rows {
		from, to := b.span(g)
		if b.spec.Optional {
			e.presence = Presence{}
			for _, r := range b.rows[from:to] {
				e.presence.set(int(r))
			}
		}
		for row := 0; row < n; {
			v, end := e.cut(b, from, to, row, n)
			e.encodePage(b, from, v, row, end, dst.Encoding)
			p := Page{FirstRow: first + row, Rows: end - row, Nulls: end - row - (v - from)}
			p.Min, p.Max, p.HasBounds = b.bounds(from, v)
			e.appendDataPage(dst, p)
			from, row = v, end
		}
		first += n
	}
}

// cut returns where the page that starts at value from and row ends: at the end of the granule, or earlier if it
// would get too large.
func (e *FlatEncoder) cut(b *Builder, from, to, row, rows int) (value, end int) {
	if b.spec.Type.number() || !b.plain || from == to {
		return to, rows
	}
	start := uint32(0)
	if from > 0 {
		start = b.offs[from-1]
	}
	if b.offs[to-1]-start <= maxPageBytes {
		return to, rows
	}
	v := from + 1
	for v < to && b.offs[v]-start <= maxPageBytes {
		v++
	}
	switch {
	case v == to:
		return to, rows
	case b.spec.Optional:
		return v, int(b.rows[v])
	}
	return v, row + v - from
}

// encodePage makes rawBuf the page of the values [from, to).
func (e *FlatEncoder) encodePage(b *Builder, from, to, row, end int, enc Encoding) {
	e.rawBuf = e.rawBuf[:0]
	if b.spec.Optional {
		e.levels = appendLevels(e.levels[:0], &e.presence, row, end)
		e.rawBuf = binary.LittleEndian.AppendUint32(e.rawBuf, uint32(len(e.levels))) //nolint:gosec // at most 2 KiB
		e.rawBuf = append(e.rawBuf, e.levels...)
	}
	e.rawBuf = e.appendValues(e.rawBuf, b, from, to, enc)
}

// appendValues writes the values [from, to) of b.
func (e *FlatEncoder) appendValues(dst []byte, b *Builder, from, to int, enc Encoding) []byte {
	switch {
	case enc == Dictionary && b.spec.Type.number():
		return appendCodes(dst, e.codes[from:to], e.width)
	case enc == Dictionary:
		return appendCodes(dst, b.codes[from:to], e.width)
	case b.spec.Type == Bool:
		return appendBits(dst, b.nums[from:to])
	case b.spec.Type.number() && enc == DeltaBinary:
		e.ints = e.ints[:0]
		for _, v := range b.nums[from:to] {
			e.ints = append(e.ints, int64(v)) //nolint:gosec // the bits
		}
		e.tmp, _ = (&delta.BinaryPackedEncoding{}).EncodeInt64(e.tmp[:0], e.ints)
		return append(dst, e.tmp...)
	case b.spec.Type.number():
		for _, v := range b.nums[from:to] {
			dst = binary.LittleEndian.AppendUint64(dst, v)
		}
		return dst
	}
	return e.appendText(dst, b, from, to, enc)
}

func (e *FlatEncoder) appendText(dst []byte, b *Builder, from, to int, enc Encoding) []byte {
	start := uint32(0)
	if from > 0 {
		start = b.offs[from-1]
	}
	switch enc {
	case DeltaBytes, DeltaLengthBytes:
		e.offs = append(e.offs[:0], 0)
		for _, end := range b.offs[from:to] {
			e.offs = append(e.offs, end-start)
		}
		data := b.data[start : start+e.offs[len(e.offs)-1]]
		// The encoders take all of the data, whatever the first offset is. Without any, one writes the lengths alone.
		if enc == DeltaBytes {
			e.tmp, _ = (&delta.ByteArrayEncoding{}).EncodeByteArray(e.tmp[:0], data, e.offs)
			return append(dst, e.tmp...)
		}
		e.tmp, _ = (&delta.LengthByteArrayEncoding{}).EncodeByteArray(e.tmp[:0], nil, e.offs)
		return append(append(slices.Grow(dst, len(e.tmp)+len(data)), e.tmp...), data...)
	}
	if b.spec.Type == Fixed {
		if to > from {
			dst = append(dst, b.data[start:b.offs[to-1]]...)
		}
		return dst
	}
	for _, end := range b.offs[from:to] {
		dst = binary.LittleEndian.AppendUint32(dst, end-start)
		dst = append(dst, b.data[start:end]...)
		start = end
	}
	return dst
}

func appendBits(dst []byte, nums []uint64) []byte {
	for i := 0; i < len(nums); i += 8 {
		var v byte
		for j, n := range nums[i:min(i+8, len(nums))] {
			v |= byte(n&1) << j
		}
		dst = append(dst, v)
	}
	return dst
}

// storeDict appends the dictionary to dst, if there is one.
func (e *FlatEncoder) storeDict(b *Builder, dst *Chunk) {
	dst.Codec = b.spec.codec()
	if dst.Encoding == Dictionary {
		dst.DictPage = true
		e.raw = e.appendDict(e.raw[:0], b)
		e.appendPage(dst, e.raw, e.dictLen(b), true)
	}
}

// appendDataPage appends rawBuf as a page, which p describes.
func (e *FlatEncoder) appendDataPage(dst *Chunk, p Page) {
	p.Offset = len(dst.Buf)
	e.appendPage(dst, e.rawBuf, p.Rows, false)
	p.Size = len(dst.Buf) - p.Offset
	dst.Pages = append(dst.Pages, p)
}

func (e *FlatEncoder) appendPage(dst *Chunk, raw []byte, values int, dict bool) {
	stored := raw
	if dst.Codec == Zstd {
		if dst.Values > 0 {
			e.packed = e.zstd.EncodeAll(raw, e.packed[:0])
		} else {
			e.packed = storedFrame(e.packed[:0], raw)
		}
		stored = e.packed
	}
	e.head.b = e.head.b[:0]
	pageHeader(&e.head, dict, values, len(raw), len(stored), crc32.ChecksumIEEE(stored), dst.Encoding)
	dst.Buf = append(append(dst.Buf, e.head.b...), stored...)
	dst.RawBytes += len(e.head.b) + len(raw)
}

func (e *FlatEncoder) dictLen(b *Builder) int {
	if b.spec.Type.number() {
		return len(e.numDict.values)
	}
	return len(b.texts)
}

func (e *FlatEncoder) appendDict(dst []byte, b *Builder) []byte {
	if b.spec.Type.number() {
		for _, v := range e.numDict.values {
			dst = binary.LittleEndian.AppendUint64(dst, v)
		}
		return dst
	}
	for _, s := range b.texts {
		if b.spec.Type != Fixed {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(len(s))) //nolint:gosec // below maxDictBytes
		}
		dst = append(dst, s...)
	}
	return dst
}

var _ Encoder = (*FlatEncoder)(nil)

// granuleSample returns the values of the first granule that has some, which stand for the chunk when encodings are
// compared.
func granuleSample(b *Builder) (from, to int) {
	for g := range b.ends {
		if from, to = b.span(g); to > from {
			return from, min(to, from+store.GranuleRows)
		}
	}
	return 0, 0
}

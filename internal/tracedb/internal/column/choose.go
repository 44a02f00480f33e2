package column

import (
	"math"
	"math/bits"
	"sort"

	"github.com/parquet-go/parquet-go/bloom"
	"github.com/parquet-go/parquet-go/bloom/xxhash"
)

// numDict is a dictionary of numbers.
type numDict struct {
	codes  map[uint64]uint16
	values []uint64
}

// build fills codes with the dictionary indexes of nums. It gives up, returning false, when the dictionary would be
// too large or too distinct to pay.
func (d *numDict) build(codes []uint16, nums []uint64) ([]uint16, bool) {
	if d.codes == nil {
		d.codes = make(map[uint64]uint16)
	}
	clear(d.codes)
	d.values = d.values[:0]
	limit := min(maxDictBytes/8, len(nums)/2)
	var last uint64
	var code uint16
	for i, n := range nums {
		if i == 0 || n != last {
			c, ok := d.codes[n]
			if !ok {
				if len(d.values) >= limit {
					return codes, false
				}
				c = uint16(len(d.values)) //nolint:gosec // below maxDictBytes/8
				d.codes[n] = c
				d.values = append(d.values, n)
			}
			last, code = n, c
		}
		codes = append(codes, code)
	}
	return codes, true
}

// chooseNums picks the smallest encoding of a column of numbers, judged by its first granule. A dictionary is decoded
// many times quicker than 64 bits a value that zstd has packed to about as many bytes, and may be a little larger.
func (e *FlatEncoder) chooseNums(b *Builder) Encoding {
	if b.spec.Type == Bool {
		return Plain
	}
	from, to := granuleSample(b)
	best, size := Plain, e.trialSize(b, from, to, Plain)
	if b.spec.Type == Int {
		if s := e.trialSize(b, from, to, DeltaBinary); s < size {
			best, size = DeltaBinary, s
		}
	}
	if b.spec.NoDict {
		return best
	}
	var ok bool
	if e.codes, ok = e.numDict.build(e.codes[:0], b.nums); !ok {
		return best
	}
	dict := len(e.numDict.values) * 8 * (to - from) / max(1, len(b.nums))
	if s := e.chooseWidth(b, from, to, len(e.numDict.values)) + dict/2; s <= size+size/32 {
		best = Dictionary
	}
	return best
}

// chooseText picks the encoding of a column of text: its dictionary if that pays, otherwise the smallest.
func (e *FlatEncoder) chooseText(b *Builder) Encoding {
	if !b.plain {
		if distinctEnough(len(b.texts), len(b.codes)) {
			from, to := granuleSample(b)
			e.chooseWidth(b, from, to, len(b.texts))
			return Dictionary
		}
		b.spill()
	}
	if b.spec.Type == Fixed {
		return Plain
	}
	from, to := granuleSample(b)
	// Enough to choose by; of larger values there are few, and what they have in common zstd finds.
	if to = b.cutText(from, to, maxPageBytes); from == to {
		return DeltaLengthBytes
	}
	best, size := DeltaLengthBytes, e.trialSize(b, from, to, DeltaLengthBytes)
	for _, enc := range [...]Encoding{Plain, DeltaBytes} {
		// A dearer encoding must save something.
		if s := e.trialSize(b, from, to, enc); s < size-size/50 {
			best, size = enc, s
		}
	}
	return best
}

// cutText returns the end of those of the values [from, to) that have at most limit bytes together.
func (b *Builder) cutText(from, to, limit int) int {
	start := 0
	if from > 0 {
		start = int(b.offs[from-1])
	}
	return from + sort.Search(to-from, func(i int) bool { return int(b.offs[from+i])-start > limit })
}

// byteWidth is the width of dictionary indexes that zstd can compress: it knows bytes, not bits.
const byteWidth = 8

// chooseWidth picks the width of the dictionary indexes: the bits that they need, or a byte where zstd makes less of that,
// because the same indexes come again in the same order. It returns the size of the values [from, to).
func (e *FlatEncoder) chooseWidth(b *Builder, from, to, distinct int) int {
	e.width = codeWidth(distinct)
	size := e.trialSize(b, from, to, Dictionary)
	if distinct == 1 || e.width >= byteWidth {
		return size
	}
	narrow := e.width
	e.width = byteWidth
	if s := e.trialSize(b, from, to, Dictionary); s < size-size/10 { // Other granules may not have so much of it.
		return s
	}
	e.width = narrow
	return size
}

func (e *FlatEncoder) trialSize(b *Builder, from, to int, enc Encoding) int {
	e.raw = e.appendValues(e.raw[:0], b, from, to, enc)
	e.trial = e.zstd.EncodeAll(e.raw, e.trial[:0])
	return min(len(e.trial), len(e.raw))
}

// linearCounter estimates the number of distinct hashes by the share of bits that stay unset (Whang et al., "A
// linear-time probabilistic counting algorithm", 1990).
type linearCounter struct{ words [counterBits / 64]uint64 }

const counterBits = 1 << 18

func (c *linearCounter) reset() { clear(c.words[:]) }

func (c *linearCounter) add(h uint64) {
	h >>= 64 - 18
	c.words[h>>6] |= 1 << (h & 63)
}

func (c *linearCounter) estimate() int {
	set := 0
	for _, w := range c.words {
		set += bits.OnesCount64(w)
	}
	unset := max(1, counterBits-set)
	return int(math.Round(counterBits * math.Log(float64(counterBits)/float64(unset))))
}

// countDistinct estimates the distinct values of the chunk.
func (e *FlatEncoder) countDistinct(b *Builder, dst *Chunk) {
	switch {
	case dst.Encoding == Dictionary:
		dst.Distinct = e.dictLen(b)
		return
	case b.spec.Type == Bool:
		lo, hi, _ := b.boolBounds(0, len(b.nums))
		dst.Distinct = 1 + int(hi[0]-lo[0])
		return
	case b.spec.NoDict && !b.spec.Bloom:
		dst.Distinct = dst.Values
		return
	}
	e.distinct.reset()
	for i := range dst.Values {
		e.distinct.add(b.hash(i))
	}
	dst.Distinct = min(dst.Values, e.distinct.estimate())
}

// minBloomValues is the number of values below which a chunk is read rather than asked for a value.
const minBloomValues = 64

// bloomBits is the size of bloom filters per distinct value.
const bloomBits = 10

// addBloom makes Parquet's split-block bloom filter (BloomFilter.md) of the chunk's values.
func (e *FlatEncoder) addBloom(b *Builder, dst *Chunk) {
	f := make(bloom.SplitBlockFilter, max(1, bloom.NumSplitBlocksOf(int64(dst.Distinct), bloomBits)))
	for i := range dst.Values {
		f.Insert(b.hash(i))
	}
	dst.Bloom = append(dst.Bloom, f.Bytes()...)
}

// hash is XXH64 of the i-th value in plain encoding, without the length.
func (b *Builder) hash(i int) uint64 {
	if b.spec.Type.number() {
		return hashNum(b.nums[i])
	}
	return xxhash.Sum64(b.Text(i))
}

func hashNum(v uint64) uint64 { return xxhash.Sum64Uint64(v) }

package column

import (
	"errors"
	"math"
	"strings"

	"github.com/bramble-tracing/bramble/internal/store"
)

// ErrRowGroupTooLarge: the values of one column in one row group exceed what 32-bit offsets can tell.
var ErrRowGroupTooLarge = errors.New("a column has more than 4 GiB of text in one row group")

// Builder collects the values of one column for one row group, in row order. Numbers are kept as they are; text is
// kept as dictionary codes until the dictionary is full and as bytes from then on.
type Builder struct {
	spec Spec
	rows []uint16 // Optional: the row within its granule of each value
	ends []int    // number of values at the end of each finished granule

	nums []uint64

	plain  bool // text is in data, not in dict
	dict   map[string]uint16
	texts  []string // by code
	counts []uint32 // by code: how often it was added
	size   int      // bytes of the dictionary as a page
	long   int      // bytes of those values that are longText or more, each as often as it occurs
	codes  []uint16
	last   uint16 // code of the previous value
	data   []byte
	offs   []uint32 // where each value ends in data
	err    error
}

// NewBuilder returns an empty builder.
func NewBuilder(spec Spec) *Builder {
	b := &Builder{spec: spec}
	b.start(spec.NoDict)
	return b
}

// Spec returns the column's description.
func (b *Builder) Spec() Spec { return b.spec }

// Len returns the number of values of the row group.
func (b *Builder) Len() int {
	switch {
	case b.spec.Type.number():
		return len(b.nums)
	case b.plain:
		return len(b.offs)
	}
	return len(b.codes)
}

// longText is the length from which on a value in the dictionary counts each time, as the next one can be that with
// which all are written out.
const longText = 512

// Bytes returns about how much memory the values take, or would if the dictionary were full.
func (b *Builder) Bytes() int {
	return b.long + 2*len(b.rows) + 8*len(b.nums) + 2*len(b.codes) + len(b.data) + 4*len(b.offs) + b.size
}

// AddNum appends the value of a row of the current granule: a number, the bits of a float, or 0 or 1.
func (b *Builder) AddNum(row int, v uint64) {
	if b.spec.Optional {
		b.rows = append(b.rows, uint16(row)) //nolint:gosec // below GranuleRows
	}
	b.nums = append(b.nums, v)
}

// AddText appends the value of a row of the current granule. s is not kept.
func (b *Builder) AddText(row int, s string) {
	if b.spec.Optional {
		b.rows = append(b.rows, uint16(row)) //nolint:gosec // below GranuleRows
	}
	if b.plain {
		b.addPlain(s)
		return
	}
	if len(s) >= longText {
		b.long += len(s)
	}
	if len(b.texts) > 0 && b.texts[b.last] == s {
		b.codes = append(b.codes, b.last)
		b.counts[b.last]++
		return
	}
	c, ok := b.dict[s]
	if !ok {
		if b.size+4+len(s) > maxDictBytes {
			b.spill()
			b.addPlain(s)
			return
		}
		c = uint16(len(b.texts)) //nolint:gosec // at most maxDictValues
		s = strings.Clone(s)
		b.dict[s] = c
		b.texts, b.counts = append(b.texts, s), append(b.counts, 0)
		b.size += 4 + len(s)
	}
	b.codes, b.last = append(b.codes, c), c
	b.counts[c]++
}

// AddBytes is AddText for columns without dictionary.
func (b *Builder) AddBytes(row int, v []byte) {
	if b.spec.Optional {
		b.rows = append(b.rows, uint16(row)) //nolint:gosec // below GranuleRows
	}
	if len(b.data)+len(v) > math.MaxUint32 {
		b.err = ErrRowGroupTooLarge
		v = nil
	}
	b.data = append(b.data, v...)
	b.offs = append(b.offs, uint32(len(b.data))) //nolint:gosec // checked above
}

// KnowsText reports whether s has been accepted before, so that a check of s need not be repeated.
func (b *Builder) KnowsText(s string) bool {
	if b.plain || len(b.texts) == 0 {
		return false
	}
	if b.texts[b.last] == s {
		return true
	}
	_, ok := b.dict[s]
	return ok
}

func (b *Builder) addPlain(s string) {
	if len(b.data)+len(s) > math.MaxUint32 {
		b.err = ErrRowGroupTooLarge
		s = ""
	}
	b.data = append(b.data, s...)
	b.offs = append(b.offs, uint32(len(b.data))) //nolint:gosec // checked above
}

// spill changes from dictionary codes to bytes.
func (b *Builder) spill() {
	b.plain = true
	for _, c := range b.codes {
		b.addPlain(b.texts[c])
	}
	b.codes = b.codes[:0]
	b.long = 0
}

// EndGranule finishes a granule.
func (b *Builder) EndGranule() { b.ends = append(b.ends, b.Len()) }

// PadGranules finishes empty granules until there are n, for a column that begins late.
func (b *Builder) PadGranules(n int) {
	for len(b.ends) < n {
		b.EndGranule()
	}
}

// span returns the values of a finished granule as indexes from and to.
func (b *Builder) span(granule int) (from, to int) {
	if granule > 0 {
		from = b.ends[granule-1]
	}
	return from, b.ends[granule]
}

// Num returns the i-th value of the row group.
func (b *Builder) Num(i int) uint64 { return b.nums[i] }

// Text returns the i-th value of the row group; it is valid until Reset.
func (b *Builder) Text(i int) []byte {
	if !b.plain {
		return []byte(b.texts[b.codes[i]])
	}
	from := uint32(0)
	if i > 0 {
		from = b.offs[i-1]
	}
	return b.data[from:b.offs[i]]
}

// Value returns the i-th value of the row group of an Optional column and the row within the granule it belongs to.
func (b *Builder) Value(i int) (row int, v store.Value) {
	v.Type = b.spec.Value
	if b.spec.Type.number() {
		v.Num = b.nums[i]
	} else {
		v.Str = string(b.Text(i))
	}
	return int(b.rows[i]), v
}

// Granules returns the number of finished granules.
func (b *Builder) Granules() int { return len(b.ends) }

// Span returns the indexes of the values of a finished granule.
func (b *Builder) Span(granule int) (from, to int) { return b.span(granule) }

// TextCounts calls f for each distinct text and its number as long as the builder counts them, and reports whether
// these are all values of the row group.
func (b *Builder) TextCounts(f func(s string, n int)) (complete bool) {
	for i, s := range b.texts {
		f(s, int(b.counts[i]))
	}
	return !b.plain
}

// keptBuffer is the largest buffer that is kept for what comes next. Few columns are larger; those are so by large
// values, which do not come in each row group.
const keptBuffer = 4 << 20

// Reset empties the builder for the next row group and keeps its memory.
func (b *Builder) Reset() {
	// A column that did not fit into a dictionary will not fit the next time either.
	b.start(b.spec.NoDict || b.plain && b.size > maxDictBytes/2)
}

func (b *Builder) start(plain bool) {
	b.rows, b.ends, b.nums, b.codes = b.rows[:0], b.ends[:0], b.nums[:0], b.codes[:0]
	if cap(b.data) > keptBuffer {
		b.data = nil
	}
	b.data, b.offs, b.texts, b.counts = b.data[:0], b.offs[:0], nil, b.counts[:0]
	b.plain, b.size, b.long, b.last, b.err = plain, 0, 0, 0, nil
	b.dict = nil
	if !plain && !b.spec.Type.number() {
		b.dict = make(map[string]uint16)
	}
}

package column

import (
	"bytes"
	"encoding/binary"
	"math"
)

// bounds returns the smallest and largest of the values [from, to), as the page index keeps them: numbers as plain
// values, text cut to maxBound bytes (the upper bound then rounded up).
func (b *Builder) bounds(from, to int) (lo, hi []byte, ok bool) {
	if from == to {
		return nil, nil, false
	}
	switch b.spec.Type {
	case Bool:
		return b.boolBounds(from, to)
	case Int:
		lo, hi := int64(math.MaxInt64), int64(math.MinInt64)
		for _, n := range b.nums[from:to] {
			lo, hi = min(lo, int64(n)), max(hi, int64(n)) //nolint:gosec // the bits
		}
		return num8(uint64(lo)), num8(uint64(hi)), true //nolint:gosec // the bits
	case Float:
		return b.floatBounds(from, to)
	}
	return b.textBounds(from, to)
}

func num8(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }

func (b *Builder) boolBounds(from, to int) (lo, hi []byte, ok bool) {
	l, h := byte(1), byte(0)
	for _, n := range b.nums[from:to] {
		l, h = min(l, byte(n&1)), max(h, byte(n&1))
	}
	return []byte{l}, []byte{h}, true
}

func (b *Builder) floatBounds(from, to int) (lo, hi []byte, ok bool) {
	l, h := math.Inf(1), math.Inf(-1)
	for _, n := range b.nums[from:to] {
		f := math.Float64frombits(n)
		if math.IsNaN(f) {
			return nil, nil, false
		}
		l, h = min(l, f), max(h, f)
	}
	// Parquet: a zero bound stands for both zeros.
	if l == 0 {
		l = math.Copysign(0, -1)
	}
	if h == 0 {
		h = 0
	}
	return num8(math.Float64bits(l)), num8(math.Float64bits(h)), true
}

func (b *Builder) textBounds(from, to int) (lo, hi []byte, ok bool) {
	if !b.plain {
		return b.codeBounds(from, to)
	}
	start := uint32(0)
	if from > 0 {
		start = b.offs[from-1]
	}
	var l, h []byte
	for i, end := range b.offs[from:to] {
		v := b.data[start:end]
		if i == 0 || bytes.Compare(v, l) < 0 {
			l = v
		}
		if i == 0 || bytes.Compare(v, h) > 0 {
			h = v
		}
		start = end
	}
	return cutBounds(l, h)
}

// codeBounds finds the bounds of dictionary codes by marking the codes that occur.
func (b *Builder) codeBounds(from, to int) (lo, hi []byte, ok bool) {
	var seen [maxDictValues/64 + 1]uint64
	var l, h string
	first := true
	for _, c := range b.codes[from:to] {
		if seen[c>>6]&(1<<(c&63)) != 0 {
			continue
		}
		seen[c>>6] |= 1 << (c & 63)
		s := b.texts[c]
		if first || s < l {
			l = s
		}
		if first || s > h {
			h = s
		}
		first = false
	}
	return cutBounds([]byte(l), []byte(h))
}

// cutBounds shortens bounds. There is no upper bound if all kept bytes are 0xff.
func cutBounds(l, h []byte) (lo, hi []byte, ok bool) {
	lo = append([]byte{}, l[:min(len(l), maxBound)]...)
	if len(h) <= maxBound {
		return lo, append([]byte{}, h...), true
	}
	hi = append([]byte{}, h[:maxBound]...)
	for i := len(hi) - 1; i >= 0; i-- {
		// Stay below 0x7f, so that the bound of UTF-8 text is UTF-8 text.
		if hi[i] < 0x7f {
			hi[i]++
			return lo, hi[:i+1], true
		}
	}
	return nil, nil, false
}

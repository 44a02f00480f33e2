package column

import (
	"encoding/binary"
	"errors"
	"math/bits"

	"github.com/bramble-tracing/bramble/internal/store"
)

const presenceWords = store.GranuleRows / 64

// Presence marks the rows of a granule that have a value and finds the place of a row's value among the values.
type Presence struct {
	words [presenceWords]uint64
	ranks [presenceWords]uint16 // values before each word
}

func (p *Presence) set(row int) { p.words[row>>6] |= 1 << (row & 63) }

// Has reports whether the row has a value.
func (p *Presence) Has(row int) bool { return p.words[row>>6]&(1<<(row&63)) != 0 }

// Index returns the place of the row's value, or -1.
func (p *Presence) Index(row int) int {
	w, bit := p.words[row>>6], uint64(1)<<(row&63)
	if w&bit == 0 {
		return -1
	}
	return int(p.ranks[row>>6]) + bits.OnesCount64(w&(bit-1))
}

// Word returns the marks of rows 64*i to 64*i+63 and the number of values before them.
func (p *Presence) Word(i int) (marks uint64, before int) { return p.words[i], int(p.ranks[i]) }

// fill marks the rows [from, to).
func (p *Presence) fill(from, to int) {
	for from < to {
		n := min(to-from, 64-from&63)
		p.words[from>>6] |= ^uint64(0) >> (64 - n) << (from & 63)
		from += n
	}
}

// fillPacked marks the rows from `from` on whose bits are set in src. Bits of rows from `to` on are ignored.
func (p *Presence) fillPacked(from, to int, src []byte) {
	for ; from&63 == 0 && from+64 <= to && len(src) >= 8; from, src = from+64, src[8:] {
		p.words[from>>6] |= binary.LittleEndian.Uint64(src)
	}
	for i := 0; i < len(src) && from < to; i, from = i+1, from+8 {
		marks := uint64(src[i])
		if left := to - from; left < 8 {
			marks &= 1<<left - 1
		}
		w, shift := from>>6, from&63
		p.words[w] |= marks << shift
		// Pages of large text may begin anywhere.
		if over := marks >> (64 - shift); over != 0 {
			p.words[w+1] |= over
		}
	}
}

// rank fills in the counts and returns the number of values.
func (p *Presence) rank() int {
	n := 0
	for i, w := range p.words {
		p.ranks[i] = uint16(n) //nolint:gosec // at most GranuleRows
		n += bits.OnesCount64(w)
	}
	return n
}

// minLevelRun is the number of equal bytes of levels that are written as a run rather than packed.
const minLevelRun = 4

// appendLevels writes the definition levels of rows [from, to) of p as runs of Parquet's RLE/bit-packing hybrid of bit
// width 1. Eight levels packed are one byte of the bitmap, when from is a multiple of 8; otherwise they are shifted.
func appendLevels(dst []byte, p *Presence, from, to int) []byte {
	rows := to - from
	n := (rows + 7) / 8
	at := func(i int) byte {
		row := from + 8*i
		v := byte(p.words[row>>6] >> (row & 63))
		if over := row&63 + 8 - 64; over > 0 && row>>6+1 < presenceWords {
			v |= byte(p.words[row>>6+1] << (8 - over))
		}
		if left := rows - 8*i; left < 8 {
			v &= 1<<left - 1
		}
		return v
	}
	run := func(i int) int {
		b, j := at(i), i+1
		if b != 0 && b != 0xff {
			return 0
		}
		for j < n && at(j) == b {
			j++
		}
		return j - i
	}
	for i := 0; i < n; {
		if r := run(i); r >= minLevelRun || r > 0 && i+r == n {
			count := min(8*(i+r), rows) - 8*i
			dst = binary.AppendUvarint(dst, uint64(count)<<1)
			dst = append(dst, at(i)&1)
			i += r
			continue
		}
		start := i
		for i < n {
			if r := run(i); r >= minLevelRun {
				break
			} else if r > 0 {
				i += r
			} else {
				i++
			}
		}
		dst = binary.AppendUvarint(dst, uint64(i-start)<<1|1)
		for ; start < i; start++ {
			dst = append(dst, at(start))
		}
	}
	return dst
}

var errLevels = errors.New("definition levels are malformed")

// readLevels marks rows [from, from+rows) of p by the definition levels in src.
func readLevels(p *Presence, from, rows int, src []byte) error {
	for done := 0; done < rows; {
		h, n := binary.Uvarint(src)
		if n <= 0 || h>>1 == 0 {
			return errLevels
		}
		src = src[n:]
		if h&1 == 0 {
			count := h >> 1
			if count > uint64(rows-done) || len(src) == 0 || src[0] > 1 {
				return errLevels
			}
			if src[0] == 1 {
				p.fill(from+done, from+done+int(count))
			}
			src, done = src[1:], done+int(count)
			continue
		}
		groups := h >> 1
		if groups > uint64(len(src)) {
			return errLevels
		}
		p.fillPacked(from+done, from+rows, src[:groups])
		done += 8 * int(groups)
		src = src[groups:]
	}
	return nil
}

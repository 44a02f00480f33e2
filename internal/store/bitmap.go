package store

import (
	"iter"
	"math/bits"
)

// GranuleRows is the number of rows in a granule, the unit in which columns are filtered and read. The last granule
// of a part may hold fewer.
const GranuleRows = 8192

// Bitmap marks rows of one granule. The zero value marks none.
type Bitmap struct {
	words [Words]uint64
}

// Fill marks rows 0 to n-1 and no others.
func (b *Bitmap) Fill(n int) {
	clear(b.words[:])
	for i := range n / 64 {
		b.words[i] = ^uint64(0)
	}
	if r := n % 64; r > 0 {
		b.words[n/64] = 1<<r - 1
	}
}

// Set marks row i.
func (b *Bitmap) Set(i int) { b.words[i>>6] |= 1 << (i & 63) }

// SetRange marks rows lo to hi-1.
func (b *Bitmap) SetRange(lo, hi int) {
	for lo < hi {
		n := min(64-lo&63, hi-lo)
		b.words[lo>>6] |= (^uint64(0) >> (64 - n)) << (lo & 63)
		lo += n
	}
}

// Clear unmarks row i.
func (b *Bitmap) Clear(i int) { b.words[i>>6] &^= 1 << (i & 63) }

// Has reports whether row i is marked.
func (b *Bitmap) Has(i int) bool { return b.words[i>>6]&(1<<(i&63)) != 0 }

// Words is the number of words of a bitmap: word i marks rows 64*i to 64*i+63, the first in its lowest bit.
const Words = GranuleRows / 64

// Word returns 64 marks.
func (b *Bitmap) Word(i int) uint64 { return b.words[i] }

// SetWord sets 64 marks.
func (b *Bitmap) SetWord(i int, marks uint64) { b.words[i] = marks }

// Beyond reports whether a row from n on is marked.
func (b *Bitmap) Beyond(n int) bool {
	if n >= GranuleRows {
		return false
	}
	if b.words[n/64]>>(n%64) != 0 {
		return true
	}
	for _, w := range b.words[n/64+1:] {
		if w != 0 {
			return true
		}
	}
	return false
}

// And keeps the rows that are marked in both.
func (b *Bitmap) And(o *Bitmap) {
	for i := range b.words {
		b.words[i] &= o.words[i]
	}
}

// AndNot unmarks the rows of o.
func (b *Bitmap) AndNot(o *Bitmap) {
	for i := range b.words {
		b.words[i] &^= o.words[i]
	}
}

// Or marks the rows of o too.
func (b *Bitmap) Or(o *Bitmap) {
	for i := range b.words {
		b.words[i] |= o.words[i]
	}
}

// Count returns the number of marked rows.
func (b *Bitmap) Count() int {
	n := 0
	for _, w := range b.words {
		n += bits.OnesCount64(w)
	}
	return n
}

// CountRange returns the number of marked rows among lo to hi-1.
func (b *Bitmap) CountRange(lo, hi int) int {
	n := 0
	for lo < hi {
		w := min(64-lo&63, hi-lo)
		n += bits.OnesCount64(b.words[lo>>6] >> (lo & 63) << (64 - w))
		lo += w
	}
	return n
}

// Any reports whether a row is marked.
func (b *Bitmap) Any() bool {
	for _, w := range b.words {
		if w != 0 {
			return true
		}
	}
	return false
}

// Rows yields the marked rows in ascending order. The bitmap may be changed during the iteration; rows of the word
// being visited are those marked when the visit began.
func (b *Bitmap) Rows() iter.Seq[int] {
	return func(yield func(int) bool) {
		for i, w := range b.words {
			for w != 0 {
				if !yield(i<<6 + bits.TrailingZeros64(w)) {
					return
				}
				w &= w - 1
			}
		}
	}
}

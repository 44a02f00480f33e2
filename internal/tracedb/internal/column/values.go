package column

import (
	"iter"
	"math/bits"
	"sort"
	"strings"

	"github.com/bramble-tracing/bramble/internal/store"
)

// Dict is a decoded dictionary page.
type Dict struct {
	Values []store.Value
	bytes  int64
}

// Bytes returns the memory that the dictionary takes.
func (d *Dict) Bytes() int64 { return d.bytes }

// Values holds the values of one column for one granule. Rows are counted from the granule's start.
type Values struct {
	Rows    int
	Present *Presence // nil: every row has a value
	// One of the three forms holds the values of the rows that have one.
	Dict  *Dict
	Codes []uint16
	Nums  []uint64
	text  string
	ends  []uint32 // nil for Fixed
	width int
	count int
	typ   store.ValueType
}

// Len returns the number of values.
func (v *Values) Len() int { return v.count }

// Index returns the place of a row's value among the values, or -1 if the row has none.
func (v *Values) Index(row int) int {
	if v.Present == nil {
		return row
	}
	return v.Present.Index(row)
}

// Type returns the type of the values.
func (v *Values) Type() store.ValueType { return v.typ }

// All yields the rows that have a value, ascending, with the value's place.
func (v *Values) All() iter.Seq2[int, int] {
	return func(yield func(row, i int) bool) {
		if v.Present == nil {
			for i := range v.Rows {
				if !yield(i, i) {
					return
				}
			}
			return
		}
		n := 0
		for w, marks := range v.Present.words {
			for ; marks != 0; marks &= marks - 1 {
				if !yield(w<<6+bits.TrailingZeros64(marks), n) {
					return
				}
				n++
			}
		}
	}
}

// Text returns the i-th value of a column of text without dictionary.
func (v *Values) Text(i int) string {
	if v.ends == nil {
		return v.text[i*v.width : (i+1)*v.width]
	}
	from := uint32(0)
	if i > 0 {
		from = v.ends[i-1]
	}
	return v.text[from:v.ends[i]]
}

// Containing yields the values of a column of text without dictionary that have a literal in them, ascending.
func (v *Values) Containing(literal string) iter.Seq[int] {
	return func(yield func(i int) bool) {
		for i, at := 0, 0; i < v.count; i++ {
			pos := strings.Index(v.text[at:], literal)
			if pos < 0 {
				return
			}
			pos += at
			i += sort.Search(v.count-i, func(k int) bool { return v.end(i+k) > pos })
			at = v.end(i)
			if pos+len(literal) <= at && !yield(i) {
				return
			}
		}
	}
}

// end returns where the i-th text ends.
func (v *Values) end(i int) int {
	if v.ends == nil {
		return (i + 1) * v.width
	}
	return int(v.ends[i])
}

// Value returns the i-th value.
func (v *Values) Value(i int) store.Value {
	switch {
	case v.Dict != nil:
		return v.Dict.Values[v.Codes[i]]
	case v.Nums != nil:
		return store.Value{Type: v.typ, Num: v.Nums[i]}
	}
	return store.Value{Type: v.typ, Str: v.Text(i)}
}

// Num returns the i-th value of a column of numbers.
func (v *Values) Num(i int) uint64 {
	if v.Dict != nil {
		return v.Dict.Values[v.Codes[i]].Num
	}
	return v.Nums[i]
}

// Str returns the i-th value of a column of text or bytes.
func (v *Values) Str(i int) string {
	if v.Dict != nil {
		return v.Dict.Values[v.Codes[i]].Str
	}
	return v.Text(i)
}

// Bytes returns the memory that the values take, without a shared dictionary.
func (v *Values) Bytes() int64 {
	n := int64(160 + 2*cap(v.Codes) + 8*cap(v.Nums) + len(v.text) + 4*cap(v.ends))
	if v.Present != nil {
		n += presenceWords * 10
	}
	return n
}

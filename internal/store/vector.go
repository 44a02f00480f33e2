package store

// Vector holds the values of one column for the selected rows of one granule, in row order. Exactly one of three
// forms is used, so that each implementation can hand out what it has:
//
//   - Ints: a number per row, none absent (times, durations, kinds, ...); Type is TypeInt.
//   - Dict and Codes: Codes[i] indexes Dict, NoCode means absent.
//   - Values: a Value per row, TypeAbsent where the row has none.
//
// For a column that can have several values per span (Column.Multi) Offsets has one entry more than rows: row i owns
// the entries Offsets[i] to Offsets[i+1] of Codes or Values, and none of them is absent.
type Vector struct {
	Ints    []int64
	Dict    []Value
	Codes   []uint32
	Values  []Value
	Offsets []uint32
}

// NoCode in Vector.Codes means that the row has no value.
const NoCode = ^uint32(0)

// Reset empties the vector and keeps the memory that the vector owns. Dict is owned by the part and dropped.
func (v *Vector) Reset() {
	clear(v.Values)
	v.Ints, v.Codes, v.Values, v.Offsets = v.Ints[:0], v.Codes[:0], v.Values[:0], v.Offsets[:0]
	v.Dict = nil
}

// Rows returns the number of rows.
func (v *Vector) Rows() int {
	if len(v.Offsets) > 0 {
		return len(v.Offsets) - 1
	}
	return v.entries()
}

func (v *Vector) entries() int { return max(len(v.Ints), len(v.Codes), len(v.Values)) }

// entry returns the i-th entry, whichever form is used.
func (v *Vector) entry(i int) Value {
	switch {
	case len(v.Ints) > 0:
		return Int(v.Ints[i])
	case len(v.Codes) > 0:
		if v.Codes[i] == NoCode {
			return Value{}
		}
		return v.Dict[v.Codes[i]]
	}
	return v.Values[i]
}

// At returns the value of row i, absent if there is none. For a column with several values it is the first.
func (v *Vector) At(i int) Value {
	if len(v.Offsets) == 0 {
		return v.entry(i)
	}
	if v.Offsets[i] == v.Offsets[i+1] {
		return Value{}
	}
	return v.entry(int(v.Offsets[i]))
}

// Int returns the number of row i of a column of numbers that no row lacks.
func (v *Vector) Int(i int) int64 {
	if len(v.Ints) > 0 {
		return v.Ints[i]
	}
	return v.At(i).Int()
}

// AppendTo appends all values of row i, none if it is absent.
func (v *Vector) AppendTo(dst []Value, i int) []Value {
	if len(v.Offsets) == 0 {
		if e := v.entry(i); e.Type != TypeAbsent {
			dst = append(dst, e)
		}
		return dst
	}
	for j := v.Offsets[i]; j < v.Offsets[i+1]; j++ {
		dst = append(dst, v.entry(int(j)))
	}
	return dst
}

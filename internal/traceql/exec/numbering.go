package exec

import (
	"hash/maphash"
	"math/bits"

	"github.com/bramble-tracing/bramble/internal/store"
)

// numbering gives codes to the values of a vector that has none: equal values get the same, in the order of arrival. Its memory
// is used again.
type numbering struct {
	slots []uint32 // The code plus 1 of the value that was put there; 0 where there is none.
	codes []uint32
	dict  []store.Value
}

var numberingSeed = maphash.MakeSeed()

// number numbers the first values of n rows, store.NoCode where there is none. ok is false if there are more than most. The
// results are valid until the next call.
func (t *numbering) number(v *store.Vector, n, most int) (codes []uint32, dict []store.Value, ok bool) {
	t.reset(n)
	var last store.Value
	lastCode := store.NoCode
	for i := range n {
		value := v.At(i)
		if value.Type == store.TypeAbsent {
			t.codes = append(t.codes, store.NoCode)
			continue
		}
		if value != last || lastCode == store.NoCode {
			if last, lastCode = value, t.code(value); len(t.dict) > most {
				return nil, nil, false
			}
		}
		t.codes = append(t.codes, lastCode)
	}
	return t.codes, t.dict, true
}

// reset forgets all values and makes room for n.
func (t *numbering) reset(n int) {
	t.slots = zeroed(t.slots, 1<<bits.Len(uint(2*n))) //nolint:gosec // Not negative.
	t.codes, t.dict = t.codes[:0], t.dict[:0]
}

// code returns the code of a value.
func (t *numbering) code(v store.Value) uint32 {
	const golden = 0x9e3779b97f4a7c15
	hash := v.Num * golden
	if v.Str != "" {
		hash ^= maphash.String(numberingSeed, v.Str)
	}
	mask := uint64(len(t.slots) - 1)
	for at := (hash ^ hash>>32) & mask; ; at = (at + 1) & mask {
		switch code := t.slots[at]; {
		case code == 0:
			t.dict = append(t.dict, v)
			t.slots[at] = uint32(len(t.dict)) //nolint:gosec // At most the rows of a granule.
			return uint32(len(t.dict)) - 1    //nolint:gosec // As above.
		case t.dict[code-1] == v:
			return code - 1
		}
	}
}

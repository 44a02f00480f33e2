package gathered

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"

	"github.com/bramble-tracing/bramble/internal/store"
)

// Columns travel between the nodes of a cluster as bytes: a version, the number of traces, of columns and of segments, and for
// each segment its rows. Numbers are varints. A column of a segment is in one of three forms: differences of numbers;
// a dictionary and a code per value; or ids of eight bytes. Which columns there are both sides know from the question.
const columnsVersion = 1

const (
	formInts = iota
	formDict
	formIDs
)

// ErrWire is wrapped when bytes are no columns of this version.
var ErrWire = errors.New("malformed columns")

// MarshalBinary implements encoding.BinaryMarshaler. It never fails.
func (c *Columns) MarshalBinary() ([]byte, error) {
	const perValue = 3
	b := make([]byte, 0, 64+perValue*c.Rows()*len(c.Columns))
	b = append(b, columnsVersion)
	for _, n := range []int{c.Traces, len(c.Columns), len(c.Segments)} {
		b = appendLen(b, n)
	}
	codes := map[store.Value]uint32{}
	for i := range c.Segments {
		s := &c.Segments[i]
		b = appendLen(b, len(s.Trace))
		for _, t := range s.Trace {
			b = binary.AppendUvarint(b, uint64(t))
		}
		for k, col := range c.Columns {
			switch v := &s.Vectors[k]; {
			case len(v.Ints) > 0 && len(v.Offsets) == 0:
				b = appendInts(b, v.Ints)
			case idsOnly(col, v):
				b = appendIDs(b, v)
			default:
				clear(codes)
				b = appendDict(b, v, codes)
			}
		}
	}
	return b, nil
}

func appendLen(b []byte, n int) []byte { return binary.AppendUvarint(b, uint64(n)) } //nolint:gosec // Not negative.

func appendInts(b []byte, ints []int64) []byte {
	b = append(b, formInts)
	last := int64(0)
	for _, n := range ints {
		b = binary.AppendVarint(b, n-last) // Wraps, and back.
		last = n
	}
	return b
}

const idDigits = 16

// idsOnly reports whether a column of span ids has nothing but ids in their text form.
func idsOnly(c store.Column, v *store.Vector) bool {
	if c != store.Intrinsic(store.SpanID) && c != store.Intrinsic(store.SpanParentID) || len(v.Offsets) > 0 {
		return false
	}
	for i := range v.Rows() {
		e := v.At(i)
		if e.Type == store.TypeAbsent {
			continue
		}
		if e.Type != store.TypeString || len(e.Str) != idDigits {
			return false
		}
		for k := range len(e.Str) {
			if d := e.Str[k]; (d < '0' || d > '9') && (d < 'a' || d > 'f') {
				return false
			}
		}
	}
	return true
}

func appendIDs(b []byte, v *store.Vector) []byte {
	b = append(b, formIDs)
	for i := range v.Rows() {
		e := v.At(i)
		if e.Type == store.TypeAbsent {
			b = append(b, 0)
			continue
		}
		b = binary.BigEndian.AppendUint64(append(b, 1), hexNumber(e.Str))
	}
	return b
}

// appendDict writes how many values each row has, if these can be several, and each different value once.
func appendDict(b []byte, v *store.Vector, codes map[store.Value]uint32) []byte {
	b = append(b, formDict)
	if len(v.Offsets) == 0 {
		b = append(b, 0)
	} else {
		b = append(b, 1)
		for i := range v.Rows() {
			b = binary.AppendUvarint(b, uint64(v.Offsets[i+1]-v.Offsets[i]))
		}
	}
	dict, entries := entriesOf(v, codes)
	b = appendLen(b, len(dict))
	for _, e := range dict {
		b = append(b, byte(e.Type))
		switch e.Type {
		case store.TypeAbsent, store.TypeEmpty:
		case store.TypeInt, store.TypeBool:
			b = binary.AppendVarint(b, e.Int())
		case store.TypeFloat:
			b = binary.LittleEndian.AppendUint64(b, e.Num)
		default:
			b = append(appendLen(b, len(e.Str)), e.Str...)
		}
	}
	for _, code := range entries {
		b = binary.AppendUvarint(b, uint64(code))
	}
	return b
}

// entriesOf returns the values that a vector uses, and for each of its entries the index of its value plus one, 0 for none.
func entriesOf(v *store.Vector, codes map[store.Value]uint32) (dict []store.Value, entries []uint32) {
	if len(v.Codes) > 0 { // The dictionary may have many values that are not used.
		known := map[uint32]uint32{}
		entries = make([]uint32, len(v.Codes))
		for i, c := range v.Codes {
			if c == store.NoCode {
				continue
			}
			code, ok := known[c]
			if !ok {
				dict = append(dict, v.Dict[c])
				code = uint32(len(dict)) //nolint:gosec // At most as many as entries.
				known[c] = code
			}
			entries[i] = code
		}
		return dict, entries
	}
	var buf []store.Value
	for i := range v.Rows() {
		if buf = v.AppendTo(buf[:0], i); len(buf) == 0 && len(v.Offsets) == 0 {
			entries = append(entries, 0)
		}
		for _, e := range buf {
			code, ok := codes[e]
			if !ok {
				dict = append(dict, e)
				code = uint32(len(dict)) //nolint:gosec // At most as many as values.
				codes[e] = code
			}
			entries = append(entries, code)
		}
	}
	return dict, entries
}

// Read decodes what MarshalBinary made of columns that were asked for by these names, about so many traces. Nothing of data
// is kept. The error wraps ErrWire.
func (c *Columns) Read(data []byte, columns []store.Column, traces int) error {
	r := columnReader{b: string(data)}
	if r.byte() != columnsVersion || r.uint() != uint64(traces) || r.uint() != uint64(len(columns)) { //nolint:gosec // Not negative.
		return fmt.Errorf("%w: of another version or about something else", ErrWire)
	}
	out := Columns{Columns: columns, Traces: traces}
	for range r.len() {
		s := Segment{Trace: make([]uint32, r.len()), Vectors: make([]store.Vector, len(columns))}
		for i := range s.Trace {
			t := r.uint()
			if t >= uint64(traces) { //nolint:gosec // Not negative.
				r.fail()
			}
			s.Trace[i] = uint32(t) //nolint:gosec // Below traces.
		}
		for k := range s.Vectors {
			r.vector(&s.Vectors[k], len(s.Trace), columns[k])
		}
		if r.failed {
			break
		}
		if len(s.Trace) > 0 {
			out.Segments = append(out.Segments, s)
		}
	}
	if r.failed || r.b != "" {
		return ErrWire
	}
	*c = out
	return nil
}

// columnReader takes fields off. After an error everything is zero.
type columnReader struct {
	b      string
	failed bool
}

func (r *columnReader) fail() { r.b, r.failed = "", true }

func (r *columnReader) byte() byte {
	if r.b == "" {
		r.fail()
		return 0
	}
	n := r.b[0]
	r.b = r.b[1:]
	return n
}

func (r *columnReader) uint() (n uint64) {
	for shift := 0; shift < 64; shift += 7 {
		d := r.byte()
		n |= uint64(d&0x7f) << shift
		if d < 0x80 {
			return n
		}
	}
	r.fail()
	return 0
}

func (r *columnReader) int() int64 {
	n := r.uint()
	return int64(n>>1) ^ -int64(n&1) //nolint:gosec // Zigzag.
}

// len reads the length of a list, each element of which takes a byte at least.
func (r *columnReader) len() int {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return int(n) //nolint:gosec // Bounded above.
}

func (r *columnReader) text(n int) string {
	if n > len(r.b) {
		r.fail()
		return ""
	}
	s := r.b[:n]
	r.b = r.b[n:]
	return s
}

func (r *columnReader) vector(v *store.Vector, rows int, c store.Column) {
	switch r.byte() {
	case formInts:
		if rows > len(r.b) || c.Multi() {
			r.fail()
			return
		}
		v.Ints = make([]int64, rows)
		last := int64(0)
		for i := range v.Ints {
			last += r.int()
			v.Ints[i] = last
		}
	case formDict:
		r.dict(v, rows, c)
	case formIDs:
		r.ids(v, rows, c)
	default:
		r.fail()
	}
}

func (r *columnReader) dict(v *store.Vector, rows int, c store.Column) {
	entries := uint64(rows) //nolint:gosec // Not negative.
	if several := r.byte(); several > 1 || several == 1 != c.Multi() {
		r.fail()
		return
	} else if several == 1 {
		entries = 0
		if rows > len(r.b) {
			r.fail()
			return
		}
		v.Offsets = make([]uint32, 1, rows+1)
		for range rows {
			if entries += r.uint(); entries > uint64(len(r.b)) {
				r.fail()
				return
			}
			v.Offsets = append(v.Offsets, uint32(entries)) //nolint:gosec // Bounded above.
		}
	}
	n := r.len()
	if r.failed || entries > uint64(len(r.b)) || entries > math.MaxUint32 {
		r.fail()
		return
	}
	v.Dict = make([]store.Value, n)
	for i := range v.Dict {
		v.Dict[i] = r.value()
	}
	v.Codes = make([]uint32, entries)
	for i := range v.Codes {
		code := r.uint()
		switch {
		case code > uint64(n) || code == 0 && c.Multi(): //nolint:gosec // Not negative.
			r.fail()
			return
		case code == 0:
			v.Codes[i] = store.NoCode
		default:
			v.Codes[i] = uint32(code - 1) //nolint:gosec // Below n.
		}
	}
}

func (r *columnReader) value() (v store.Value) {
	v.Type = store.ValueType(r.byte())
	switch v.Type {
	case store.TypeEmpty:
	case store.TypeInt:
		v.Num = uint64(r.int()) //nolint:gosec // As it was.
	case store.TypeBool:
		v.Num = uint64(r.int()) & 1 //nolint:gosec // One bit.
	case store.TypeFloat:
		if b := r.text(8); len(b) == 8 {
			v.Num = binary.LittleEndian.Uint64([]byte(b))
		}
	case store.TypeString, store.TypeBytes, store.TypeArray, store.TypeMap:
		v.Str = r.text(r.len())
	default:
		r.fail()
	}
	return v
}

// ids reads ids and makes their text form, all in one string.
func (r *columnReader) ids(v *store.Vector, rows int, c store.Column) {
	if rows > len(r.b) || c.Multi() {
		r.fail()
		return
	}
	text := make([]byte, 0, idDigits*rows)
	present := make([]bool, rows)
	for i := range present {
		switch r.byte() {
		case 0:
			continue
		case 1:
			present[i] = true
			text = hex.AppendEncode(text, []byte(r.text(8)))
		default:
			r.fail()
			return
		}
	}
	if r.failed {
		return
	}
	all := string(text)
	v.Values = make([]store.Value, rows)
	for i, ok := range present {
		if ok {
			v.Values[i] = store.String(all[:idDigits])
			all = all[idDigits:]
		}
	}
}

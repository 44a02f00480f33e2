package column

import (
	"encoding/binary"
	"errors"
	"math"
)

// Types of Thrift's compact protocol (thrift-compact-protocol.md, "Struct encoding").
const (
	thriftStop   = 0
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
)

// thriftWriter appends structures in Thrift's compact protocol.
type thriftWriter struct {
	b    []byte
	last []int16 // id of the previous field, per open structure
}

func (w *thriftWriter) begin() { w.last = append(w.last, 0) }

func (w *thriftWriter) end() {
	w.b = append(w.b, thriftStop)
	w.last = w.last[:len(w.last)-1]
}

func (w *thriftWriter) field(id int16, typ byte) {
	last := &w.last[len(w.last)-1]
	if d := id - *last; d > 0 && d <= 15 {
		w.b = append(w.b, byte(d)<<4|typ)
	} else {
		w.b = binary.AppendVarint(append(w.b, typ), int64(id))
	}
	*last = id
}

func (w *thriftWriter) i32(id int16, v int64) {
	w.field(id, thriftI32)
	w.b = binary.AppendVarint(w.b, v)
}

func (w *thriftWriter) i64(id int16, v int64) {
	w.field(id, thriftI64)
	w.b = binary.AppendVarint(w.b, v)
}

func (w *thriftWriter) boolean(id int16, v bool) {
	if v {
		w.field(id, thriftTrue)
	} else {
		w.field(id, thriftFalse)
	}
}

func (w *thriftWriter) text(id int16, v string) {
	w.field(id, thriftBinary)
	w.b = append(binary.AppendUvarint(w.b, uint64(len(v))), v...)
}

func (w *thriftWriter) bytes(id int16, v []byte) {
	w.field(id, thriftBinary)
	w.b = append(binary.AppendUvarint(w.b, uint64(len(v))), v...)
}

// open starts a field that is a structure; it is closed by end.
func (w *thriftWriter) open(id int16) {
	w.field(id, thriftStruct)
	w.begin()
}

func (w *thriftWriter) list(id int16, elem byte, n int) {
	w.field(id, thriftList)
	if n < 15 {
		w.b = append(w.b, byte(n)<<4|elem)
		return
	}
	w.b = binary.AppendUvarint(append(w.b, 0xf0|elem), uint64(n))
}

var errThrift = errors.New("thrift structure is malformed")

// maxThriftDepth bounds the nesting of structures that are skipped.
const maxThriftDepth = 16

// thriftReader walks a structure in Thrift's compact protocol. The first error sticks; after it, reads give zeros and
// loops end.
type thriftReader struct {
	b   []byte
	pos int
	err error
}

func (r *thriftReader) fail() {
	if r.err == nil {
		r.err = errThrift
	}
	r.pos = len(r.b)
}

func (r *thriftReader) byte() byte {
	if r.pos >= len(r.b) {
		r.fail()
		return 0
	}
	r.pos++
	return r.b[r.pos-1]
}

func (r *thriftReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b[r.pos:])
	if n <= 0 {
		r.fail()
		return 0
	}
	r.pos += n
	return v
}

// int reads a zigzag number of any width.
func (r *thriftReader) int() int64 {
	v, n := binary.Varint(r.b[r.pos:])
	if n <= 0 {
		r.fail()
		return 0
	}
	r.pos += n
	return v
}

// size reads a number that must be a size or count of at most limit.
func (r *thriftReader) size(limit int64) int64 {
	v := r.int()
	if v < 0 || v > limit {
		r.fail()
		return 0
	}
	return v
}

// bytes returns a binary value that shares the reader's memory.
func (r *thriftReader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)-r.pos) {
		r.fail()
		return nil
	}
	r.pos += int(n)
	return r.b[r.pos-int(n) : r.pos : r.pos]
}

// listLen reads the head of a list. A list cannot have more elements than bytes are left, which bounds what a reader
// may allocate for it.
func (r *thriftReader) listLen() (n int, elem byte) {
	h := r.byte()
	size := uint64(h >> 4)
	if size == 15 {
		size = r.uvarint()
	}
	if size > uint64(len(r.b)-r.pos) {
		r.fail()
		return 0, 0
	}
	return int(size), h & 15
}

// structure calls visit for each field. visit must consume the value with the reader's methods or skip.
func (r *thriftReader) structure(visit func(id int16, typ byte)) {
	last := int16(0)
	for r.err == nil {
		h := r.byte()
		if h == thriftStop {
			return
		}
		if d := h >> 4; d != 0 {
			last += int16(d)
		} else {
			v := r.int()
			if v < math.MinInt16 || v > math.MaxInt16 {
				r.fail()
				return
			}
			last = int16(v)
		}
		visit(last, h&15)
	}
}

// skip consumes a value of any type.
func (r *thriftReader) skip(typ byte) { r.skipDeep(typ, 0) }

func (r *thriftReader) skipDeep(typ byte, depth int) {
	if depth > maxThriftDepth {
		r.fail()
		return
	}
	switch typ {
	case thriftTrue, thriftFalse:
	case thriftByte:
		r.byte()
	case thriftI16, thriftI32, thriftI64:
		r.int()
	case thriftDouble:
		if len(r.b)-r.pos < 8 {
			r.fail()
			return
		}
		r.pos += 8
	case thriftBinary:
		r.bytes()
	case thriftList, thriftSet:
		n, elem := r.listLen()
		for range n {
			if elem == thriftTrue || elem == thriftFalse {
				r.byte()
				continue
			}
			r.skipDeep(elem, depth+1)
		}
	case thriftMap:
		n := r.uvarint()
		if n > uint64(len(r.b)-r.pos) {
			r.fail()
			return
		}
		if n == 0 {
			return
		}
		types := r.byte()
		for range n {
			r.skipDeep(types>>4, depth+1)
			r.skipDeep(types&15, depth+1)
		}
	case thriftStruct:
		r.structure(func(_ int16, typ byte) { r.skipDeep(typ, depth+1) })
	default:
		r.fail()
	}
}

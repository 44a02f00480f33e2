package exec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

// Results travel between the nodes of a cluster as bytes: a version, then the fields in the order of their declaration.
// Numbers are varints, floats their eight bytes, texts and lists have their length before them. The versions of two
// nodes must be equal; a result of another version is refused, so that a half-updated cluster says what is missing.
const wireVersion = 2

// ErrWire is wrapped when bytes are not a result of this version.
var ErrWire = errors.New("malformed partial result")

// wireWriter appends fields.
type wireWriter struct{ b []byte }

func (w *wireWriter) int(n int64)   { w.b = binary.AppendVarint(w.b, n) }
func (w *wireWriter) uint(n uint64) { w.b = binary.AppendUvarint(w.b, n) }
func (w *wireWriter) len(n int)     { w.b = binary.AppendUvarint(w.b, uint64(n)) } //nolint:gosec // not negative
func (w *wireWriter) float(f float64) {
	w.b = binary.LittleEndian.AppendUint64(w.b, math.Float64bits(f))
}

func (w *wireWriter) bool(v bool) {
	if v {
		w.b = append(w.b, 1)
	} else {
		w.b = append(w.b, 0)
	}
}

func (w *wireWriter) text(s string) {
	w.len(len(s))
	w.b = append(w.b, s...)
}

func (w *wireWriter) static(s ast.Static) {
	w.b = append(w.b, byte(s.Type))
	switch s.Type {
	case ast.TypeNil:
	case ast.TypeFloat:
		w.float(s.F)
	case ast.TypeString:
		w.text(s.S)
	case ast.TypeArray:
		w.len(len(s.Elems))
		for _, e := range s.Elems {
			w.static(e)
		}
	default:
		w.int(s.N)
	}
}

func (w *wireWriter) attrs(attrs []Attr) {
	w.len(len(attrs))
	for _, a := range attrs {
		w.text(a.Key)
		w.static(a.Value)
	}
}

func (w *wireWriter) stats(s *Stats) {
	for _, n := range []int64{int64(s.Traces), s.Spans, s.Bytes, s.Granules, s.Skipped} {
		w.int(n)
	}
}

// floats writes runs of equal numbers once: most series are sparse.
func (w *wireWriter) floats(list []float64) {
	w.len(len(list))
	for i := 0; i < len(list); {
		n := 1
		for i+n < len(list) && math.Float64bits(list[i+n]) == math.Float64bits(list[i]) {
			n++
		}
		w.len(n)
		w.float(list[i])
		i += n
	}
}

// wireReader takes fields off. After the first error everything is zero.
type wireReader struct {
	b      []byte
	err    error
	points int // Points of series so far.
}

// maxWirePoints bounds the points of all series of a result: runs of equal ones take next to no bytes on the wire, but
// eight each in memory. It is more than a query may collect (query.Limits.QueryMemory).
const maxWirePoints = 32 << 20

func (r *wireReader) fail() {
	if r.err == nil {
		r.err = ErrWire
	}
	r.b = nil
}

func (r *wireReader) int() int64 {
	n, k := binary.Varint(r.b)
	if k <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[k:]
	return n
}

func (r *wireReader) uint() uint64 {
	n, k := binary.Uvarint(r.b)
	if k <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[k:]
	return n
}

// len reads the length of a list whose elements take at least size bytes each, so that nobody can make us allocate more
// than a small multiple of what was sent.
func (r *wireReader) len(size int) int {
	n := r.uint()
	if n > uint64(len(r.b)/size) {
		r.fail()
		return 0
	}
	return int(n) //nolint:gosec // checked
}

func (r *wireReader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *wireReader) bool() bool { return r.byte() != 0 }

func (r *wireReader) float() float64 {
	if len(r.b) < 8 {
		r.fail()
		return 0
	}
	f := math.Float64frombits(binary.LittleEndian.Uint64(r.b))
	r.b = r.b[8:]
	return f
}

func (r *wireReader) text() string {
	n := r.len(1)
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

// maxWireDepth bounds nested arrays.
const maxWireDepth = 64

func (r *wireReader) static(depth int) (s ast.Static) {
	s.Type = ast.Type(r.byte())
	switch {
	case s.Type == ast.TypeNil:
	case s.Type == ast.TypeFloat:
		s.F = r.float()
	case s.Type == ast.TypeString:
		s.S = r.text()
	case s.Type == ast.TypeArray && depth < maxWireDepth:
		for range r.len(1) {
			s.Elems = append(s.Elems, r.static(depth+1))
		}
	case s.Type < ast.TypeArray && s.Type != ast.TypeAttribute:
		s.N = r.int()
	default:
		r.fail()
	}
	return s
}

func (r *wireReader) attrs() (out []Attr) {
	for range r.len(2) {
		out = append(out, Attr{r.text(), r.static(0)})
	}
	return out
}

func (r *wireReader) stats() Stats {
	return Stats{Traces: int(r.int()), Spans: r.int(), Bytes: r.int(), Granules: r.int(), Skipped: r.int()}
}

// floats reads a list that is nil or has n entries.
func (r *wireReader) floats(n int) []float64 {
	got := r.uint()
	if got == 0 {
		return nil
	}
	if r.points += n; got != uint64(n) || r.points > maxWirePoints { //nolint:gosec // not negative
		r.fail()
		return nil
	}
	out := make([]float64, 0, n)
	for len(out) < n && r.err == nil {
		run := r.uint()
		v := r.float()
		if run == 0 || run > uint64(n-len(out)) { //nolint:gosec // not negative
			r.fail()
			return nil
		}
		for range run {
			out = append(out, v)
		}
	}
	return out
}

// end checks that everything was read.
func (r *wireReader) end(what string) error {
	if r.err == nil && len(r.b) > 0 {
		r.fail()
	}
	if r.err != nil {
		return fmt.Errorf("decode %s: %w", what, r.err)
	}
	return nil
}

// version checks the first byte.
func (r *wireReader) version(what string) error {
	if v := r.byte(); r.err == nil && v != wireVersion {
		return fmt.Errorf("decode %s: %w: version %d, this node has %d", what, ErrWire, v, wireVersion)
	}
	return nil
}

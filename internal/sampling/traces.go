package sampling

import (
	"bytes"
	"math"
	"slices"

	"github.com/bramble-tracing/bramble/internal/spanid"
)

// traces is what is known of the traces that are being evaluated, by their index.
type traces struct {
	ids   []spanid.TraceID // ascending
	words int              // of marks, per trace
	marks []uint64         // a bit per leaf
	spans []int32
	start []int64   // earliest, of those that are not 0; Unix nanoseconds
	end   []int64   // latest; nil unless needed
	bytes []int64   // of OTLP; nil unless needed
	disk  []float64 // share of the parts' bytes
}

const noTime = math.MaxInt64

func newTraces(ids []spanid.TraceID, p *Policies) *traces {
	n := len(ids)
	t := &traces{ids: ids, words: (len(p.leaves) + 63) / 64, spans: make([]int32, n), disk: make([]float64, n)}
	t.marks = make([]uint64, n*t.words)
	t.start = make([]int64, n)
	for i := range t.start {
		t.start[i] = noTime
	}
	if p.needEnd {
		t.end = make([]int64, n)
	}
	if p.needBytes {
		t.bytes = make([]int64, n)
	}
	return t
}

// find returns the index of a trace, -1 if it is not among those that are evaluated.
func (t *traces) find(id *spanid.TraceID) int32 {
	i, ok := slices.BinarySearchFunc(t.ids, id, func(a spanid.TraceID, b *spanid.TraceID) int {
		return bytes.Compare(a[:], b[:])
	})
	if !ok {
		return -1
	}
	return int32(i) //nolint:gosec // bounded by memory
}

func (t *traces) mark(leaf int, i int32) { t.marks[int(i)*t.words+leaf>>6] |= 1 << (leaf & 63) }

func (t *traces) marked(leaf, i int) bool { return t.marks[i*t.words+leaf>>6]&(1<<(leaf&63)) != 0 }

// size is the number of spans or of bytes.
func (t *traces) size(i int, inBytes bool) int64 {
	if inBytes {
		return t.bytes[i]
	}
	return int64(t.spans[i])
}

// complete gives traces without any start the time 0.
func (t *traces) complete() {
	for i := range t.start {
		if t.start[i] == noTime {
			t.start[i] = 0
		}
	}
}

package head

import (
	"sync/atomic"

	"github.com/bramble-tracing/bramble/internal/spanid"
)

// traceIndex leads from a trace id to the last row of the trace, from which Head.prev leads to the others. It is open
// addressing with linear probing; a slot holds row+1, the id itself is in the id column.
type traceIndex struct {
	m     *meter
	ids   *chunks[ids]
	slots atomic.Pointer[[]atomic.Uint32]
	first chunks[uint32] // first row of each trace, in order of appearance
}

func (x *traceIndex) init(m *meter, rows *chunks[ids]) {
	x.m, x.ids = m, rows
	x.first.init(m, 4)
}

// set makes row, whose id is in the id column, the last row of its trace and returns the one before (row+1, 0 if
// there is none).
func (x *traceIndex) set(id spanid.TraceID, row uint32) (prev uint32) {
	p := x.slots.Load()
	if p == nil || (x.first.n+1)*4 > len(*p)*3 {
		x.grow()
		p = x.slots.Load()
	}
	slot := x.find(*p, id)
	return x.swap(slot, row)
}

func (x *traceIndex) swap(slot *atomic.Uint32, row uint32) uint32 {
	prev := slot.Load()
	slot.Store(row + 1)
	if prev == 0 {
		x.first.push(row)
	}
	return prev
}

// find returns the slot of the trace, or the free one where it belongs.
func (x *traceIndex) find(t []atomic.Uint32, id spanid.TraceID) *atomic.Uint32 {
	mask := uint64(len(t) - 1)
	dir := x.ids.view()
	for i := id.Hash() & mask; ; i = (i + 1) & mask {
		v := t[i].Load()
		if v == 0 {
			return &t[i]
		}
		row := int(v - 1)
		if row>>chunkShift >= len(dir) || row&chunkMask >= len(dir[row>>chunkShift]) {
			dir = x.ids.view() // The slot is newer than the directory.
		}
		if get(dir, row).trace == id {
			return &t[i]
		}
	}
}

// last returns row+1 of a late row of the trace, 0 if it is unknown. The row may be newer than a reader's snapshot.
func (x *traceIndex) last(id spanid.TraceID) uint32 {
	p := x.slots.Load()
	if p == nil {
		return 0
	}
	return x.find(*p, id).Load()
}

func (x *traceIndex) grow() {
	var old []atomic.Uint32
	if p := x.slots.Load(); p != nil {
		old = *p
	}
	t := make([]atomic.Uint32, max(64, 2*len(old)))
	x.m.bytes += int64(len(t)-len(old)) * 4
	mask := uint64(len(t) - 1)
	for i := range old {
		v := old[i].Load()
		if v == 0 {
			continue
		}
		at := x.ids.at(int(v-1)).trace.Hash() & mask
		for t[at].Load() != 0 {
			at = (at + 1) & mask
		}
		t[at].Store(v)
	}
	x.slots.Store(&t)
}

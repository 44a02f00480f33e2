package block

import (
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// member is what a span's place in its trace depends on.
type member struct {
	id, parent spanid.SpanID
	kind       int32
}

// place is a span's place in its trace (E-05). Numbers are 0 for spans that are not connected to a root and for traces
// without numbering.
type place struct {
	left, right int32
	parent      int32 // index of the parent in the trace, or -1
}

const noSpan = -1

// maxKeptIDs is the size up to which the map of a trace's ids is used again.
const maxKeptIDs = 1024

// placer numbers the spans of traces. It keeps its memory from trace to trace.
type placer struct {
	byID    map[spanid.SpanID][2]int32 // up to two spans share an id
	child   []int32                    // first child
	sibling []int32                    // next child of the same parent
	last    []int32                    // last child so far
	stack   []int32
	out     []place
}

// number returns the places of the spans of one trace, in the same order. Children are visited in row order.
func (p *placer) number(spans []member) []place {
	// Clearing costs what the largest trace so far has grown the map to.
	if p.byID == nil || len(p.byID) > maxKeptIDs {
		p.byID = make(map[spanid.SpanID][2]int32)
	}
	clear(p.byID)
	p.out = p.out[:0]
	for range spans {
		p.out = append(p.out, place{parent: noSpan})
	}
	numbered := p.index(spans)
	p.connect(spans)
	if numbered {
		p.visit(spans)
	}
	return p.out
}

// index maps ids to spans. It reports false if more than two spans share an id: such traces are not numbered.
func (p *placer) index(spans []member) bool {
	ok := true
	for i := range spans {
		pair, found := p.byID[spans[i].id]
		switch {
		case !found:
			pair = [2]int32{int32(i), noSpan} //nolint:gosec // a row of the trace
		case pair[1] == noSpan:
			pair[1] = int32(i) //nolint:gosec // as above
		default:
			ok = false
		}
		p.byID[spans[i].id] = pair
	}
	return ok
}

// connect finds parents and chains children. Of two spans that share an id as the client's and the server's side of a
// call (Zipkin), the server's side is the child of the client's, and children belong to the server's side.
func (p *placer) connect(spans []member) {
	p.child, p.sibling, p.last = p.child[:0], p.sibling[:0], p.last[:0]
	for range spans {
		p.child, p.sibling, p.last = append(p.child, noSpan), append(p.sibling, noSpan), append(p.last, noSpan)
	}
	for i := range spans {
		at := int32(i) //nolint:gosec // a row of the trace
		parent := p.parentOf(spans, at)
		if parent == noSpan || parent == at {
			continue
		}
		p.out[i].parent = parent
		if p.last[parent] == noSpan {
			p.child[parent] = at
		} else {
			p.sibling[p.last[parent]] = at
		}
		p.last[parent] = at
	}
}

func (p *placer) parentOf(spans []member, at int32) int32 {
	s := &spans[at]
	if pair := p.byID[s.id]; pair[1] != noSpan && s.kind == store.KindServer {
		other := pair[0]
		if other == at {
			other = pair[1]
		}
		if spans[other].kind == store.KindClient {
			return other
		}
	}
	if s.parent.IsZero() {
		return noSpan
	}
	pair, ok := p.byID[s.parent]
	switch {
	case !ok:
		return noSpan
	case pair[1] != noSpan && spans[pair[1]].kind == store.KindServer:
		return pair[1]
	}
	return pair[0]
}

// visit numbers depth-first from each root, which is a span without parent id.
func (p *placer) visit(spans []member) {
	n := int32(0)
	for i := range spans {
		if !spans[i].parent.IsZero() || p.out[i].parent != noSpan {
			continue
		}
		p.stack = append(p.stack[:0], int32(i)) //nolint:gosec // a row of the trace
		for len(p.stack) > 0 {
			at := p.stack[len(p.stack)-1]
			n++
			if p.out[at].left != 0 { // back from its last child
				p.out[at].right = n
				p.stack = p.stack[:len(p.stack)-1]
				if next := p.sibling[at]; next != noSpan {
					p.stack = append(p.stack, next)
				}
				continue
			}
			p.out[at].left = n
			if c := p.child[at]; c != noSpan {
				p.stack = append(p.stack, c)
				continue
			}
			n++
			p.out[at].right = n
			p.stack = p.stack[:len(p.stack)-1]
			if next := p.sibling[at]; next != noSpan {
				p.stack = append(p.stack, next)
			}
		}
	}
}

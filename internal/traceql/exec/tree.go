package exec

import (
	"slices"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

// tree is the tree of a trace's spans with its nested-set numbering (E-05). Indexes are those of trace.spans.
type tree struct {
	parent      []int32 // Index of the parent, noParent for roots, orphan if the parent was not received.
	left, right []int32 // 0 for spans that no root leads to.
	children    []int32
	order       []int32 // Numbered spans, parents before children.
}

const (
	noParent = -1
	orphan   = -2
)

// maxTwins is how many spans may share an id: a client's and a server's (Zipkin). With more there is no numbering.
const maxTwins = 2

func newTree(t *trace, c *traceColumns) *tree {
	n := len(t.spans)
	m := make([]int32, 4*n)
	tr := &tree{parent: m[:n:n], left: m[n : 2*n : 2*n], right: m[2*n : 3*n : 3*n], children: m[3*n:]}
	byID := make(map[string]twins, n)
	countable := true
	for i := range t.spans {
		if t.isCopy(i) {
			continue
		}
		id := t.spans[i].text(c.span)
		w := byID[id]
		if w.n < maxTwins {
			w.spans[w.n] = int32(i) //nolint:gosec // Spans of a trace fit.
		}
		w.n++
		byID[id] = w
		countable = countable && w.n <= maxTwins
	}
	tr.findParents(t, c, byID)
	for i := range tr.parent {
		if p := tr.parent[i]; p >= 0 {
			tr.children[p]++
		}
	}
	if countable {
		tr.number()
	}
	for i, first := range t.originals() {
		tr.parent[i], tr.left[i], tr.right[i], tr.children[i] = tr.parent[first], tr.left[first], tr.right[first], tr.children[first]
	}
	return tr
}

// twins are the spans of one id, of which the first ones are known.
type twins struct {
	spans [maxTwins]int32
	n     int32
}

// owner is the span that children belong to.
func (w *twins) owner(t *trace, c *traceColumns) int32 {
	if w.n == maxTwins {
		for _, i := range slices.Backward(w.spans[:]) {
			if t.spans[i].number(c.kind) == store.KindServer {
				return i
			}
		}
	}
	return w.spans[0]
}

// findParents resolves parent ids. Of two spans with one id the server's is the child of the client's, and children
// belong to the server's (T-08).
func (tr *tree) findParents(t *trace, c *traceColumns, byID map[string]twins) {
	for i, s := range t.spans {
		if t.isCopy(i) {
			tr.parent[i] = orphan // Until it gets what its original has.
			continue
		}
		w := byID[s.text(c.span)]
		if w.n == maxTwins && s.number(c.kind) == store.KindServer {
			other := w.spans[0]
			if int(other) == i {
				other = w.spans[1]
			}
			if t.spans[other].number(c.kind) == store.KindClient {
				tr.parent[i] = other
				continue
			}
		}
		tr.parent[i] = orphan
		if !s.has(c.parent) {
			tr.parent[i] = noParent
		} else if w, ok := byID[s.text(c.parent)]; ok {
			if p := w.owner(t, c); int(p) != i {
				tr.parent[i] = p
			}
		}
	}
}

// number walks depth-first from the roots, siblings in the order of rows, without recursion: chains may be long.
func (tr *tree) number() {
	n := len(tr.parent)
	first, next := make([]int32, n), make([]int32, n) // Children as linked lists.
	for i := range first {
		first[i], next[i] = -1, -1
	}
	var roots []int32
	for i, p := range slices.Backward(tr.parent) {
		if p >= 0 {
			next[i], first[p] = first[p], int32(i) //nolint:gosec // Spans of a trace fit.
		}
	}
	for i, p := range tr.parent {
		if p == noParent {
			roots = append(roots, int32(i)) //nolint:gosec // As above.
		}
	}
	counter := int32(1)
	for _, root := range roots {
		for i := root; i >= 0; {
			if tr.left[i] == 0 {
				tr.left[i] = counter
				counter++
				tr.order = append(tr.order, i)
				if first[i] >= 0 {
					i = first[i]
					continue
				}
			}
			tr.right[i] = counter
			counter++
			switch {
			case i == root:
				i = -1
			case next[i] >= 0:
				i = next[i]
			default:
				i = tr.parent[i]
			}
		}
	}
}

// nestedParent is the left number of the parent, -1 for roots, 0 without numbering.
func (tr *tree) nestedParent(i int) int32 {
	switch p := tr.parent[i]; {
	case tr.left[i] == 0:
		return 0
	case p == noParent:
		return -1
	default:
		return tr.left[p]
	}
}

// related marks the spans of r that stand in relation op, a plain structural operator, to a span of l (E-42 to E-46).
func (tr *tree) related(op ast.Op, l, r []bool) []bool {
	out := make([]bool, len(r))
	switch op {
	case ast.OpChild:
		for _, i := range tr.order {
			p := tr.parent[i]
			out[i] = r[i] && p >= 0 && l[p]
		}
	case ast.OpParent:
		for _, i := range tr.order {
			if p := tr.parent[i]; p >= 0 && l[i] && r[p] {
				out[p] = true
			}
		}
	case ast.OpDescendant:
		above := make([]bool, len(r)) // An ancestor is in l.
		for _, i := range tr.order {
			if p := tr.parent[i]; p >= 0 {
				above[i] = l[p] || above[p]
			}
			out[i] = r[i] && above[i]
		}
	case ast.OpAncestor:
		below := make([]bool, len(r)) // A descendant is in l.
		for _, i := range slices.Backward(tr.order) {
			out[i] = r[i] && below[i]
			if p := tr.parent[i]; p >= 0 && (l[i] || below[i]) {
				below[p] = true
			}
		}
	case ast.OpSibling:
		count := map[int32]int{}
		for _, i := range tr.order {
			if l[i] {
				count[tr.parent[i]]++
			}
		}
		for _, i := range tr.order {
			others := count[tr.parent[i]]
			if l[i] {
				others--
			}
			out[i] = r[i] && others > 0
		}
	}
	return out
}

// inverse returns the operator with exchanged sides.
func inverse(op ast.Op) ast.Op {
	switch op {
	case ast.OpChild:
		return ast.OpParent
	case ast.OpParent:
		return ast.OpChild
	case ast.OpDescendant:
		return ast.OpAncestor
	case ast.OpAncestor:
		return ast.OpDescendant
	}
	return op
}

// structural evaluates any structural operator over marked spans.
func (tr *tree) structural(op ast.Op, l, r []bool) []bool {
	plain := op.Plain()
	out := tr.related(plain, l, r)
	switch {
	case op.Negated():
		for i := range out {
			out[i] = r[i] && !out[i]
		}
	case op.Union():
		for i, ok := range tr.related(inverse(plain), r, l) {
			out[i] = out[i] || ok
		}
	}
	return out
}

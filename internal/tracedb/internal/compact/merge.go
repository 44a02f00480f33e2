package compact

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/index"
)

// Input is a block to be merged.
type Input struct {
	// Groups are the numbers of rows of its row groups.
	Groups []int
	// Traces are its traces, in any order.
	Traces []index.Trace
	// Hidden reports whether a trace is to be left out; nil if none is.
	Hidden func(spanid.TraceID) bool
	// Whole says that no row group of it can be copied.
	Whole bool
}

// Copy is a row group that is copied.
type Copy struct {
	Input, Group int
	// Traces are those that begin in it, in row order.
	Traces []index.Trace
}

// Piece is a range of rows of an input.
type Piece struct {
	Input      int
	Row, Spans uint32
}

// Trace is a trace that is read and written anew.
type Trace struct {
	Start  uint64 // earliest
	ID     spanid.TraceID
	Spans  int // of all pieces
	pieces [2]uint32
}

// Merged is the plan of a merge.
type Merged struct {
	// Copies come first, in this order.
	Copies []Copy
	// Traces follow, by start and id.
	Traces []Trace
	// Joined are the traces that are in several inputs, in ascending order.
	Joined []spanid.TraceID
	pieces []Piece
}

// Pieces returns where the rows of a trace are, in the order of the inputs.
func (m *Merged) Pieces(t *Trace) []Piece { return m.pieces[t.pieces[0]:t.pieces[1]] }

// Rows returns the number of rows that are written anew.
func (m *Merged) Rows() int {
	n := 0
	for i := range m.Traces {
		n += m.Traces[i].Spans
	}
	return n
}

// entry is a trace of an input.
type entry struct {
	index.Trace
	input int32
	state uint8
}

// States of an entry.
const (
	single = iota
	joined
	hidden
)

// Merge plans the merge of blocks, given oldest first.
func Merge(inputs []Input) *Merged {
	n := 0
	for i := range inputs {
		n += len(inputs[i].Traces)
	}
	all := make([]entry, 0, n)
	for i := range inputs {
		for _, t := range inputs[i].Traces {
			e := entry{Trace: t, input: int32(i)} //nolint:gosec // a few inputs
			if h := inputs[i].Hidden; h != nil && h(t.ID) {
				e.state = hidden
			}
			all = append(all, e)
		}
	}
	out := &Merged{}
	out.join(all)
	// By place, so that the traces of a row group follow each other.
	slices.SortFunc(all, func(a, b entry) int { return cmp.Or(cmp.Compare(a.input, b.input), cmp.Compare(a.Row, b.Row)) })
	copied := make([][]bool, len(inputs))
	for i, from := 0, 0; i < len(inputs); i++ {
		to := from
		for to < len(all) && int(all[to].input) == i {
			to++
		}
		copied[i] = out.copies(i, &inputs[i], all[from:to])
		from = to
	}
	out.orderCopies()
	out.singles(inputs, all, copied)
	slices.SortFunc(out.Traces, func(a, b Trace) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return out
}

// join finds the traces that are in several inputs.
func (m *Merged) join(all []entry) {
	slices.SortFunc(all, func(a, b entry) int { return cmp.Or(bytes.Compare(a.ID[:], b.ID[:]), cmp.Compare(a.input, b.input)) })
	for from := 0; from < len(all); {
		to, visible := from, 0
		for ; to < len(all) && all[to].ID == all[from].ID; to++ {
			if all[to].state != hidden {
				visible++
			}
		}
		if visible > 1 {
			t := Trace{ID: all[from].ID, Start: ^uint64(0), pieces: [2]uint32{uint32(len(m.pieces)), 0}} //nolint:gosec // below the rows of a block
			for i := from; i < to; i++ {
				if all[i].state != hidden {
					all[i].state = joined
					m.add(&t, &all[i])
				}
			}
			m.Traces = append(m.Traces, t)
			m.Joined = append(m.Joined, t.ID)
		}
		from = to
	}
}

func (m *Merged) add(t *Trace, e *entry) {
	m.pieces = append(m.pieces, Piece{int(e.input), e.Row, e.Spans})
	t.pieces[1] = uint32(len(m.pieces)) //nolint:gosec // below the rows of a block
	t.Start = min(t.Start, e.Start)
	t.Spans += int(e.Spans)
}

// copies finds the row groups of an input that can be copied. entries are its traces in row order.
func (m *Merged) copies(input int, in *Input, entries []entry) []bool {
	ok := make([]bool, len(in.Groups))
	linked := make([]bool, len(in.Groups)) // with the next
	ends := make([]uint32, len(in.Groups))
	row := uint32(0)
	for g, n := range in.Groups {
		ok[g] = !in.Whole && n > 0 && n%store.GranuleRows == 0
		row += uint32(n) //nolint:gosec // below 2^31
		ends[g] = row
	}
	first := make([]int, len(in.Groups)+1) // per row group: the first trace that begins in it
	g := 0
	for i := range entries {
		e := &entries[i]
		for g < len(ends)-1 && e.Row >= ends[g] {
			g++
			first[g] = i
		}
		for h := g; h < len(ends); h++ {
			ok[h] = ok[h] && e.state == single
			if e.Row+e.Spans <= ends[h] {
				break
			}
			linked[h] = true
		}
	}
	for g++; g <= len(in.Groups); g++ {
		first[g] = len(entries)
	}
	for again := true; again; {
		again = false
		for g := range len(ok) - 1 {
			if linked[g] && ok[g] != ok[g+1] {
				ok[g], ok[g+1], again = false, false, true
			}
		}
	}
	for g := range ok {
		if !ok[g] {
			continue
		}
		c := Copy{Input: input, Group: g}
		for i := first[g]; i < first[g+1]; i++ {
			c.Traces = append(c.Traces, entries[i].Trace)
		}
		m.Copies = append(m.Copies, c)
	}
	return ok
}

// orderCopies sorts the copied row groups by time. A row group without the beginning of a trace follows the one before.
func (m *Merged) orderCopies() {
	type run struct {
		start uint64
		list  []Copy
	}
	var runs []run
	for i, c := range m.Copies {
		follows := i > 0 && m.Copies[i-1].Input == c.Input && m.Copies[i-1].Group == c.Group-1
		if follows { // Maybe a trace goes on.
			runs[len(runs)-1].list = append(runs[len(runs)-1].list, c)
			continue
		}
		r := run{start: ^uint64(0), list: []Copy{c}}
		if len(c.Traces) > 0 {
			r.start = c.Traces[0].Start
		}
		runs = append(runs, r)
	}
	slices.SortStableFunc(runs, func(a, b run) int { return cmp.Compare(a.start, b.start) })
	m.Copies = m.Copies[:0:0]
	for _, r := range runs {
		m.Copies = append(m.Copies, r.list...)
	}
}

// singles adds the traces of one input that are not copied.
func (m *Merged) singles(inputs []Input, all []entry, copied [][]bool) {
	input, g, end := -1, 0, uint32(0)
	for i := range all {
		e := &all[i]
		if int(e.input) != input {
			input, g = int(e.input), 0
			end = uint32(inputs[input].Groups[0]) //nolint:gosec // below 2^31
		}
		for e.Row >= end && g < len(inputs[input].Groups)-1 {
			g++
			end += uint32(inputs[input].Groups[g]) //nolint:gosec // below 2^31
		}
		if e.state != single || copied[input][g] {
			continue
		}
		at := uint32(len(m.pieces)) //nolint:gosec // below the rows of a block
		t := Trace{ID: e.ID, Start: e.Start, pieces: [2]uint32{at, at}}
		m.add(&t, e)
		m.Traces = append(m.Traces, t)
	}
}

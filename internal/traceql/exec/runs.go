package exec

import (
	"cmp"
	"iter"
	"slices"

	"github.com/bramble-tracing/bramble/internal/store"
)

// rowRun is n rows from first on, at least one.
type rowRun struct{ first, n uint32 }

func (r rowRun) appendTo(dst []uint32) []uint32 {
	for i := range r.n {
		dst = append(dst, r.first+i)
	}
	return dst
}

// traceRun is rows of a part that belong to the n-th trace of several that are read together.
type traceRun struct {
	rowRun
	trace int
}

// runsOf finds the rows of traces: by part, in the order of rows, and how many each trace has.
func (r *run) runsOf(refs []traceRef) (runs [][]traceRun, sizes []int, err error) {
	runs, sizes = make([][]traceRun, len(r.parts)), make([]int, len(refs))
	var rows []uint32
	for n, ref := range refs {
		for part := range r.partsOf(ref.id, ref.part) {
			if err := r.err(); err != nil {
				return nil, nil, err
			}
			if rows, err = r.traceRows(part, ref.id, rows[:0]); err != nil {
				return nil, nil, err
			}
			sizes[n] += len(rows)
			runs[part] = appendRuns(runs[part], rows, n)
		}
	}
	for part := range runs {
		runs[part] = sortRuns(runs[part])
	}
	return runs, sizes, nil
}

// sortRuns puts runs in the order of their rows. In heads, where traces are interleaved, they are many.
func sortRuns(runs []traceRun) []traceRun {
	const few = 32
	if len(runs) <= few {
		slices.SortFunc(runs, func(a, b traceRun) int { return cmp.Compare(a.first, b.first) })
		return runs
	}
	keys := make([]uint64, len(runs))
	for i := range runs {
		keys[i] = uint64(runs[i].first)<<32 | uint64(i) //nolint:gosec // Not negative, and below 1<<32.
	}
	slices.Sort(keys)
	out := make([]traceRun, len(runs))
	for i, k := range keys {
		out[i] = runs[uint32(k)] //nolint:gosec // The lower half.
	}
	return out
}

// appendRuns appends rows, which ascend.
func appendRuns(dst []traceRun, rows []uint32, trace int) []traceRun {
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && rows[n] == rows[0]+uint32(n) { //nolint:gosec // Rows of a part fit.
			n++
		}
		dst = append(dst, traceRun{rowRun{rows[0], uint32(n)}, trace}) //nolint:gosec // As above.
		rows = rows[n:]
	}
	return dst
}

// byGranule yields the granules that sorted runs have rows in, ascending, with these runs.
func byGranule(runs []traceRun) iter.Seq2[int, []traceRun] {
	return func(yield func(int, []traceRun) bool) {
		for granule := 0; len(runs) > 0; granule++ {
			granule = max(granule, int(runs[0].first/store.GranuleRows))
			end := uint64(granule+1) * store.GranuleRows
			n := 0
			for n < len(runs) && uint64(runs[n].first) < end {
				n++
			}
			if !yield(granule, runs[:n]) {
				return
			}
			if last := runs[n-1]; uint64(last.first)+uint64(last.n) > end {
				n-- // It goes on in the next granule.
			}
			runs = runs[n:]
		}
	}
}

// within returns the part of a run that lies in a granule, as rows of the granule: from lo up to but not including hi.
func (r rowRun) within(granule int) (lo, hi int) {
	from := granule * store.GranuleRows
	return max(int(r.first)-from, 0), min(int(r.first)+int(r.n)-from, store.GranuleRows)
}

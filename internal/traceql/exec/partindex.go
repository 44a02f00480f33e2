package exec

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// partIndex finds the rows of traces in one part. A store finds those of one trace quickly; a query that evaluates
// most traces of a part reads the column of trace ids once instead.
type partIndex struct {
	found atomic.Int64 // Traces that were looked up and are there; to learn that one is not costs little.
	once  sync.Once
	err   error
	runs  map[spanid.TraceID]rowRun
	more  map[spanid.TraceID][]rowRun // Further runs of traces whose rows are not contiguous.
}

// worthIndexing says after how many lookups the column is read: roughly where that becomes cheaper.
func worthIndexing(rows int) int64 { return int64(max(1024, rows/64)) }

// traceRows appends the rows of a trace in a part.
func (r *run) traceRows(part int, id spanid.TraceID, dst []uint32) ([]uint32, error) {
	ix := &r.indexes[part]
	// Heads have the rows of a trace at hand.
	if r.kinds[part] != store.KindBlock || ix.found.Load() < worthIndexing(r.rows[part]) {
		out, err := r.parts[part].TraceRows(r.ctx, id, dst)
		if err != nil {
			return nil, fmt.Errorf("find rows of trace %s: %w", id, err)
		}
		if len(out) > len(dst) {
			ix.found.Add(1)
		}
		return out, nil
	}
	ix.once.Do(func() { ix.err = r.buildIndex(ix, part) })
	if ix.err != nil {
		return nil, ix.err
	}
	run, ok := ix.runs[id]
	if !ok {
		return dst, nil
	}
	dst = run.appendTo(dst)
	for _, m := range ix.more[id] {
		dst = m.appendTo(dst)
	}
	return dst, nil
}

func (r *run) buildIndex(ix *partIndex, part int) error {
	const entryBytes = 64
	ix.runs, ix.more = map[spanid.TraceID]rowRun{}, map[spanid.TraceID][]rowRun{}
	info := r.parts[part].Info()
	var id spanid.TraceID
	var last rowRun
	entries := 0
	end := func() {
		if last.n == 0 {
			return
		}
		entries++
		if _, ok := ix.runs[id]; ok {
			ix.more[id] = append(ix.more[id], last)
			return
		}
		ix.runs[id] = last
	}
	for g := range info.Granules() {
		if err := r.err(); err != nil {
			return err
		}
		var sel store.Bitmap
		sel.Fill(info.GranuleLen(g))
		ids, err := r.traceIDs(spot{part, g}, &sel)
		if err != nil {
			return err
		}
		before := entries
		for i, next := range ids {
			if last.n > 0 && next == id {
				last.n++
				continue
			}
			end()
			id, last = next, rowRun{uint32(g*store.GranuleRows + i), 1} //nolint:gosec // Rows of a part fit.
		}
		if err := r.meter.take(r.ctx, int64(entries-before)*entryBytes); err != nil {
			return err
		}
	}
	end()
	return nil
}

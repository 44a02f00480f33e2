package exec

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/bramble-tracing/bramble/internal/memlimit"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// Stats says what a query had to look at.
type Stats struct {
	Traces   int   // Traces that were evaluated as a whole.
	Spans    int64 // Rows that filters were run over, each once.
	Bytes    int64 // Bytes of values that were read, as far as counted.
	Granules int64 // Granules that were not skipped, each once.
	Skipped  int64 // Granules that were skipped by what the store knows of them.
}

// Add adds other to s.
func (s *Stats) Add(other Stats) {
	s.Traces += other.Traces
	s.Spans += other.Spans
	s.Bytes += other.Bytes
	s.Granules += other.Granules
	s.Skipped += other.Skipped
}

// run is the execution of one query over one view.
type run struct {
	ctx   context.Context //nolint:containedctx // A run lives as long as the call that made it.
	view  store.View
	parts []store.Part
	split store.TraceSet
	meter *meter
	skip  TraceSet // Traces whose spans do not count.
	only  TraceSet // If not nil, those whose spans alone count.

	catalogue catalogue
	indexes   []partIndex
	rows      []int            // Per part.
	kinds     []store.PartKind // Per part.
	matched   [][]atomic.Bool  // Per part and granule: its rows were counted.

	markedMu   sync.Mutex
	markedRows map[marksOf]*markedRows

	spans, bytes, granules, skipped, traces atomic.Int64
}

func newRun(ctx context.Context, view store.View, budget *memlimit.Budget) *run {
	r := &run{ctx: ctx, view: view, parts: view.Parts(), split: view.Split(), meter: &meter{budget: budget}}
	r.indexes, r.rows, r.kinds = make([]partIndex, len(r.parts)), make([]int, len(r.parts)), make([]store.PartKind, len(r.parts))
	granules := 0
	for i, p := range r.parts {
		info := p.Info()
		r.rows[i], r.kinds[i] = info.Rows, info.Kind
		granules += info.Granules()
	}
	matched := make([]atomic.Bool, granules)
	r.matched = make([][]atomic.Bool, len(r.parts))
	for i, rows := range r.rows {
		n := (&store.PartInfo{Rows: rows}).Granules()
		r.matched[i], matched = matched[:n:n], matched[n:]
	}
	return r
}

func (r *run) stats() Stats {
	return Stats{
		Traces: int(r.traces.Load()), Spans: r.spans.Load(), Bytes: r.bytes.Load(), Granules: r.granules.Load(),
		Skipped: r.skipped.Load(),
	}
}

// err returns why the query should stop, if it should.
func (r *run) err() error {
	if r.ctx.Err() != nil {
		return fmt.Errorf("query stopped: %w", context.Cause(r.ctx))
	}
	return nil
}

// cause returns err, or why the query was stopped if it was: what is read fails with less telling errors then.
func (r *run) cause(err error) error {
	if err == nil {
		return nil
	}
	if stopped := r.err(); stopped != nil {
		return stopped
	}
	return err
}

// each runs f for 0 to n-1 on as many goroutines as there are processors and returns the first error. After an error
// no further call begins.
func (r *run) each(n int, f func(i int) error) error {
	workers := min(runtime.GOMAXPROCS(0), n)
	if workers <= 1 {
		for i := range n {
			if err := r.err(); err != nil {
				return err
			}
			if err := f(i); err != nil {
				return err
			}
		}
		return nil
	}
	var (
		wg    sync.WaitGroup
		next  atomic.Int64
		once  sync.Once
		first error
		stop  atomic.Bool
	)
	for range workers {
		wg.Go(func() {
			for !stop.Load() {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				err := r.err()
				if err == nil {
					err = f(i)
				}
				if err != nil {
					once.Do(func() { first = err })
					stop.Store(true)
				}
			}
		})
	}
	wg.Wait()
	return first
}

// partsOf says where a trace's spans are: in one part, or, if it is split, possibly in all of them.
func (r *run) partsOf(id spanid.TraceID, part int) iter.Seq[int] {
	return func(yield func(int) bool) {
		if !r.split.Has(id) {
			yield(part)
			return
		}
		for p := range r.parts {
			if !yield(p) {
				return
			}
		}
	}
}

// rowsOf lists the marked rows of a bitmap.
func rowsOf(sel *store.Bitmap) []uint32 {
	out := make([]uint32, 0, sel.Count())
	for row := range sel.Rows() {
		out = append(out, uint32(row)) //nolint:gosec // At most GranuleRows.
	}
	return out
}

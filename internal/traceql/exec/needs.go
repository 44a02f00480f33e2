package exec

import (
	"slices"
	"sync"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// need is a plan.Need made ready to run. Most traces that cannot match lack something: that is seen by conditions on whole
// granules, which many traces share, before anything of the trace is read.
type need struct {
	cond  *cond
	spans int
}

func compileNeeds(needs []plan.Need) []need {
	out := make([]need, len(needs))
	for i, n := range needs {
		out[i] = need{compile(n.Cond, newColumns()), n.Spans}
	}
	return out
}

// dropUnfit takes the rows of traces away that lack what is needed. They count as evaluated.
func (r *run) dropUnfit(needs []need, runs [][]traceRun, sizes []int) error {
	if len(needs) == 0 {
		return nil
	}
	unfit := make([]bool, len(sizes))
	have := make([]int, len(sizes))
	for _, n := range needs {
		copy(have, sizes)
		if n.cond.op != plan.True {
			clear(have)
			if err := r.countNeeded(n.cond, runs, unfit, have); err != nil {
				return err
			}
		}
		for i, got := range have {
			unfit[i] = unfit[i] || got < n.spans
		}
	}
	for part := range runs {
		runs[part] = slices.DeleteFunc(runs[part], func(t traceRun) bool { return unfit[t.trace] })
	}
	for i := range unfit {
		if unfit[i] && sizes[i] > 0 {
			sizes[i] = 0
			r.traces.Add(1)
		}
	}
	return nil
}

// countNeeded counts the rows of traces that satisfy a condition, without those of traces that are left out anyway.
func (r *run) countNeeded(c *cond, runs [][]traceRun, out []bool, count []int) error {
	for part, some := range runs {
		for granule, some := range byGranule(some) {
			var sel *store.Bitmap
			for _, run := range some {
				if out[run.trace] {
					continue
				}
				if sel == nil {
					var err error
					if sel, err = r.marked(c, spot{part, granule}); err != nil {
						return err
					}
				}
				count[run.trace] += sel.CountRange(run.within(granule))
			}
		}
	}
	return nil
}

// markedRows are the rows of a granule that satisfy a condition.
type markedRows struct {
	once sync.Once
	sel  store.Bitmap
	err  error
}

// marksOf names markedRows.
type marksOf struct {
	cond *cond
	at   spot
}

// marksBytes is about what remembering marks takes.
const marksBytes = store.GranuleRows/8 + 128

// marked returns the rows of a granule that satisfy a condition, which are found out once.
func (r *run) marked(c *cond, at spot) (*store.Bitmap, error) {
	r.markedMu.Lock()
	m := r.markedRows[marksOf{c, at}]
	if m == nil {
		if r.markedRows == nil {
			r.markedRows = map[marksOf]*markedRows{}
		}
		m = &markedRows{}
		r.markedRows[marksOf{c, at}] = m
	}
	r.markedMu.Unlock()
	m.once.Do(func() {
		if m.err = r.meter.take(r.ctx, marksBytes); m.err != nil {
			return
		}
		if p := r.parts[at.part]; c.mayMatch(p, at.granule) {
			info := p.Info()
			m.sel.Fill(info.GranuleLen(at.granule))
			m.err = c.filter(r, p, at.granule, &m.sel)
		}
	})
	return &m.sel, m.err
}

package exec

import (
	"runtime"
	"slices"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// traceByTrace evaluates whole traces and counts the spans that survive.
func (x *metricsRun) traceByTrace() error {
	found, err := x.traces()
	if err != nil {
		return err
	}
	cols := newColumns()
	e := newEvaluator(x.query.Pipeline, cols)
	by := make([]evalFn, len(x.query.AST.By))
	for i, a := range x.query.AST.By {
		by[i] = firstValue(a, cols)
	}
	var measure evalFn
	if x.query.AST.Fn.HasAttr() {
		measure = firstValue(x.query.AST.Attr, cols)
	}
	var selection *cond
	if x.query.Selection != nil {
		selection = compile(x.query.Selection, cols)
	}
	if x.query.Pipeline.Structure {
		cols.addStructure()
	}
	tc := newTraceColumns(cols)
	const portion = 1024
	return x.run.eachWorker((len(found)+portion-1)/portion, func(worker, i int) error {
		l, err := x.run.loadTraces(found[i*portion:min((i+1)*portion, len(found))], tc, x.query.Pipeline.Structure)
		if err != nil {
			return err
		}
		defer l.release()
		for _, t := range l.traces {
			sets, err := e.eval(x.run, t)
			if err != nil {
				return err
			}
			if len(sets) == 0 {
				continue
			}
			if selection != nil {
				err = x.compare[worker].trace(t, union(t, sets), selection, tc)
			} else {
				err = x.countTrace(x.workers[worker], t, union(t, sets), by, measure, tc)
			}
			if err != nil {
				return err
			}
		}
		if selection != nil {
			return x.compare[worker].flush()
		}
		return nil
	})
}

// firstValue evaluates an attribute; of several values the first counts, as in countRows.
func firstValue(a ast.Attr, cols *columns) evalFn {
	c, ok := columnOf(a)
	if !ok || !a.Multi() {
		return compileAttr(a, cols)
	}
	i := cols.addColumn(c)
	return func(e *env) ast.Static { return toStatic(a, e.chunk.vecs[i].At(e.i)) }
}

// countTrace adds spans of a trace to a worker's sums.
func (x *metricsRun) countTrace(acc *accumulator, t *trace, spans []int32, by []evalFn, measure evalFn, tc *traceColumns) error {
	v := env{trace: t}
	group := make([]ast.Static, len(by))
	for _, n := range spans {
		start := t.spans[n].number(tc.start)
		bucket := x.timeline.bucket(start)
		if bucket < 0 || start < x.window.start || start > x.window.end {
			continue // A trace may have spans in several slices.
		}
		v.at(n)
		value := 0.0
		if measure != nil {
			got, ok := acc.measured(measure(&v))
			if !ok {
				continue
			}
			value = got
		}
		for i, f := range by {
			group[i] = groupValue(f(&v))
		}
		s, err := acc.of(slices.Clone(group))
		if err != nil {
			return err
		}
		acc.add(s, bucket, value)
		if acc.exemplar {
			ch := t.spans[n].chunk
			acc.offer(s, bucket, spot{ch.index, ch.granule}, ch.rows()[t.spans[n].i], value)
		}
	}
	return nil
}

// traces lists the traces that may have surviving spans in the window, in the order of their rows.
func (x *metricsRun) traces() ([]traceRef, error) {
	each := compile(x.query.Pipeline.Each, newColumns())
	anchor := compile(x.query.Pipeline.Anchor, newColumns())
	tests := x.timeTests()
	if x.query.Pipeline.Each.Op == plan.True && anchor.op != plan.True {
		// Surviving spans are in the window, the anchor may be beside it.
		each, tests = anchor, x.window.wide().timeTests()
	}
	w := x.window.wide()
	spots, err := x.run.spots(each, w, tests)
	if err != nil {
		return nil, err
	}
	perSpot := make([][]candidate, len(spots))
	err = x.run.each(len(spots), func(i int) error {
		sel, err := x.run.matching(spots[i], each, tests)
		if err != nil {
			return err
		}
		got, err := x.run.candidates(spots[i], &sel)
		if err != nil {
			return err
		}
		perSpot[i] = got
		return x.run.meter.take(x.run.ctx, int64(len(got))*2*seenBytes)
	})
	if err != nil {
		return nil, err
	}
	var out []traceRef
	seen := map[spanid.TraceID]struct{}{}
	for _, found := range perSpot {
		for _, c := range found {
			if _, ok := seen[c.id]; !ok {
				seen[c.id] = struct{}{}
				out = append(out, c.traceRef)
			}
		}
	}
	return out, nil
}

// eachWorker is each with the number of the goroutine, below GOMAXPROCS, for state that workers do not share.
func (r *run) eachWorker(n int, f func(worker, i int) error) error {
	free := make(chan int, runtime.GOMAXPROCS(0))
	for w := range cap(free) {
		free <- w
	}
	return r.each(n, func(i int) error {
		w := <-free
		defer func() { free <- w }()
		return f(w, i)
	})
}

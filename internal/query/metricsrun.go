package query

import (
	"context"
	"slices"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// metricsRun computes one metrics query over one view. If the client listens and there is much to read, it goes slice
// by slice of the time range, latest first, and tells of each slice's samples when they are due: sums over slices, added
// up, are the sums over the whole.
type metricsRun struct {
	service *Service
	view    store.View
	plan    *plan.Query
	options exec.MetricsOptions
	interim func(*MetricsResult) error
}

// Slices are worth it from this many spans each, which take some 100 ms; there are at most maxSlices.
const (
	sliceSpans = 4 << 20
	maxSlices  = 64
)

func (m *metricsRun) run(ctx context.Context) (*exec.MetricsResult, error) {
	n, err := m.slices(ctx)
	if err != nil {
		return nil, err
	}
	if n <= 1 {
		return exec.Metrics(ctx, m.view, m.plan, m.options)
	}
	return m.sliced(ctx, n)
}

// slices returns into how many slices to cut the query; 1 if a sample depends on more than the spans in its bucket.
func (m *metricsRun) slices(ctx context.Context) (int, error) {
	if m.interim == nil || m.options.Instant || m.options.MaxSeries > 0 || !bucketwise(m.plan.AST.Metrics) {
		return 1, nil
	}
	cost, err := exec.Estimate(ctx, m.view, m.plan, m.options.Start, m.options.End)
	if err != nil {
		return 0, err
	}
	return int(min(cost.Rows/m.service.sliceSpans, maxSlices)), nil
}

// bucketwise reports whether a sample depends on the spans in its bucket only. The values that compare() shows are chosen
// by the whole range, and topk() and bottomk() choose also among series that have nothing in a bucket.
func bucketwise(m ast.Metrics) bool {
	var stages []ast.SecondStage
	switch m := m.(type) {
	case *ast.MetricsQuery:
		if m.Fn == ast.Compare {
			return false
		}
		stages = m.Stages
	case *ast.MetricsStages:
		if !bucketwise(m.X) {
			return false
		}
		stages = m.Stages
	case *ast.MetricsOp:
		return bucketwise(m.L) && bucketwise(m.R)
	}
	return !slices.ContainsFunc(stages, func(s ast.SecondStage) bool { return s.Kind != ast.CompareValue })
}

func (m *metricsRun) sliced(ctx context.Context, n int) (*exec.MetricsResult, error) {
	timeline, err := m.options.Timeline()
	if err != nil {
		return nil, err
	}
	pieces := timeline.Slices(n)
	due := newPace(m.service.limits.StreamInterval)
	var sum *exec.Partial
	untold := timeline.N // Buckets from here on were told of.
	held := int64(0)
	defer func() { m.options.Budget.Release(held) }()
	for i, s := range pieces {
		o := m.options
		o.Slice = s
		part, err := exec.MetricsPartial(ctx, m.view, m.plan, o)
		if err != nil {
			return nil, err
		}
		if sum == nil {
			sum = part
		} else if err := sum.Merge(part); err != nil {
			return nil, err
		}
		if held, err = m.hold(held, sum); err != nil {
			return nil, err
		}
		if i == len(pieces)-1 || !due.due() {
			continue
		}
		res := metricsResult(exec.Finish(m.plan, sum, 0, 0))
		res.keep(timeline.Millis(s.From), timeline.Millis(untold-1))
		res.Stats.Completed, res.Stats.Jobs = uint32(i+1), uint32(len(pieces))
		untold = s.From
		if err := m.interim(res); err != nil {
			return nil, err
		}
	}
	return exec.Finish(m.plan, sum, m.options.MaxSeries, m.options.ExemplarLimit(m.plan)), nil
}

// hold counts the merged sums against the budget: the slices' own runs have given back theirs.
func (m *metricsRun) hold(held int64, sum *exec.Partial) (int64, error) {
	size := partialSize(sum)
	if size <= held {
		return held, nil
	}
	if !m.options.Budget.TryAcquire(size - held) {
		return held, exec.ErrBudget
	}
	return size, nil
}

// keep leaves only the samples from one time to another, in Unix milliseconds, both included.
func (r *MetricsResult) keep(from, to int64) {
	kept := r.Series[:0]
	for _, s := range r.Series {
		lo, hi := 0, len(s.Samples)
		for lo < hi && s.Samples[lo].TimeMillis < from {
			lo++
		}
		for hi > lo && s.Samples[hi-1].TimeMillis > to {
			hi--
		}
		if s.Samples = s.Samples[lo:hi]; len(s.Samples) > 0 {
			kept = append(kept, s)
		}
	}
	r.Series = kept
}

package query

import (
	"context"
	"errors"

	"github.com/bramble-tracing/bramble/internal/memlimit"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
	"github.com/bramble-tracing/bramble/internal/traceql/parser"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// MetricsResult is the answer of Metrics.
type MetricsResult struct {
	// Series are ordered by the number of labels and then by labels (M-11).
	Series []Series
	// Partial says what is missing; empty if nothing is (M-12).
	Partial string
	Stats   Stats
	Coverage
}

// Series is one time series. An instant query has one sample at most.
type Series struct {
	Labels    []store.Attr
	Samples   []Sample
	Exemplars []Exemplar
}

// Sample is one value at a time in Unix milliseconds.
type Sample struct {
	TimeMillis int64
	Value      float64
}

// Exemplar is a span that a value comes from.
type Exemplar struct {
	Labels     []store.Attr
	TimeMillis int64
	Value      float64
}

// Metrics computes time series from spans.
func (s *Service) Metrics(ctx context.Context, r MetricsRequest) (*MetricsResult, error) {
	return s.MetricsStream(ctx, r, nil)
}

// MetricsStream is Metrics that tells of samples as soon as they are final, the latest first, each once and without
// exemplars. An error of interim ends the query. The result has everything.
func (s *Service) MetricsStream(ctx context.Context, r MetricsRequest, interim func(*MetricsResult) error) (*MetricsResult, error) {
	p, err := compileMetrics(r.Query)
	if err != nil {
		return nil, err
	}
	d := &Done{Kind: "range", Query: r.Query, StartNano: r.StartNano, EndNano: r.EndNano, Client: r.Client, plan: p}
	if r.Instant {
		d.Kind = "instant"
	}
	var out *MetricsResult
	err = s.run(ctx, s.scans, d, func(ctx context.Context, v store.View, budget *memlimit.Budget) error {
		f := s.fanOut(&local{service: s, view: v, budget: budget}, r.Client)
		m := metricsRun{service: s, view: v, plan: p, interim: interim, options: metricsOptions(&r, budget)}
		res, err := f.metrics(ctx, &m, r)
		if err != nil {
			return err
		}
		d.Stats = statsOf(res.Stats)
		release, err := takeAnswer(budget, metricsSize(res))
		if err != nil {
			return err
		}
		defer release()
		out = metricsResult(res)
		out.Stats.without(d.Missing)
		if out.Partial == "" {
			out.Partial = d.Missing
		}
		out.Coverage = f.report(ctx, &out.Partial, &out.Stats)
		return nil
	})
	return out, err
}

// compileMetrics gives errors the prefixes that Tempo's metrics endpoints have (contract section 11, S-01).
func compileMetrics(q string) (*plan.Query, error) {
	p, err := traceql.Compile(q)
	var syntax *parser.Error
	switch {
	case errors.As(err, &syntax):
		return nil, &InvalidError{Err: err}
	case err != nil:
		return nil, &InvalidError{Reason: "compiling query", Err: err}
	case len(p.Metrics) == 0:
		return nil, &InvalidError{Err: exec.ErrNotMetrics} // M-05
	}
	return p, nil
}

func metricsResult(res *exec.MetricsResult) *MetricsResult {
	out := &MetricsResult{Series: make([]Series, len(res.Series)), Stats: statsOf(res.Stats)}
	if res.Truncated {
		out.Partial = "the number of series was cut to the limit; ask for fewer groups or raise maxSeries"
	}
	for i := range res.Series {
		s := &res.Series[i]
		series := Series{Labels: attrsOf(s.Labels), Samples: make([]Sample, len(s.Samples))}
		for k, p := range s.Samples {
			series.Samples[k] = Sample{TimeMillis: p.Millis, Value: p.Value}
		}
		for _, e := range s.Exemplars {
			series.Exemplars = append(series.Exemplars, Exemplar{Labels: attrsOf(e.Labels), TimeMillis: e.Millis, Value: e.Value})
		}
		out.Series[i] = series
	}
	return out
}

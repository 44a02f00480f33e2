package ast

import (
	"errors"
	"fmt"
)

// Limits of metrics queries (L-48).
const (
	maxGroupBy         = 5
	maxGroupByBucketed = 4 // Functions with buckets use one label themselves.
)

func checkMetrics(m Metrics) error {
	switch m := m.(type) {
	case *MetricsQuery:
		return checkMetricsQuery(m)
	case *MetricsOp:
		if err := checkMetrics(m.L); err != nil {
			return err
		}
		return checkMetrics(m.R)
	case *MetricsStages:
		if err := checkSecondStages(m.Stages); err != nil {
			return err
		}
		return checkMetrics(m.X)
	}
	return nil
}

func checkMetricsQuery(m *MetricsQuery) error {
	if err := checkPipeline(m.Pipeline); err != nil {
		return err
	}
	limit := maxGroupBy
	if m.Fn.Bucketed() {
		limit = maxGroupByBucketed
	}
	if len(m.By) > limit {
		return fmt.Errorf("%s can be grouped by at most %d attributes: grouping by %d is not yet supported", m.Fn, limit, len(m.By))
	}
	for _, a := range m.By {
		if err := checkAttr(a); err != nil {
			return err
		}
	}
	if m.Fn.HasAttr() {
		if err := checkAttr(m.Attr); err != nil {
			return err
		}
	}
	for _, q := range m.Quantiles {
		if q < 0 || q > 1 {
			return fmt.Errorf("a quantile lies between 0 and 1: %v does not", q)
		}
	}
	if m.Fn == Compare {
		if err := checkCompare(m); err != nil {
			return err
		}
	}
	return checkSecondStages(m.Stages)
}

func checkCompare(m *MetricsQuery) error {
	if err := CheckFilter(m.Selection); err != nil {
		return err
	}
	switch {
	case m.TopN < 1:
		return fmt.Errorf("compare keeps at least one value per attribute: %d is too few", m.TopN)
	case m.TimesSet && (m.Start <= 0 || m.End <= 0):
		return errors.New("the start and end of compare are Unix nanoseconds above 0")
	case m.TimesSet && m.End <= m.Start:
		return fmt.Errorf("the end of compare must be after its start: %d is not after %d", m.End, m.Start)
	case len(m.Stages) > 0:
		return errors.New("compare cannot be followed by a second stage such as topk or a comparison")
	}
	return nil
}

func checkSecondStages(stages []SecondStage) error {
	for _, s := range stages {
		if s.Kind != CompareValue && s.Limit < 1 {
			return fmt.Errorf("topk and bottomk keep at least one series: %d is too few", s.Limit)
		}
	}
	return nil
}

package ast

import (
	"strconv"
	"strings"
)

// Metrics is an expression whose value is a set of series: *MetricsQuery, *MetricsOp, *MetricsScalar or *MetricsStages.
type Metrics interface {
	String() string
	metrics()
}

// MetricsFn is the first-stage function of a metrics query.
type MetricsFn uint8

// The functions (contract 6.2, 6.7).
const (
	Rate MetricsFn = iota
	CountOverTime
	MinOverTime
	MaxOverTime
	AvgOverTime
	SumOverTime
	HistogramOverTime
	QuantileOverTime
	Compare
)

var metricsNames = [...]string{
	"rate", "count_over_time", "min_over_time", "max_over_time", "avg_over_time", "sum_over_time",
	"histogram_over_time", "quantile_over_time", "compare",
}

func (f MetricsFn) String() string { return metricsNames[f] }

// ParseMetricsFn returns the function of a name.
func ParseMetricsFn(word string) (MetricsFn, bool) {
	for i, n := range metricsNames {
		if n == word {
			return MetricsFn(i), true
		}
	}
	return 0, false
}

// HasAttr reports whether the function computes from the values of an attribute.
func (f MetricsFn) HasAttr() bool { return f >= MinOverTime && f <= QuantileOverTime }

// Bucketed reports whether the function counts values in power-of-two buckets.
func (f MetricsFn) Bucketed() bool { return f == HistogramOverTime || f == QuantileOverTime }

// DefaultTopN is how many values per attribute compare keeps.
const DefaultTopN = 10

// MetricsQuery is a pipeline whose spans are counted or measured over time.
type MetricsQuery struct {
	Pipeline  *Pipeline
	Fn        MetricsFn
	Attr      Attr      // Of functions that have one.
	Quantiles []float64 // Of quantile_over_time.
	By        []Attr
	Stages    []SecondStage

	// Of compare. Start and End are Unix nanoseconds, 0 when not given.
	Selection  *Filter
	TopN       int64
	TopNSet    bool
	Start, End int64
	TimesSet   bool
}

// SecondStageKind says what a SecondStage does.
type SecondStageKind uint8

// The second stages.
const (
	TopK SecondStageKind = iota
	BottomK
	CompareValue
)

// SecondStage works on finished series: topk and bottomk with Limit, or a comparison of each value.
type SecondStage struct {
	Kind  SecondStageKind
	Limit int64
	Op    Op
	Value Static // int, float or duration
}

// MetricsOp is arithmetic between series of equal labels, or between series and a number.
type MetricsOp struct {
	Op   Op // OpAdd, OpSub, OpMul or OpDiv
	L, R Metrics
}

// MetricsScalar is a number in arithmetic.
type MetricsScalar struct{ Value Static }

// MetricsStages applies second stages to the outcome of arithmetic.
type MetricsStages struct {
	X      Metrics
	Stages []SecondStage
}

func (*MetricsQuery) metrics()  {}
func (*MetricsOp) metrics()     {}
func (*MetricsScalar) metrics() {}
func (*MetricsStages) metrics() {}

func (m *MetricsQuery) String() string {
	var b strings.Builder
	b.WriteString(m.Pipeline.String() + " | " + m.Fn.String() + "(")
	switch m.Fn {
	case Compare:
		b.WriteString(m.Selection.String())
		if m.TopNSet {
			b.WriteString(formatInts(m.TopN))
		}
		if m.TimesSet {
			b.WriteString(formatInts(m.Start, m.End))
		}
	case Rate, CountOverTime:
	default:
		b.WriteString(m.Attr.String())
		for _, q := range m.Quantiles {
			b.WriteString(", " + strconv.FormatFloat(q, 'g', -1, 64))
		}
	}
	b.WriteByte(')')
	if len(m.By) > 0 {
		b.WriteString(" by(" + joinAttrs(m.By) + ")")
	}
	writeStages(&b, m.Stages)
	return b.String()
}

func writeStages(b *strings.Builder, stages []SecondStage) {
	for _, s := range stages {
		b.WriteString(s.String())
	}
}

// String prints the stage with the blank or bar that joins it to what stands before.
func (s SecondStage) String() string {
	switch s.Kind {
	case TopK:
		return " | topk(" + strconv.FormatInt(s.Limit, 10) + ")"
	case BottomK:
		return " | bottomk(" + strconv.FormatInt(s.Limit, 10) + ")"
	}
	return " " + s.Op.String() + " " + s.Value.String()
}

func (o *MetricsOp) String() string {
	var b strings.Builder
	p := o.Op.Prec()
	writeMetrics(&b, o.L, p)
	b.WriteString(" " + o.Op.String() + " ")
	writeMetrics(&b, o.R, p+1)
	return b.String()
}

func writeMetrics(b *strings.Builder, m Metrics, least int) {
	switch m := m.(type) {
	case *MetricsOp:
		if m.Op.Prec() >= least {
			b.WriteString(m.String())
			return
		}
	case *MetricsScalar:
		if !negative(m.Value) {
			b.WriteString(m.String())
			return
		}
	}
	b.WriteString("(" + m.String() + ")")
}

func (s *MetricsScalar) String() string { return s.Value.String() }

func (s *MetricsStages) String() string {
	var b strings.Builder
	switch s.X.(type) {
	case *MetricsOp:
		b.WriteString(s.X.String())
	default:
		b.WriteString("(" + s.X.String() + ")")
	}
	writeStages(&b, s.Stages)
	return b.String()
}

// Queries appends the metrics queries of an expression, left to right.
func Queries(dst []*MetricsQuery, m Metrics) []*MetricsQuery {
	switch m := m.(type) {
	case *MetricsQuery:
		return append(dst, m)
	case *MetricsOp:
		return Queries(Queries(dst, m.L), m.R)
	case *MetricsStages:
		return Queries(dst, m.X)
	}
	return dst
}

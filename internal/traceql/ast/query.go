package ast

import (
	"slices"
	"strconv"
	"strings"
)

// Query is a whole query. Exactly one of Pipeline, Metrics and Scalar is set.
type Query struct {
	Pipeline *Pipeline
	Metrics  Metrics
	Scalar   *ScalarFilter // (… | count()) > 1: parses and is refused (L-46).
	Hints    []Hint        // Of the last with clause; of a name given twice the last counts.
}

// Hint is name=value of a with clause.
type Hint struct {
	Name  string
	Value Static
}

// Hint returns the value of a hint.
func (q *Query) Hint(name string) (Static, bool) {
	for _, v := range slices.Backward(q.Hints) {
		if v.Name == name {
			return v.Value, true
		}
	}
	return Static{}, false
}

// Stage is an element of a pipeline.
type Stage interface {
	String() string
	stage()
}

// Spanset is an expression that selects spans: *Filter, *SpansetOp or a bracketed *Pipeline.
type Spanset interface {
	Stage
	spanset()
}

// Pipeline is stages joined by |.
type Pipeline struct{ Stages []Stage }

// Filter keeps the spans for which X holds; nil keeps all.
type Filter struct{ X Expr }

// SpansetOp joins two spansets logically or structurally.
type SpansetOp struct {
	Op   Op
	L, R Spanset
}

// ScalarFilter keeps the spansets for which the comparison holds.
type ScalarFilter struct {
	Op   Op
	L, R Scalar
}

// GroupBy splits spansets by the value of X.
type GroupBy struct{ X Expr }

// Coalesce joins all spansets of a trace.
type Coalesce struct{}

// Select names attributes that results show.
type Select struct{ Attrs []Attr }

func (*Pipeline) stage()     {}
func (*Filter) stage()       {}
func (*SpansetOp) stage()    {}
func (*ScalarFilter) stage() {}
func (*GroupBy) stage()      {}
func (*Coalesce) stage()     {}
func (*Select) stage()       {}

func (*Pipeline) spanset()  {}
func (*Filter) spanset()    {}
func (*SpansetOp) spanset() {}

// Scalar is a number computed from a spanset: *Aggregate, *Number, *ScalarOp or *ScalarPipeline.
type Scalar interface {
	String() string
	scalar()
}

// AggregateFn is the function of an Aggregate.
type AggregateFn uint8

// The aggregates.
const (
	Count AggregateFn = iota
	Min
	Max
	Avg
	Sum
)

var aggregateNames = [...]string{"count", "min", "max", "avg", "sum"}

func (f AggregateFn) String() string { return aggregateNames[f] }

// ParseAggregate returns the aggregate of a name.
func ParseAggregate(word string) (AggregateFn, bool) {
	for i, n := range aggregateNames {
		if n == word {
			return AggregateFn(i), true
		}
	}
	return 0, false
}

// Aggregate computes a number over the spans of a spanset. X is nil for count.
type Aggregate struct {
	Fn AggregateFn
	X  Expr
}

// Number is a constant among scalars: int, float or duration.
type Number struct{ Value Static }

// ScalarOp is arithmetic between scalars.
type ScalarOp struct {
	Op   Op
	L, R Scalar
}

// ScalarPipeline is a bracketed pipeline that ends in a scalar.
type ScalarPipeline struct {
	Pipeline *Pipeline
	Last     Scalar
}

func (*Aggregate) scalar()      {}
func (*Number) scalar()         {}
func (*ScalarOp) scalar()       {}
func (*ScalarPipeline) scalar() {}

func (q *Query) String() string {
	var b strings.Builder
	switch {
	case q.Metrics != nil:
		b.WriteString(q.Metrics.String())
	case q.Scalar != nil:
		b.WriteString(q.Scalar.String())
	case q.Pipeline != nil:
		b.WriteString(q.Pipeline.String())
	}
	for i, h := range q.Hints {
		if i == 0 {
			b.WriteString(" with(")
		} else {
			b.WriteString(", ")
		}
		b.WriteString(h.Name + "=" + h.Value.String())
	}
	if len(q.Hints) > 0 {
		b.WriteByte(')')
	}
	return b.String()
}

func (p *Pipeline) String() string {
	var b strings.Builder
	for i, s := range p.Stages {
		if i > 0 {
			b.WriteString(" | ")
		}
		if inner, ok := s.(*Pipeline); ok {
			b.WriteString("(" + inner.String() + ")")
			continue
		}
		b.WriteString(s.String())
	}
	return b.String()
}

func (f *Filter) String() string {
	if f.X == nil {
		return "{ }"
	}
	return "{ " + f.X.String() + " }"
}

func (o *SpansetOp) String() string {
	var b strings.Builder
	o.write(&b, o.hasPipeline())
	return b.String()
}

// hasPipeline reports whether an operand is a bracketed pipeline, beside which all others must stand in brackets too.
func (o *SpansetOp) hasPipeline() bool {
	for _, side := range []Spanset{o.L, o.R} {
		switch side := side.(type) {
		case *Pipeline:
			return true
		case *SpansetOp:
			if side.hasPipeline() {
				return true
			}
		}
	}
	return false
}

func (o *SpansetOp) write(b *strings.Builder, brackets bool) {
	p := o.Op.Prec()
	writeSpanset(b, o.L, p, brackets)
	b.WriteString(" " + o.Op.String() + " ")
	writeSpanset(b, o.R, p+1, brackets)
}

// writeSpanset brackets an operand that binds weaker than its place needs. Pipelines are bracketed always.
func writeSpanset(b *strings.Builder, s Spanset, least int, brackets bool) {
	if op, ok := s.(*SpansetOp); ok {
		weak := op.Op.Prec() < least
		if weak {
			b.WriteByte('(')
		}
		op.write(b, brackets)
		if weak {
			b.WriteByte(')')
		}
		return
	}
	if _, isFilter := s.(*Filter); isFilter && !brackets {
		b.WriteString(s.String())
		return
	}
	b.WriteString("(" + s.String() + ")")
}

func (f *ScalarFilter) String() string {
	return f.L.String() + " " + f.Op.String() + " " + f.R.String()
}

func (g *GroupBy) String() string { return "by(" + g.X.String() + ")" }
func (*Coalesce) String() string  { return "coalesce()" }
func (s *Select) String() string  { return "select(" + joinAttrs(s.Attrs) + ")" }
func (n *Number) String() string  { return n.Value.String() }
func joinAttrs(attrs []Attr) string {
	var b strings.Builder
	for i, a := range attrs {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(a.String())
	}
	return b.String()
}

func (a *Aggregate) String() string {
	if a.X == nil {
		return a.Fn.String() + "()"
	}
	return a.Fn.String() + "(" + a.X.String() + ")"
}

func (o *ScalarOp) String() string {
	var b strings.Builder
	o.write(&b)
	return b.String()
}

func (o *ScalarOp) write(b *strings.Builder) {
	p := o.Op.Prec()
	left, right := p, p+1
	if o.Op == OpPow {
		left, right = p+1, p
	}
	writeScalar(b, o.L, left)
	b.WriteString(" " + o.Op.String() + " ")
	writeScalar(b, o.R, right)
}

func writeScalar(b *strings.Builder, s Scalar, least int) {
	switch s := s.(type) {
	case *ScalarOp:
		if s.Op.Prec() >= least {
			s.write(b)
			return
		}
		b.WriteByte('(')
		s.write(b)
		b.WriteByte(')')
	case *Number:
		if least >= PrecMul && negative(s.Value) {
			b.WriteString("(" + s.String() + ")")
			return
		}
		b.WriteString(s.String())
	default:
		b.WriteString(s.String())
	}
}

func (p *ScalarPipeline) String() string {
	return "(" + p.Pipeline.String() + " | " + p.Last.String() + ")"
}

func formatInts(ints ...int64) string {
	var b strings.Builder
	for _, n := range ints {
		b.WriteString(", " + strconv.FormatInt(n, 10))
	}
	return b.String()
}

package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

// Pipeline is how a spanset pipeline is evaluated.
type Pipeline struct {
	AST *ast.Pipeline
	// Conds holds the condition of every filter in AST.
	Conds map[*ast.Filter]*Cond
	// Columns are the attributes that evaluation reads from spans, trace-level intrinsics included.
	Columns []ast.Attr
	// Show is what results list (S-24): what is mentioned, then what is selected. ast.Name among it stands for the
	// name of the span, which is no attribute there (S-27).
	Show []Shown
	// Anchor holds for at least one span of every trace that matches. It has no trace-level parts.
	Anchor *Cond
	// Each holds for every span that survives. It has no trace-level parts.
	Each *Cond
	// Needs are what a trace must have to match, besides a span for which Anchor holds.
	Needs []Need
	// Local is set when a span survives exactly if Local holds for it, whatever the rest of its trace is.
	Local *Cond
	// Structure says that parents, numbering or child counts are needed.
	Structure bool
	// Grouped says that a trace may give several spansets.
	Grouped bool
}

// Shown is an attribute that results list. If a query only tests it, spans list it where one of the tests holds for
// its value: { span.a = 1 || span.b = 2 } does not list the b of a span that was found by its a (observed).
type Shown struct {
	Attr  ast.Attr
	Tests []*Test // None: listed always.
}

// builder collects what the stages need.
type builder struct {
	p      *Pipeline
	tested map[ast.Attr][]*Test
	always []ast.Attr // Listed whatever their value is.
}

func newPipeline(p *ast.Pipeline) (*Pipeline, error) {
	b := newBuilder(p)
	if err := b.stages(p.Stages); err != nil {
		return nil, err
	}
	b.p.Columns = b.mentioned()
	b.selected(p.Stages)
	b.show()
	b.p.Each, b.p.Anchor = b.bounds(p)
	b.p.Needs = worthChecking(b.needs(p), b.p.Anchor)
	b.p.Local = b.local(p)
	for _, a := range b.p.Columns {
		switch a.Intrinsic {
		case ast.NestedSetLeft, ast.NestedSetRight, ast.NestedSetParent, ast.ChildCount:
			b.p.Structure = true
		}
	}
	return b.p, nil
}

// stages lowers filters and notes what is mentioned.
func (b *builder) stages(stages []ast.Stage) error {
	for _, s := range stages {
		if err := b.stage(s); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) stage(s ast.Stage) error {
	switch s := s.(type) {
	case *ast.Pipeline:
		return b.stages(s.Stages)
	case *ast.Filter:
		c, err := lower(s.X)
		if err != nil {
			return fmt.Errorf("plan %s: %w", s, err)
		}
		b.p.Conds[s] = c
		b.note(c, true)
	case *ast.SpansetOp:
		if s.Op.Structural() {
			b.p.Structure = true
		}
		if err := b.stage(s.L); err != nil {
			return err
		}
		return b.stage(s.R)
	case *ast.ScalarFilter:
		if a, ok := s.L.(*ast.Aggregate); ok && a.X != nil {
			b.mention(a.X)
		}
	case *ast.GroupBy:
		b.p.Grouped = true
		b.mention(s.X)
	}
	return nil
}

func newBuilder(p *ast.Pipeline) *builder {
	return &builder{p: &Pipeline{AST: p, Conds: map[*ast.Filter]*Cond{}}, tested: map[ast.Attr][]*Test{}}
}

// mention notes attributes whose values are listed whatever they are.
func (b *builder) mention(x ast.Expr) { b.always = ast.Attrs(b.always, x) }

// note notes the attributes of a condition.
func (b *builder) note(c *Cond, positive bool) {
	switch c.Op {
	case IsTest:
		if positive {
			b.tested[c.Test.Attr] = append(b.tested[c.Test.Attr], c.Test)
			return
		}
		b.mention(c.Test.Attr)
	case IsExpr:
		b.mention(c.Expr)
	}
	for _, a := range c.Args {
		b.note(a, positive && c.Op != Not)
	}
}

// mentioned lists all attributes noted so far.
func (b *builder) mentioned() []ast.Attr {
	out := slices.Clone(b.always)
	for _, c := range b.p.Conds {
		out = c.Attrs(out)
	}
	slices.SortFunc(out, func(a, b ast.Attr) int { return strings.Compare(a.String(), b.String()) })
	return out
}

// selected notes what select() names.
func (b *builder) selected(stages []ast.Stage) {
	for _, s := range stages {
		switch s := s.(type) {
		case *ast.Pipeline:
			b.selected(s.Stages)
		case *ast.SpansetOp:
			b.selected([]ast.Stage{s.L, s.R})
		case *ast.Select:
			for _, a := range s.Attrs {
				b.always = ast.AddAttr(b.always, a)
			}
		}
	}
}

// show sets Show, without what results never list (S-24).
func (b *builder) show() {
	b.p.Show = nil
	add := func(s Shown) {
		switch s.Attr.Intrinsic {
		case ast.SpanDuration, ast.TraceDuration, ast.RootName, ast.RootService, ast.TraceID, ast.SpanID:
			return
		}
		b.p.Show = append(b.p.Show, s)
	}
	for _, a := range b.always {
		add(Shown{Attr: a})
	}
	for _, a := range b.mentioned() {
		if tests := b.tested[a]; len(tests) > 0 && !slices.Contains(b.always, a) {
			add(Shown{Attr: a, Tests: tests})
		}
	}
}

// bounds returns Each and Anchor of a pipeline.
func (b *builder) bounds(p *ast.Pipeline) (each, anchor *Cond) {
	each, anchor = condTrue, condTrue
	for i, s := range p.Stages {
		set, ok := s.(ast.Spanset)
		if !ok {
			continue
		}
		e, a := b.spansetBounds(set)
		if i == 0 {
			each, anchor = e, a
			continue
		}
		each = join(And, []*Cond{each, e})
		anchor = better(anchor, a)
	}
	return each, better(each, anchor)
}

func (b *builder) spansetBounds(s ast.Spanset) (each, anchor *Cond) {
	switch s := s.(type) {
	case *ast.Pipeline:
		return b.bounds(s)
	case *ast.Filter:
		c := b.p.Conds[s].superset()
		return c, c
	}
	op := s.(*ast.SpansetOp)
	le, la := b.spansetBounds(op.L)
	re, ra := b.spansetBounds(op.R)
	both := join(Or, []*Cond{le, re})
	switch {
	case op.Op == ast.OpAnd:
		return both, better(la, ra)
	case op.Op == ast.OpOr:
		return both, join(Or, []*Cond{la, ra})
	case op.Op.Negated():
		return re, ra
	case op.Op.Union():
		return both, better(la, ra)
	}
	return re, better(la, ra)
}

// better returns the condition that leaves fewer spans, as far as one can guess.
func better(a, b *Cond) *Cond {
	switch {
	case a.Op == False || b.Op == True:
		return a
	case b.Op == False || a.Op == True:
		return b
	case b.cost() < a.cost():
		return b
	}
	return a
}

// local returns the condition that decides each span alone, or nil if there is none.
func (b *builder) local(s ast.Stage) *Cond {
	switch s := s.(type) {
	case *ast.Pipeline:
		all := condTrue
		for _, st := range s.Stages {
			if _, ok := st.(*ast.Select); ok {
				continue
			}
			c := b.local(st)
			if c == nil {
				return nil
			}
			all = join(And, []*Cond{all, c})
		}
		return all
	case *ast.Filter:
		if c := b.p.Conds[s]; !c.traceLevel() {
			return c
		}
	case *ast.SpansetOp:
		l, r := b.local(s.L), b.local(s.R)
		if s.Op == ast.OpOr && l != nil && r != nil {
			return join(Or, []*Cond{l, r})
		}
	}
	return nil
}

// localByRoot is local after replacing nestedSetParent < 0. Only metrics use it.
func (b *builder) localByRoot() *Cond {
	exact := b.p.Conds
	b.p.Conds = make(map[*ast.Filter]*Cond, len(exact))
	for f, c := range exact {
		b.p.Conds[f] = c.rootOnly()
	}
	defer func() { b.p.Conds = exact }()
	return b.local(b.p.AST)
}

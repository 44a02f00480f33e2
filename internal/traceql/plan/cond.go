package plan

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

// CondOp says what a Cond is.
type CondOp uint8

// The kinds of conditions.
const (
	True   CondOp = iota
	False         // Never holds.
	And           // All of Args hold.
	Or            // One of Args holds.
	Not           // Args[0] does not hold.
	IsTest        // Test holds.
	IsItem        // One event, or one link, satisfies all of Tests (E-02).
	IsExpr        // Expr is true.
)

// Cond is a condition on one span.
type Cond struct {
	Op    CondOp
	Args  []*Cond
	Test  *Test
	Tests []*Test
	Expr  ast.Expr
}

// TestOp is the comparison of a Test. They are those of store.Op.
type TestOp uint8

// The comparisons.
const (
	Exists TestOp = iota
	NotExists
	Eq
	Ne
	Lt
	Le
	Gt
	Ge
	Regex
	NotRegex
	In
	NotIn
)

var testText = [...]string{"exists", "not exists", "=", "!=", "<", "<=", ">", ">=", "=~", "!~", "in", "not in"}

func (o TestOp) String() string { return testText[o] }

// Negative reports whether the comparison asks that no value matches.
func (o TestOp) Negative() bool { return o == Ne || o == NotRegex || o == NotIn || o == NotExists }

// Test compares an attribute with constants: none for existence, any number for In and NotIn, else one.
type Test struct {
	Attr   ast.Attr
	Op     TestOp
	Values []ast.Static
	Regex  *regexp.Regexp // Anchored (E-16).
}

func (t *Test) String() string {
	if t.Op == Exists || t.Op == NotExists {
		return t.Attr.String() + " " + t.Op.String()
	}
	var b strings.Builder
	b.WriteString(t.Attr.String() + " " + t.Op.String())
	const most = 5
	for i, v := range t.Values {
		if i == most {
			fmt.Fprintf(&b, " … (%d values)", len(t.Values))
			break
		}
		b.WriteString(" " + v.String())
	}
	return b.String()
}

// String prints the condition for Explain.
func (c *Cond) String() string {
	switch c.Op {
	case True:
		return "true"
	case False:
		return "false"
	case Not:
		return "not(" + c.Args[0].String() + ")"
	case IsTest:
		return c.Test.String()
	case IsItem:
		parts := make([]string, len(c.Tests))
		for i, t := range c.Tests {
			parts[i] = t.String()
		}
		return "one " + c.Tests[0].Attr.OneOf().String() + "(" + strings.Join(parts, ", ") + ")"
	case IsExpr:
		return "compute(" + c.Expr.String() + ")"
	}
	name := "and("
	if c.Op == Or {
		name = "or("
	}
	parts := make([]string, len(c.Args))
	for i, a := range c.Args {
		parts[i] = a.String()
	}
	return name + strings.Join(parts, ", ") + ")"
}

var (
	condTrue  = &Cond{Op: True}
	condFalse = &Cond{Op: False}
)

func test(a ast.Attr, op TestOp, values ...ast.Static) *Cond {
	return &Cond{Op: IsTest, Test: &Test{Attr: a, Op: op, Values: values}}
}

func not(c *Cond) *Cond {
	switch c.Op {
	case True:
		return condFalse
	case False:
		return condTrue
	case Not:
		return c.Args[0]
	}
	return &Cond{Op: Not, Args: []*Cond{c}}
}

// walk calls f for the condition and everything in it.
func (c *Cond) walk(f func(*Cond)) {
	f(c)
	for _, a := range c.Args {
		a.walk(f)
	}
}

// Attrs appends the attributes that the condition mentions and dst does not have.
func (c *Cond) Attrs(dst []ast.Attr) []ast.Attr {
	c.walk(func(c *Cond) {
		switch c.Op {
		case IsTest:
			dst = ast.AddAttr(dst, c.Test.Attr)
		case IsItem:
			for _, t := range c.Tests {
				dst = ast.AddAttr(dst, t.Attr)
			}
		case IsExpr:
			dst = ast.Attrs(dst, c.Expr)
		}
	})
	return dst
}

// traceLevel reports whether the condition can be decided only with the whole trace at hand.
func (c *Cond) traceLevel() bool {
	for _, a := range c.Attrs(nil) {
		if a.TraceLevel() {
			return true
		}
	}
	return false
}

// superset returns a condition without trace-level parts that holds whenever c holds.
func (c *Cond) superset() *Cond {
	switch c.Op {
	case And, Or:
		args := make([]*Cond, len(c.Args))
		for i, a := range c.Args {
			args[i] = a.superset()
		}
		return join(c.Op, args)
	case IsTest:
		if impliesRoot(c.Test) {
			return test(ast.IntrinsicAttr(ast.ParentID), NotExists)
		}
	}
	if c.traceLevel() {
		return condTrue
	}
	return c
}

// impliesRoot recognises nestedSetParent < 0 and = -1, which hold for root spans only (E-05).
func impliesRoot(t *Test) bool {
	if t.Attr.Intrinsic != ast.NestedSetParent || len(t.Values) != 1 {
		return false
	}
	v, ok := t.Values[0].Number()
	if !ok {
		return false
	}
	return t.Op == Lt && v <= 0 || t.Op == Le && v < 0 || t.Op == Eq && v < 0
}

// rootOnly returns the condition with nestedSetParent < 0 replaced by "has no parent", which is the same but for
// traces without numbering (more than two spans with one id).
func (c *Cond) rootOnly() *Cond {
	switch c.Op {
	case And, Or, Not:
		args := make([]*Cond, len(c.Args))
		for i, a := range c.Args {
			args[i] = a.rootOnly()
		}
		return &Cond{Op: c.Op, Args: args}
	case IsTest:
		if v, _ := number(c.Test); impliesRoot(c.Test) && (c.Test.Op != Eq || v == -1) && v > -2 {
			return test(ast.IntrinsicAttr(ast.ParentID), NotExists)
		}
	}
	return c
}

func number(t *Test) (float64, bool) {
	if len(t.Values) != 1 {
		return 0, false
	}
	return t.Values[0].Number()
}

// cost ranks conditions: what is cheap to decide and leaves few spans comes first.
func (c *Cond) cost() int {
	switch c.Op {
	case True, False:
		return 0
	case IsTest:
		return c.Test.cost()
	case IsItem:
		return 1000
	case IsExpr:
		return 500 + 10*len(c.Attrs(nil))
	case Not:
		return 100 + c.Args[0].cost()
	case And:
		least := 1 << 20
		for _, a := range c.Args {
			least = min(least, a.cost())
		}
		return least
	}
	sum := 5
	for _, a := range c.Args {
		sum += a.cost()
	}
	return sum
}

func (t *Test) cost() int {
	base := 0
	if t.Attr.Scope == ast.ScopeNone {
		base = 10 // Several columns.
	}
	if t.Attr.OneOf() != ast.ScopeNone {
		base = 20
	}
	switch t.Op {
	case Eq:
		if t.Attr.Intrinsic == ast.StatusCode || t.Attr.Intrinsic == ast.SpanKind {
			return base + 12
		}
		return base + 10
	case In:
		return base + 14 + len(t.Values)/10
	case Lt, Le, Gt, Ge:
		return base + 20
	case Regex:
		return base + 40
	case Exists:
		return base + 30
	case NotExists:
		return base + 35
	case NotRegex:
		return base + 60
	}
	return base + 45
}

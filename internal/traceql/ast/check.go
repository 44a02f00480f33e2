package ast

import (
	"errors"
	"fmt"
	"regexp"
)

// Check is the static validation of contract 4.4: what parses and still cannot be answered. The error says which part
// is wrong and names the types.
func Check(q *Query) error {
	switch {
	case q.Scalar != nil:
		return checkScalarFilter(q.Scalar)
	case q.Metrics != nil:
		return checkMetrics(q.Metrics)
	}
	return checkPipeline(q.Pipeline)
}

func checkPipeline(p *Pipeline) error {
	for _, s := range p.Stages {
		if err := checkStage(s); err != nil {
			return err
		}
	}
	return nil
}

func checkStage(s Stage) error {
	switch s := s.(type) {
	case *Pipeline:
		return checkPipeline(s)
	case *Filter:
		return CheckFilter(s)
	case *SpansetOp:
		return checkSpansetOp(s)
	case *ScalarFilter:
		return checkScalarFilter(s)
	case *GroupBy:
		if _, err := checkExpr(s.X); err != nil {
			return err
		}
		if len(Attrs(nil, s.X)) == 0 {
			return fmt.Errorf("by() must mention an attribute or intrinsic of the span: %s does not", s)
		}
	case *Select:
		for _, a := range s.Attrs {
			if err := checkAttr(a); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkSpansetOp checks both sides. A structural operator needs one spanset per trace (E-50).
func checkSpansetOp(o *SpansetOp) error {
	for _, side := range []Spanset{o.L, o.R} {
		if err := checkStage(side); err != nil {
			return err
		}
		if o.Op.Structural() && grouped(side) {
			return fmt.Errorf("the operator %s needs one set of spans per trace, but one side is split by by(): put coalesce() behind it: %s",
				o.Op, o)
		}
	}
	return nil
}

// grouped reports whether a bracketed pipeline ends with several spansets per trace.
func grouped(s Spanset) bool {
	p, ok := s.(*Pipeline)
	if !ok {
		return false
	}
	split := false
	for _, st := range p.Stages {
		switch st := st.(type) {
		case *GroupBy:
			split = true
		case *Coalesce:
			split = false
		case *Pipeline:
			split = split || grouped(st)
		}
	}
	return split
}

// CheckFilter checks one filter, which must be boolean or a bare attribute (L-43).
func CheckFilter(f *Filter) error {
	if f.X == nil {
		return nil
	}
	t, err := checkExpr(f.X)
	if err != nil {
		return err
	}
	if _, bare := f.X.(Attr); t == TypeBool || bare && t == TypeAttribute {
		return nil
	}
	return fmt.Errorf("a filter must be true or false for a span: %s is of type %s", f, t)
}

func checkAttr(a Attr) error {
	switch {
	case a.Parent:
		return fmt.Errorf("%s: parent. is not yet supported", a)
	case a.Intrinsic == Parent:
		return errors.New("the intrinsic parent is not yet supported")
	}
	return nil
}

func checkExpr(x Expr) (Type, error) {
	switch x := x.(type) {
	case Attr:
		return x.Type(), checkAttr(x)
	case *Literal:
		return x.Type(), nil
	case *Unary:
		return checkUnary(x)
	case *Binary:
		return checkBinary(x)
	}
	return TypeNil, fmt.Errorf("unknown expression %s", x)
}

func checkUnary(u *Unary) (Type, error) {
	t, err := checkExpr(u.X)
	if err != nil {
		return t, err
	}
	switch {
	case t == TypeAttribute:
	case u.Op == OpNot && t != TypeBool:
		return t, fmt.Errorf("! needs a boolean: in %s it stands before a value of type %s", u, t)
	case u.Op == OpSub && !t.Numeric():
		return t, fmt.Errorf("minus needs a number: in %s it stands before a value of type %s", u, t)
	}
	if u.Op == OpNot {
		t = TypeBool
	}
	return t, nil
}

func checkBinary(b *Binary) (Type, error) {
	l, err := checkExpr(b.L)
	if err != nil {
		return l, err
	}
	r, err := checkExpr(b.R)
	if err != nil {
		return r, err
	}
	if IsNil(b.L) || IsNil(b.R) {
		return TypeBool, checkNil(b)
	}
	if b.Op == OpRegex || b.Op == OpNotRegex {
		return TypeBool, checkRegex(b, l, r)
	}
	if l != r && l != TypeAttribute && r != TypeAttribute && (!l.Numeric() || !r.Numeric()) {
		return l, fmt.Errorf("both sides of %s must be of the same type: %s is of type %s, %s of type %s", b.Op, b.L, l, b.R, r)
	}
	for _, t := range []Type{l, r} {
		if !allowed(t, b.Op) {
			return t, fmt.Errorf("%s cannot be used with values of type %s: %s", b.Op, t, b)
		}
	}
	return arithmeticType(b.Op, l, r), nil
}

// arithmeticType is Binary.Type for types that are known already.
func arithmeticType(op Op, l, r Type) Type {
	switch {
	case !op.Arithmetic():
		return TypeBool
	case l == TypeAttribute || r == TypeAttribute:
		return TypeAttribute
	case l == TypeInt && r == TypeInt:
		return TypeInt
	}
	return TypeFloat
}

// allowed is the table of L-41.
func allowed(t Type, op Op) bool {
	switch {
	case t == TypeAttribute:
		return true
	case t == TypeBool:
		return op.Logical() || op == OpEq || op == OpNe
	case t == TypeStatus || t == TypeKind:
		return op == OpEq || op == OpNe
	case t == TypeString:
		return op.Comparison()
	case t.Numeric():
		return op.Arithmetic() || op.Comparison() && op != OpRegex && op != OpNotRegex
	}
	return false
}

// checkNil refuses = nil for what always has a value (L-44).
func checkNil(b *Binary) error {
	x := b.L
	if IsNil(x) {
		x = b.R
	}
	a, ok := x.(Attr)
	if !ok || b.Op != OpEq {
		return nil
	}
	if a.Scope == ScopeIntrinsic && !a.Optional() || a == ServiceName {
		return fmt.Errorf("%s always has a value, so %s finds nothing: intrinsics and resource.service.name cannot be compared with = nil", a, b)
	}
	return nil
}

// checkRegex requires a string literal that compiles on the right (L-42).
func checkRegex(b *Binary, l, r Type) error {
	lit, ok := b.R.(*Literal)
	if !ok {
		return fmt.Errorf("the right side of %s must be a string in quotes: %s", b.Op, b)
	}
	if r != TypeString || l != TypeString && l != TypeAttribute {
		return fmt.Errorf("%s compares a string with a regular expression: %s is of type %s, %s of type %s", b.Op, b.L, l, b.R, r)
	}
	if _, err := CompileRegex(lit.Value.S); err != nil {
		return err
	}
	return nil
}

// CompileRegex compiles a regular expression anchored at both ends, with a dot that matches newlines (E-16).
func CompileRegex(expr string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(expr); err != nil {
		return nil, fmt.Errorf("invalid regular expression %s: %w", quote(expr), err)
	}
	re, err := regexp.Compile("^(?s:" + expr + ")$")
	if err != nil {
		return nil, fmt.Errorf("invalid regular expression %s: %w", quote(expr), err)
	}
	return re, nil
}

// checkScalarFilter allows aggregate cmp number only (L-46).
func checkScalarFilter(f *ScalarFilter) error {
	agg, ok := f.L.(*Aggregate)
	if !ok {
		return fmt.Errorf("the left side of a scalar filter must be a single aggregate such as count(): %s on the left is not yet supported", f.L)
	}
	if _, ok := f.R.(*Number); !ok {
		return fmt.Errorf("the right side of a scalar filter must be a number or a duration: %s on the right is not yet supported", f.R)
	}
	return checkAggregate(agg)
}

// checkAggregate requires a number that depends on the span (L-45).
func checkAggregate(a *Aggregate) error {
	if a.X == nil {
		return nil
	}
	t, err := checkExpr(a.X)
	if err != nil {
		return err
	}
	if t != TypeAttribute && !t.Numeric() {
		return fmt.Errorf("%s needs numbers: %s is of type %s", a.Fn, a.X, t)
	}
	if len(Attrs(nil, a.X)) == 0 {
		return fmt.Errorf("%s must mention an attribute or intrinsic of the span: %s does not", a.Fn, a)
	}
	return nil
}

package storetest

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/oracle"
)

// Predicates makes random predicates that have a fair chance to match some of the spans of a batch and not others.
type Predicates struct {
	rng     *rand.Rand
	columns []store.Column
	pool    map[store.Column][]store.Value // Values that occur.
}

// fixedOperands are tried on every column, whatever its type.
var fixedOperands = []store.Value{
	store.String(""), store.String("a"), store.String("500"), store.String("GET"), store.String("no such value"),
	store.Int(0), store.Int(1), store.Int(-1), store.Int(200), store.Int(1 << 53), store.Int(1_767_323_046_000_000_000),
	store.Float(0), store.Float(1), store.Float(1.5), store.Float(9.3e18), store.Bool(true), store.Bool(false),
}

var regexes = []string{"", ".*", "a", "a|b", "GET.*", "[0-9]+", "(?i)a", ".+e.*", "no such value", "x{300}", ".*\n.*", "日.*", "(?s).*"}

// NewPredicates collects the columns and values of b.
func NewPredicates(seed uint64, b *store.Batch) *Predicates {
	p := &Predicates{
		rng:  rand.New(rand.NewPCG(seed, 2)), //nolint:gosec // Not for secrets.
		pool: map[store.Column][]store.Value{},
	}
	for _, name := range store.Intrinsics {
		p.columns = append(p.columns, store.Intrinsic(name))
	}
	keys := keysOf(b)
	for _, key := range append(keys, "absent everywhere") {
		for scope := store.ScopeSpan; scope <= store.ScopeUnscoped; scope++ {
			p.columns = append(p.columns, store.Column{Scope: scope, Name: key})
		}
	}
	for i := range b.Spans {
		if len(b.Spans) > 500 && p.rng.IntN(len(b.Spans)) > 500 {
			continue
		}
		s := &b.Spans[i]
		for _, c := range p.columns {
			p.remember(c, oracle.ValuesOf(s, &b.Resources[s.Resource], &b.Scopes[s.Scope], c))
		}
	}
	return p
}

// keysOf returns the attribute keys of a batch, sorted.
func keysOf(b *store.Batch) []string {
	seen := map[string]bool{}
	add := func(attrs []store.Attr) {
		for i := range attrs {
			seen[attrs[i].Key] = true
		}
	}
	for i := range b.Resources {
		add(b.Resources[i].Attrs)
	}
	for i := range b.Scopes {
		add(b.Scopes[i].Attrs)
	}
	for i := range b.Spans {
		add(b.Spans[i].Attrs)
		for j := range b.Spans[i].Events {
			add(b.Spans[i].Events[j].Attrs)
		}
		for j := range b.Spans[i].Links {
			add(b.Spans[i].Links[j].Attrs)
		}
	}
	out := make([]string, 0, len(seen))
	for k := range seen {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func (p *Predicates) remember(c store.Column, values []store.Value) {
	for _, v := range values {
		if v.Type == store.TypeArray {
			elems, _ := v.Elems()
			p.remember(c, elems)
			continue
		}
		if pool := p.pool[c]; len(pool) < 50 && !slices.Contains(pool, v) {
			p.pool[c] = append(pool, v)
		}
	}
}

// Columns returns all columns that the predicates may be about: the intrinsics first, then every key in every scope.
func (p *Predicates) Columns() []store.Column { return p.columns }

// Next returns a random predicate.
func (p *Predicates) Next() *store.Predicate {
	c := p.columns[p.rng.IntN(len(p.columns))]
	for c.Name == store.ResourceRef || len(p.pool[c]) == 0 && p.rng.IntN(4) > 0 { // Mostly columns with values.
		c = p.columns[p.rng.IntN(len(p.columns))]
	}
	out := &store.Predicate{Column: c, Op: store.Op(p.rng.IntN(int(store.OpNotIn) + 1))} //nolint:gosec // Small.
	switch out.Op {
	case store.OpExists, store.OpNotExists:
	case store.OpRegex, store.OpNotRegex:
		if out.Regex = p.regex(c); p.rng.IntN(2) == 0 {
			out.Literal = store.RequiredLiteral(out.Regex)
		}
	case store.OpIn, store.OpNotIn:
		for range 1 + p.rng.IntN(4) {
			out.Values = append(out.Values, p.operand(c))
		}
	default:
		out.Values = []store.Value{p.operand(c)}
	}
	return out
}

func (p *Predicates) operand(c store.Column) store.Value {
	pool := p.pool[c]
	if len(pool) == 0 || p.rng.IntN(4) == 0 {
		return fixedOperands[p.rng.IntN(len(fixedOperands))]
	}
	v := pool[p.rng.IntN(len(pool))]
	switch {
	case p.rng.IntN(4) > 0:
	case v.Type == store.TypeInt: // E-13: a float of about the same value.
		return store.Float(float64(v.Int()) + float64(p.rng.IntN(3)-1)/2)
	case v.Type == store.TypeFloat:
		return store.Int(int64(v.Float()))
	case v.Type == store.TypeString:
		return store.String(v.Str + "a")
	}
	return v
}

func (p *Predicates) regex(c store.Column) *regexp.Regexp {
	text := regexes[p.rng.IntN(len(regexes))]
	if pool := p.pool[c]; len(pool) > 0 && p.rng.IntN(2) == 0 {
		if v := pool[p.rng.IntN(len(pool))]; len(v.Str) < 1000 {
			if text = regexp.QuoteMeta(strings.ToValidUTF8(v.Str, "")); p.rng.IntN(2) == 0 {
				text = ".*" + text + ".*" // With a literal that it requires.
			} else {
				text += "|b"
			}
		}
	}
	return regexp.MustCompile(`\A(?s:` + text + `)\z`) // E-16.
}

// Text returns a predicate as text, for messages.
func Text(p *store.Predicate) string {
	var out strings.Builder
	fmt.Fprintf(&out, "{%s %q %s", p.Column.Scope, p.Column.Name, p.Op)
	if p.Regex != nil {
		fmt.Fprintf(&out, " %q", p.Regex)
	}
	for _, v := range p.Values {
		switch v.Type {
		case store.TypeInt:
			fmt.Fprintf(&out, " %d", v.Int())
		case store.TypeFloat:
			fmt.Fprintf(&out, " %v (float)", v.Float())
		default:
			fmt.Fprintf(&out, " %s(%d, %.80q)", v.Type, v.Num, v.Str)
		}
	}
	return out.String() + "}"
}

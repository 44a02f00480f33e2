package sampling

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// ErrUnsupported is wrapped by errors about policies that cannot be evaluated on stored spans.
var ErrUnsupported = errors.New("not possible with store")

// Policies are compiled. They implement store.Decider and are safe for concurrent use.
type Policies struct {
	nodes      []*node // those that drop first, then in the order of the configuration
	leaves     []leaf
	budgets    int // counters of budgets
	firstMatch bool

	needStart, needEnd, needBytes bool
	perService                    int // how many there are
	cache                         summaries
	drops                         *Policies // those of type drop alone, if there is one of type min_per_service
}

// Names returns the names of the policies in the order in which they are asked.
func (p *Policies) Names() []string {
	out := make([]string, len(p.nodes))
	for i, n := range p.nodes {
		out[i] = n.name
	}
	return out
}

// node is a policy or a sub-policy.
type node struct {
	kind nodeKind
	name string
	subs []*node

	leaf   int  // of a leaf: index and bit
	negate bool // of a leaf or not

	budget int // index of the counter; of a composite that of the first sub-policy
	limit  limit
	shares []int64 // of a composite, per sub-policy
}

type nodeKind uint8

const (
	kindLeaf nodeKind = iota
	kindLimit
	kindAnd // also of drop
	kindNot
	kindComposite
)

// drops reports whether the policy drops what it samples.
func (n *node) drops() bool { return n.negate && n.kind == kindAnd }

// Compile checks policies and makes them ready to run. Errors name the policy by its path and name; those about types
// that need spans as they pass by wrap ErrUnsupported.
func Compile(cfg Config) (*Policies, error) {
	c := &compiler{out: &Policies{firstMatch: cfg.SampleOnFirstMatch}}
	var drops, others []*node
	seen := map[string]bool{}
	for i := range cfg.Policies {
		p := &cfg.Policies[i]
		path := fmt.Sprintf("policies::%d", i)
		if p.Name == "" {
			c.fail(path, "", errors.New("name is missing"))
		} else if seen[p.Name] {
			c.fail(path, p.Name, errors.New("another policy has the same name"))
		}
		seen[p.Name] = true
		n := c.policy(path, p, top)
		if n == nil {
			continue
		}
		if n.drops() {
			drops = append(drops, n)
		} else {
			others = append(others, n)
		}
	}
	c.out.nodes = slices.Concat(drops, others)
	if err := errors.Join(c.errs...); err != nil {
		return nil, err
	}
	if c.out.perService > 0 && len(drops) > 0 {
		only := Config{Policies: slices.DeleteFunc(slices.Clone(cfg.Policies), func(p Policy) bool { return p.Type != Drop })}
		var err error
		if c.out.drops, err = Compile(only); err != nil {
			return nil, err
		}
	}
	return c.out, nil
}

// place is where a policy stands, which decides what types are possible (contrib's nesting).
type place uint8

const (
	top place = iota
	inAnd
	inDrop
	inComposite
	inNot
)

var placeNames = [...]string{"at the top", "inside of and", "inside of drop", "inside of composite", "inside of not"}

// combining lists the types that hold others, with the places where they can stand.
var combining = map[string][]place{
	And: {top, inComposite}, Not: {top, inAnd, inDrop}, Drop: {top}, Composite: {top},
}

type compiler struct {
	out  *Policies
	errs []error
	// noBudget is not 0 inside of policies that would use up a budget for what is not kept.
	noBudget int
}

func (c *compiler) fail(path, name string, err error) {
	if name != "" {
		path += fmt.Sprintf(" (policy %q)", name)
	}
	c.errs = append(c.errs, fmt.Errorf("%s: %w", path, err))
}

// policy returns the node of a policy, nil after an error.
func (c *compiler) policy(path string, p *Policy, at place) *node {
	before := len(c.errs)
	n, err := c.node(path, p, at)
	if err != nil {
		c.fail(path, p.Name, err)
	}
	unknown := slices.DeleteFunc(slices.Sorted(maps.Keys(p.Rest)), func(key string) bool {
		settings, ok := p.Rest[key].(map[string]any)
		return key == p.Type && len(settings) == 0 && (ok || p.Rest[key] == nil) // trace_flags: {}
	})
	if len(unknown) > 0 && err == nil {
		c.fail(path, p.Name, fmt.Errorf("unknown fields: %s", strings.Join(unknown, ", ")))
	}
	if len(c.errs) > before {
		return nil
	}
	n.name = p.Name
	return n
}

func (c *compiler) node(path string, p *Policy, at place) (*node, error) {
	if places, ok := combining[p.Type]; ok {
		if !slices.Contains(places, at) {
			return nil, fmt.Errorf("type %s cannot stand %s", p.Type, placeNames[at])
		}
		return c.combine(path, p)
	}
	switch p.Type {
	case "":
		return nil, errors.New("type is missing")
	case RateLimiting:
		r := p.RateLimiting
		return c.limit(limit{rate: r.SpansPerSecond, burst: r.BurstCapacity}, "spans_per_second")
	case BytesLimiting:
		b := p.BytesLimiting
		return c.limit(limit{rate: b.BytesPerSecond, burst: b.BurstCapacity, bytes: true}, "bytes_per_second")
	case MinPerService:
		if at != top {
			return nil, fmt.Errorf("type %s cannot stand %s: it promises a number of traces, whatever other policies say", p.Type, placeNames[at])
		}
	case OTTLCondition:
		return nil, fmt.Errorf("type ottl_condition is %w: OTTL conditions are evaluated on spans as they pass by, not on stored columns; say the same with type traceql, or leave store out", ErrUnsupported)
	}
	l, negate, err := c.leaf(p)
	if err != nil {
		return nil, err
	}
	c.out.leaves = append(c.out.leaves, l)
	return &node{kind: kindLeaf, leaf: len(c.out.leaves) - 1, negate: negate}, nil
}

func (c *compiler) limit(l limit, field string) (*node, error) {
	if c.noBudget > 0 {
		return nil, fmt.Errorf("a budget inside of not or drop is %w: it would be used up by traces that are not kept", ErrUnsupported)
	}
	if l.rate < 0 || l.burst < 0 {
		return nil, fmt.Errorf("%s and burst_capacity must not be negative", field)
	}
	if l.burst == 0 {
		l.burst = 2 * min(l.rate, math.MaxInt64/2)
	}
	c.out.needStart = true
	c.out.needBytes = c.out.needBytes || l.bytes
	c.out.budgets++
	return &node{kind: kindLimit, limit: l, budget: c.out.budgets - 1}, nil
}

func (c *compiler) combine(path string, p *Policy) (*node, error) {
	var subs []Policy
	switch p.Type {
	case And:
		if p.And != nil {
			subs = p.And.SubPolicies
		}
		return &node{kind: kindAnd, subs: c.subs(path+"::and::and_sub_policy", subs, inAnd)}, nil
	case Drop:
		if p.Drop != nil {
			subs = p.Drop.SubPolicies
		}
		c.noBudget++
		defer func() { c.noBudget-- }()
		return &node{kind: kindAnd, negate: true, subs: c.subs(path+"::drop::drop_sub_policy", subs, inDrop)}, nil
	case Not:
		if p.Not == nil || p.Not.SubPolicy == nil {
			return nil, errors.New("not::not_sub_policy is missing")
		}
		c.noBudget++
		defer func() { c.noBudget-- }()
		n := c.policy(path+"::not::not_sub_policy", p.Not.SubPolicy, inNot)
		return &node{kind: kindNot, subs: []*node{n}}, nil
	}
	return c.composite(path, p)
}

func (c *compiler) subs(path string, policies []Policy, at place) []*node {
	out := make([]*node, len(policies))
	for i := range policies {
		out[i] = c.policy(fmt.Sprintf("%s::%d", path, i), &policies[i], at)
	}
	return out
}

// composite gives sub-policies their shares as contrib does: one that is not allocated a rate gets none.
func (c *compiler) composite(path string, p *Policy) (*node, error) {
	cfg := p.Composite
	if cfg == nil {
		cfg = &CompositeConfig{}
	}
	if cfg.MaxTotalSpansPerSecond < 0 {
		return nil, errors.New("composite::max_total_spans_per_second must not be negative")
	}
	n := &node{kind: kindComposite, budget: c.out.budgets, limit: limit{rate: cfg.MaxTotalSpansPerSecond}}
	c.out.budgets += len(cfg.SubPolicies)
	c.out.needStart = true
	total := float64(cfg.MaxTotalSpansPerSecond)
	shares := map[string]int64{}
	for i, a := range cfg.RateAllocation {
		if !slices.ContainsFunc(cfg.SubPolicies, func(s Policy) bool { return s.Name == a.Policy }) {
			return nil, fmt.Errorf("composite::rate_allocation::%d: there is no sub-policy %q", i, a.Policy)
		}
		shares[a.Policy] = int64(total / float64(len(cfg.SubPolicies)))
		if a.Percent > 0 {
			shares[a.Policy] = int64(float64(a.Percent) / 100 * total)
		}
	}
	n.subs = c.subs(path+"::composite::composite_sub_policy", cfg.SubPolicies, inComposite)
	for i := range cfg.SubPolicies {
		n.shares = append(n.shares, shares[cfg.SubPolicies[i].Name])
	}
	return n, nil
}

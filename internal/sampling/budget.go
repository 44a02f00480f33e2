package sampling

// limit is a budget per second of trace start.
type limit struct {
	rate, burst int64
	bytes       bool // of bytes, otherwise of spans
}

// room reports whether a trace of size n fits when used is spent of the second. A trace larger than the budget of a
// second passes if it is the first.
func (l *limit) room(used, n int64) bool {
	return n <= l.burst && (n <= l.rate-used || used == 0 && l.rate > 0 && n > l.rate)
}

// outcome evaluates the policies for traces in turn. Traces come in the order in which budgets are filled.
type outcome struct {
	policies *Policies
	t        *traces
	used     []int64 // per budget, of the second
	second   int64
}

// decide returns the policy that decides about the i-th trace, nil if none does.
func (o *outcome) decide(i int) *node {
	if len(o.used) > 0 {
		if s := second(o.t.start[i]); s != o.second {
			o.second = s
			clear(o.used)
		}
	}
	var first *node
	for _, n := range o.policies.nodes {
		if !o.ready(n, i) {
			continue
		}
		if n.drops() {
			return n
		}
		o.take(n, i)
		if first == nil {
			first = n
		}
		if o.policies.firstMatch {
			break
		}
	}
	return first
}

// ready reports whether the policy samples the trace, without using up anything.
func (o *outcome) ready(n *node, i int) bool {
	switch n.kind {
	case kindLeaf:
		return o.policies.leaves[n.leaf].holds(o.t, n.leaf, i) != n.negate
	case kindLimit:
		return n.limit.room(o.used[n.budget], o.t.size(i, n.limit.bytes))
	case kindAnd:
		for _, s := range n.subs {
			if !o.ready(s, i) {
				return false
			}
		}
		return true
	case kindNot:
		return !o.ready(n.subs[0], i)
	}
	s := o.chosen(n, i)
	if s < 0 {
		return false
	}
	after := o.used[n.budget+s] + o.t.size(i, false)
	return after <= n.shares[s] && after <= n.limit.rate
}

// chosen returns the sub-policy of a composite that samples the trace, -1 if none does. The others are not asked then,
// even if it has no room.
func (o *outcome) chosen(n *node, i int) int {
	for s, sub := range n.subs {
		if o.ready(sub, i) {
			return s
		}
	}
	return -1
}

// take uses up what a trace costs that the policy is ready for.
func (o *outcome) take(n *node, i int) {
	switch n.kind {
	case kindLimit:
		o.used[n.budget] += o.t.size(i, n.limit.bytes)
	case kindAnd:
		for _, s := range n.subs {
			o.take(s, i)
		}
	case kindComposite:
		s := o.chosen(n, i)
		o.take(n.subs[s], i)
		o.used[n.budget+s] += o.t.size(i, false)
	}
}

// second is the second of a time in Unix nanoseconds, rounded down.
func second(nano int64) int64 {
	s := nano / 1e9
	if nano%1e9 < 0 {
		s--
	}
	return s
}

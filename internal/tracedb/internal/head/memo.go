package head

import (
	"regexp"
	"sync"
	"sync/atomic"

	"github.com/bramble-tracing/bramble/internal/store"
)

// memo remembers which dictionary entries satisfy a predicate, so that each is evaluated about once however many
// rows and granules refer to it. Two bits per code: 0 unknown, 1 no, 2 yes. Goroutines that evaluate the same code at
// once come to the same result.
type memo []atomic.Uint32

// match returns whether code satisfies the predicate that eval evaluates.
func (m memo) match(code uint32, eval func(code uint32) bool) bool {
	shift := code & 15 * 2
	if s := m[code>>4].Load() >> shift & 3; s != 0 {
		return s == 2
	}
	if eval(code) {
		m[code>>4].Or(2 << shift)
		return true
	}
	m[code>>4].Or(1 << shift)
	return false
}

// memoKey identifies a predicate by value, so that a caller may change and reuse its Predicate.
type memoKey struct {
	column store.Column
	typ    store.ValueType
	op     store.Op
	value  store.Value
	regex  *regexp.Regexp
}

func keyOf(p *store.Predicate, typ store.ValueType) memoKey {
	k := memoKey{column: p.Column, typ: typ, op: p.Op}
	switch {
	case p.Op == store.OpRegex || p.Op == store.OpNotRegex:
		k.regex = p.Regex
	case len(p.Values) == 1:
		k.value = p.Values[0]
	default:
		k.value = store.Array(p.Values...)
	}
	return k
}

// memoSlots is how many predicates a head remembers. It bounds the memory: two bits per distinct value each.
const memoSlots = 16

// memoCache holds the memos of recent predicates. Its mutex guards all fields.
type memoCache struct {
	mu    sync.Mutex
	keys  [memoSlots]memoKey
	memos [memoSlots]memo
	next  int
}

// get returns the memo of a predicate with room for codes below n.
func (c *memoCache) get(k memoKey, n int) memo {
	words := (n + 15) / 16
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.keys {
		if c.memos[i] == nil || c.keys[i] != k {
			continue
		}
		if len(c.memos[i]) < words {
			c.memos[i] = c.memos[i].longer(words)
		}
		return c.memos[i]
	}
	m := make(memo, words)
	c.keys[c.next], c.memos[c.next] = k, m
	c.next = (c.next + 1) % memoSlots
	return m
}

// longer returns a copy with more words. What others still add to the old one is only evaluated again.
func (m memo) longer(words int) memo {
	l := make(memo, words+words/4)
	for i := range m {
		l[i].Store(m[i].Load())
	}
	return l
}

package pii

import (
	"hash/maphash"
	"math/bits"
	"slices"
	"strings"
	"sync/atomic"
)

// Both caches are tables of pointers to immutable entries: readers and writers need no lock, a new entry takes the
// place of an old one, and a lost race costs one computation. Entries hold the texts themselves, in memory only.
const (
	keySlots     = 4096
	maxCachedKey = 256
	resultSlots  = 4096
	maxCached    = 1024
)

// keyCache remembers the judgement of attribute keys.
type keyCache struct {
	seed  uint64
	slots [keySlots]atomic.Pointer[Key]
}

func newKeyCache() *keyCache {
	return &keyCache{seed: maphash.String(maphash.MakeSeed(), "")}
}

// get returns the entry of a key or nil, and the hash for put.
func (c *keyCache) get(key string) (*Key, uint64) {
	h := hashKeyName(key, c.seed)
	if k := c.slots[h%keySlots].Load(); k != nil && k.name == key {
		return k, h
	}
	if k := c.slots[(h>>32)%keySlots].Load(); k != nil && k.name == key {
		return k, h
	}
	return nil, h
}

// hashKeyName mixes the length and the first, middle and last eight bytes: enough to tell the keys of a program apart, at
// a third of the price of a hash of everything. Keys that collide cost time only.
func hashKeyName(s string, seed uint64) uint64 {
	const m1, m2, m3 = 0x9e3779b97f4a7c15, 0xc2b2ae3d27d4eb4f, 0x165667b19e3779f9
	n := len(s)
	var a, b, c uint64
	switch {
	case n >= 8:
		a, b, c = word(s), word(s[n-8:]), word(s[n/2-4:])
	case n > 0:
		for i := range n {
			a = a<<8 | uint64(s[i])
		}
	}
	h := (a^seed)*m1 ^ bits.RotateLeft64(b*m2, 23) ^ bits.RotateLeft64(c*m3, 41) ^ uint64(n)*m2
	h ^= h >> 29
	h *= m1
	return h ^ h>>32
}

// word reads eight bytes; the compiler makes one load of it.
func word(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

func (c *keyCache) put(k *Key, h uint64) {
	if len(k.name) > maxCachedKey {
		return
	}
	slot := h % keySlots
	if c.slots[slot].Load() != nil && c.slots[(h>>32)%keySlots].Load() == nil {
		slot = (h >> 32) % keySlots
	}
	c.slots[slot].Store(k)
}

// result is the outcome of a text that had findings, or of a statement.
type result struct {
	in      string
	kind    string // what it was read as: empty for text
	active  uint64
	text    string
	verdict Verdict
	hits    []Hit
	hash    string // of statements
}

// resultCache remembers outcomes. At most resultSlots texts of maxCached bytes are held.
type resultCache struct {
	seed  maphash.Seed
	slots [resultSlots]atomic.Pointer[result]
}

func newResultCache() *resultCache { return &resultCache{seed: maphash.MakeSeed()} }

func (c *resultCache) slot(s string, active uint64) *atomic.Pointer[result] {
	return &c.slots[(maphash.String(c.seed, s)^active*0x9e3779b97f4a7c15)%resultSlots]
}

func (c *resultCache) get(s, kind string, active uint64) *result {
	if len(s) > maxCached {
		return nil
	}
	if r := c.slot(s, active).Load(); r != nil && r.active == active && r.in == s && r.kind == kind {
		return r
	}
	return nil
}

// put stores a result under a copy of its text, so that it does not hold what the text is a part of.
func (c *resultCache) put(r result) {
	if len(r.in) > maxCached {
		return
	}
	r.in, r.kind, r.hits = strings.Clone(r.in), strings.Clone(r.kind), slices.Clone(r.hits)
	c.slot(r.in, r.active).Store(&r)
}

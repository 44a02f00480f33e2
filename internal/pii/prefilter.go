package pii

import "math"

// gramLen is the number of bytes that a trigger looks at. Shorter texts cannot contain anything that is looked for.
const gramLen = 4

// lanes is the number of buckets of triggers that the prefilter tests at once.
const lanes = 16

// byteSet is a set of byte values.
type byteSet [4]uint64

func (b *byteSet) add(c byte)      { b[c>>6] |= 1 << (c & 63) }
func (b *byteSet) has(c byte) bool { return b[c>>6]&(1<<(c&63)) != 0 }

func (b *byteSet) union(o *byteSet) {
	for i := range b {
		b[i] |= o[i]
	}
}

// setOf returns the set of the bytes of s. A dash between two bytes stands for the range, as in regular expressions;
// a dash at either end for itself.
func setOf(s string) byteSet {
	var b byteSet
	for i := 0; i < len(s); i++ {
		if i+2 < len(s) && s[i+1] == '-' {
			for c := int(s[i]); c <= int(s[i+2]); c++ {
				b.add(byte(c))
			}
			i += 2
			continue
		}
		b.add(s[i])
	}
	return b
}

func notIn(o byteSet) byteSet {
	for i := range o {
		o[i] = ^o[i]
	}
	return o
}

var (
	anyByte    = notIn(byteSet{})
	digitSet   = setOf("0-9")
	alphaSet   = setOf("A-Za-z")
	upperSet   = setOf("A-Z")
	alnumSet   = setOf("A-Za-z0-9")
	hexSet     = setOf("0-9a-fA-F")
	lowHexSet  = setOf("0-9a-f")
	b64URLSet  = setOf("A-Za-z0-9_-")
	wordSet    = setOf("A-Za-z0-9_")
	nonASCII   = notIn(setOf("\x00-\x7f"))
	whiteSpace = setOf(" \t\r\n\v\f")
)

// gram is the context of a candidate: a set for each of four bytes in a row.
type gram [gramLen]byteSet

// gramOf returns the gram of a text's first four bytes; fold makes ASCII letters match in both cases. Missing bytes
// match anything.
func gramOf(s string, fold bool) gram {
	var g gram
	for i := range g {
		if i >= len(s) {
			g[i] = anyByte
			continue
		}
		g[i].add(s[i])
		if c := s[i] | 0x20; fold && c >= 'a' && c <= 'z' {
			g[i].add(c)
			g[i].add(c &^ 0x20)
		}
	}
	return g
}

func (g *gram) matches(s string) bool {
	return g[0].has(s[0]) && g[1].has(s[1]) && g[2].has(s[2]) && g[3].has(s[3])
}

// trigger is a gram and what to do where it occurs. check reports findings to the scanner; at is the offset of the
// gram's first byte. Only rules that are active in the scanner are checked.
type trigger struct {
	gram  gram
	rules uint64
	check func(sc *Scanner, s string, at int)
}

// prefilter finds the places where triggers occur. A byte's entry in table has one group of 16 bits for each of the
// four positions in a gram, and in it one bit for each bucket of triggers: four look-ups and three ands tell for all
// buckets at once whether one of them may occur at an offset.
type prefilter struct {
	table   [256]uint64
	buckets [lanes][]trigger
}

func newPrefilter(triggers []trigger) *prefilter {
	p := &prefilter{}
	var sets [lanes]gram
	var load [lanes]float64
	for _, t := range triggers {
		best, cost := 0, math.Inf(1)
		for l := range lanes {
			g := sets[l]
			for i := range g {
				g[i].union(&t.gram[i])
			}
			if c := frequency(&g) - load[l]; c < cost {
				best, cost = l, c
			}
		}
		for i := range sets[best] {
			sets[best][i].union(&t.gram[i])
		}
		load[best] = frequency(&sets[best])
		p.buckets[best] = append(p.buckets[best], t)
	}
	for l := range lanes {
		for i := range gramLen {
			for c := range 256 {
				if sets[l][i].has(byte(c)) {
					p.table[c] |= 1 << (i*lanes + l)
				}
			}
		}
	}
	return p
}

// frequency estimates how often a gram occurs in the texts of spans.
func frequency(g *gram) float64 {
	f := 1.0
	for i := range g {
		sum := 0.0
		for c := range 256 {
			if g[i].has(byte(c)) {
				sum += byteFrequency(byte(c))
			}
		}
		f *= sum
	}
	return f
}

func byteFrequency(c byte) float64 {
	switch {
	case c == 'e' || c == 't' || c == 'a' || c == 'o' || c == 'i' || c == 'n' || c == 's' || c == 'r':
		return 0.05
	case c >= 'a' && c <= 'z':
		return 0.018
	case c >= '0' && c <= '9':
		return 0.012
	case c >= 'A' && c <= 'Z':
		return 0.003
	case c == ' ' || c == '.' || c == '/' || c == '-' || c == '_':
		return 0.03
	case c > ' ' && c < 0x7f:
		return 0.003
	default:
		return 0.0005
	}
}

// next returns the first offset at or after i at which some bucket may match, and the buckets as bits; or -1.
func (p *prefilter) next(s string, i int) (at int, buckets uint16) {
	if len(s)-i < gramLen {
		return -1, 0
	}
	const low = 1<<lanes - 1
	t := &p.table
	a, b := t[s[i]], t[s[i+1]]
	pair := a & (b >> lanes)
	last := t[s[i+2]]
	pair2 := b & (last >> lanes)
	for j := i + 3; j < len(s); j++ {
		cur := t[s[j]]
		pair3 := last & (cur >> lanes)
		// pair holds positions 0 and 1 of the gram that ends at j, pair3 positions 2 and 3.
		if m := pair & (pair3 >> (2 * lanes)) & low; m != 0 {
			return j - 3, uint16(m)
		}
		pair, pair2, last = pair2, pair3, cur
	}
	return -1, 0
}

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
	alone bool // in its bucket, so that the table alone has shown that the gram is there
	check func(sc *Scanner, s string, at int)
}

// prefilter finds the places where triggers occur. A byte's entry in table has one group of 16 bits for each of the
// four positions in a gram, and in it one bit for each bucket of triggers: four look-ups and three ands tell for all
// buckets at once whether one of them may occur at an offset.
type prefilter struct {
	table   [256]uint64
	buckets [lanes][]trigger
	cheap   uint16 // buckets that hold nothing but triggers on runs of digits, whose checks cost less than a look-up
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
	runs := gram{digitSet, digitSet, digitSet, digitSet}
	for l := range lanes {
		if list := p.buckets[l]; len(list) == 1 {
			list[0].alone = true
		}
		if sets[l] == runs {
			p.cheap |= 1 << l
		}
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
		return 0.05 // Rare, but digits come in runs: a gram of digits is much more frequent than four digits apart.
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
	w0, w1, last := t[s[i]], t[s[i+1]], t[s[i+2]]
	// pair(j) holds positions 0 and 1 of the gram that begins at j, and shifted by two groups positions 2 and 3 of the
	// one that ends behind it. a and b are the pairs at j-3 and j-2.
	a, b := w0&(w1>>lanes), w1&(last>>lanes)
	j := i + 3
	for ; j+4 <= len(s); j += 4 {
		x0, x1, x2, x3 := t[s[j]], t[s[j+1]], t[s[j+2]], t[s[j+3]]
		c := last & (x0 >> lanes)
		d := x0 & (x1 >> lanes)
		e := x1 & (x2 >> lanes)
		f := x2 & (x3 >> lanes)
		m0, m1, m2, m3 := a&(c>>(2*lanes)), b&(d>>(2*lanes)), c&(e>>(2*lanes)), d&(f>>(2*lanes))
		if (m0|m1|m2|m3)&low != 0 {
			switch {
			case m0&low != 0:
				return j - 3, uint16(m0 & low)
			case m1&low != 0:
				return j - 2, uint16(m1 & low)
			case m2&low != 0:
				return j - 1, uint16(m2 & low)
			}
			return j, uint16(m3 & low)
		}
		a, b, last = e, f, x3
	}
	for ; j < len(s); j++ {
		x := t[s[j]]
		c := last & (x >> lanes)
		if m := a & (c >> (2 * lanes)) & low; m != 0 {
			return j - 3, uint16(m)
		}
		a, b, last = b, c, x
	}
	return -1, 0
}

package pii

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"unicode/utf8"
)

// Bounds of the user's patterns. A match is at most maxMatch bytes long; longer ones are cut. A text may cause
// regular expressions to read budgetPerByte bytes for each of its bytes and budgetBase on top; one that needs more is
// treated as one match.
const (
	maxMatch      = 4096
	budgetPerByte = 16
	budgetBase    = 256 << 10
)

// pattern is a compiled expression of the user.
type pattern struct {
	rule *rule
	// start matches at the beginning of a text, behind behind one character more, so that \b and ^ see what stands
	// in front.
	start, behind, any *regexp.Regexp
	reach              int  // bytes that a match can have at most, and a failing attempt can read
	first              bool // matches at the beginning of the text only
}

func compilePattern(expr string) (*syntax.Regexp, error) {
	if expr == "" {
		return nil, errors.New("an empty pattern matches everything; remove it")
	}
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("%q is not an RE2 expression: %w", expr, err)
	}
	if regexp.MustCompile(expr).MatchString("") {
		return nil, fmt.Errorf("%q matches the empty text and so every text; make a part of it mandatory", expr)
	}
	return re, nil
}

// armPattern adds a pattern of an own rule. When its first four bytes are known to come from limited sets, the
// prefilter finds the candidates; else it runs over whole texts.
func armPattern(b *builder, r *rule, expr string) {
	re, err := compilePattern(expr)
	if err != nil {
		return // Config.Validate has reported it
	}
	least, most := matchLength(re)
	if most < 0 || most > maxMatch {
		most = maxMatch
	}
	p := &pattern{
		rule:   r,
		start:  regexp.MustCompile(`\A(?:` + expr + `)`),
		behind: regexp.MustCompile(`\A(?s:.)(?:` + expr + `)`),
		any:    regexp.MustCompile(expr),
		reach:  most,
	}
	p.first = beginsText(re)
	g, n := gramOfPattern(re)
	if n < 2 || least < gramLen {
		b.rules.whole = append(b.rules.whole, p)
		return
	}
	b.rules.insideRuns = true
	b.on(r, g, p.at)
}

// at tries the pattern at one offset.
func (p *pattern) at(sc *Scanner, s string, at int) {
	if at < sc.skip {
		return
	}
	end := min(len(s), at+p.reach)
	if sc.budget -= end - at; sc.budget < 0 {
		sc.exhausted(p, s)
		return
	}
	re, from := p.start, at
	if at > 0 {
		_, size := utf8.DecodeLastRuneInString(s[:at])
		re, from = p.behind, at-size
	}
	sc.Examined += int64(end - from)
	if loc := re.FindStringIndex(s[from:end]); loc != nil {
		sc.add(p.rule, s, at, from+loc[1])
	}
}

// findAll runs the pattern over the whole text, window by window.
func (p *pattern) findAll(sc *Scanner, s string) {
	for i := 0; i < len(s); {
		end := min(len(s), i+2*maxMatch)
		window := s[i:end]
		sc.budget -= len(window)
		sc.Examined += int64(len(window))
		if sc.budget < 0 {
			sc.exhausted(p, s)
			return
		}
		loc := p.any.FindStringIndex(window)
		switch {
		case loc != nil && (loc[0] < maxMatch || end == len(s)):
			sc.add(p.rule, s, i+loc[0], i+loc[1])
			if p.first {
				return
			}
			i += max(loc[1], 1)
		case p.first:
			return
		case end == len(s):
			return
		default:
			i += maxMatch
		}
	}
}

// exhausted takes the whole text: it cannot be said what is in it.
func (sc *Scanner) exhausted(p *pattern, s string) {
	sc.add(p.rule, s, 0, len(s))
	sc.skip = len(s)
}

// gramOfPattern returns the sets of bytes that a match begins with, and how many positions are known; the others match
// anything.
func gramOfPattern(re *syntax.Regexp) (g gram, known int) {
	sets, _ := leading(re, gramLen)
	for i := range g {
		g[i] = anyByte
		if i < len(sets) {
			g[i] = sets[i]
		}
	}
	return g, len(sets)
}

// leading returns the byte sets of the first n positions of every match, as far as they are known. open is true if
// what follows the expression may follow right behind them.
func leading(re *syntax.Regexp, n int) (sets []byteSet, open bool) {
	switch re.Op {
	case syntax.OpLiteral:
		for _, c := range re.Rune {
			if len(sets) == n {
				return sets, false
			}
			s, ok := runeSet(c, re.Flags&syntax.FoldCase != 0)
			if !ok {
				return sets, false
			}
			sets = append(sets, s)
		}
		return sets, true
	case syntax.OpCharClass:
		s, ok := classSet(re.Rune)
		if !ok {
			return nil, false
		}
		return []byteSet{s}, true
	case syntax.OpCapture:
		return leading(re.Sub[0], n)
	case syntax.OpEmptyMatch, syntax.OpBeginText, syntax.OpBeginLine, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return nil, true
	case syntax.OpConcat:
		return leadingConcat(re.Sub, n)
	case syntax.OpAlternate:
		return leadingAlternate(re.Sub, n)
	case syntax.OpPlus:
		s, _ := leading(re.Sub[0], n)
		return s, false
	case syntax.OpRepeat:
		return leadingRepeat(re, n)
	}
	return nil, false
}

func leadingConcat(subs []*syntax.Regexp, n int) (sets []byteSet, open bool) {
	for _, sub := range subs {
		s, o := leading(sub, n-len(sets))
		sets = append(sets, s...)
		if !o || len(sets) >= n {
			return sets, false
		}
	}
	return sets, true
}

func leadingAlternate(subs []*syntax.Regexp, n int) ([]byteSet, bool) {
	var out []byteSet
	for i, sub := range subs {
		s, _ := leading(sub, n)
		if i == 0 {
			out = append(out, s...)
			continue
		}
		out = out[:min(len(out), len(s))]
		for j := range out {
			out[j].union(&s[j])
		}
	}
	return out, false
}

func leadingRepeat(re *syntax.Regexp, n int) (sets []byteSet, open bool) {
	for range re.Min {
		s, o := leading(re.Sub[0], n-len(sets))
		sets = append(sets, s...)
		if !o || len(sets) >= n {
			return sets, false
		}
	}
	return sets, re.Max == re.Min
}

// runeSet returns the bytes of an ASCII character; ok is false for others. That the Kelvin sign and the long s fold to k
// and s is left out: a pattern that ignores case finds ASCII at its beginning.
func runeSet(c rune, fold bool) (s byteSet, ok bool) {
	if c >= utf8.RuneSelf {
		return s, false
	}
	s.add(byte(c))
	if l := byte(c) | 0x20; fold && l >= 'a' && l <= 'z' {
		s.add(l)
		s.add(l &^ 0x20)
	}
	return s, true
}

func classSet(ranges []rune) (s byteSet, ok bool) {
	for i := 0; i+1 < len(ranges); i += 2 {
		if ranges[i+1] >= utf8.RuneSelf {
			return s, false
		}
		for c := ranges[i]; c <= ranges[i+1]; c++ {
			s.add(byte(c))
		}
	}
	return s, true
}

// matchLength returns the least and the most bytes of a match; most is -1 if there is no bound.
func matchLength(re *syntax.Regexp) (least, most int) {
	switch re.Op {
	case syntax.OpLiteral:
		n := len(re.Rune)
		return n, n * utf8.UTFMax
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return 1, utf8.UTFMax
	case syntax.OpCapture:
		return matchLength(re.Sub[0])
	case syntax.OpStar:
		return 0, -1
	case syntax.OpPlus:
		least, _ = matchLength(re.Sub[0])
		return least, -1
	case syntax.OpQuest:
		_, most = matchLength(re.Sub[0])
		return 0, most
	case syntax.OpRepeat:
		l, m := matchLength(re.Sub[0])
		if re.Max < 0 || m < 0 {
			return l * re.Min, -1
		}
		return l * re.Min, m * re.Max
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			l, m := matchLength(sub)
			least += l
			most = addBound(most, m)
		}
		return least, most
	case syntax.OpAlternate:
		least = maxMatch
		for _, sub := range re.Sub {
			l, m := matchLength(sub)
			least = min(least, l)
			if m < 0 || most < 0 {
				most = -1
			} else {
				most = max(most, m)
			}
		}
		return least, most
	}
	return 0, 0
}

// beginsText reports whether an expression is anchored at the beginning of the text.
func beginsText(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpBeginText:
		return true
	case syntax.OpConcat, syntax.OpCapture:
		return beginsText(re.Sub[0])
	}
	return false
}

func addBound(a, b int) int {
	if a < 0 || b < 0 {
		return -1
	}
	return a + b
}

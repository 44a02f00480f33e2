package pii

import "strings"

// cardRange is a range of issuer numbers: the first digits of cards, from low to high, and the lengths in use.
type cardRange struct {
	low, high int // of as many digits as low has
	digits    int
	lengths   uint32 // bit n: cards of n digits
}

func lengths(ns ...int) (out uint32) {
	for _, n := range ns {
		out |= 1 << n
	}
	return out
}

// cardRanges are the issuer ranges of ISO/IEC 7812 that card schemes publish. The longest prefix need not win: a
// number is a card if any range takes it.
var cardRanges = []cardRange{
	{4, 4, 1, lengths(13, 16, 19)},               // Visa
	{51, 55, 2, lengths(16)},                     // Mastercard
	{2221, 2720, 4, lengths(16)},                 // Mastercard
	{34, 34, 2, lengths(15)},                     // American Express
	{37, 37, 2, lengths(15)},                     // American Express
	{6011, 6011, 4, lengths(16, 19)},             // Discover
	{644, 649, 3, lengths(16, 19)},               // Discover
	{65, 65, 2, lengths(16, 19)},                 // Discover, RuPay
	{300, 305, 3, lengths(14, 16)},               // Diners Club
	{3095, 3095, 4, lengths(14, 16)},             // Diners Club
	{36, 36, 2, lengths(14)},                     // Diners Club
	{38, 39, 2, lengths(14, 16)},                 // Diners Club
	{3528, 3589, 4, lengths(16)},                 // JCB
	{62, 62, 2, lengths(16, 17, 18, 19)},         // UnionPay
	{81, 81, 2, lengths(16)},                     // UnionPay, RuPay
	{82, 82, 2, lengths(16)},                     // RuPay
	{508, 508, 3, lengths(16)},                   // RuPay
	{5018, 5018, 4, lengths(13, 15, 16, 18, 19)}, // Maestro
	{5019, 5020, 4, lengths(16, 18, 19)},         // Dankort, Maestro
	{5038, 5038, 4, lengths(13, 15, 16, 18, 19)}, // Maestro
	{5893, 5893, 4, lengths(13, 15, 16, 18, 19)}, // Maestro
	{6304, 6304, 4, lengths(13, 15, 16, 18, 19)}, // Maestro
	{6759, 6759, 4, lengths(13, 15, 16, 18, 19)}, // Maestro
	{6761, 6763, 4, lengths(13, 15, 16, 18, 19)}, // Maestro
	{2200, 2204, 4, lengths(16)},                 // Mir
	{67, 67, 2, lengths(16, 18, 19)},             // Maestro
	{5060, 5061, 4, lengths(16, 19)},             // Verve
	{6500, 6500, 4, lengths(16, 19)},             // Verve
	{9792, 9792, 4, lengths(16)},                 // Troy
	{637, 639, 3, lengths(16)},                   // InstaPayment
}

const (
	minCard   = 13
	maxCard   = 19
	maxGroups = 6
)

func armCards(b *builder, r *rule) {
	b.rules.cards = r
	b.rules.numericRules |= r.bit
	b.rules.leastNumber = min(b.rules.leastNumber, 1_000_000_000_000)
	b.on(r, gram{digitSet, digitSet, digitSet, digitSet}, func(sc *Scanner, s string, at int) { sc.card(r, s, at) })
}

// card looks for card numbers that begin with the run of digits at s[at:]: digits alone, or in groups with single
// spaces or dashes between.
func (sc *Scanner) card(r *rule, s string, at int) {
	if at > 0 && digitSet.has(s[at-1]) {
		return // the middle of a run whose beginning was looked at
	}
	if at > 0 && s[at-1] == '%' {
		at += 2 // the digits of an escape such as %20
	}
	run := min(at+gramLen, len(s))
	for run < len(s) && run-at < minCard && digitSet.has(s[run]) {
		run++
	}
	if run-at < minCard && (run+1 >= len(s) || s[run] != ' ' && s[run] != '-' || !digitSet.has(s[run+1])) {
		return // a short number by itself
	}
	escaped := at > 0 && alnumSet.has(s[at-1]) && !insideWord(s, at)
	if at > 0 && !escaped && !cardBorder(s, at-1, -1) {
		return
	}
	var digits [maxCard]byte
	n, i, group, groups := 0, at, 0, 1
	sep := byte(0)
	for i < len(s) {
		c := s[i]
		switch {
		case digitSet.has(c):
			if n == maxCard {
				sc.Examined += int64(i - at)
				return // a run of more digits than a card has; prefixes of it were judged at the borders of groups
			}
			digits[n] = c - '0'
			n, group, i = n+1, group+1, i+1
			continue
		case (c == ' ' || c == '-') && (sep == 0 || c == sep) && i+1 < len(s) && digitSet.has(s[i+1]) && groups < maxGroups:
			if sc.cardEnd(r, s, at, i, digits[:n]) {
				return
			}
			if group < 4 || group > 7 {
				return // groups have four to seven digits; only the last one may have less
			}
			sep, group, groups, i = c, 0, groups+1, i+1
			continue
		}
		break
	}
	sc.Examined += int64(i - at)
	if i == len(s) || cardBorder(s, i, 1) {
		sc.cardEnd(r, s, at, i, digits[:n])
	}
}

// cardEnd reports s[start:end] if its digits are a card's.
func (sc *Scanner) cardEnd(r *rule, s string, start, end int, digits []byte) bool {
	if len(digits) < minCard || !luhn(digits) || !issued(digits) {
		return false
	}
	if len(digits) < 14 && !cardWord(s, start) {
		return false // as long as an EAN, of which one in ten has the right check digit
	}
	sc.add(r, s, start, end)
	sc.skip = max(sc.skip, end)
	return true
}

// cardWord reports whether the text in front of a number says that it is a card's.
func cardWord(s string, start int) bool {
	before := strings.ToLower(s[max(0, start-24):start])
	for _, w := range []string{"card", "visa", "maestro", "pan", "credit", "debit"} {
		if strings.Contains(before, w) {
			return true
		}
	}
	return false
}

// cardBorder reports whether the byte at i can stand next to a card number; dir says on which side of it.
func cardBorder(s string, i, dir int) bool {
	c := s[i]
	switch {
	case c == '_':
		return true
	case wordSet.has(c):
		// A letter directly beside digits makes it a hash or an id, except a word before them.
		return dir < 0 && alphaWord(s, i+1)
	case c == '.':
		// A decimal point: digits on its other side. A comma is more often between the numbers of a list.
		j := i + dir
		return j < 0 || j >= len(s) || !digitSet.has(s[j])
	case c == '-' && dir < 0:
		// The last group of a UUID or another chain of digits and dashes.
		return i == 0 || !hexSet.has(s[i-1]) || alphaWord(s, i)
	}
	return true
}

// alphaWord reports whether a word of two or more letters, not only of a to f, ends at s[:end].
func alphaWord(s string, end int) bool {
	hex := true
	i := end
	for i > 0 && end-i < 16 && alphaSet.has(s[i-1]) {
		i--
		hex = hex && hexSet.has(s[i])
	}
	return end-i >= 2 && !hex && (i == 0 || !digitSet.has(s[i-1]))
}

// luhn checks the check digit of ISO/IEC 7812-1, annex B. digits are values, not characters.
func luhn(digits []byte) bool {
	sum := 0
	for i, d := range digits {
		v := int(d)
		if (len(digits)-i)%2 == 0 {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum += v
	}
	return sum%10 == 0
}

// cardDigits reports whether decimal digits are a card's number.
func cardDigits(text []byte) bool {
	if len(text) < minCard || len(text) > maxCard {
		return false
	}
	var digits [maxCard]byte
	for i, c := range text {
		digits[i] = c - '0'
	}
	return issued(digits[:len(text)]) && luhn(digits[:len(text)])
}

func issued(digits []byte) bool {
	for _, c := range cardRanges {
		if c.lengths&(1<<len(digits)) == 0 {
			continue
		}
		prefix := 0
		for _, d := range digits[:c.digits] {
			prefix = prefix*10 + int(d)
		}
		if prefix >= c.low && prefix <= c.high {
			return true
		}
	}
	return false
}

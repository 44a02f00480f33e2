package pii

import (
	"net/netip"
	"strings"
)

// ibanLengths are the lengths of ISO 13616 account numbers, by country, as in the SWIFT registry.
var ibanLengths = map[string]int{
	"AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29, "BY": 28,
	"CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
	"FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22,
	"IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20,
	"LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18,
	"NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31,
	"SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29,
	"VA": 22, "VG": 24, "XK": 20, "YE": 30,
}

func armIBAN(b *builder, r *rule) {
	b.on(r, gram{upperSet, upperSet, digitSet, digitSet}, func(sc *Scanner, s string, at int) { sc.iban(r, s, at) })
}

// iban looks for an account number at s[at:], with or without spaces between groups of four.
func (sc *Scanner) iban(r *rule, s string, at int) {
	want, ok := ibanLengths[s[at:at+2]]
	if !ok || insideWord(s, at) {
		return
	}
	// The remainder of the number modulo 97 with the first four characters moved behind (ISO 13616, 6.1).
	mod, n, i := 0, 0, at
	feed := func(c byte) {
		switch {
		case c <= '9':
			mod = (mod*10 + int(c-'0')) % 97
		default:
			mod = (mod*100 + int(c&^0x20-'A') + 10) % 97
		}
	}
	for i < len(s) && n < want {
		c := s[i]
		switch {
		case alnumSet.has(c):
			if n >= 4 {
				feed(c)
			}
			n++
		case c == ' ' && n%4 == 0 && n > 0 && i > at && s[i-1] != ' ':
		default:
			sc.Examined += int64(i - at)
			return
		}
		i++
	}
	sc.Examined += int64(i - at)
	for j := range 4 {
		feed(s[at+j])
	}
	if n == want && mod == 1 && (i == len(s) || !alnumSet.has(s[i])) {
		sc.add(r, s, at, i)
		sc.skip = max(sc.skip, i)
	}
}

// armPhones looks for international numbers (E.164): a plus, a country code, eight to fifteen digits in all, with the
// usual separators. Numbers without the plus are not told from other numbers.
func armPhones(b *builder, r *rule) {
	second := unionOf(digitSet, setOf("( "))
	rest := unionOf(digitSet, setOf(" .()/"), setOf("-"))
	b.on(r, gram{setOf("+"), second, rest, rest}, func(sc *Scanner, s string, at int) { sc.phone(r, s, at, at+1) })
	b.on(r, gram{setOf("%"), setOf("2"), setOf("Bb"), digitSet}, func(sc *Scanner, s string, at int) { sc.phone(r, s, at, at+3) })
}

func (sc *Scanner) phone(r *rule, s string, at, i int) {
	if at > 0 && (alnumSet.has(s[at-1]) && s[at] == '+' || s[at-1] == '.') {
		return // an exponent, a sum, a version
	}
	digits, end, open := 0, i, 0
	var code [3]byte
loop:
	for i < len(s) && digits <= 15 {
		switch c := s[i]; {
		case digitSet.has(c):
			if digits < len(code) {
				code[digits] = c //nolint:gosec // The bound is in the line above.
			}
			digits++
			end = i + 1
		case c == '(':
			open++
		case c == ')' && open > 0:
		case (c == ' ' || c == '-' || c == '.' || c == '/') && i > at && digitsNear(s, i):
		default:
			break loop
		}
		i++
	}
	sc.Examined += int64(i - at)
	if digits < 8 || digits > 15 || !callingCode(string(code[:])) || end < len(s) && wordSet.has(s[end]) {
		return
	}
	sc.add(r, s, at, end)
	sc.skip = max(sc.skip, end)
}

// digitsNear reports whether another digit or a bracket follows a separator.
func digitsNear(s string, i int) bool {
	return i+1 < len(s) && (digitSet.has(s[i+1]) || s[i+1] == '(') && s[i-1] != ' ' && s[i-1] != '-'
}

// unassignedCodes are beginnings of numbers that ITU-T E.164 has not assigned to a country or service.
var unassignedCodes = []string{
	"0", "28", "83", "89", "210", "214", "215", "217", "219", "292", "293", "294", "295", "296", "384", "388", "422", "424",
	"425", "426", "427", "428", "429", "693", "694", "695", "696", "697", "698", "699", "801", "802", "803", "804", "805",
	"806", "807", "809", "851", "854", "857", "858", "859", "871", "872", "873", "874", "875", "876", "877", "879", "884",
	"885", "887", "889", "969", "978", "990", "991", "997", "999",
}

// callingCode reports whether digits begin with an assigned country code.
func callingCode(digits string) bool {
	for _, c := range unassignedCodes {
		if strings.HasPrefix(digits, c) {
			return false
		}
	}
	return true
}

// armIPs looks for IPv4 and IPv6 addresses of hosts; loopback and unspecified addresses say nothing of anyone.
func armIPs(b *builder, r *rule) {
	dot := setOf(".")
	digitDot := unionOf(digitSet, dot)
	b.on(r, gram{digitSet, dot, digitSet, digitDot}, func(sc *Scanner, s string, at int) { sc.ip(r, s, at, &ipv4Set) })
	hexColon := unionOf(hexSet, setOf(":"))
	b.on(r, gram{hexSet, setOf(":"), hexColon, hexColon}, func(sc *Scanner, s string, at int) { sc.ip(r, s, at, &ipv6Set) })
	b.on(r, gram{setOf(":"), setOf(":"), hexSet, hexColon}, func(sc *Scanner, s string, at int) { sc.ip(r, s, at, &ipv6Set) })
}

var (
	ipv4Set = unionOf(digitSet, setOf("."))
	ipv6Set = unionOf(hexSet, setOf(":."))
)

// maxIP is the length of the longest address.
const maxIP = 45

// ip looks at the run of an address's characters around s[at:].
func (sc *Scanner) ip(r *rule, s string, at int, set *byteSet) {
	start, end := at, at
	for start > 0 && at-start <= maxIP && set.has(s[start-1]) {
		start--
	}
	for end < len(s) && end-at <= maxIP && set.has(s[end]) {
		end++
	}
	sc.Examined += int64(end - start)
	for end > start && s[end-1] == '.' || end > start+1 && s[end-1] == ':' && s[end-2] != ':' {
		end--
	}
	if set == &ipv6Set {
		// An address and port cannot be told from a longer address; without brackets it is read as an address.
		for start < end && s[start] == '.' {
			start++
		}
	} else if end < len(s) && (wordSet.has(s[end]) || s[end] == '-') {
		return
	}
	if start > 0 && (wordSet.has(s[start-1]) || s[start-1] == '-' && set == &ipv4Set) {
		return
	}
	if end < len(s) && set == &ipv6Set && wordSet.has(s[end]) {
		return
	}
	addr, err := netip.ParseAddr(s[start:end])
	if err != nil || addr.IsLoopback() || addr.IsUnspecified() {
		return
	}
	if set == &ipv4Set && versionBefore(s[:start]) {
		return
	}
	sc.add(r, s, start, end)
	sc.skip = max(sc.skip, end)
}

// versionBefore reports whether the word in front says that four numbers are a version.
func versionBefore(s string) bool {
	s = strings.ToLower(s[max(0, len(s)-12):])
	s = strings.TrimRight(s, " =:\"'/")
	for _, w := range []string{"version", "release", "build", "chrome", "safari", "edge", "edg", "opr"} {
		if strings.HasSuffix(s, w) {
			return true
		}
	}
	return false
}

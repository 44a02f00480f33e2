package pii

import (
	"encoding/base64"
	"strings"
)

// maxDecode bounds what is decoded to look inside a token.
const maxDecode = 512

var token68 = unionOf(setOf("A-Za-z0-9._~+/="), setOf("-"))

// armTokens looks for the credentials of the HTTP schemes Bearer (RFC 6750) and Basic (RFC 7617) in any text.
func armTokens(b *builder, r *rule) {
	b.on(r, gramOf("bear", true), func(sc *Scanner, s string, at int) {
		if start := schemeEnd(s, at, "bearer"); start > 0 {
			sc.credential(r, s, start, bearerToken)
		}
	})
	b.on(r, gramOf("basi", true), func(sc *Scanner, s string, at int) {
		if start := schemeEnd(s, at, "basic"); start > 0 {
			sc.credential(r, s, start, basicToken)
		}
	})
}

// schemeEnd returns where the credential behind a scheme's name begins, or -1 if there is no such name at s[at:].
func schemeEnd(s string, at int, scheme string) int {
	if !hasPrefixFold(s[at:], scheme) || insideWord(s, at) {
		return -1
	}
	i := at + len(scheme)
	begin := i
	for i < len(s) && i-begin < 8 {
		switch {
		case s[i] == ' ' || s[i] == '\t' || s[i] == ':' || s[i] == '=' || s[i] == '"' || s[i] == '\'' || s[i] == '+':
			i++
		case strings.HasPrefix(s[i:], "%20"):
			i += 3
		default:
			if i == begin {
				return -1
			}
			return i
		}
	}
	return i
}

func (sc *Scanner) credential(r *rule, s string, start int, valid func(string) bool) {
	end := start
	for end < len(s) && token68.has(s[end]) {
		end++
	}
	sc.Examined += int64(end - start)
	for end > start && s[end-1] == '.' {
		end-- // the end of a sentence
	}
	if valid(s[start:end]) {
		sc.add(r, s, start, end)
		// Nothing in the token needs another look; also, a second scheme name cannot begin in it.
		sc.skip = max(sc.skip, end)
	}
}

// bearerToken tells tokens from the words that follow "bearer" in prose.
func bearerToken(t string) bool {
	return len(t) >= 6 && mixed(t) || len(t) >= 32
}

// basicToken decodes: credentials are user:password.
func basicToken(t string) bool {
	if len(t) < 4 {
		return false
	}
	if strings.ContainsRune(decodeBase64(t), ':') {
		return true
	}
	return len(t) >= 16 && mixed(t)
}

// mixed reports whether a text looks random: letters with digits, or both cases inside a longer one.
func mixed(t string) bool {
	var digits, lower, upper, innerUpper int
	for i := 0; i < len(t); i++ {
		switch c := t[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c >= 'a' && c <= 'z':
			lower++
		case c >= 'A' && c <= 'Z':
			upper++
			if i > 0 {
				innerUpper++
			}
		}
	}
	return digits > 0 && lower+upper > 0 || len(t) >= 16 && lower > 2 && innerUpper > 2
}

// decodeBase64 decodes the beginning of a text in either alphabet, with or without padding; nothing if it is not one.
func decodeBase64(t string) string {
	t = strings.TrimRight(t, "=")
	if len(t) > maxDecode {
		t = t[:maxDecode]
	}
	if len(t)%4 == 1 {
		t = t[:len(t)-1]
	}
	enc := base64.RawStdEncoding
	if strings.ContainsAny(t, "-_") {
		enc = base64.RawURLEncoding
	}
	out, err := enc.DecodeString(t)
	if err != nil {
		return ""
	}
	return string(out)
}

// armJWT looks for JSON Web Tokens (RFC 7519), signed, unsigned or encrypted, whole or cut off: a header that decodes
// to a JSON object with a member of JOSE headers, a dot, and more.
func armJWT(b *builder, r *rule) {
	b.on(r, gram{setOf("e"), setOf("y"), setOf("JAI"), b64URLSet}, func(sc *Scanner, s string, at int) { sc.jwt(r, s, at) })
}

func (sc *Scanner) jwt(r *rule, s string, at int) {
	end := sc.run(s, at)
	if end-at < 12 || end == len(s) || s[end] != '.' || !joseHeader(s[at:end]) {
		return
	}
	i := end
	for part := 0; part < 4 && i < len(s) && s[i] == '.'; part++ {
		i++
		for i < len(s) && b64URLSet.has(s[i]) {
			i++
		}
	}
	sc.Examined += int64(i - end)
	if i-end < 5 {
		return // a header alone
	}
	for s[i-1] == '.' {
		i--
	}
	sc.add(r, s, at, i)
	sc.skip = max(sc.skip, i)
}

// run returns the end of the run of base64url at s[at:]. A run is measured once, however many candidates it holds.
func (sc *Scanner) run(s string, at int) int {
	if at < sc.runEnd {
		return sc.runEnd
	}
	end := at
	for end < len(s) && b64URLSet.has(s[end]) {
		end++
	}
	sc.Examined += int64(end - at)
	sc.runEnd = end
	return end
}

func joseHeader(t string) bool {
	h := decodeBase64(t)
	if !strings.HasPrefix(strings.TrimLeft(h, " \t\r\n"), "{") {
		return false
	}
	for _, m := range []string{`"alg"`, `"typ"`, `"enc"`, `"kid"`, `"cty"`} {
		if strings.Contains(h, m) {
			return true
		}
	}
	return false
}

// armPrivateKeys looks for PEM blocks (RFC 7468) of private keys of any algorithm, also of OpenPGP and OpenSSH, whole or
// cut off, with real or escaped line breaks.
func armPrivateKeys(b *builder, r *rule) {
	b.on(r, gramOf("--BEGIN", false), func(sc *Scanner, s string, at int) { sc.pem(r, s, at) })
}

const (
	maxLabel = 64  // bytes of a PEM label
	maxIntro = 256 // bytes of headers between label and body
)

func (sc *Scanner) pem(r *rule, s string, at int) {
	rest := s[at:min(len(s), at+maxLabel)]
	sc.Examined += int64(len(rest))
	label, ok := strings.CutPrefix(rest, "--BEGIN ")
	if !ok {
		return
	}
	close := strings.Index(label, "--")
	if close < 0 || !strings.Contains(label[:close], "PRIVATE KEY") {
		return
	}
	body := at + len("--BEGIN ") + close
	for body < len(s) && s[body] == '-' {
		body++
	}
	if !pemBody(s[body:min(len(s), body+maxIntro)]) {
		return // talk about keys
	}
	start := at
	for start > 0 && s[start-1] == '-' && at-start < 8 {
		start--
	}
	end := len(s)
	if i := strings.Index(s[body:], "-----END"); i >= 0 {
		end = body + i + len("-----END")
		stop := min(len(s), end+maxLabel)
		for end < stop && (upperSet.has(s[end]) || s[end] == ' ') {
			end++
		}
		for end < stop && s[end] == '-' {
			end++
		}
	}
	sc.Examined += int64(end - body)
	sc.add(r, s, start, end)
	sc.skip = max(sc.skip, end)
}

// pemBody reports whether there is a run of base64, as long as any key needs, behind the label.
func pemBody(s string) bool {
	n := 0
	for i := 0; i < len(s); i++ {
		if c := s[i]; alnumSet.has(c) || c == '+' || c == '/' || c == '=' {
			if n++; n >= 20 {
				return true
			}
			continue
		}
		n = 0
	}
	return false
}

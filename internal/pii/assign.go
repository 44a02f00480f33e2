package pii

import "strings"

// assignedNames are the words that, at the end of a name, announce a secret in text: password=…, "token": "…". Compared
// in lower case with - as _.
var assignedNames = map[string]assigned{
	"password": {}, "passwd": {}, "passphrase": {}, "pwd": {}, "secret": {}, "client_secret": {}, "secret_key": {},
	"secretkey": {}, "secret_access_key": {}, "secretaccesskey": {}, "api_key": {}, "apikey": {}, "access_key": {},
	"accesskey": {}, "private_key": {}, "privatekey": {}, "credential": {strict: true}, "credentials": {strict: true},
	"token": {strict: true}, "authorization": {line: true}, "cookie": {line: true}, "cvv": {}, "cvc": {},
	"secret_key_base": {}, "signing_key": {}, "encryption_key": {}, "subscription_key": {}, "ssn": {word: true},
	"sig": {strict: true, word: true}, "signature": {strict: true},
	"secrettoken": {}, "passcode": {}, "pass": {part: true}, "sessionid": {strict: true}, "session_id": {strict: true},
}

// assigned says how the value of a name looks.
type assigned struct {
	strict bool // only values that look random: the name is also used for other things
	line   bool // the value ends with the line
	part   bool // counts only behind an underscore, as in db_pass
	word   bool // counts only at the beginning of a word
}

// armAssignments looks for the names. The triggers are the beginnings of the names' distinctive parts.
func armAssignments(b *builder, r *rule) {
	for _, start := range []string{"pass", "pwd", "secr", "api_", "api-", "apik", "acce", "priv", "cred", "toke", "auth", "cook", "cvv", "cvc", "clie", "sess", "ssn", "sig", "sign", "encr", "subs"} {
		g := gramOf(start, true)
		if len(start) < gramLen {
			g[3] = setOf(`=:"'\ `)
		}
		b.on(r, g, func(sc *Scanner, s string, at int) { sc.assignment(r, s, at) })
	}
}

const (
	maxAssignedName = 24
	maxAssignedGap  = 8
)

// assignment looks at a name that begins at s[at:], possibly in the middle of a longer one.
func (sc *Scanner) assignment(r *rule, s string, at int) {
	end := at
	for end < len(s) && end-at <= maxAssignedName && (wordSet.has(s[end]) || s[end] == '-') {
		end++
	}
	sc.Examined += int64(end - at)
	kind, ok := assignedKind(s[at:end])
	if !ok || pageToken(s, at) || insideMarker(s, at) || kind.part && (at == 0 || s[at-1] != '_') ||
		kind.word && at > 0 && alnumSet.has(s[at-1]) {
		return
	}
	if start, stop := sc.element(s, at, end); start > 0 {
		if v := s[start:stop]; plausible(v, true, kind.strict, kind) {
			sc.add(r, s, start, stop)
		}
		return
	}
	i, sep := separator(s, end)
	if sep == 0 && option(s, at) && end+1 < len(s) && s[end] == ' ' && s[end+1] != '-' {
		i, sep = end+1, '=' // --password value
	}
	if sep == 0 || i >= len(s) {
		return
	}
	spaced := i > 0 && (s[i-1] == ' ' || s[i-1] == '\t') && !option(s, at)
	start, stop, quoted := sc.assignedValue(s, i, kind)
	v := s[start:stop]
	if !plausible(v, quoted, sep == ':' && !quoted || spaced && !quoted || kind.strict, kind) {
		return
	}
	sc.add(r, s, start, stop)
}

// maxTag is how long the attributes of an XML element may be.
const maxTag = 128

// element returns the bounds of the text of an XML element whose name ends with s[at:end], or zeros: <password>…</password>.
func (sc *Scanner) element(s string, at, end int) (start, stop int) {
	open := at
	for open > 0 && at-open < maxAssignedName && (wordSet.has(s[open-1]) || s[open-1] == '-' || s[open-1] == ':') {
		open--
	}
	if open == 0 || s[open-1] != '<' || end == len(s) || s[end] != '>' && s[end] != ' ' {
		return 0, 0
	}
	i := strings.IndexByte(s[end:min(len(s), end+maxTag)], '>')
	if i < 0 || s[end+i-min(i, 1)] == '/' {
		return 0, 0
	}
	start = end + i + 1
	stop = start
	for stop < len(s) && s[stop] != '<' {
		stop++
	}
	sc.Examined += int64(stop - open)
	return start, stop
}

// option reports whether the name at s[at:] ends a command line option: --password, --db-password.
func option(s string, at int) bool {
	i := at
	for i > 0 && at-i < maxAssignedName && (wordSet.has(s[i-1]) || s[i-1] == '-') {
		i--
	}
	return at-i >= 2 && s[i:i+2] == "--"
}

// insideMarker reports whether s[at:] is in the name of a rule in one of our replacement texts.
func insideMarker(s string, at int) bool {
	before := s[max(0, at-maxReplacement):at]
	i := strings.LastIndexByte(before, '[')
	return i >= 0 && strings.HasPrefix(before[i:], "[REDACTED:") && !strings.ContainsAny(before[i:], "] ")
}

// assignedKind looks a name up, without regard to case and to dashes for underscores.
func assignedKind(name string) (assigned, bool) {
	var low [maxAssignedName]byte
	if len(name) > len(low) {
		return assigned{}, false
	}
	for i := range len(name) {
		switch c := name[i]; {
		case c == '-':
			low[i] = '_'
		case c >= 'A' && c <= 'Z':
			low[i] = c | 0x20
		default:
			low[i] = c
		}
	}
	kind, ok := assignedNames[string(low[:len(name)])]
	return kind, ok
}

// pageToken reports whether the name's beginning says that it is a mark in a list, not a secret.
func pageToken(s string, at int) bool {
	before := strings.ToLower(s[max(0, at-13):at])
	for _, p := range []string{"page", "page_", "next", "next_", "continuation", "continuation_", "cursor", "sync_", "resume_", "no_", "max_", "max"} {
		if strings.HasSuffix(before, p) {
			return true
		}
	}
	return false
}

// separator reads what stands between name and value and returns '=' or ':', or 0 if it is no assignment.
func separator(s string, i int) (int, byte) {
	var sep byte
	for n := 0; i < len(s) && n < maxAssignedGap; n++ {
		switch c := s[i]; {
		case c == ' ' || c == '\t':
		case (c == '"' || c == '\'' || c == '\\' || c == '`' || c == ']') && sep == 0:
		case c == '=' || c == ':':
			if sep == '=' && c == '=' {
				return i, 0 // a comparison
			}
			if sep == 0 || c == '=' {
				sep = c
			}
			if c == '=' && i+1 < len(s) && s[i+1] == '>' {
				i++
			}
		default:
			return i, sep
		}
		i++
	}
	return i, sep
}

// assignedValue returns the bounds of the value at s[i:], without quotes.
func (sc *Scanner) assignedValue(s string, i int, kind assigned) (start, stop int, quoted bool) {
	begin := i
	for i < len(s) && s[i] == '\\' && i-begin < 4 {
		i++
	}
	if i < len(s) && (s[i] == '"' || s[i] == '\'' || s[i] == '`') {
		quote := s[i]
		i++
		stop = i
		for stop < len(s) && s[stop] != quote && s[stop] != '\n' {
			if s[stop] == '\\' && stop+1 < len(s) && s[stop+1] != quote {
				stop++
			}
			stop++
		}
		stop = min(stop, len(s))
		sc.Examined += int64(stop - i)
		if stop > i && s[stop-1] == '\\' {
			stop--
		}
		sc.skip = max(sc.skip, i)
		return i, stop, true
	}
	stop = i
	// Values may hold names of further values: the end of a word or line is looked for once.
	switch {
	case i == len(s):
		return i, i, false
	case s[i] == '{':
		if end := bracedEnd(s, i); end > 0 {
			return i, end, true
		}
		return i, i, false
	case kind.line && i < sc.lineEnd:
		return i, sc.lineEnd, false
	case !kind.line && i < sc.wordEnd:
		return i, sc.wordEnd, false
	case strings.HasPrefix(s[i:], "[REDACTED"):
		for stop < len(s) && s[stop] != ']' && stop-i < maxReplacement {
			stop++
		}
		return i, min(stop+1, len(s)), false
	case kind.line:
		stop = headerEnd(s, i)
	default:
		for stop < len(s) && !assignEnd.has(s[stop]) {
			stop++
		}
	}
	sc.Examined += int64(stop - i)
	if kind.line {
		sc.lineEnd = stop
	} else {
		sc.wordEnd = stop
	}
	return i, stop, false
}

// headerEnd returns where the value of a header at s[i:] ends: with the line, or with the quotes around it. A quoted
// parameter of the value, as Digest has them, belongs to it.
func headerEnd(s string, i int) int {
	for ; i < len(s); i++ {
		switch s[i] {
		case '\n', '\r':
			return i
		case '\\':
			if i+1 < len(s) && (s[i+1] == 'n' || s[i+1] == 'r') {
				return i
			}
		case '"', '\'':
			if s[i-1] != '=' {
				return i
			}
			for quote := s[i]; i+1 < len(s) && s[i+1] != quote && s[i+1] != '\n'; {
				i++
			}
			if i+1 < len(s) && s[i+1] != '\n' {
				i++
			}
		}
	}
	return i
}

// bracedEnd returns the end of a value in braces, as ODBC has them: {a;b}. It is 0 for placeholders and other braces.
func bracedEnd(s string, i int) int {
	end := strings.IndexByte(s[i:min(len(s), i+maxReplacement)], '}')
	if end < 0 || !mixed(s[i+1:i+end]) || strings.ContainsAny(s[i+1:i+end], "{:\" $.") {
		return 0
	}
	return i + end + 1
}

// maxReplacement is how far the end of one of our replacement texts is looked for.
const maxReplacement = 64

var assignEnd = unionOf(setOf(" \t\r\n,;&\"'`)}<>|"), setOf("]"), setOf("\x00-\x1f"))

// notValues are words that stand in a value's place without being one.
var notValues = map[string]bool{
	"null": true, "none": true, "nil": true, "true": true, "false": true, "undefined": true, "required": true, "missing": true,
	"invalid": true, "expired": true, "redacted": true, "empty": true, "string": true, "optional": true, "unset": true,
	"hidden": true, "secret": true, "masked": true, "yes": true, "no": true, "unknown": true, "changed": true, "n/a": true,
}

// plausible reports whether a text is a secret. strict asks for a random look, as in prose and in code.
func plausible(v string, quoted, strict bool, kind assigned) bool {
	if len(v) < 3 || notValues[strings.ToLower(v)] || v[0] != '{' && placeholder(v) {
		return false
	}
	if kind.line {
		// Header values: a scheme and credentials, or name=value.
		return len(v) >= 6 && (quoted || mixed(v) || strings.ContainsAny(v, "=;")) && !strings.HasPrefix(v, "[")
	}
	if !quoted && (strings.ContainsAny(v, "([{") || v[0] == '/' || v[0] == '.') {
		return false // code, a path, an option
	}
	if kind.strict {
		return len(v) >= 8 && mixed(v)
	}
	if strict {
		return len(v) >= 6 && (quoted || mixed(v) || strings.ContainsAny(v, "!@#%^*~"))
	}
	return true
}

// placeholder reports whether a text stands for a value that is filled in or was taken out.
func placeholder(v string) bool {
	switch v[0] {
	case '?', '%', '<', '{':
		return true
	case '$':
		return len(v) < 2 || v[1] == '{' || v[1] == '(' || digitSet.has(v[1]) || upperSet.has(v[1])
	case '*', '.', '-', '_', 'x', 'X', '#':
		for i := 1; i < len(v); i++ {
			if v[i] != v[0] {
				return false
			}
		}
		return true
	}
	return false
}

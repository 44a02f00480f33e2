package pii

import "strings"

// Bounds of RFC 5321, section 4.5.3.1.
const (
	maxLocal  = 64
	maxDomain = 255
)

var (
	localSet  = unionOf(setOf("A-Za-z0-9._%+"), setOf("-"), nonASCII)
	domainSet = unionOf(setOf("A-Za-z0-9."), setOf("-"), nonASCII)
	// unreal are last labels that are no top-level domains but endings of file and unit names.
	unreal = map[string]bool{
		"png": true, "jpg": true, "jpeg": true, "gif": true, "svg": true, "webp": true, "ico": true, "css": true, "js": true,
		"mjs": true, "json": true, "html": true, "htm": true, "xml": true, "yaml": true, "yml": true, "txt": true, "pdf": true,
		"jsx": true, "tsx": true, "ts": true, "exe": true, "dll": true, "class": true, "jar": true, "log": true, "tgz": true,
		"gz": true, "tar": true, "service": true, "socket": true, "target": true, "timer": true, "mount": true, "slice": true,
		"scope": true, "localhost": true, "map": true, "lock": true, "toml": true, "csv": true, "whl": true, "deb": true, "rpm": true,
	}
)

func unionOf(sets ...byteSet) byteSet {
	var out byteSet
	for i := range sets {
		out.union(&sets[i])
	}
	return out
}

// armEmails looks for addr-specs with a domain of at least two labels, also with an at-sign that is encoded for a
// URL or escaped in JSON.
func armEmails(b *builder, r *rule) {
	b.on(r, gram{setOf("@"), domainSet, domainSet, domainSet}, func(sc *Scanner, s string, at int) {
		sc.email(r, s, at, at+1)
	})
	b.on(r, gram{setOf("%"), setOf("4"), setOf("0"), domainSet}, func(sc *Scanner, s string, at int) {
		sc.email(r, s, at, at+3)
	})
	b.on(r, gramOf(`\u00`, false), func(sc *Scanner, s string, at int) {
		if strings.HasPrefix(s[at:], `\u0040`) {
			sc.email(r, s, at, at+len(`\u0040`))
		}
	})
}

// email looks at an at-sign that takes s[at:after].
func (sc *Scanner) email(r *rule, s string, at, after int) {
	start := at
	for start > 0 && at-start < maxLocal && localSet.has(s[start-1]) {
		start--
	}
	if start > 1 && s[start-1] == '\'' && alphaSet.has(s[start-2]) && start < at && alphaSet.has(s[start]) {
		// An apostrophe inside of a name, as in o'brien, and not one that quotes.
		for start--; start > 0 && at-start < maxLocal && localSet.has(s[start-1]); {
			start--
		}
	}
	if start > 0 && at-start > 1 && s[start-1] == '\\' && strings.IndexByte("nrtbf", s[start]) >= 0 {
		start++ // the letter belongs to an escape
	}
	// In an encoded text the local part may begin behind an encoded separator.
	for start < at && (s[start] == '.' || s[start] == '-' || s[start] == '%' || s[start] == '+') {
		if s[start] == '%' && start+2 < at && hexSet.has(s[start+1]) && hexSet.has(s[start+2]) {
			start += 2
		}
		start++
	}
	end := after
	for end < len(s) && end-after < maxDomain && domainSet.has(s[end]) {
		end++
	}
	sc.Examined += int64(end - start)
	for end > after && (s[end-1] == '.' || s[end-1] == '-') {
		end--
	}
	if start == at || !realDomain(s[after:end]) {
		return
	}
	if s[start:at] == "git" && end < len(s) && (s[end] == ':' || s[end] == '/') {
		return // the user of Git over SSH
	}
	if sc.rules.userinfo != nil && sc.active&sc.rules.userinfo.bit != 0 && strings.HasSuffix(s[:start], "://") {
		return // the user of a URL, which url_userinfo takes without the host
	}
	sc.add(r, s, start, end)
}

// realDomain reports whether a text can be the domain of a mail address: two or more labels, the last one of letters
// that is not the ending of a file, and no version number.
func realDomain(d string) bool {
	dot := strings.LastIndexByte(d, '.')
	if dot <= 0 || strings.Contains(d, "..") || d[0] == '.' || d[0] == '-' {
		return false
	}
	last := d[dot+1:]
	if len(last) < 2 || len(last) > 24 {
		return false
	}
	puny := len(last) > 4 && strings.EqualFold(last[:4], "xn--")
	for i := 0; i < len(last) && !puny; i++ {
		if c := last[i]; !alphaSet.has(c) && c < 0x80 {
			return false
		}
	}
	if unreal[strings.ToLower(last)] {
		return false
	}
	return !versionLike(d) && !strings.HasSuffix(d, ".cluster.local") // users of services in a cluster are no people
}

// versionLike reports whether a text begins like a version: 1.2, v1.2, 2x.
func versionLike(d string) bool {
	if d[0] == 'v' && len(d) > 1 && digitSet.has(d[1]) {
		d = d[1:]
	}
	i := 0
	for i < len(d) && digitSet.has(d[i]) {
		i++
	}
	return i > 0 && i+1 < len(d) && d[i] == '.' && digitSet.has(d[i+1])
}

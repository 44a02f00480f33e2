package pii

import "strings"

var (
	authorityEnd = unionOf(setOf("/?# \t\r\n\"'<>\\|`"), setOf("\x00-\x1f"))
	textEnd      = unionOf(setOf(" \t\r\n\"'<>`"), setOf("\x00-\x1f"))
	paramName    = unionOf(setOf("A-Za-z0-9_.$:%+~"), setOf("[]"), setOf("-"), nonASCII)
	valueEnd     = unionOf(setOf("&; \t\r\n\"'<>`#\\"), setOf("\x00-\x1f"))
	urlValueEnd  = unionOf(setOf("&;# \t\r\n"), setOf("\x00-\x1f")) // when the text is a URL from its beginning
	beforeQuery  = unionOf(setOf("A-Za-z0-9/._~%)}:"), setOf("]"), setOf("-"), nonASCII)
)

// maxUserinfo bounds the search for the at-sign behind a password that holds unescaped slashes.
const maxUserinfo = 256

// armUserinfo looks for user:password@ in URLs (RFC 3986, section 3.2.1), and in the two well-known data source names
// that are no URLs: Oracle's thin:user/password@ and user:password@tcp(host) of Go's MySQL driver.
func armUserinfo(b *builder, r *rule) {
	b.rules.userinfo = r
	b.on(r, gramOf("://", false), func(sc *Scanner, s string, at int) { sc.userinfo(r, s, at+3) })
	b.on(r, gramOf(`:\/\/`, false), func(sc *Scanner, s string, at int) { // slashes escaped in JSON
		if strings.HasPrefix(s[at:], `:\/\/`) {
			sc.userinfo(r, s, at+len(`:\/\/`))
		}
	})
	b.on(r, gramOf("thin:", true), func(sc *Scanner, s string, at int) {
		if hasPrefixFold(s[at:], "thin:") {
			sc.dsn(r, s, at+len("thin:"))
		}
	})
	b.on(r, gramOf("@tcp(", false), func(sc *Scanner, s string, at int) { sc.mysqlDSN(r, s, at) })
	b.on(r, gramOf("@uni", false), func(sc *Scanner, s string, at int) { sc.mysqlDSN(r, s, at) })
}

// userinfo looks at the authority that begins at s[start:].
func (sc *Scanner) userinfo(r *rule, s string, start int) {
	end, at, colon := start, -1, -1
	for end < len(s) && !authorityEnd.has(s[end]) {
		switch {
		case s[end] == '@':
			at = end
		case s[end] == ':' && colon < 0:
			colon = end
		}
		end++
	}
	sc.Examined += int64(end - start)
	if at < 0 && colon >= 0 && end < len(s) && !allIn(s[colon+1:end], &digitSet) && (s[end] == '/' || s[end] == '?' || s[end] == '#') {
		// No port, so it is a password that goes on behind a reserved character that should have been escaped.
		at = sc.farAt(s, end)
	}
	if at > start && s[start:at] != "git" {
		sc.add(r, s, start, at)
	}
}

// farAt returns the offset of an at-sign at or after i in the same word, or -1.
func (sc *Scanner) farAt(s string, i int) int {
	stop := min(len(s), i+maxUserinfo)
	for ; i < stop && !textEnd.has(s[i]); i++ {
		sc.Examined++
		if s[i] == '@' {
			return i
		}
	}
	return -1
}

// dsn takes everything up to the at-sign.
func (sc *Scanner) dsn(r *rule, s string, start int) {
	if at := sc.farAt(s, start); at > start {
		sc.add(r, s, start, at)
	}
}

// mysqlDSN takes user:password in front of the at-sign.
func (sc *Scanner) mysqlDSN(r *rule, s string, at int) {
	if !strings.HasPrefix(s[at:], "@tcp(") && !strings.HasPrefix(s[at:], "@unix(") {
		return
	}
	start := at
	for start > 0 && at-start < maxUserinfo && !textEnd.has(s[start-1]) && s[start-1] != '=' {
		start--
	}
	sc.Examined += int64(at - start)
	sc.add(r, s, start, at)
}

// allowedParameters are query parameters whose values say how something is shown, not what about whom.
var allowedParameters = []string{
	"page", "page_size", "pagesize", "per_page", "perpage", "limit", "offset", "skip", "take", "size", "count", "first", "last",
	"sort", "sort_by", "sortby", "order", "order_by", "orderby", "direction", "dir", "asc", "desc",
	"lang", "language", "locale", "hl", "format", "fmt", "output", "type", "kind", "v", "ver", "version", "api_version", "api-version",
	"view", "tab", "mode", "theme", "width", "height", "w", "h", "dpr", "quality",
	"start", "end", "since", "until", "step", "interval", "timeout", "retry", "retries", "duration", "period", "window",
	"pretty", "verbose", "debug", "watch", "wait", "stale", "recursive", "depth", "level", "dry_run", "dryrun", "force",
	"fields", "include", "exclude", "expand", "embed", "group_by", "groupby", "aggregation", "agg", "metric", "unit",
	"status", "state_filter", "category", "categories", "enabled", "active", "charset", "encoding", "compress", "timezone", "tz",
	"sslmode", "ssl", "tls", "parsetime", "useunicode", "characterencoding", "autoreconnect", "replicaset", "retrywrites",
	"readpreference", "authsource", "maxpoolsize", "connecttimeout", "pool_timeout", "application_name", "schema", "database",
	"labelselector", "fieldselector", "resourceversion", "resourceversionmatch", "timeoutseconds", "allowwatchbookmarks",
	"utm_source", "utm_medium", "utm_campaign",
}

// armQuery looks at the parameters of URL queries, and at those of fragments that look like OAuth answers.
func armQuery(b *builder, r *rule) {
	b.rules.query = r
	list := allowedParameters
	if len(b.config.AllowParameters) > 0 {
		list = b.config.AllowParameters
	}
	r.params = newKeyMatcher(list)
	name := paramName
	second := paramName
	second.add('=')
	b.on(r, gram{setOf("?"), name, second, anyByte}, func(sc *Scanner, s string, at int) {
		if at > 0 && !beforeQuery.has(s[at-1]) {
			return
		}
		sc.query(r, s, at+1, false)
	})
	b.on(r, gram{setOf("#"), name, second, anyByte}, func(sc *Scanner, s string, at int) {
		sc.query(r, s, at+1, true)
	})
}

// queryValue judges the value of an attribute that is a query.
func (sc *Scanner) queryValue(s string, active uint64) (string, Verdict) {
	if res := sc.rules.results.get(s, "query", active); res != nil {
		sc.hits = append(sc.hits, res.hits...)
		return res.text, res.verdict
	}
	find := func(s string) { sc.findQuery(s, active) }
	if find(s); len(sc.found) == 0 {
		return s, Keep
	}
	text, verdict := sc.settle(s, find)
	sc.rules.results.put(result{in: s, kind: "query", active: active, text: text, verdict: verdict, hits: sc.hits})
	return text, verdict
}

// findQuery is find for a text that is a query.
func (sc *Scanner) findQuery(s string, active uint64) {
	sc.find(s, active)
	start := 0
	if strings.HasPrefix(s, "?") {
		start = 1
	}
	sc.qEnd = 0
	sc.query(sc.rules.query, s, start, false)
}

// query looks at name=value pairs from s[i:] on, up to the end of the word. In fragments only names that sensitive_keys
// knows count.
func (sc *Scanner) query(r *rule, s string, i int, fragment bool) {
	if i < sc.qEnd {
		return
	}
	begin := i
	ends := &valueEnd
	if i <= maxURLHead && !strings.ContainsAny(s[:i], " \t\r\n\"'<>`\\") {
		ends = &urlValueEnd
	}
	for i < len(s) {
		nameStart := i
		for i < len(s) && paramName.has(s[i]) {
			i++
		}
		if i == len(s) || s[i] != '=' {
			if i < len(s) && (s[i] == '&' || s[i] == ';') {
				i++
				continue
			}
			break
		}
		name := s[nameStart:i]
		i++
		valueStart := i
		i = sc.parameterEnd(s, i, ends)
		sc.parameter(r, s, name, valueStart, i, fragment)
		if i == len(s) || s[i] != '&' && s[i] != ';' {
			break
		}
		i++
		if strings.HasPrefix(s[i:], "amp;") {
			i += len("amp;")
		}
	}
	sc.Examined += int64(i - begin)
	sc.qEnd = i
}

const (
	maxURLHead   = 4096 // bytes in front of a query that are looked at to know whether the text is a URL
	maxParamName = 64
)

// parameterEnd returns the end of the value at s[i:]. A semicolon ends it only when another name=value follows.
func (sc *Scanner) parameterEnd(s string, i int, ends *byteSet) int {
	if strings.HasPrefix(s[i:], "[REDACTED") {
		// A replacement may hold bytes that end a value.
		for stop := min(len(s), i+maxReplacement); i < stop && s[i] != ']'; {
			i++
		}
	}
	for i < len(s) {
		if !ends.has(s[i]) {
			i++
			continue
		}
		if s[i] != ';' || ends != &urlValueEnd {
			return i
		}
		j := i + 1
		for j < len(s) && j-i <= maxParamName && paramName.has(s[j]) {
			j++
		}
		sc.Examined += int64(j - i)
		if j < len(s) && s[j] == '=' {
			return i
		}
		i++
	}
	return i
}

func (sc *Scanner) parameter(r *rule, s, name string, start, end int, fragment bool) {
	if start == end {
		return
	}
	normal := normalKey(name)
	if fragment {
		if !secretParameters.match(normal) {
			return
		}
	} else if r.params.match(normal) {
		return
	}
	// Placeholders of templates and prepared URLs.
	if v := s[start:end]; v[0] == '{' && v[len(v)-1] == '}' || v == "?" || v == "*" {
		return
	}
	sc.add(r, s, start, end)
}

var secretParameters = newKeyMatcher(append([]string{"code", "state", "key", "sig", "signature", "session_state", "assertion"}, sensitiveKeys...))

// insideWord reports whether an alphanumeric stands in front of s[at:] that is no part of an escape: \n or %3D.
func insideWord(s string, at int) bool {
	if at == 0 || !alnumSet.has(s[at-1]) {
		return false
	}
	if at >= 2 && s[at-2] == '\\' && strings.IndexByte("nrtbf", s[at-1]) >= 0 {
		return false
	}
	return at < 3 || s[at-3] != '%' || !hexSet.has(s[at-2]) || !hexSet.has(s[at-1])
}

// hasPrefixFold is strings.HasPrefix for a lower-case ASCII prefix, ignoring case.
func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

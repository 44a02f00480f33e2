package pii

import (
	"strconv"
	"strings"
)

// Key is the judgement of an attribute key. It is immutable.
type Key struct {
	name      string
	protected bool
	allowed   uint64 // rules that apply to attributes with this key
	sensitive uint64 // rules for which the whole value is a finding
	statement bool   // the value is a database statement
	parameter bool   // the value is a parameter of a database statement
	query     bool   // the value is the query part of a URL
	hash      bool   // it is QueryHashKey
	dirty     bool   // the key itself needs a scan
}

// Protected reports whether no rule may touch the attribute.
func (k *Key) Protected() bool { return k.protected }

// QueryHash reports whether the key is QueryHashKey.
func (k *Key) QueryHash() bool { return k.hash }

// Dirty reports whether the key's own text may have to be changed.
func (k *Key) Dirty() bool { return k.dirty }

// Statement reports whether the value is a database statement, for which Scanner.Statement is to be used.
func (k *Key) Statement() bool { return k.statement && k.sensitive == 0 }

// protectedPrefixes and protectedKeys are never touched: association of spans with pods, the service graph and
// sampling depend on them. The names before the renaming of the conventions are included.
var (
	protectedPrefixes = []string{"service.", "k8s.", "host.", "telemetry.", "network.peer.", "net.sock.peer."}
	protectedKeys     = map[string]bool{
		"server.address": true, "server.port": true, "net.peer.name": true, "net.peer.port": true, "net.peer.ip": true,
		"peer.service": true, "container.id": true, "trace_id": true, "span_id": true, "parent_span_id": true,
		"trace.id": true, "span.id": true, "trace_flags": true,
	}
)

// Attributes that are written beside what was scrubbed.
const (
	// QueryHashKey names the attribute with the hash of a statement.
	QueryHashKey = "db.query.hash"
	// RedactedMarker names the attribute that lists the rules that changed a span.
	RedactedMarker = "bramble.pii.redacted"
)

// Key judges an attribute key. The answer is remembered.
func (sc *Scanner) Key(name string) *Key {
	if k, h := sc.rules.keyCache.get(name); k != nil {
		return k
	} else {
		k = sc.judgeKey(strings.Clone(name))
		sc.rules.keyCache.put(k, h)
		return k
	}
}

func (sc *Scanner) judgeKey(name string) *Key {
	r := sc.rules
	k := &Key{name: name, hash: name == QueryHashKey}
	normal := normalKey(name)
	k.protected = protectedKeys[name] || r.allow.match(normal)
	for _, p := range protectedPrefixes {
		k.protected = k.protected || strings.HasPrefix(name, p)
	}
	if k.protected {
		return k
	}
	for i := range r.rules {
		rl := &r.rules[i]
		if rl.allow.match(normal) || rl.keys != nil && !rl.keys.match(normal) {
			continue
		}
		k.allowed |= rl.bit
		if rl.sensitive.match(normal) && !rl.except.match(normal) {
			k.sensitive |= rl.bit
		}
	}
	if st := r.statements; st != nil && k.allowed&st.bit != 0 {
		k.statement = r.statementKeys.match(normal)
		k.parameter = parameterKeys.match(normal)
	}
	k.query = r.query != nil && k.allowed&r.query.bit != 0 && queryKeys.match(normal)
	sc.find(name, r.textRules())
	k.dirty = len(sc.found) > 0
	return k
}

// textRules are all rules that read text.
func (r *Rules) textRules() uint64 {
	var all uint64
	for i := range r.rules {
		if r.rules[i].needsText && r.rules[i].keys == nil {
			all |= r.rules[i].bit
		}
	}
	return all
}

// queryKeys are the attributes whose value is the query of a URL without the question mark.
var queryKeys = newKeyMatcher([]string{"url.query", "http.query", "http.request.query", "http.query_string", "http.url.query"})

// KeyText judges the text of an attribute key itself. Verdicts are Keep, Replace, Drop and DropSpan.
func (sc *Scanner) KeyText(place Place, k *Key) (string, Verdict) {
	sc.hits = sc.hits[:0]
	active := sc.rules.places[place] & sc.rules.textRules() & k.allowed
	if !k.dirty || active == 0 {
		return k.name, Keep
	}
	return sc.apply(k.name, active)
}

// Value judges the text of an attribute that is not a statement.
func (sc *Scanner) Value(place Place, k *Key, s string) (string, Verdict) {
	sc.hits = sc.hits[:0]
	active := sc.rules.places[place] & k.allowed
	if active == 0 || s == "" {
		return s, Keep
	}
	if k.sensitive&active != 0 {
		return sc.wholeValue(k.sensitive&active, s)
	}
	if k.parameter && active&sc.rules.statements.bit != 0 {
		return sc.wholeValue(sc.rules.statements.bit, s)
	}
	if k.query && active&sc.rules.query.bit != 0 {
		return sc.queryValue(s, active)
	}
	if len(s) < gramLen && len(sc.rules.whole) == 0 {
		return s, Keep
	}
	return sc.apply(s, active)
}

// wholeValue treats a whole value as a finding of the first of rules.
func (sc *Scanner) wholeValue(rules uint64, s string) (string, Verdict) {
	if sc.rules.treated(s) {
		return s, Keep
	}
	// The rules differ in action only; the strongest counts.
	var r *rule
	for i := range sc.rules.rules {
		if c := &sc.rules.rules[i]; rules&c.bit != 0 && (r == nil || c.action > r.action) {
			r = c
		}
	}
	sc.found = append(sc.found[:0], finding{end: len(s), rule: r.index()})
	text, verdict := sc.rewrite(s)
	return text, verdict
}

// Number judges a number of an attribute by its decimal digits. When the verdict is Replace, the returned text takes
// the number's place.
func (sc *Scanner) Number(place Place, k *Key, n int64) (string, Verdict) {
	sc.hits = sc.hits[:0]
	active := sc.rules.places[place] & k.allowed
	sensitive := active & k.sensitive
	if sensitive == 0 && k.parameter && active&sc.rules.statements.bit != 0 {
		sensitive = sc.rules.statements.bit
	}
	if sensitive != 0 {
		return sc.wholeValue(sensitive, strconv.FormatInt(n, 10))
	}
	if n < sc.rules.leastNumber || active&sc.rules.numericRules == 0 {
		return "", Keep
	}
	var buf [20]byte
	b := strconv.AppendInt(buf[:0], n, 10)
	if sc.rules.nationalIDs == nil && !cardDigits(b) {
		return "", Keep
	}
	digits := string(b)
	sc.find(digits, active&sc.rules.numericRules)
	if len(sc.found) == 0 {
		return "", Keep
	}
	return sc.rewrite(digits)
}

// Float is Number for floating-point values. Fractions are not looked at unless the key is sensitive.
func (sc *Scanner) Float(place Place, k *Key, f float64) (string, Verdict) {
	sc.hits = sc.hits[:0]
	if f >= 0 && f < 1<<63 && f == float64(int64(f)) {
		return sc.Number(place, k, int64(f))
	}
	active := sc.rules.places[place] & k.allowed
	if active&k.sensitive != 0 {
		return sc.wholeValue(active&k.sensitive, strconv.FormatFloat(f, 'g', -1, 64))
	}
	return "", Keep
}

// sensitiveKeys are keys whose values are secrets or card data. They are compared after normalKey.
var sensitiveKeys = []string{
	"authorization", "*_authorization", "*cookie", "*_cookies", "*_cookie_*", "cookies", "*authentication_info",
	"*api_key", "*apikey", "*_api_key_*", "*api_token", "*apitoken", "*auth_token", "*authtoken", "*access_token", "*accesstoken",
	"*refresh_token", "*refreshtoken", "*id_token", "*idtoken", "*session_token", "*sessiontoken", "*csrf_token", "*csrftoken",
	"*xsrf_token", "*bearer_token", "*security_token", "*private_token", "*oauth_token", "*secret_token", "token", "*_token",
	"jwt", "*_jwt", "bearer", "*_bearer",
	"*password", "*passwd", "*passphrase", "*_passcode", "passcode", "pwd", "*_pwd", "*_pass", "userpass",
	"secret", "*_secret", "*clientsecret", "*_secrets", "*secret_key", "*secretkey", "*secret_access_key", "*secretaccesskey",
	"*private_key", "*privatekey", "*access_key", "*accesskey", "*signing_key", "*encryption_key", "*_auth_key", "*master_key",
	"*api_keys", "*_passwords", "*auth_header", "*subscription_key", "*subscriptionkey", "*secret_key_base",
	"credential", "credentials", "*_credential", "*_credentials", "*connection_string", "*connectionstring", "*_dsn", "dsn",
	"*credit_card", "*creditcard", "*card_number", "*cardnumber", "*card_no", "*card_pan", "*cvv", "*cvv2", "*_cvc", "cvc", "*card_cvc", "*security_code",
	"ssn", "*_ssn", "*social_security*", "*tax_id_number", "*passport_number",
	"jsessionid", "*_jsessionid", "phpsessid", "*_phpsessid", "*session_key", "connect_sid", "*_sessid",
	"otp", "*_otp", "*one_time_password", "*totp_secret", "*mfa_code", "*recovery_code*",
}

// notSensitive are keys that sensitiveKeys matches and that hold no secrets: page marks and counts.
var notSensitive = []string{
	"*page_token", "*next_token", "*continuation_token", "*sync_token", "*first_token", "*last_token", "*output_token",
	"*input_token", "*per_token", "*max_token", "*resume_token", "*start_token", "*stop_token", "*eos_token", "*bos_token",
	"*pad_token", "*cookie_count", "*watch_token", "*fencing_token", "*consistency_token", "*by_pass", "*public_access_key",
}

func armSensitiveKeys(b *builder, r *rule) {
	keys := sensitiveKeys
	if len(b.config.Keys) > 0 {
		keys = b.config.Keys
	}
	list := append(append([]string(nil), keys...), b.config.ExtraKeys...)
	r.sensitive = newKeyMatcher(list)
	if len(b.config.Keys) == 0 {
		r.except = newKeyMatcher(notSensitive)
	}
	r.needsText = false
}

// Sensitive reports whether the whole value is a finding, whatever it is.
func (k *Key) Sensitive() bool { return k.sensitive != 0 }

// Name returns the key.
func (k *Key) Name() string { return k.name }

package pii

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var testKey = []byte("0123456789abcdef0123456789abcdef")

func on() *bool { b := true; return &b }

func compile(tb testing.TB, rules map[string]RuleConfig) *Rules {
	tb.Helper()
	r, err := Compile(Config{Rules: rules}, testKey)
	require.NoError(tb, err)
	return r
}

func TestDefaults(t *testing.T) {
	var names []string
	for _, r := range defaults(t).List() {
		names = append(names, r.Name)
		assert.Equal(t, ActionRedact, r.Action)
		assert.Nil(t, r.Places)
	}
	assert.Equal(t, []string{
		"sensitive_keys", "statements", "private_keys", "url_userinfo", "url_query", "text_assignments", "tokens", "jwt",
		"vendor_keys", "emails", "cards",
	}, names)
}

func TestActions(t *testing.T) {
	four, zero := 4, 0
	tests := []struct {
		name    string
		rule    RuleConfig
		out     string
		verdict Verdict
	}{
		{"redact", RuleConfig{}, "to [REDACTED:email]!", Replace},
		{"own text", RuleConfig{Replacement: "<mail>"}, "to <mail>!", Replace},
		{"mask", RuleConfig{Action: "mask", KeepLast: &four}, "to ****.com!", Replace},
		{"mask all", RuleConfig{Action: "mask", KeepLast: &zero}, "to ****!", Replace},
		{"hash", RuleConfig{Action: "hash"}, "to hmac:3ade3e9adb5d1ec7d2a1aa7b0a1f7df0!", Replace},
		{"drop", RuleConfig{Action: "drop"}, "to [REDACTED:email]!", Drop},
		{"drop_span", RuleConfig{Action: "drop_span"}, "to [REDACTED:email]!", DropSpan},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sc := compile(t, map[string]RuleConfig{"emails": tt.rule}).NewScanner()
			out, v := sc.Text(PlaceStatus, "to alice@example.com!")
			assert.Equal(t, tt.verdict, v)
			if tt.rule.Action == "hash" {
				// Joinable: the same value has the same hash elsewhere, another value has not.
				h := strings.TrimSuffix(strings.TrimPrefix(out, "to "), "!")
				assert.Len(t, h, len(hashPrefix)+2*hashBytes)
				again, _ := sc.Value(PlaceSpan, sc.Key("k"), "alice@example.com")
				assert.Equal(t, h, again)
				other, _ := sc.Value(PlaceSpan, sc.Key("k"), "alicf@example.com")
				assert.NotEqual(t, h, other)
			} else {
				assert.Equal(t, tt.out, out)
			}
			require.Len(t, sc.Hits(), 1)
			assert.Equal(t, "a{5}@a{7}.a{3}", shape("alice@example.com"))
			if v == Replace {
				again, v := sc.Text(PlaceStatus, out)
				assert.Equal(t, Keep, v, again)
			}
		})
	}
}

func TestHashNeedsKey(t *testing.T) {
	for _, key := range [][]byte{nil, []byte("short")} {
		_, err := Compile(Config{Rules: map[string]RuleConfig{"emails": {Action: "hash"}}}, key)
		require.ErrorContains(t, err, "rules::emails::action")
		_, err = Compile(Config{Rules: map[string]RuleConfig{"statements": {Hash: "statement"}}}, key)
		require.ErrorContains(t, err, "rules::statements::action")
	}
	_, err := Compile(Config{Rules: map[string]RuleConfig{"emails": {Action: "hash"}}}, nil)
	require.ErrorIs(t, err, ErrNoHashKey)
}

func TestHashDependsOnKey(t *testing.T) {
	cfg := Config{Rules: map[string]RuleConfig{"emails": {Action: "hash"}}}
	a, err := Compile(cfg, testKey)
	require.NoError(t, err)
	b, err := Compile(cfg, []byte("another key of 32 bytes another!"))
	require.NoError(t, err)
	x, _ := a.NewScanner().Text(PlaceStatus, "alice@example.com")
	y, _ := b.NewScanner().Text(PlaceStatus, "alice@example.com")
	assert.NotEqual(t, x, y)
}

func TestScope(t *testing.T) {
	sc := compile(t, map[string]RuleConfig{
		"emails": {Places: []string{"span", "status_message"}, AllowKeys: []string{"app.contact*"}},
		"cards":  {Keys: []string{"payment.*"}},
		"digits": {Patterns: []string{`order-\d{6}`}, Places: []string{"event"}},
		"mine":   {Keys: []string{"my.field"}, Action: "drop"},
	}).NewScanner()
	value := func(p Place, key, s string) string {
		out, v := sc.Value(p, sc.Key(key), s)
		if v == Drop {
			return "dropped"
		}
		return out
	}
	assert.Equal(t, "[REDACTED:email]", value(PlaceSpan, "a", "a@example.com"))
	assert.Equal(t, "a@example.com", value(PlaceEvent, "a", "a@example.com"))
	assert.Equal(t, "a@example.com", value(PlaceSpan, "app.contact.mail", "a@example.com"))
	assert.Equal(t, "a@example.com", value(PlaceSpan, "app_contact", "a@example.com"), "separators are alike")
	out, _ := sc.Text(PlaceStatus, "a@example.com")
	assert.Equal(t, "[REDACTED:email]", out)
	out, _ = sc.Text(PlaceSpanName, "a@example.com")
	assert.Equal(t, "a@example.com", out)
	assert.Equal(t, "[REDACTED:card]", value(PlaceSpan, "payment.card", "4242424242424242"))
	assert.Equal(t, "4242424242424242", value(PlaceSpan, "other", "4242424242424242"))
	out, _ = sc.Text(PlaceStatus, "4242424242424242")
	assert.Equal(t, "4242424242424242", out, "a rule with keys reads attributes only")
	assert.Equal(t, "x [REDACTED:digits]", value(PlaceEvent, "k", "x order-123456"))
	assert.Equal(t, "x order-123456", value(PlaceSpan, "k", "x order-123456"))
	assert.Equal(t, "dropped", value(PlaceSpan, "my.field", "x"))
}

func TestNeverTouched(t *testing.T) {
	sc := defaults(t).NewScanner()
	for _, key := range []string{
		"service.name", "service.instance.id", "k8s.pod.name", "k8s.pod.ip", "host.name", "telemetry.sdk.name", "server.address",
		"server.port", "network.peer.address", "network.peer.port", "net.peer.name", "peer.service",
	} {
		k := sc.Key(key)
		assert.True(t, k.Protected(), key)
		_, v := sc.Value(PlaceResource, k, "alice@example.com")
		assert.Equal(t, Keep, v, key)
	}
	assert.False(t, sc.Key("network.carrier.name").Protected())
	assert.False(t, sc.Key("services").Protected())
}

func TestNumbers(t *testing.T) {
	sc := compile(t, map[string]RuleConfig{"national_ids": {Enabled: on()}}).NewScanner()
	out, v := sc.Number(PlaceSpan, sc.Key("n"), 4242424242424242)
	assert.Equal(t, Replace, v)
	assert.Equal(t, "[REDACTED:card]", out)
	out, v = sc.Float(PlaceSpan, sc.Key("n"), 4242424242424242)
	assert.Equal(t, Replace, v)
	assert.Equal(t, "[REDACTED:card]", out)
	_, v = sc.Number(PlaceSpan, sc.Key("n"), 44051401359)
	assert.Equal(t, Replace, v, "a PESEL is only digits")
	out, v = sc.Number(PlaceSpan, sc.Key("cvv"), 123)
	assert.Equal(t, Replace, v)
	assert.Equal(t, "[REDACTED]", out)
	for _, n := range []int64{0, -1, 200, 1732159200123456789, 4242424242424243, -4242424242424242} {
		_, v = sc.Number(PlaceSpan, sc.Key("n"), n)
		assert.Equal(t, Keep, v, n)
	}
	for _, f := range []float64{0.1, -3, 1e300, 4242424242424242.5} {
		_, v = sc.Float(PlaceSpan, sc.Key("n"), f)
		assert.Equal(t, Keep, v, f)
	}
}

func TestKeyText(t *testing.T) {
	sc := defaults(t).NewScanner()
	k := sc.Key("mail.alice@example.com.count")
	require.True(t, k.Dirty())
	out, v := sc.KeyText(PlaceSpan, k)
	assert.Equal(t, Replace, v)
	assert.NotContains(t, out, "alice")
	assert.False(t, sc.Key(out).Dirty())
	assert.False(t, sc.Key("http.request.method").Dirty())
}

func TestValidateNamesTheField(t *testing.T) {
	tests := []struct {
		want string
		cfg  Config
	}{
		{"rules::emails::action", Config{Rules: map[string]RuleConfig{"emails": {Action: "delete"}}}},
		{"rules::emails::keep_last", Config{Rules: map[string]RuleConfig{"emails": {Action: "mask", KeepLast: func() *int { n := 99; return &n }()}}}},
		{"rules::emails::places[1]", Config{Rules: map[string]RuleConfig{"emails": {Places: []string{"span", "attic"}}}}},
		{"rules::emails::patterns", Config{Rules: map[string]RuleConfig{"emails": {Patterns: []string{"x"}}}}},
		{"rules::own::patterns[0]", Config{Rules: map[string]RuleConfig{"own": {Patterns: []string{"("}}}}},
		{"rules::own::patterns[0]", Config{Rules: map[string]RuleConfig{"own": {Patterns: []string{"a*"}}}}},
		{"rules::own::patterns", Config{Rules: map[string]RuleConfig{"own": {}}}},
		{"rules::Own name::name", Config{Rules: map[string]RuleConfig{"Own name": {Keys: []string{"x"}}}}},
		{"rules::cards::extra_keys", Config{Rules: map[string]RuleConfig{"cards": {ExtraKeys: []string{"x"}}}}},
		{"rules::cards::hash", Config{Rules: map[string]RuleConfig{"cards": {Hash: "query"}}}},
		{"rules::statements::hash", Config{Rules: map[string]RuleConfig{"statements": {Hash: "md5"}}}},
		{"rules::statements::action", Config{Rules: map[string]RuleConfig{"statements": {Action: "mask"}}}},
		{"rules::statements::replacement", Config{Rules: map[string]RuleConfig{"statements": {Replacement: "{x}"}}}},
		{"rules::emails::replacement", Config{Rules: map[string]RuleConfig{"emails": {Replacement: "a@example.com"}}}},
		{"allow_keys[0]", Config{AllowKeys: []string{""}}},
	}
	for _, tt := range tests {
		_, err := Compile(tt.cfg, nil)
		assert.ErrorContains(t, err, tt.want)
	}
}

func TestStatementHash(t *testing.T) {
	sc := compile(t, map[string]RuleConfig{"statements": {Hash: "statement"}}).NewScanner()
	k := sc.Key("db.statement")
	out, v := sc.Statement(PlaceSpan, k, "mysql", "SELECT 1")
	assert.Equal(t, Replace, v)
	assert.Equal(t, "SELECT ?", out)
	h1 := sc.QueryHash
	sc.Statement(PlaceSpan, k, "mysql", "SELECT 2")
	assert.NotEqual(t, h1, sc.QueryHash, "the original counts")
	sc.Statement(PlaceSpan, k, "mysql", "SELECT 1")
	assert.Equal(t, h1, sc.QueryHash, "also from the cache")

	sc = defaults(t).NewScanner()
	sc.Statement(PlaceSpan, k, "mysql", "SELECT 1")
	h1 = sc.QueryHash
	sc.Statement(PlaceSpan, k, "mysql", "SELECT 2")
	assert.Equal(t, h1, sc.QueryHash, "the shape counts")
}

// TestStatementLeavesNothing: what the lexer does not take for a literal is still judged like any text.
func TestStatementLeavesNothing(t *testing.T) {
	sc := defaults(t).NewScanner()
	for _, system := range []string{"postgresql", "mysql", "oracle", "mongodb", "redis", "", "somethingelse"} {
		for _, s := range []string{
			"SELECT alice@example.com FROM t", `SELECT "alice@example.com" FROM t`, "SELECT `alice@example.com`", "-- alice@example.com",
			"/* alice@example.com", "{\"alice@example.com\": 1}", "alice@example.com", "'alice@example.com", "$x$alice@example.com",
			"[alice@example.com]", "SELECT x'alice@example.com'", "#alice@example.com\nSELECT",
		} {
			out, v := sc.Statement(PlaceSpan, sc.Key("db.statement"), system, s)
			assert.Equal(t, Replace, v, "%s: %s", system, s)
			assert.NotContains(t, out, "alice", "%s: %s", system, s)
			again, v := sc.Statement(PlaceSpan, sc.Key("db.statement"), system, out)
			assert.Equal(t, Keep, v, "%s: %s became %s", system, out, again)
		}
	}
}

func TestPatterns(t *testing.T) {
	tests := []struct{ pattern, in, out string }{
		{`cust-\d+`, "a cust-12 b cust-345", "a [REDACTED:own] b [REDACTED:own]"},
		{`(?i)employee[ _]id:\s*\w+`, "x EMPLOYEE_ID: Ab12, y", "x [REDACTED:own], y"},
		{`\bID\d{4}\b`, "XID1234 ID1234 ID12345", "XID1234 [REDACTED:own] ID12345"},
		{`^start-\d+`, "start-1 start-2", "[REDACTED:own] start-2"},
		{`(foo|bars)-\d{2}`, "foo-11 bars-22 fool-33", "[REDACTED:own] [REDACTED:own] fool-33"},
		{`\d{3}-[a-z]+`, "123-abc", "[REDACTED:own]"},
		{`(?:ab)+c`, "x ababc y", "x [REDACTED:own] y"},
		{`[a-f]{3}`, "zzz abc", "zzz [REDACTED:own]"},
		{`é\d`, "é1 e1", "[REDACTED:own] e1"},
		{`q`, "aqb", "a[REDACTED:own]b"},
		{`end\d+$`, "end1 end22", "end1 [REDACTED:own]"},
		{`.*kilo`, "a kilo b", "[REDACTED:own] b"},
		{`Straße-\d+`, "in der Straße-12", "in der [REDACTED:own]"},
	}
	for _, tt := range tests {
		r, err := Compile(Config{Rules: map[string]RuleConfig{"own": {Patterns: []string{tt.pattern}}}}, nil)
		require.NoError(t, err, tt.pattern)
		sc := r.NewScanner()
		out, _ := sc.Value(PlaceSpan, sc.Key("k"), tt.in)
		assert.Equal(t, tt.out, out, tt.pattern)
	}
}

// TestPatternBudget: expressions that would read a text again and again give up and take the text whole.
func TestPatternBudget(t *testing.T) {
	for _, p := range []string{`foo.*bar`, `(?:.*z)?q0`} {
		r, err := Compile(Config{Rules: map[string]RuleConfig{"own": {Patterns: []string{p}}}}, nil)
		require.NoError(t, err)
		sc := r.NewScanner()
		text := strings.Repeat("foo q0", 3_000)
		out, v := sc.Value(PlaceSpan, sc.Key("k"), text)
		assert.Equal(t, Replace, v)
		assert.Equal(t, "[REDACTED:own]", out)
		assert.Less(t, sc.Examined, int64(40*len(text)+2*budgetBase))
	}
}

func TestShapeTellsNothing(t *testing.T) {
	assert.Equal(t, "a{5}@a{7}.a{3}", shape("alice@example.com"))
	assert.Equal(t, "9{4} 9{4}", shape("4242 4242"))
	assert.Equal(t, "*{8}", shape("!§$%&#;"))
	assert.LessOrEqual(t, len(shape(strings.Repeat("a1", 1000))), maxShape+8)
}

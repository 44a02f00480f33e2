package pii

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Place is where a text was found.
type Place uint8

// The places of a trace in which text can hide.
const (
	PlaceResource   Place = iota // attributes of resources, and their schema URL
	PlaceScope                   // attributes, name, version and schema URL of instrumentation scopes
	PlaceSpan                    // attributes of spans
	PlaceEvent                   // attributes of events
	PlaceLink                    // attributes of links
	PlaceSpanName                // names of spans
	PlaceStatus                  // status messages
	PlaceEventName               // names of events
	PlaceTraceState              // tracestate of spans and links
	NumPlaces
)

var placeNames = [NumPlaces]string{
	"resource", "scope", "span", "event", "link", "span_name", "status_message", "event_name", "tracestate",
}

func (p Place) String() string {
	if p < NumPlaces {
		return placeNames[p]
	}
	return "unknown"
}

// Action is what happens to a finding.
type Action uint8

// The actions, from the mildest to the strongest: where findings of several rules overlap, the strongest wins.
const (
	ActionMask     Action = iota // four stars and the last bytes
	ActionHash                   // keyed hash: equal values stay equal
	ActionRedact                 // a fixed text
	ActionDrop                   // the attribute goes
	ActionDropSpan               // the span goes
)

var actionNames = []string{"mask", "hash", "redact", "drop", "drop_span"}

func (a Action) String() string { return actionNames[a] }

// Config is the text form of the rules, as it stands in the Collector's configuration or in a rule file.
type Config struct {
	// Rules changes built-in rules and adds own ones, by name.
	Rules map[string]RuleConfig `mapstructure:"rules"`
	// AllowKeys lists attribute keys (with * for any text) whose values no rule touches.
	AllowKeys []string `mapstructure:"allow_keys"`
}

// RuleConfig changes a built-in rule, or defines one of the user's own when the name is not a built-in one. What is
// not set keeps its default.
type RuleConfig struct {
	// Enabled switches the rule. Own rules are on unless this is false.
	Enabled *bool `mapstructure:"enabled"`
	// Action is redact, mask, hash, drop or drop_span.
	Action string `mapstructure:"action"`
	// Replacement is the fixed text of redact.
	Replacement string `mapstructure:"replacement"`
	// KeepLast is the number of characters that mask leaves, 0 to 16, default 4.
	KeepLast *int `mapstructure:"keep_last"`
	// Places restricts the rule: resource, scope, span, event, link, span_name, status_message, event_name,
	// tracestate. Empty is everywhere.
	Places []string `mapstructure:"places"`
	// Keys restricts the rule to attributes with these keys (with * for any text). Texts that are not attributes
	// are then not looked at. For sensitive_keys, statements and own rules without patterns it is the list of keys
	// itself, and replaces the built-in one.
	Keys []string `mapstructure:"keys"`
	// ExtraKeys adds to the built-in list of keys of sensitive_keys and statements.
	ExtraKeys []string `mapstructure:"extra_keys"`
	// AllowKeys lists attribute keys that the rule leaves alone.
	AllowKeys []string `mapstructure:"allow_keys"`
	// AllowParameters lists the URL parameters whose values stay (url_query only), with * for any text. It replaces
	// the built-in list.
	AllowParameters []string `mapstructure:"allow_parameters"`
	// Patterns are RE2 expressions of an own rule.
	Patterns []string `mapstructure:"patterns"`
	// Hash says what the attribute db.query.hash beside a statement is (statements only): query, the SHA-256 of the
	// obfuscated text, which says which statements are of one shape; statement, the keyed hash of the original,
	// which says which are equal; or none.
	Hash string `mapstructure:"hash"`
}

// builtin is a rule that exists without configuration.
type builtin struct {
	name        string
	on          bool
	replacement string
	// arm adds the rule's triggers.
	arm func(b *builder, r *rule)
}

// builtins in the order in which their findings take precedence.
var builtins = []builtin{
	{"sensitive_keys", true, "[REDACTED]", armSensitiveKeys},
	{"statements", true, "?", armStatements},
	{"private_keys", true, "[REDACTED:private_key]", armPrivateKeys},
	{"url_userinfo", true, "REDACTED", armUserinfo},
	{"url_query", true, "REDACTED", armQuery},
	{"text_assignments", true, "[REDACTED]", armAssignments},
	{"tokens", true, "[REDACTED:token]", armTokens},
	{"jwt", true, "[REDACTED:jwt]", armJWT},
	{"vendor_keys", true, "[REDACTED:key]", armVendorKeys},
	{"emails", true, "[REDACTED:email]", armEmails},
	{"cards", true, "[REDACTED:card]", armCards},
	{"iban", false, "[REDACTED:iban]", armIBAN},
	{"phone_numbers", false, "[REDACTED:phone]", armPhones},
	{"national_ids", false, "[REDACTED:id]", armNationalIDs},
	{"ip_addresses", false, "[REDACTED:ip]", armIPs},
}

func builtinByName(name string) *builtin {
	for i := range builtins {
		if builtins[i].name == name {
			return &builtins[i]
		}
	}
	return nil
}

// BuiltinRules returns the names of the built-in rules and whether each is on by default.
func BuiltinRules() (names []string, on []bool) {
	for _, b := range builtins {
		names, on = append(names, b.name), append(on, b.on)
	}
	return names, on
}

// maxRules is the number of rules that fit the scanner's bit sets.
const maxRules = 64

// Validate checks everything but the presence of a hash key, and names the field of each error.
func (c *Config) Validate() error {
	var errs []error
	if n := len(c.Rules) + len(builtins); n > maxRules {
		errs = append(errs, fmt.Errorf("rules: %d rules with the built-in ones, at most %d are possible", n, maxRules))
	}
	for i, k := range c.AllowKeys {
		if k == "" {
			errs = append(errs, fmt.Errorf("allow_keys[%d]: must not be empty", i))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Rules)) {
		rc := c.Rules[name]
		for _, err := range rc.validate(name) {
			errs = append(errs, fmt.Errorf("rules::%s::%w", name, err))
		}
	}
	return errors.Join(errs...)
}

// validate returns errors that begin with the name of the field.
func (rc *RuleConfig) validate(name string) []error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if rc.Action != "" && !slices.Contains(actionNames, rc.Action) {
		bad("action: %q is none of %s", rc.Action, strings.Join(actionNames, ", "))
	}
	if rc.KeepLast != nil && (*rc.KeepLast < 0 || *rc.KeepLast > 16) {
		bad("keep_last: %d is not between 0 and 16", *rc.KeepLast)
	}
	if rc.KeepLast != nil && rc.Action != "mask" {
		bad("keep_last: only used with action: mask")
	}
	if rc.Replacement != "" && rc.Action != "" && rc.Action != "redact" {
		bad("replacement: only used with action: redact")
	}
	for i, p := range rc.Places {
		if !slices.Contains(placeNames[:], p) {
			bad("places[%d]: %q is none of %s", i, p, strings.Join(placeNames[:], ", "))
		}
	}
	for _, list := range []struct {
		field string
		keys  []string
	}{{"keys", rc.Keys}, {"extra_keys", rc.ExtraKeys}, {"allow_keys", rc.AllowKeys}, {"allow_parameters", rc.AllowParameters}} {
		for i, k := range list.keys {
			if k == "" {
				bad("%s[%d]: must not be empty", list.field, i)
			}
		}
	}
	for i, p := range rc.Patterns {
		if _, err := compilePattern(p); err != nil {
			bad("patterns[%d]: %w", i, err)
		}
	}
	return append(errs, rc.validateKind(name)...)
}

// validateKind checks the fields that only some rules have.
func (rc *RuleConfig) validateKind(name string) []error {
	var errs []error
	only := func(set bool, field, rules string) {
		if set && !slices.Contains(strings.Split(rules, ", "), name) {
			errs = append(errs, fmt.Errorf("%s: only used by %s", field, rules))
		}
	}
	only(len(rc.ExtraKeys) > 0, "extra_keys", "sensitive_keys, statements")
	only(len(rc.AllowParameters) > 0, "allow_parameters", "url_query")
	only(rc.Hash != "", "hash", "statements")
	if rc.Hash != "" && !slices.Contains([]string{"query", "statement", "none"}, rc.Hash) {
		errs = append(errs, fmt.Errorf("hash: %q is none of query, statement, none", rc.Hash))
	}
	if name == "statements" {
		if rc.Action == "mask" {
			errs = append(errs, errors.New("action: statements cannot be masked; use redact, hash, drop or drop_span"))
		}
		if rc.Replacement != "" && rc.Replacement != "?" && !allIn(rc.Replacement, &placeholderSet) {
			errs = append(errs, errors.New("replacement: for statements, ? or capital letters and _ only, so that the statement can still be read"))
		}
	}
	own := builtinByName(name) == nil
	if own && len(rc.Patterns) == 0 && len(rc.Keys) == 0 {
		errs = append(errs, fmt.Errorf("patterns: %q is no built-in rule (%s), and an own rule needs patterns or keys",
			name, strings.Join(builtinNames(), ", ")))
	}
	if !own && len(rc.Patterns) > 0 {
		errs = append(errs, errors.New("patterns: a built-in rule takes none; give the patterns to a rule with a name of its own"))
	}
	if own && !validRuleName(name) {
		errs = append(errs, errors.New("name: use lower-case letters, digits and _ only, at most 40, as it becomes a label of metrics"))
	}
	return errs
}

var placeholderSet = unionOf(upperSet, setOf("_"))

func builtinNames() []string {
	names, _ := BuiltinRules()
	return names
}

func validRuleName(name string) bool {
	if name == "" || len(name) > 40 {
		return false
	}
	for i := 0; i < len(name); i++ {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}

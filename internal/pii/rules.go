package pii

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// rule is one enabled rule, compiled.
type rule struct {
	name        string
	bit         uint64 // 1 << its index in Rules.rules
	action      Action
	replacement string
	keepLast    int
	places      [NumPlaces]bool
	keys        *keyMatcher // attributes the rule is restricted to; nil is all, and text that is no attribute
	allow       *keyMatcher // attributes that the rule leaves alone
	params      *keyMatcher // url_query: parameters whose values stay
	sensitive   *keyMatcher // keys whose whole value is a finding
	except      *keyMatcher // keys that sensitive does not mean although it matches them
	hashMode    string      // statements
	needsText   bool        // finds in text (else by key only)
}

// Rules are compiled rules. They are immutable but for bounded caches and safe for use by several goroutines.
type Rules struct {
	rules    []rule
	places   [NumPlaces]uint64 // rules that apply to a place
	textOnly uint64            // rules that apply to text that is no attribute
	pre      *prefilter
	whole    []*pattern // user patterns that no prefilter can help
	hashKey  []byte
	allow    *keyMatcher
	keyCache *keyCache
	results  *resultCache

	replacements map[string]bool // what rules with action redact write
	maskKeep     int             // the most that a rule with action mask leaves; -1 if there is none

	statements    *rule // nil if off
	statementKeys *keyMatcher
	userinfo      *rule
	query         *rule
	cards         *rule
	nationalIDs   *rule
	numericRules  uint64 // rules that also read numbers
	leastNumber   int64  // smaller ones are of no interest to them
	insideRuns    bool   // some pattern of the user may begin in the middle of a run of digits
}

// builder collects what the detectors ask for while rules are compiled.
type builder struct {
	rules    *Rules
	triggers []trigger
	config   RuleConfig // of the rule that is being armed
}

func (b *builder) on(r *rule, g gram, check func(sc *Scanner, s string, at int)) {
	b.triggers = append(b.triggers, trigger{gram: g, rules: r.bit, check: check})
}

// ErrNoHashKey: a rule wants a keyed hash and there is no key. Without one a hash could be reversed by trying values.
var ErrNoHashKey = errors.New("action hash needs a hash key")

// MinHashKey is the least number of bytes of a hash key.
const MinHashKey = 16

// Compile checks the configuration and builds rules from it. hashKey is the key of action hash; it may be nil if no
// rule hashes, and has at least MinHashKey bytes otherwise. The configuration is not retained.
func Compile(cfg Config, hashKey []byte) (*Rules, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	r := &Rules{
		hashKey:  slices.Clone(hashKey),
		allow:    newKeyMatcher(cfg.AllowKeys),
		keyCache: newKeyCache(),
		results:  newResultCache(),

		replacements: make(map[string]bool),
		maskKeep:     -1,
		leastNumber:  math.MaxInt64,
	}
	// The slice must not move while detectors keep pointers into it.
	r.rules = make([]rule, 0, maxRules)
	b := &builder{rules: r}
	for i := range builtins {
		bi := &builtins[i]
		rc := cfg.Rules[bi.name]
		if rc.Enabled != nil && !*rc.Enabled || rc.Enabled == nil && !bi.on {
			continue
		}
		if err := b.add(bi.name, bi.replacement, rc, bi.arm); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Rules)) {
		rc := cfg.Rules[name]
		if builtinByName(name) != nil || rc.Enabled != nil && !*rc.Enabled {
			continue
		}
		if err := b.add(name, "[REDACTED:"+name+"]", rc, armOwn); err != nil {
			return nil, err
		}
	}
	r.pre = newPrefilter(b.triggers)
	for i := range r.rules {
		if rl := &r.rules[i]; rl.action == ActionMask {
			r.maskKeep = max(r.maskKeep, rl.keepLast)
		} else {
			r.replacements[rl.replacement] = true
		}
	}
	if err := r.checkReplacements(); err != nil {
		return nil, err
	}
	return r, nil
}

func (b *builder) add(name, replacement string, rc RuleConfig, arm func(*builder, *rule)) error {
	rules := b.rules
	rules.rules = append(rules.rules, rule{
		name: name, bit: 1 << len(rules.rules), action: ActionRedact, replacement: replacement, keepLast: 4, needsText: true,
	})
	r := &rules.rules[len(rules.rules)-1]
	if rc.Action != "" {
		r.action = Action(slices.Index(actionNames, rc.Action))
	}
	if rc.Replacement != "" {
		r.replacement = rc.Replacement
	}
	if rc.KeepLast != nil {
		r.keepLast = *rc.KeepLast
	}
	r.hashMode = rc.Hash
	if len(b.rules.hashKey) < MinHashKey && (r.action == ActionHash || r.hashMode == "statement") {
		if len(b.rules.hashKey) == 0 {
			return fmt.Errorf("rules::%s::action: %w: set hash_key to an environment variable or a file", name, ErrNoHashKey)
		}
		return fmt.Errorf("rules::%s::action: the hash key has %d bytes, at least %d are needed", name, len(b.rules.hashKey), MinHashKey)
	}
	for p := range NumPlaces {
		r.places[p] = len(rc.Places) == 0 || slices.Contains(rc.Places, p.String())
		if r.places[p] {
			rules.places[p] |= r.bit
		}
	}
	r.allow = newKeyMatcher(rc.AllowKeys)
	b.config = rc
	arm(b, r)
	if r.sensitive == nil && r != rules.statements { // for these, keys is what they look for
		r.keys = newKeyMatcher(rc.Keys)
	}
	if r.keys == nil && r.needsText {
		rules.textOnly |= r.bit
	}
	return nil
}

// armOwn arms a rule of the user's: patterns, or a list of keys, or patterns for a list of keys.
func armOwn(b *builder, r *rule) {
	if len(b.config.Patterns) == 0 {
		r.sensitive = newKeyMatcher(b.config.Keys)
		r.needsText = false
		return
	}
	for _, p := range b.config.Patterns {
		armPattern(b, r, p)
	}
}

// checkReplacements makes sure that a second pass leaves what the first has written.
func (r *Rules) checkReplacements() error {
	sc := r.NewScanner()
	for i := range r.rules {
		rl := &r.rules[i]
		if rl.action != ActionRedact {
			continue
		}
		for _, around := range []string{"", "x", " "} {
			text := around + rl.replacement + around
			if sc.find(text, ^uint64(0)); len(sc.found) > 0 {
				return fmt.Errorf("rules::%s::replacement: %q would itself be found by rule %s", rl.name, rl.replacement,
					r.rules[sc.found[0].rule].name)
			}
		}
	}
	return nil
}

// RuleInfo describes an enabled rule.
type RuleInfo struct {
	Name   string
	Action Action
	Places []Place // nil is every place
}

// List returns the enabled rules in the order of their indexes in Hit.
func (r *Rules) List() []RuleInfo {
	out := make([]RuleInfo, 0, len(r.rules))
	for i := range r.rules {
		info := RuleInfo{Name: r.rules[i].name, Action: r.rules[i].action}
		all := true
		for p := range NumPlaces {
			if r.rules[i].places[p] {
				info.Places = append(info.Places, p)
			} else {
				all = false
			}
		}
		if all {
			info.Places = nil
		}
		out = append(out, info)
	}
	return out
}

// Len returns the number of enabled rules.
func (r *Rules) Len() int { return len(r.rules) }

// keyMatcher decides whether a key is in a list of keys with wildcards. Upper and lower case are the same, and so are
// '.', '-', '_' and space.
type keyMatcher struct {
	exact    map[string]struct{}
	patterns []string
}

// newKeyMatcher returns nil for an empty list.
func newKeyMatcher(list []string) *keyMatcher {
	if len(list) == 0 {
		return nil
	}
	m := &keyMatcher{exact: make(map[string]struct{})}
	for _, k := range list {
		k = normalKey(k)
		if strings.Contains(k, "*") {
			m.patterns = append(m.patterns, k)
		} else {
			m.exact[k] = struct{}{}
		}
	}
	return m
}

// match expects a key that normalKey has prepared. A nil matcher matches nothing.
func (m *keyMatcher) match(normal string) bool {
	if m == nil {
		return false
	}
	if _, ok := m.exact[normal]; ok {
		return true
	}
	for _, p := range m.patterns {
		if wildcard(p, normal) {
			return true
		}
	}
	return false
}

// normalKey folds case and the separators of keys. Keys longer than 256 bytes are cut for matching.
func normalKey(k string) string {
	if len(k) > 256 {
		k = k[len(k)-256:]
	}
	return strings.Map(func(c rune) rune {
		switch {
		case c >= 'A' && c <= 'Z':
			return c + 'a' - 'A'
		case c == '.' || c == '-' || c == ' ':
			return '_'
		}
		return c
	}, k)
}

// wildcard matches s with a pattern in which * stands for any text. It needs at most len(p)*len(s) steps.
func wildcard(p, s string) bool {
	pi, si, star, mark := 0, 0, -1, 0
	for si < len(s) {
		switch {
		case pi < len(p) && p[pi] == '*':
			star, mark = pi, si
			pi++
		case pi < len(p) && p[pi] == s[si]:
			pi, si = pi+1, si+1
		case star >= 0:
			mark++
			pi, si = star+1, mark
		default:
			return false
		}
	}
	for pi < len(p) && p[pi] == '*' {
		pi++
	}
	return pi == len(p)
}

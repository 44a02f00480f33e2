package pii

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"
)

// BoardKey is the key under which the process keeps its Board (internal/procstate), so that counts outlive a reload and
// the page that shows them finds them.
const BoardKey = "pii/board"

// Board collects the ledgers of all pii processors of a process. The zero value is ready to use, concurrently.
type Board struct {
	mu      sync.Mutex
	ledgers map[string]*Ledger
}

// Ledger returns the ledger of a component, which is made on first use.
func (b *Board) Ledger(component string) *Ledger {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ledgers == nil {
		b.ledgers = make(map[string]*Ledger)
	}
	l := b.ledgers[component]
	if l == nil {
		l = &Ledger{component: component, hits: make(map[ledgerKey]uint64), shapes: make(map[string][]string), services: make(map[string]bool)}
		b.ledgers[component] = l
	}
	return l
}

// Snapshots returns a snapshot of each ledger, ordered by component.
func (b *Board) Snapshots() []Snapshot {
	b.mu.Lock()
	ledgers := slices.Collect(maps.Values(b.ledgers))
	b.mu.Unlock()
	out := make([]Snapshot, 0, len(ledgers))
	for _, l := range ledgers {
		out = append(out, l.Snapshot())
	}
	slices.SortFunc(out, func(a, b Snapshot) int { return cmp.Compare(a.Component, b.Component) })
	return out
}

// OtherServices stands for the services beyond the bound.
const OtherServices = "other"

// maxShapes is the number of different shapes that are kept for a rule.
const maxShapes = 5

type ledgerKey struct {
	rule, service string
	place         Place
}

// Ledger counts what a processor has found: by rule, place and service, and keeps a few shapes. It never holds a value.
type Ledger struct {
	component string

	mu       sync.Mutex
	mode     string
	source   string
	loaded   time.Time
	problem  string
	refused  uint64
	rules    []RuleInfo
	hits     map[ledgerKey]uint64
	shapes   map[string][]string
	services map[string]bool
	dropped  uint64
	deep     uint64
}

// Configure notes which rules apply from now on. source is the path of the rule file, or empty.
func (l *Ledger) Configure(mode, source string, rules []RuleInfo, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mode, l.source, l.rules, l.loaded, l.problem = mode, source, rules, now, ""
}

// Refused notes that new rules could not be used, and why.
func (l *Ledger) Refused(problem string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.problem = problem
	l.refused++
}

// Service returns the name under which a service is counted: itself, or OtherServices when limit different ones are
// known already. An empty name stays empty.
func (l *Ledger) Service(name string, limit int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if name == "" || l.services[name] {
		return name
	}
	if len(l.services) >= limit || len(name) > maxCachedKey {
		return OtherServices
	}
	l.services[name] = true
	return name
}

// Add counts hits of a rule. shape may be empty.
func (l *Ledger) Add(rule, service string, place Place, n uint64, shape string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hits[ledgerKey{rule, service, place}] += n
	if known := l.shapes[rule]; shape != "" && len(known) < maxShapes && !slices.Contains(known, shape) {
		l.shapes[rule] = append(known, shape)
	}
}

// AddDropped counts spans that were removed, and values that were removed because they are nested too deeply.
func (l *Ledger) AddDropped(spans, deep uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropped += spans
	l.deep += deep
}

// Snapshot is what a processor has done so far, for people.
type Snapshot struct {
	Component string    `json:"component"`
	Mode      string    `json:"mode"`
	RulesFile string    `json:"rulesFile,omitempty"`
	Loaded    time.Time `json:"loaded"`
	// Problem says why the present content of the rule file is not in use; empty if it is.
	Problem      string       `json:"problem,omitempty"`
	Refused      uint64       `json:"refused"`
	DroppedSpans uint64       `json:"droppedSpans"`
	DroppedDeep  uint64       `json:"droppedDeep"`
	Rules        []RuleStatus `json:"rules"`
}

// RuleStatus is a rule and its findings. In report mode nothing was changed for them.
type RuleStatus struct {
	Name      string            `json:"name"`
	Action    string            `json:"action"`
	Enabled   bool              `json:"enabled"` // false: off, or no longer configured
	Places    []string          `json:"places,omitempty"`
	Hits      uint64            `json:"hits"`
	ByPlace   map[string]uint64 `json:"byPlace,omitempty"`
	ByService map[string]uint64 `json:"byService,omitempty"`
	// Shapes are forms of findings: a for letters, 9 for digits. They are never values.
	Shapes []string `json:"shapes,omitempty"`
}

// Snapshot returns a copy that the caller owns.
func (l *Ledger) Snapshot() Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Snapshot{
		Component: l.component, Mode: l.mode, RulesFile: l.source, Loaded: l.loaded, Problem: l.problem,
		Refused: l.refused, DroppedSpans: l.dropped, DroppedDeep: l.deep,
	}
	index := make(map[string]int)
	for _, r := range l.rules {
		index[r.Name] = len(s.Rules)
		st := RuleStatus{Name: r.Name, Action: r.Action.String(), Enabled: true}
		for _, p := range r.Places {
			st.Places = append(st.Places, p.String())
		}
		s.Rules = append(s.Rules, st)
	}
	for _, b := range builtins {
		if _, ok := index[b.name]; !ok {
			index[b.name] = len(s.Rules)
			s.Rules = append(s.Rules, RuleStatus{Name: b.name, Action: ActionRedact.String()})
		}
	}
	for k, n := range l.hits {
		i, ok := index[k.rule]
		if !ok {
			i = len(s.Rules)
			index[k.rule] = i
			s.Rules = append(s.Rules, RuleStatus{Name: k.rule})
		}
		r := &s.Rules[i]
		if r.ByPlace == nil {
			r.ByPlace, r.ByService = make(map[string]uint64), make(map[string]uint64)
		}
		r.Hits += n
		r.ByPlace[k.place.String()] += n
		r.ByService[k.service] += n
	}
	for i := range s.Rules {
		s.Rules[i].Shapes = slices.Clone(l.shapes[s.Rules[i].Name])
	}
	return s
}

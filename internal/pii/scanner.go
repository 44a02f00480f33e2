package pii

import (
	"math/bits"
	"slices"
)

// Verdict says what to do with the field a text came from.
type Verdict uint8

// The verdicts.
const (
	Keep     Verdict = iota // nothing was found
	Replace                 // store the returned text instead
	Drop                    // remove the attribute
	DropSpan                // remove the span
)

// Hit is one finding, or several of one rule in one text.
type Hit struct {
	Rule  int // index in Rules.List
	Count int
	Shape string // of the first finding; never its value
}

// finding is a part of a text that a rule matched.
type finding struct {
	start, end int
	rule       int
}

// Scanner applies rules to texts. It may be used by one goroutine at a time, and reuses its buffers.
type Scanner struct {
	rules *Rules
	// Examined counts the bytes that were read, by the prefilter and by detectors. It exists to show that time is
	// linear.
	Examined int64
	// QueryHash is the hash of the last statement that Text changed, or empty.
	QueryHash string

	active  uint64
	found   []finding
	hits    []Hit
	skip    int // no trigger before this offset is checked
	runEnd  int // end of the base64url run that was measured last
	buf     []byte
	budget  int // of user patterns, in bytes
	qEnd    int // end of the query that was read last
	lineEnd int // end of the line of an assigned value
	wordEnd int // end of the word of an assigned value
}

// NewScanner returns a scanner for one goroutine.
func (r *Rules) NewScanner() *Scanner { return &Scanner{rules: r} }

// Rules returns the rules of the scanner.
func (sc *Scanner) Rules() *Rules { return sc.rules }

// Hits returns what the last call found. The slice is valid until the next call.
func (sc *Scanner) Hits() []Hit { return sc.hits }

// add reports a finding of a rule, unless the text there is what a rule has put there.
func (sc *Scanner) add(r *rule, s string, start, end int) {
	if start >= end || sc.rules.treated(s[start:end]) {
		return
	}
	sc.found = append(sc.found, finding{start: start, end: end, rule: r.index()})
}

// Text judges a text that is no attribute: a name or a message.
func (sc *Scanner) Text(place Place, s string) (string, Verdict) {
	sc.hits = sc.hits[:0]
	active := sc.rules.places[place] & sc.rules.textOnly
	if active == 0 || len(s) < gramLen && len(sc.rules.whole) == 0 {
		return s, Keep
	}
	return sc.apply(s, active)
}

// apply finds and replaces with the rules of active.
func (sc *Scanner) apply(s string, active uint64) (string, Verdict) {
	r := sc.rules
	at, buckets := r.pre.next(s, 0)
	if at < 0 && len(r.whole) == 0 {
		sc.Examined += int64(len(s))
		return s, Keep
	}
	// Runs of digits are frequent in clean texts; other candidates are rare enough to ask the memory first.
	known := buckets&^r.pre.cheap != 0
	if known {
		if res := r.results.get(s, "", active); res != nil {
			sc.hits = append(sc.hits, res.hits...)
			return res.text, res.verdict
		}
	}
	sc.findFrom(s, active, at, buckets)
	if len(sc.found) == 0 {
		return s, Keep
	}
	if !known {
		if res := r.results.get(s, "", active); res != nil {
			sc.hits = append(sc.hits, res.hits...)
			return res.text, res.verdict
		}
	}
	text, verdict := sc.settle(s, func(s string) { sc.find(s, active) })
	r.results.put(result{in: s, active: active, text: text, verdict: verdict, hits: sc.hits})
	return text, verdict
}

// maxPasses bounds how often a text is rewritten.
const maxPasses = 4

// settle rewrites a text with findings until find finds nothing more: a replacement can make a finding of what stands
// beside it. A text that does not come to rest is taken whole.
func (sc *Scanner) settle(s string, find func(string)) (string, Verdict) {
	text, verdict := sc.rewrite(s)
	for range maxPasses {
		if find(text); len(sc.found) == 0 {
			return text, verdict
		}
		next, v := sc.rewrite(text)
		text, verdict = next, max(verdict, v)
	}
	return sc.rules.rules[sc.found[0].rule].replacement, verdict
}

// find fills sc.found with the findings of the active rules, in no order.
func (sc *Scanner) find(s string, active uint64) {
	at, buckets := sc.rules.pre.next(s, 0)
	sc.findFrom(s, active, at, buckets)
}

// findFrom is find when the first candidate is known.
func (sc *Scanner) findFrom(s string, active uint64, at int, buckets uint16) {
	sc.found = sc.found[:0]
	sc.active, sc.skip, sc.runEnd, sc.qEnd, sc.lineEnd, sc.wordEnd = active, 0, 0, 0, 0, 0
	sc.budget = budgetPerByte*len(s) + budgetBase
	sc.Examined += int64(len(s))
	pre := sc.rules.pre
	for at >= 0 {
		sc.check(s, at, buckets)
		from := at + 1
		if buckets&^pre.cheap == 0 && !sc.rules.insideRuns {
			// Inside of a run of digits nothing begins but what its beginning has shown.
			for from = at + gramLen; from < len(s) && digitSet.has(s[from]); {
				from++
			}
			from -= gramLen - 1
		}
		at, buckets = pre.next(s, max(from, sc.skip))
	}
	for _, p := range sc.rules.whole {
		if p.rule.bit&active != 0 {
			p.findAll(sc, s)
		}
	}
}

func (sc *Scanner) check(s string, at int, buckets uint16) {
	for ; buckets != 0; buckets &= buckets - 1 {
		list := sc.rules.pre.buckets[bits.TrailingZeros16(buckets)]
		for i := range list {
			t := &list[i]
			if t.rules&sc.active != 0 && (t.alone || t.gram.matches(s[at:at+gramLen])) {
				t.check(sc, s, at)
			}
		}
	}
}

// rewrite merges overlapping findings, applies the actions and fills sc.hits.
func (sc *Scanner) rewrite(s string) (string, Verdict) {
	rules := sc.rules.rules
	slices.SortFunc(sc.found, func(a, b finding) int {
		if a.start != b.start {
			return a.start - b.start
		}
		if a.end != b.end {
			return b.end - a.end
		}
		return a.rule - b.rule
	})
	verdict := Replace
	sc.buf = sc.buf[:0]
	last := 0
	for i := 0; i < len(sc.found); {
		f := sc.found[i]
		sc.count(f, s)
		for i++; i < len(sc.found) && sc.found[i].start < f.end; i++ {
			o := sc.found[i]
			if o.rule != f.rule || o.start != f.start || o.end != f.end {
				sc.count(o, s)
			}
			f.end = max(f.end, o.end)
			if rules[o.rule].action > rules[f.rule].action {
				f.rule = o.rule
			}
		}
		r := &rules[f.rule]
		switch r.action {
		case ActionDrop:
			verdict = max(verdict, Drop)
		case ActionDropSpan:
			verdict = DropSpan
		}
		sc.buf = append(sc.buf, s[last:f.start]...)
		sc.buf = sc.rules.appendReplacement(sc.buf, r, s[f.start:f.end])
		last = f.end
	}
	sc.buf = append(sc.buf, s[last:]...)
	return string(sc.buf), verdict
}

// count adds a finding to the hits.
func (sc *Scanner) count(f finding, s string) {
	for i := range sc.hits {
		if sc.hits[i].Rule == f.rule {
			sc.hits[i].Count++
			return
		}
	}
	sc.hits = append(sc.hits, Hit{Rule: f.rule, Count: 1, Shape: shape(s[f.start:f.end])})
}

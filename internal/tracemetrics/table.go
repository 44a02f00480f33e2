package tracemetrics

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

const shardCount = 64

// table holds the series of one group of metrics that share their labels.
type table struct {
	labels   []string // names; nil if values are pairs of name and value
	seed     maphash.Seed
	shards   [shardCount]shard
	overflow []string // values of the overflow series

	maxSeries, maxPerLabel, maxValueLen int
	stats                               *tableStats

	// limits guards what follows; it is taken before a shard's lock.
	limits sync.RWMutex
	values []map[string]int // per label: how many series have the value
	active int              // series without the overflow series
}

// tableStats are read without locks.
type tableStats struct {
	active         atomic.Int64
	overflowSeries atomic.Int64 // updates that went into the overflow series
	overflowValues atomic.Int64 // label values that were replaced
}

type shard struct {
	mu     sync.Mutex
	series map[uint64]*series
	_      [40]byte // A cache line for each shard.
}

// series is the accumulated state of one set of label values, guarded by its shard's lock.
type series struct {
	hash uint64
	next *series // another series with the same hash
	vals []string

	seen int64 // Unix nanoseconds of the last update
	// start is the time of the zero sample, 0 before the first collection; since is the collection that sent it.
	start int64
	since uint64
	// held: the value waits for the collection after the one with the zero sample.
	held bool

	// counters are calls and bytes of span metrics, or requests and failed requests of an edge. hists are the latency
	// of span metrics, or of an edge the server's, the client's and the delay of messages.
	counters [2]float64
	hists    [3]histogram
}

func newTable(c *Config, labels []string, seed maphash.Seed) *table {
	t := &table{
		labels: labels, seed: seed, maxSeries: c.MaxActiveSeries, maxPerLabel: c.MaxCardinalityPerLabel,
		maxValueLen: c.MaxLabelValueLength, stats: &tableStats{},
	}
	for i := range t.shards {
		t.shards[i].series = make(map[uint64]*series)
	}
	if labels == nil {
		t.overflow = []string{overflowLabel, "true"}
		return t
	}
	t.overflow = make([]string, len(labels))
	t.overflow[len(labels)-1] = "true"
	t.values = make([]map[string]int, len(labels))
	for i := range t.values {
		t.values[i] = make(map[string]int)
	}
	return t
}

// valueHash is the hash of one label value. Callers keep those of values that come again and again.
func valueHash(seed maphash.Seed, v string) uint64 {
	if v == "" {
		return 0
	}
	return maphash.String(seed, v)
}

// mix continues the hash h of label values with the hash of the next one.
func mix(h, value uint64) uint64 {
	// Odd, with about as many ones as zeros: the golden ratio's fraction.
	h = (h ^ value) * 0x9e3779b97f4a7c15
	return h ^ h>>29
}

// hash mixes the hashes of all values, beginning with 0.
func (t *table) hash(vals []string) (h uint64) {
	for _, v := range vals {
		h = mix(h, valueHash(t.seed, v))
	}
	return h
}

func (t *table) shard(hash uint64) *shard { return &t.shards[hash>>58] }

func (sh *shard) find(hash uint64, vals []string) *series {
	for x := sh.series[hash]; x != nil; x = x.next {
		if slices.Equal(x.vals, vals) {
			return x
		}
	}
	return nil
}

// acquire returns the series of vals and its shard, whose lock the caller must release. hash is t.hash(vals). vals may be
// changed. Without room it is the overflow series, or the series of other values where a label has no room.
func (t *table) acquire(vals []string, hash uint64) (*shard, *series) {
	sh := t.shard(hash)
	sh.mu.Lock()
	if s := sh.find(hash, vals); s != nil {
		return sh, s
	}
	sh.mu.Unlock()
	return t.admit(vals)
}

// admit is acquire for values that have no series as they are.
func (t *table) admit(vals []string) (*shard, *series) {
	for i, v := range vals {
		vals[i] = cleanValue(v, t.maxValueLen)
	}
	t.limits.RLock()
	replaced, full := t.limitLabels(vals), t.full()
	t.limits.RUnlock()
	if replaced {
		t.stats.overflowValues.Add(1)
	}
	hash := t.hash(vals)
	sh := t.shard(hash)
	sh.mu.Lock()
	if s := sh.find(hash, vals); s != nil {
		return sh, s
	}
	sh.mu.Unlock()
	if full {
		if sh, s := t.existingOverflow(); s != nil {
			return sh, s
		}
	}
	return t.create(vals)
}

// existingOverflow is the overflow series with its shard locked, or nil if there is none yet.
func (t *table) existingOverflow() (*shard, *series) {
	hash := t.hash(t.overflow)
	sh := t.shard(hash)
	sh.mu.Lock()
	if s := sh.find(hash, t.overflow); s != nil {
		t.stats.overflowSeries.Add(1)
		return sh, s
	}
	sh.mu.Unlock()
	return nil, nil
}

// create adds a series, or finds the one that another goroutine has added meanwhile.
func (t *table) create(vals []string) (*shard, *series) {
	t.limits.Lock()
	defer t.limits.Unlock()
	t.limitLabels(vals)
	hash := t.hash(vals)
	sh := t.shard(hash)
	sh.mu.Lock()
	if s := sh.find(hash, vals); s != nil {
		return sh, s
	}
	overflow := t.full()
	if overflow {
		sh.mu.Unlock()
		t.stats.overflowSeries.Add(1)
		vals, hash = t.overflow, t.hash(t.overflow)
		sh = t.shard(hash)
		sh.mu.Lock()
		if s := sh.find(hash, vals); s != nil {
			return sh, s
		}
	}
	s := &series{hash: hash, next: sh.series[hash], vals: make([]string, len(vals))}
	for i, v := range vals {
		s.vals[i] = strings.Clone(v)
	}
	sh.series[hash] = s
	if !overflow {
		t.active++
		for i := range t.values {
			if v := s.vals[i]; v != "" {
				t.values[i][v]++
			}
		}
	}
	t.stats.active.Add(1)
	return sh, s
}

// full reports whether there is no room for another series. t.limits is held.
func (t *table) full() bool { return t.maxSeries > 0 && t.active >= t.maxSeries }

// limitLabels replaces new values of labels that have too many already. t.limits is held.
func (t *table) limitLabels(vals []string) (replaced bool) {
	if t.maxPerLabel <= 0 {
		return false
	}
	for i := range t.values {
		if vals[i] == "" || vals[i] == overflowValue || len(t.values[i]) < t.maxPerLabel {
			continue
		}
		if _, known := t.values[i][vals[i]]; !known {
			vals[i], replaced = overflowValue, true
		}
	}
	return replaced
}

// expire removes the series of a shard that were last updated before the deadline. The shard's lock is held; the caller
// hands the result to forget when it holds no lock.
func (sh *shard) expire(deadline int64) (gone []*series) {
	for hash, head := range sh.series {
		var kept *series
		for s := head; s != nil; {
			next := s.next
			if s.seen < deadline {
				gone = append(gone, s)
			} else {
				s.next, kept = kept, s
			}
			s = next
		}
		if kept == nil {
			delete(sh.series, hash)
		} else {
			sh.series[hash] = kept
		}
	}
	return gone
}

// forget gives the room of removed series free.
func (t *table) forget(gone []*series) {
	if len(gone) == 0 {
		return
	}
	t.limits.Lock()
	defer t.limits.Unlock()
	for _, s := range gone {
		t.stats.active.Add(-1)
		if slices.Equal(s.vals, t.overflow) {
			continue
		}
		t.active--
		for i := range t.values {
			if v := s.vals[i]; v != "" {
				if t.values[i][v]--; t.values[i][v] == 0 {
					delete(t.values[i], v)
				}
			}
		}
	}
}

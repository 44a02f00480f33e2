package tracemetrics

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/bramble-tracing/bramble/internal/spanid"
)

// edgeKey is what both halves of an edge share (N-22): the trace and the client's span id.
type edgeKey struct {
	trace spanid.TraceID
	span  spanid.SpanID
}

// half is one side of an edge. While it waits its strings are not a batch's.
type half struct {
	client    bool
	failed    bool
	messaging bool
	keep      bool // The trace is certain to be kept.
	service   string
	// serviceHash is valueHash of service.
	serviceHash uint64
	peer        string   // of a client: the name of the other side if it stays missing
	dims        []string // values of the configured dimensions
	seconds     float64
	edgeNano    uint64 // a client's end, a server's start
	weight      float64
	span        spanid.SpanID
}

// waiting is a half in its shard's list.
type waiting struct {
	half
	key        edgeKey
	deadline   int64
	prev, next int32
}

// pendingShard holds halves in the order in which they came, which is that of their deadlines. Index 0 of slots is the
// head of the list and of no half.
type pendingShard struct {
	mu    sync.Mutex
	index map[edgeKey]int32
	slots []waiting
	free  []int32
	names map[string]string
	// maxValue cuts what waits, in bytes.
	maxValue int
	_        [8]byte
}

// pending is the store of halves that wait for their other half.
type pending struct {
	shards [16]pendingShard
	count  atomic.Int64
	max    int64
}

func newPending(maxItems, maxValue int) *pending {
	p := &pending{max: int64(maxItems)}
	for i := range p.shards {
		p.shards[i].index, p.shards[i].names = make(map[edgeKey]int32), make(map[string]string)
		p.shards[i].slots, p.shards[i].maxValue = make([]waiting, 1), maxValue
	}
	return p
}

// outcome says what became of a half.
type outcome uint8

const (
	outcomeWaits outcome = iota
	outcomePaired
	outcomeReplaced // It waits, and another half of the same side went.
	outcomeDropped  // There is no room.
)

// put looks for the other side of h. If there is one, it is taken out and put into other; otherwise a copy of h waits
// until deadline.
func (p *pending) put(key edgeKey, h, other *half, deadline int64) outcome {
	sh := &p.shards[key.trace.Hash()>>60]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if i, ok := sh.index[key]; ok {
		w := &sh.slots[i]
		if w.client != h.client {
			*other = w.half
			sh.remove(i)
			p.count.Add(-1)
			return outcomePaired
		}
		w.half = sh.own(h)
		return outcomeReplaced
	}
	if p.count.Add(1) > p.max {
		p.count.Add(-1)
		return outcomeDropped
	}
	sh.insert(key, sh.own(h), deadline)
	return outcomeWaits
}

// maxNames bounds the strings that a shard keeps to save copies.
const maxNames = 4096

// own is h with strings that are not the batch's. Names of services come again and again.
func (s *pendingShard) own(h *half) half {
	o := *h
	o.service, o.peer = s.intern(h.service), s.intern(h.peer)
	if len(h.dims) > 0 {
		o.dims = make([]string, len(h.dims))
		for i, d := range h.dims {
			o.dims[i] = s.intern(d)
		}
	}
	return o
}

// maxName is the longest string that is kept to save copies, in bytes.
const maxName = 128

func (s *pendingShard) intern(v string) string {
	switch {
	case v == "":
		return ""
	case len(v) > maxName:
		return strings.Clone(cut(v, s.maxValue))
	}
	if own, ok := s.names[v]; ok {
		return own
	}
	if len(s.names) >= maxNames {
		clear(s.names)
	}
	v = strings.Clone(v)
	s.names[v] = v
	return v
}

func (s *pendingShard) insert(key edgeKey, h half, deadline int64) {
	w := waiting{half: h, key: key, deadline: deadline}
	var i int32
	if n := len(s.free); n > 0 {
		i, s.free = s.free[n-1], s.free[:n-1]
	} else {
		i = int32(len(s.slots)) //nolint:gosec // At most max_items.
		s.slots = append(s.slots, waiting{})
	}
	last := s.slots[0].prev
	w.prev, w.next = last, 0
	s.slots[i] = w
	s.slots[last].next = i
	s.slots[0].prev = i
	s.index[w.key] = i
}

func (s *pendingShard) remove(i int32) {
	w := &s.slots[i]
	delete(s.index, w.key)
	s.slots[w.prev].next = w.next
	s.slots[w.next].prev = w.prev
	s.slots[i] = waiting{}
	s.free = append(s.free, i)
}

// expired is a half whose time is over.
type expired struct {
	half
	key edgeKey
}

// expire takes out of one shard, or of all if shard is negative, what has waited long enough.
func (p *pending) expire(shard int, now int64, dst []expired) []expired {
	for i := range p.shards {
		if shard >= 0 && i != shard {
			continue
		}
		sh := &p.shards[i]
		sh.mu.Lock()
		for j := sh.slots[0].next; j != 0; j = sh.slots[0].next {
			w := &sh.slots[j]
			if w.deadline > now {
				break
			}
			dst = append(dst, expired{w.half, w.key})
			sh.remove(j)
			p.count.Add(-1)
		}
		sh.mu.Unlock()
	}
	return dst
}

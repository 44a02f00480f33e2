package head

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/bramble-tracing/bramble/internal/store"
)

// arenaBlock is the size of the allocations that short strings are copied into.
const arenaBlock = 32 << 10

// arena copies strings, so that the head holds neither the caller's buffers nor one allocation per string. It is
// used by the appender only; what it returned may be read by anybody.
type arena struct {
	m   *meter
	buf *strings.Builder
}

func (a *arena) clone(s string) string {
	if s == "" {
		return ""
	}
	if len(s) > arenaBlock/8 {
		a.m.bytes += int64(len(s))
		return strings.Clone(s)
	}
	// A Builder never moves its bytes while there is room, so earlier results stay what they are.
	if a.buf == nil || a.buf.Cap()-a.buf.Len() < len(s) {
		a.buf = &strings.Builder{}
		a.buf.Grow(arenaBlock)
		a.m.bytes += int64(a.buf.Cap())
	}
	at := a.buf.Len()
	a.buf.WriteString(s)
	return a.buf.String()[at:]
}

// dict gives the distinct strings of a column codes 0, 1, 2, … in order of appearance. One goroutine interns, any
// number read.
type dict struct {
	ar      *arena
	seed    maphash.Seed
	entries chunks[string]
	// table is open addressing with linear probing: code+1 in the low half of a slot, half of the hash in the other;
	// 0 is free. A slot is stored after its entry.
	table atomic.Pointer[[]atomic.Uint64]
	n     atomic.Uint32

	// rows says that a code stands for a value of a row, which blocks may have to write each time. See longRepeat.
	rows bool

	lastStr  string // the appender's shortcut for runs of equal values
	lastCode uint32

	mu   sync.Mutex
	flat []store.Value // cache of values; guarded by mu
}

const stringSize, valueSize = 16, 32

// longRepeat is the length from which on a value counts with all its bytes each time it occurs, though the head has it
// once: a block holds it as often while it is written, if the column does not fit into a dictionary. Else one large
// value, sent again and again, would make a small head a block that is larger than the memory.
const longRepeat = 512

// repeated counts one more occurrence of a known value.
func (d *dict) repeated(s string) {
	if d.rows && len(s) >= longRepeat {
		d.ar.m.bytes += int64(len(s))
	}
}

func newDict(ar *arena, seed maphash.Seed) *dict {
	d := &dict{ar: ar, seed: seed}
	d.entries.init(ar.m, stringSize)
	ar.m.bytes += 160
	return d
}

// newRowDict returns a dictionary of values of rows.
func newRowDict(ar *arena, seed maphash.Seed) *dict {
	d := newDict(ar, seed)
	d.rows = true
	return d
}

func (d *dict) len() int { return int(d.n.Load()) }

func (d *dict) at(code uint32) string { return d.entries.at(int(code)) }

// intern returns the code of s, which is added if it is new. The head keeps a copy.
func (d *dict) intern(s string) uint32 {
	n := d.n.Load()
	if n > 0 && s == d.lastStr {
		d.repeated(s)
		return d.lastCode
	}
	tag := maphash.String(d.seed, s) >> 32
	code, slot, found := d.find(s, tag)
	if !found {
		code = n
		s = d.ar.clone(s)
		d.entries.push(s)
		if slot == nil || (int(n)+1)*4 > len(*d.table.Load())*3 {
			d.rehash()
			_, slot, _ = d.find(s, tag)
		}
		slot.Store(tag<<32 | uint64(code+1))
		d.n.Store(n + 1)
	} else {
		d.repeated(s)
	}
	d.lastStr, d.lastCode = d.at(code), code
	return code
}

// lookup returns the code of s for readers.
func (d *dict) lookup(s string) (uint32, bool) {
	code, _, ok := d.find(s, maphash.String(d.seed, s)>>32)
	return code, ok
}

// find returns the code of s, or the free slot where it belongs (nil if there is no table).
func (d *dict) find(s string, tag uint64) (uint32, *atomic.Uint64, bool) {
	p := d.table.Load()
	if p == nil {
		return 0, nil, false
	}
	t := *p
	mask := uint64(len(t) - 1)
	for i := tag & mask; ; i = (i + 1) & mask {
		v := t[i].Load()
		if v == 0 {
			return 0, &t[i], false
		}
		if v>>32 == tag && d.at(uint32(v)-1) == s {
			return uint32(v) - 1, nil, true
		}
	}
}

// rehash replaces the table by one of twice the size. Readers of the old one miss only later strings.
func (d *dict) rehash() {
	var old []atomic.Uint64
	if p := d.table.Load(); p != nil {
		old = *p
	}
	t := make([]atomic.Uint64, max(16, 2*len(old)))
	d.ar.m.bytes += int64(len(t)-len(old)) * 8
	mask := uint64(len(t) - 1)
	for i := range old {
		v := old[i].Load()
		if v == 0 {
			continue
		}
		at := v >> 32 & mask
		for t[at].Load() != 0 {
			at = (at + 1) & mask
		}
		t[at].Store(v)
	}
	d.table.Store(&t)
}

// maxFlat is the number of entries up to which values are handed out as dictionary and codes. The flat dictionaries
// are not accounted for, so they must be small: 32 KiB per column that is read.
const maxFlat = 1024

// values returns at least the first n entries as values of type typ. The result must not be modified.
func (d *dict) values(n int, typ store.ValueType) []store.Value {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := len(d.flat); i < n; i++ {
		d.flat = append(d.flat, store.Value{Type: typ, Str: d.at(uint32(i))})
	}
	return d.flat[:n:n]
}

package column

import (
	"hash/maphash"

	"github.com/bramble-tracing/bramble/internal/store"
)

const (
	// maxTallied is how many distinct values a Tally lists that are not in a dictionary.
	maxTallied = 1024
	// Of too many values those are listed all the same that at least one in commonShare spans has, and leastCommon spans.
	commonShare = 2000
	leastCommon = 4
	// tallyBuckets is into how many buckets values are hashed to find the common ones.
	tallyBuckets = 16384
)

// Tally says how many spans of a row group have each value of a column.
type Tally struct {
	// Coded says that Counts are in the order of the column chunk's dictionary.
	Coded bool
	// Values are the distinct values otherwise, unless there are too many.
	Values []store.Value
	Counts []store.SpanCount
	// Listed is false if there are too many values. Sum then counts those that are not in Values, of which none has more
	// than Max spans; or nothing is known, which Unknown says.
	Listed, Unknown bool
	Sum             store.SpanCount
	Max             uint32
}

// TallyRows are the rows of a row group's table.
type TallyRows struct {
	Starts []int    // the first row of each granule
	Owner  []uint32 // the span of each row, ascending; nil in the table of spans. Only a span's first value counts.
	Errors []bool   // per span: whether its status is error
}

// Tallier makes tallies. It belongs to one goroutine.
type Tallier struct {
	seed   maphash.Seed
	slots  [4 * maxTallied]slot // Open addressing.
	used   []uint32
	hashes []uint32 // Values per bucket.
	out    Tally
}

type slot struct {
	num uint64
	at  int32 // place of the value in the tally, plus one
}

// NewTallier returns a Tallier.
func NewTallier() *Tallier {
	return &Tallier{seed: maphash.MakeSeed(), hashes: make([]uint32, tallyBuckets)}
}

// Tally counts the values of a column whose last granule is finished. What it returns is valid until the next call.
func (t *Tallier) Tally(b *Builder, rows *TallyRows) *Tally {
	t.out = Tally{Values: t.out.Values[:0], Counts: t.out.Counts[:0]}
	switch {
	case b.spec.Type.number():
		t.numbers(b, rows)
	case !b.plain && distinctEnough(len(b.texts), len(b.codes)):
		t.coded(b, rows)
	default:
		t.texts(b, rows)
	}
	return &t.out
}

// each calls f with each value that counts and whether its span failed, until it returns false.
func (r *TallyRows) each(b *Builder, f func(i int, failed bool) bool) {
	last, any := uint32(0), false
	for g := range b.ends {
		from, to := b.span(g)
		for i := from; i < to; i++ {
			row := r.Starts[g] + i - from
			if b.spec.Optional {
				row = r.Starts[g] + int(b.rows[i])
			}
			if r.Owner != nil {
				owner := r.Owner[row]
				if any && owner == last {
					continue
				}
				last, any = owner, true
				row = int(owner)
			}
			if !f(i, r.Errors[row]) {
				return
			}
		}
	}
}

func (t *Tallier) coded(b *Builder, rows *TallyRows) {
	t.out.Coded, t.out.Listed = true, true
	t.out.Counts = append(t.out.Counts, make([]store.SpanCount, len(b.texts))...)
	rows.each(b, func(i int, failed bool) bool {
		t.out.Counts[b.codes[i]].Add(failed)
		return true
	})
}

// numbers counts numbers in a table of their own.
func (t *Tallier) numbers(b *Builder, rows *TallyRows) {
	for _, at := range t.used {
		t.slots[at] = slot{}
	}
	t.used = t.used[:0]
	t.out.Listed = true
	last := -1 // Place of the value before.
	var before uint64
	rows.each(b, func(i int, failed bool) bool {
		n := b.nums[i]
		if last < 0 || n != before {
			if last = t.place(n, b.spec.Value); last < 0 {
				return false
			}
			before = n
		}
		t.out.Counts[last].Add(failed)
		return true
	})
	if last >= 0 || len(t.out.Counts) == 0 {
		return
	}
	t.many(b, rows, func(i int) uint64 { return mix(b.nums[i]) }, func(i int) store.Value {
		return store.Value{Type: b.spec.Value, Num: b.nums[i]}
	})
}

// place returns the place of a number among the values, -1 if there are too many.
func (t *Tallier) place(n uint64, typ store.ValueType) int {
	const mask = uint32(len(t.slots) - 1)
	at := uint32(mix(n)>>32) & mask //nolint:gosec // The bits.
	for ; t.slots[at].at != 0; at = (at + 1) & mask {
		if t.slots[at].num == n {
			return int(t.slots[at].at) - 1
		}
	}
	if len(t.out.Values) >= maxTallied {
		return -1
	}
	t.out.Values = append(t.out.Values, store.Value{Type: typ, Num: n})
	t.out.Counts = append(t.out.Counts, store.SpanCount{})
	t.slots[at] = slot{n, int32(len(t.out.Values))} //nolint:gosec // At most maxTallied.
	t.used = append(t.used, at)
	return len(t.out.Values) - 1
}

// mix spreads the bits of a number: the finalizer of MurmurHash3 (Appleby, public domain).
func mix(n uint64) uint64 {
	n ^= n >> 33
	n *= 0xff51afd7ed558ccd
	n ^= n >> 33
	n *= 0xc4ceb9fe1a85ec53
	return n ^ n>>33
}

// texts counts text without dictionary: value by value if there are few.
func (t *Tallier) texts(b *Builder, rows *TallyRows) {
	if b.Len() > maxTallied {
		t.many(b, rows, func(i int) uint64 { return maphash.Bytes(t.seed, b.bytes(i)) }, func(i int) store.Value {
			return store.Value{Type: b.spec.Value, Str: string(b.bytes(i))}
		})
		return
	}
	if len(b.data) > maxDictBytes {
		t.out.Unknown = true // Large values are not written twice.
		return
	}
	t.out.Listed = true
	places := make(map[string]int, b.Len())
	rows.each(b, func(i int, failed bool) bool {
		at, ok := places[string(b.bytes(i))]
		if !ok {
			at = len(t.out.Values)
			text := string(b.bytes(i))
			places[text] = at
			t.out.Values = append(t.out.Values, store.Value{Type: b.spec.Value, Str: text})
			t.out.Counts = append(t.out.Counts, store.SpanCount{})
		}
		t.out.Counts[at].Add(failed)
		return true
	})
}

// bytes is Text without a copy of text that is in the dictionary, which must not be modified.
func (b *Builder) bytes(i int) []byte {
	if b.plain {
		return b.Text(i)
	}
	return []byte(b.texts[b.codes[i]])
}

// many lists only values that are common, which lie in buckets with many.
func (t *Tallier) many(b *Builder, rows *TallyRows, hash func(i int) uint64, value func(i int) store.Value) {
	t.out.Listed, t.out.Values, t.out.Counts = false, t.out.Values[:0], t.out.Counts[:0]
	clear(t.hashes)
	rows.each(b, func(i int, failed bool) bool {
		t.out.Sum.Add(failed)
		t.hashes[hash(i)%tallyBuckets]++
		return true
	})
	least := max(leastCommon, t.out.Sum.Spans/commonShare)
	t.out.Max = least - 1
	full := false
	for _, n := range t.hashes {
		full = full || n >= least
	}
	if !full {
		return
	}
	counts := map[uint64]uint32{} // By hash: a list of values could be large.
	rows.each(b, func(i int, _ bool) bool {
		if h := hash(i); t.hashes[h%tallyBuckets] >= least {
			counts[h]++
		}
		return true
	})
	places := map[store.Value]int{}
	rows.each(b, func(i int, failed bool) bool {
		n := counts[hash(i)]
		if n < least {
			return true
		}
		v := value(i)
		if len(v.Str) > longText { // Large values are not written twice.
			t.out.Max = max(t.out.Max, n)
			return true
		}
		at, ok := places[v]
		if !ok {
			at = len(t.out.Values)
			places[v] = at
			t.out.Values, t.out.Counts = append(t.out.Values, v), append(t.out.Counts, store.SpanCount{})
		}
		t.out.Counts[at].Add(failed)
		t.out.Sum.Spans--
		if failed {
			t.out.Sum.Errors--
		}
		return true
	})
}

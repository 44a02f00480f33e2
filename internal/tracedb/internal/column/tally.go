package column

import (
	"hash/maphash"

	"github.com/bramble-tracing/bramble/internal/store"
)

const (
	// maxTallied is how many distinct values a Tally lists that are not in a dictionary.
	maxTallied = 1024
	// RareShare is how many times as many values a column must have for one of them to be rare.
	RareShare = 1000
	// tallyBuckets is into how many buckets values are hashed to find out that none of them is common.
	tallyBuckets = 4096
)

// Tally says how many spans of a row group have each value of a column.
type Tally struct {
	// Coded says that Counts are in the order of the column chunk's dictionary.
	Coded bool
	// Values are the distinct values otherwise, unless there are too many.
	Values []store.Value
	Counts []store.SpanCount
	// Listed is false if there are too many values. Common then says that one of them may not be rare (RareShare).
	Listed, Common bool
	Sum            store.SpanCount // only if they are not listed
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
	t.many(b, rows, func(i int) uint64 { return mix(b.nums[i]) })
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
		t.many(b, rows, func(i int) uint64 { return maphash.Bytes(t.seed, b.bytes(i)) })
		return
	}
	if len(b.data) > maxDictBytes {
		t.out.Common = true // As far as is known: large values are not written twice.
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

// many counts no values, but finds out whether one of them is common. Values that are have a bucket with many. Two values
// of the same hash are taken for one, which may make them common.
func (t *Tallier) many(b *Builder, rows *TallyRows, hash func(i int) uint64) {
	t.out.Listed, t.out.Values, t.out.Counts = false, t.out.Values[:0], t.out.Counts[:0]
	clear(t.hashes)
	rows.each(b, func(i int, failed bool) bool {
		t.out.Sum.Add(failed)
		t.hashes[hash(i)%tallyBuckets]++
		return true
	})
	common := func(n uint32) bool { return uint64(n)*RareShare >= uint64(t.out.Sum.Spans) }
	full := false
	for _, n := range t.hashes {
		full = full || common(n)
	}
	if !full {
		return
	}
	counts := map[uint64]uint32{}
	rows.each(b, func(i int, _ bool) bool {
		if h := hash(i); common(t.hashes[h%tallyBuckets]) {
			counts[h]++
			t.out.Common = common(counts[h])
		}
		return !t.out.Common
	})
}

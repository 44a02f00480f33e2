package retain

import (
	"cmp"
	"slices"
	"time"
)

// Limits are the bounds; zero means none.
type Limits struct {
	// MaxAge is the age of an item's newest span at which it goes.
	MaxAge time.Duration
	// MaxBytes bounds what all items and the rest take on disk.
	MaxBytes int64
}

// Item is a block or a frozen head.
type Item struct {
	ID string
	// Newest is when the newest span ended.
	Newest time.Time
	// Bytes on disk that become free when the item goes.
	Bytes int64
	// Traces that it has, for Leaving.
	Traces int
}

// State describes a store.
type State struct {
	Now time.Time
	// Blocks, in any order, and Heads, which are newer and can only go oldest first, in that order.
	Blocks, Heads []Item
	// Used are the bytes on disk, of the items and all else that counts.
	Used int64
	// Missing are the bytes that must become free for other reasons, such as a full disk.
	Missing int64
}

// Reason says why an item goes.
type Reason uint8

// The reasons.
const (
	Age Reason = iota
	Size
	Disk
)

// Drop is an item that goes.
type Drop struct {
	Item
	Reason Reason
	Head   bool
}

// Leaving returns which undecided items leave the recent window, so that it is to be decided about their traces: the oldest
// first, and together no more than maxTraces traces, but one item at least.
func Leaving(recent time.Duration, now time.Time, maxTraces int, undecided []Item) []Item {
	items := slices.Clone(undecided)
	slices.SortStableFunc(items, func(a, b Item) int { return cmp.Or(a.Newest.Compare(b.Newest), cmp.Compare(a.ID, b.ID)) })
	traces := 0
	for i, it := range items {
		if traces += it.Traces; now.Sub(it.Newest) < recent || i > 0 && traces > maxTraces {
			return items[:i]
		}
	}
	return items
}

// Plan returns what goes, in that order: blocks before heads, the oldest first, and no more than the limits ask for.
func Plan(l Limits, s State) []Drop {
	blocks := slices.Clone(s.Blocks)
	slices.SortStableFunc(blocks, func(a, b Item) int { return cmp.Or(a.Newest.Compare(b.Newest), cmp.Compare(a.ID, b.ID)) })
	p := planner{l: l, s: s}
	for _, b := range blocks {
		p.consider(b, false)
	}
	for _, h := range s.Heads {
		if !p.consider(h, true) {
			break
		}
	}
	return p.drops
}

type planner struct {
	l     Limits
	s     State
	drops []Drop
}

// consider drops the item if a limit asks for it.
func (p *planner) consider(it Item, head bool) bool {
	var why Reason
	switch {
	case p.l.MaxAge > 0 && p.s.Now.Sub(it.Newest) >= p.l.MaxAge:
		why = Age
	case p.l.MaxBytes > 0 && p.s.Used > p.l.MaxBytes:
		why = Size
	case p.s.Missing > 0:
		why = Disk
	default:
		return false
	}
	p.s.Used -= it.Bytes
	p.s.Missing -= it.Bytes
	p.drops = append(p.drops, Drop{Item: it, Reason: why, Head: head})
	return true
}

package compact

import "github.com/bramble-tracing/bramble/internal/store"

const (
	// edgeGranules is how many granules the first and the last row group have at least: what was cut by a head is there,
	// and what is there cannot be copied.
	edgeGranules = 2
	// groupGranules is how many a row group has at most.
	groupGranules = 16
	// window is among how many traces Align looks for those that fill the last maxRoom rows of a row group.
	window  = 96
	maxRoom = 2048
)

// Groups returns the numbers of granules of the row groups for that many rows: small ones at both ends.
func Groups(rows int) []int {
	whole := rows / store.GranuleRows
	if whole < 2*edgeGranules+2 {
		return []int{groupGranules}
	}
	out := []int{edgeGranules}
	for middle := whole - 2*edgeGranules; middle > 0; {
		parts := (middle + groupGranules - 1) / groupGranules
		n := middle / parts
		out = append(out, n)
		middle -= n
	}
	return append(out, edgeGranules+1)
}

// Align returns the order in which traces of some sizes are written so that the row groups end with a trace: close to
// the given order, which it follows where it finds no other that does. groups are numbers of granules; further ones have
// groupGranules.
func Align(sizes, groups []int) []int {
	order := make([]int, 0, len(sizes))
	pending := make([]int, 0, window) // traces that were looked at, in order
	next := 0
	room := 0 // rows until the end of the row group
	limit := func() {
		n := groupGranules
		if len(groups) > 0 {
			n, groups = groups[0], groups[1:]
		}
		room += n * store.GranuleRows
	}
	limit()
	take := func(at int) {
		order = append(order, pending[at])
		for room -= sizes[pending[at]]; room <= 0; {
			limit()
		}
		pending = append(pending[:at], pending[at+1:]...)
	}
	for next < len(sizes) || len(pending) > 0 {
		rows := 0
		for len(pending) < window && next < len(sizes) {
			pending = append(pending, next)
			next++
		}
		for _, t := range pending {
			rows += sizes[t]
		}
		// Half of the window is enough to choose from.
		if room <= maxRoom && 2*room <= rows {
			if chosen := fill(sizes, pending, room); chosen != nil {
				for i, at := range chosen {
					take(at - i)
				}
				continue
			}
		}
		take(0)
	}
	return order
}

// fill returns the places in pending of traces whose sizes sum up to room, ascending, or nil.
func fill(sizes, pending []int, room int) []int {
	last := make([]int16, room+1) // per sum: the place of the trace that reached it first, plus one
	for at, t := range pending {
		n := sizes[t]
		for sum := room; sum >= n; sum-- {
			if last[sum] == 0 && (sum == n || last[sum-n] != 0) {
				last[sum] = int16(at + 1) //nolint:gosec // below window
			}
		}
		if last[room] != 0 {
			break
		}
	}
	if last[room] == 0 {
		return nil
	}
	var out []int
	for sum := room; sum > 0; {
		at := int(last[sum]) - 1
		out = append([]int{at}, out...)
		sum -= sizes[pending[at]]
	}
	return out
}

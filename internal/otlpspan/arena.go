package otlpspan

import "github.com/bramble-tracing/bramble/internal/store"

// Arena owns the attribute, event and link slices of the batches that were filled through it, so that filling a batch
// again allocates nothing. A batch filled through an arena is valid until the arena's Reset; pool the two together.
// The zero value is ready for use. It is not safe for concurrent use.
type Arena struct {
	attrs  []store.Attr
	events []store.Event
	links  []store.Link
}

// maxKept bounds, in entries, the slices that Reset keeps, so that one huge batch does not stay in memory for ever.
const maxKept = 1 << 16

// Reset takes back the memory of all batches filled since the last Reset and forgets their strings. The caller must
// have reset or dropped these batches.
func (a *Arena) Reset() {
	a.attrs, a.events, a.links = recycle(a.attrs), recycle(a.events), recycle(a.links)
}

func recycle[T any](s []T) []T {
	if cap(s) > maxKept {
		return nil
	}
	clear(s)
	return s[:0]
}

// take carves an empty slice with room for n entries from the chunk, or from a new one when the chunk is full; the old
// chunk then belongs to the slices that were carved from it. Appending beyond n is safe and moves to the heap.
func take[T any](chunk *[]T, n int) []T {
	if n == 0 {
		return nil
	}
	c := *chunk
	if cap(c)-len(c) < n {
		c = make([]T, 0, max(n, min(2*cap(c), maxKept)))
	}
	lo := len(c)
	*chunk = c[:lo+n]
	return c[lo : lo : lo+n]
}

// reserve makes room for n entries in one chunk.
func reserve[T any](chunk *[]T, n int) {
	if cap(*chunk)-len(*chunk) < n {
		*chunk = make([]T, 0, n)
	}
}

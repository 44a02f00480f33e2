package head

import "sync/atomic"

// chunkLen is the number of values in a chunk. Two chunks make a granule.
const (
	chunkShift = 12
	chunkLen   = 1 << chunkShift
	chunkMask  = chunkLen - 1
	// firstLen is the length of the first chunk of a column when it is created. A column with few values stays
	// small: the first chunk is replaced by longer copies until it has chunkLen values.
	firstLen   = 16
	firstSteps = 4
)

// meter sums up the bytes of allocations. Only the appender writes it; Head publishes it.
type meter struct{ bytes int64 }

// chunks is a growing list of values. One goroutine at a time may push. Readers may call at for positions that were
// pushed before something that they have observed through an atomic load (see the package comment).
type chunks[T any] struct {
	dir  atomic.Pointer[[][]T]
	cur  []T // the last chunk; appender only
	n    int // appender only
	size int64
	m    *meter
}

// init prepares an empty list whose values take size bytes each.
func (c *chunks[T]) init(m *meter, size int64) { c.m, c.size = m, size }

// push appends a value.
func (c *chunks[T]) push(v T) {
	i := c.n & chunkMask
	if i >= len(c.cur) || i == 0 {
		c.grow()
	}
	c.cur[i] = v
	c.n++
}

// grow makes room for position n: a longer copy of the first chunk or a further chunk.
func (c *chunks[T]) grow() {
	var dir [][]T
	switch {
	case c.n == 0:
		c.cur = make([]T, firstLen)
		dir = [][]T{c.cur}
		c.m.bytes += firstLen * c.size
	case c.n < chunkLen:
		longer := make([]T, min(chunkLen, len(c.cur)*firstSteps))
		copy(longer, c.cur)
		c.m.bytes += int64(len(longer)-len(c.cur)) * c.size
		c.cur = longer
		dir = [][]T{c.cur}
	default:
		c.cur = make([]T, chunkLen)
		old := *c.dir.Load()
		dir = make([][]T, len(old)+1)
		copy(dir, old)
		dir[len(old)] = c.cur
		c.m.bytes += chunkLen*c.size + 24
	}
	c.dir.Store(&dir)
}

// at returns the value at position i.
func (c *chunks[T]) at(i int) T { return (*c.dir.Load())[i>>chunkShift][i&chunkMask] }

// view returns the directory for repeated access with get. It may be nil if nothing was pushed.
func (c *chunks[T]) view() [][]T {
	if d := c.dir.Load(); d != nil {
		return *d
	}
	return nil
}

// get returns the value at position i of a directory.
func get[T any](dir [][]T, i int) T { return dir[i>>chunkShift][i&chunkMask] }

// segment returns the values at positions a to b-1 that lie in a's chunk.
func segment[T any](dir [][]T, a, b int) []T {
	lo := a & chunkMask
	return dir[a>>chunkShift][lo:min(chunkLen, lo+b-a)]
}

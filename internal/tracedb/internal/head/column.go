package head

import (
	"sort"
	"sync/atomic"

	"github.com/bramble-tracing/bramble/internal/store"
)

// column holds the values of one attribute key and one type as entries (row, value), rows ascending and each at most
// once. "Row" is the row of the table: a span, an event or a link.
type column struct {
	typ   store.ValueType
	rows  chunks[uint32]
	codes chunks[uint32] // dictionary codes; 0 and 1 for booleans; unused for numbers
	nums  chunks[uint64] // Value.Num of ints and floats
	dict  *dict          // of strings, bytes, arrays and maps
	n     atomic.Uint32  // entries that readers may look at
	dirty bool           // has entries that are not in n yet; appender only
}

func isNumber(t store.ValueType) bool { return t == store.TypeInt || t == store.TypeFloat }

func hasDict(t store.ValueType) bool {
	return t == store.TypeString || t == store.TypeBytes || t == store.TypeArray || t == store.TypeMap
}

func newColumn(h *Head, typ store.ValueType) *column {
	c := &column{typ: typ}
	c.rows.init(&h.meter, 4)
	c.codes.init(&h.meter, 4)
	c.nums.init(&h.meter, 8)
	if hasDict(typ) {
		c.dict = newRowDict(&h.arena, h.seed)
	}
	h.meter.bytes += 192
	return c
}

// push appends an entry, which becomes visible with publish.
func (c *column) push(row uint32, v *store.Value) {
	c.rows.push(row)
	switch {
	case isNumber(c.typ):
		c.nums.push(v.Num)
	case c.dict != nil:
		c.codes.push(c.dict.intern(v.Str))
	case v.Num != 0:
		c.codes.push(1)
	default:
		c.codes.push(0)
	}
}

func (c *column) publish() {
	c.n.Store(uint32(c.rows.n))
	c.dirty = false
}

// value returns the value of entry i.
func (c *column) value(i int) store.Value {
	switch {
	case isNumber(c.typ):
		return store.Value{Type: c.typ, Num: c.nums.at(i)}
	case c.dict != nil:
		return store.Value{Type: c.typ, Str: c.dict.at(c.codes.at(i))}
	}
	return store.Value{Type: c.typ, Num: uint64(c.codes.at(i))}
}

// entries returns the range of entries of rows lo to hi-1.
func (c *column) entries(lo, hi uint32) (a, b int) {
	n := int(c.n.Load())
	rows := c.rows.view()
	a = sort.Search(n, func(i int) bool { return get(rows, i) >= lo })
	b = a + sort.Search(n-a, func(i int) bool { return get(rows, a+i) >= hi })
	return a, b
}

// codeCount returns a number that all codes of published entries are below.
func (c *column) codeCount() int {
	if c.dict != nil {
		return c.dict.len()
	}
	return 2
}

// cursor finds the entries of rows. It is quick when rows are asked for in ascending order.
type cursor struct {
	rows [][]uint32
	n    int
	at   int // entries before at have rows below last
	last uint32
}

func (c *column) cursor() cursor {
	n := int(c.n.Load())
	return cursor{n: n, rows: c.rows.view()}
}

// find returns the entry of row.
func (c *cursor) find(row uint32) (int, bool) {
	if row < c.last {
		c.at = 0
	}
	c.last = row
	// Gallop: most rows are near the one before.
	step := 1
	hi := c.at
	for hi < c.n && get(c.rows, hi) < row {
		c.at = hi + 1
		hi += step
		step *= 2
	}
	hi = min(hi, c.n)
	c.at += sort.Search(hi-c.at, func(i int) bool { return get(c.rows, c.at+i) >= row })
	return c.at, c.at < c.n && get(c.rows, c.at) == row
}

package block

import (
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/index"
)

type attrID struct {
	scope store.ColumnScope
	key   string
}

type columnID struct {
	attrID
	typ store.ValueType
}

// attrKey is a key with its columns by type.
type attrKey struct {
	attrID
	legal   bool // can name columns
	stamp   uint64
	columns [store.TypeMap + 1]*attrColumn
	next    *attrKey // what followed the last time
}

type attrColumn struct {
	columnID
	builder  *column.Builder
	num      int // in the file, or -1
	rows     int
	distinct int
	texts    map[string]int // how often each value occurs, of strings
	nums     map[uint64]int // the same, of numbers
	partial  bool           // counts does not have all values
}

// count adds the values of the row group to the column's counts.
func (c *attrColumn) count() {
	c.rows += c.builder.Len()
	switch c.typ {
	case store.TypeString:
		complete := c.builder.TextCounts(func(s string, n int) {
			if _, ok := c.texts[s]; ok || len(c.texts) < maxCounted {
				c.texts[s] += n
			} else {
				c.partial = true
			}
		})
		c.partial = c.partial || !complete
	case store.TypeInt, store.TypeFloat, store.TypeBool:
		c.countNums()
	default:
		c.partial = true // not offered as values
	}
}

// countNums counts until there are too many distinct numbers.
func (c *attrColumn) countNums() {
	for i := 0; i < c.builder.Len() && !c.partial; {
		v, from := c.builder.Num(i), i
		for i++; i < c.builder.Len() && c.builder.Num(i) == v; i++ {
		}
		c.countNum(v, i-from)
	}
}

func (c *attrColumn) countNum(v uint64, n int) {
	if _, ok := c.nums[v]; ok || len(c.nums) < maxCounted {
		c.nums[v] += n
	} else {
		c.partial = true
	}
}

// top returns the most frequent values of the column and whether these are all.
func (c *attrColumn) top() ([]store.ValueCount, bool) {
	values := make([]store.ValueCount, 0, len(c.texts)+len(c.nums))
	for s, n := range c.texts {
		values = append(values, store.ValueCount{Value: store.String(s), Count: n})
	}
	for v, n := range c.nums {
		values = append(values, store.ValueCount{Value: store.Value{Type: c.typ, Num: v}, Count: n})
	}
	values, all := index.SortTop(values)
	return values, all && !c.partial
}

package head

import (
	"context"
	"fmt"

	"github.com/bramble-tracing/bramble/internal/store"
)

// gathering brings the attributes of rows together, which lie in a column per key, always in the same memory.
type gathering struct {
	hits    []hit
	columns []hitColumn // in the order of their hits
	counts  []int       // attributes per row
	lists   [][]store.Attr
	slab    []store.Attr // the memory of all lists
}

// hit is an entry of a column: at says of which of the rows.
type hit struct{ at, entry uint32 }

// hitColumn is a column and where its hits begin.
type hitColumn struct {
	column *column
	key    string
	from   int
}

// read returns the attributes of each of the rows, those with columns first. The lists are valid until the next call.
func (g *gathering) read(ctx context.Context, t *attrTable, rows []uint32) ([][]store.Attr, error) {
	g.hits, g.columns = g.hits[:0], g.columns[:0]
	g.counts, g.lists = resize(g.counts, len(rows)), resize(g.lists, len(rows))
	if len(rows) == 0 {
		return g.lists, nil
	}
	groups, _ := t.all()
	for _, group := range groups {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("gather attributes: %w", err)
		}
		group.columns(func(c *column) { g.find(c, group.name, rows) })
	}
	total := t.eachExtra(rows, func(i int, _ *extra) { g.counts[i]++ }) + len(g.hits)
	if total == 0 {
		return g.lists, nil
	}
	g.slab = resize(g.slab, total)
	slab := g.slab
	for i, n := range g.counts {
		if n > 0 {
			g.lists[i], slab = slab[:0:n], slab[n:]
		}
	}
	for i, c := range g.columns {
		to := len(g.hits)
		if i+1 < len(g.columns) {
			to = g.columns[i+1].from
		}
		for _, h := range g.hits[c.from:to] {
			g.lists[h.at] = append(g.lists[h.at], store.Attr{Key: c.key, Value: c.column.value(int(h.entry))})
		}
	}
	t.eachExtra(rows, func(i int, e *extra) {
		g.lists[i] = append(g.lists[i], store.Attr{Key: e.key, Value: e.val})
	})
	return g.lists, nil
}

// find notes the entries that a column has for the rows.
func (g *gathering) find(c *column, key string, rows []uint32) {
	from := len(g.hits)
	cur := c.cursor()
	for i, row := range rows {
		if entry, ok := cur.find(row); ok {
			g.hits = append(g.hits, hit{uint32(i), uint32(entry)})
			g.counts[i]++
		}
	}
	if len(g.hits) > from {
		g.columns = append(g.columns, hitColumn{c, key, from})
	}
}

// resize returns n zero values in the memory of s if they fit.
func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	s = s[:n]
	clear(s)
	return s
}

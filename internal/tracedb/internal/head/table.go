package head

import (
	"sort"
	"sync"
	"sync/atomic"

	"github.com/bramble-tracing/bramble/internal/store"
)

// attrTable holds the attributes of spans, of events or of links. Its rows are those of that table.
type attrTable struct {
	scope    store.ColumnScope
	overflow chunks[extra]
	extras   atomic.Uint32 // entries of overflow that readers may look at

	// mu guards the maps below. Only the appender changes them, so it reads them without the lock.
	mu     sync.RWMutex
	groups map[string]*group
	// spilled counts, per key, the entries of overflow that are first occurrences.
	spilled map[string]int
}

// group is the set of columns of one key, by type.
type group struct {
	name string
	cols [store.TypeMap + 1]atomic.Pointer[column]
	last uint32 // row+1 of the last value; appender only
}

// extra is an attribute without a column: one beyond the limit of columns, or a repeated key (dup).
type extra struct {
	row uint32
	dup bool
	key string
	val store.Value
}

const extraSize = 8 + stringSize + valueSize

func (t *attrTable) init(h *Head, scope store.ColumnScope) {
	t.scope = scope
	t.groups = map[string]*group{}
	t.spilled = map[string]int{}
	t.overflow.init(&h.meter, extraSize)
}

// add appends the attributes of one row. Rows ascend from call to call.
func (t *attrTable) add(h *Head, row uint32, attrs []store.Attr) {
	for i := range attrs {
		a := &attrs[i]
		typ := a.Value.Type
		if typ == store.TypeAbsent {
			typ = store.TypeEmpty // OTLP cannot tell a missing AnyValue from an empty one.
		}
		g := t.groups[a.Key]
		if g != nil && g.last == row+1 {
			t.spill(h, row, true, a)
			continue
		}
		col := t.column(h, &g, a.Key, typ)
		if col == nil {
			dup := t.spilled[a.Key] > 0 && hasKey(attrs[:i], a.Key)
			t.spill(h, row, dup, a)
			continue
		}
		if t.spilled[a.Key] > 0 && hasKey(attrs[:i], a.Key) {
			// The first occurrence had a type without a column and was spilled.
			t.spill(h, row, true, a)
			continue
		}
		g.last = row + 1
		col.push(row, &a.Value)
		if !col.dirty {
			col.dirty = true
			h.dirty = append(h.dirty, col)
		}
	}
}

func hasKey(attrs []store.Attr, key string) bool {
	for i := range attrs {
		if attrs[i].Key == key {
			return true
		}
	}
	return false
}

// column returns the column for a key and type, which is made unless there are too many: nil then.
func (t *attrTable) column(h *Head, g **group, key string, typ store.ValueType) *column {
	if *g != nil {
		if c := (*g).cols[typ].Load(); c != nil {
			return c
		}
	}
	if h.columns >= h.opts.MaxColumns {
		return nil
	}
	h.columns++
	if *g == nil {
		*g = &group{name: h.arena.clone(key)}
		h.meter.bytes += 112 + 2*(stringSize+8)
		t.mu.Lock()
		t.groups[(*g).name] = *g
		t.mu.Unlock()
	}
	c := newColumn(h, typ)
	(*g).cols[typ].Store(c)
	return c
}

// spill appends an attribute to the overflow list.
func (t *attrTable) spill(h *Head, row uint32, dup bool, a *store.Attr) {
	e := extra{row: row, dup: dup, val: a.Value}
	if e.val.Type == store.TypeAbsent {
		e.val.Type = store.TypeEmpty
	}
	e.val.Str = h.arena.clone(a.Value.Str)
	if g := t.groups[a.Key]; g != nil {
		e.key = g.name
	} else {
		e.key = h.arena.clone(a.Key)
	}
	if !dup {
		t.mu.Lock()
		if t.spilled[e.key] == 0 {
			h.meter.bytes += 2 * (stringSize + 8)
		}
		t.spilled[e.key]++
		t.mu.Unlock()
	}
	t.overflow.push(e)
	h.spilled = true
}

// group returns the columns of a key for readers, and whether the overflow list has first occurrences of it.
func (t *attrTable) group(key string) (g *group, spilled bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.groups[key], t.spilled[key] > 0
}

// all returns all groups and all keys with first occurrences in the overflow list.
func (t *attrTable) all() (groups []*group, spilled []string) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, g := range t.groups {
		groups = append(groups, g)
	}
	for k := range t.spilled {
		spilled = append(spilled, k)
	}
	sort.Slice(groups, func(i, j int) bool { return groups[i].name < groups[j].name })
	sort.Strings(spilled)
	return groups, spilled
}

// columns calls f for each column of the group. A nil group has none.
func (g *group) columns(f func(c *column)) {
	if g == nil {
		return
	}
	for i := range g.cols {
		if c := g.cols[i].Load(); c != nil {
			f(c)
		}
	}
}

// extraRange returns the overflow entries of rows lo to hi-1.
func (t *attrTable) extraRange(lo, hi uint32) (list [][]extra, a, b int) {
	n := int(t.extras.Load())
	list = t.overflow.view()
	a = sort.Search(n, func(i int) bool { return get(list, i).row >= lo })
	b = a + sort.Search(n-a, func(i int) bool { return get(list, a+i).row >= hi })
	return list, a, b
}

// eachSpilled calls f for the first occurrences of key in the overflow list at rows lo to hi-1.
func (t *attrTable) eachSpilled(key string, lo, hi uint32, f func(row uint32, v store.Value)) {
	list, a, b := t.extraRange(lo, hi)
	for i := a; i < b; i++ {
		if e := get(list, i); !e.dup && e.key == key {
			f(e.row, e.val)
		}
	}
}

package head

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/bramble-tracing/bramble/internal/store"
)

const (
	// topValues is how many values Attributes lists per column and type.
	topValues = 100
	// maxCounted is how many distinct values of a column and type are counted. Ids are not: nobody asks which are
	// frequent, and counts of them would take as much memory as the head itself.
	maxCounted = 1024
)

// attrKey is one line of the catalogue.
type attrKey struct {
	column store.Column
	typ    store.ValueType
}

// catalogue counts the values of the first rows of a head. It only moves forward, so that asking again costs what was
// appended in between.
type catalogue struct {
	mu sync.Mutex // guards everything

	rows, events, links uint32 // how much was counted
	columns             map[*column]*counts
	extras              [3]int // entries of the overflow lists of spans, events and links
	spilled             map[attrKey]*counts
	refs                [2][]int // spans per resource and per scope
	infos               []store.AttributeInfo
}

// counts is what is known of the values of a column, or of one key and type in an overflow list.
type counts struct {
	entries int // how many entries of the column were counted
	rows    int
	many    bool  // there are more distinct values than maxCounted; nothing further is counted but rows
	codes   []int // by dictionary code, or by boolean
	values  map[store.Value]int
}

// Attributes lists the attribute columns by scope, name and type.
func (p *Part) Attributes(ctx context.Context) ([]store.AttributeInfo, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.attrs != nil {
		return p.attrs, nil
	}
	attrs, err := p.listAttributes(ctx)
	if err != nil {
		return nil, fmt.Errorf("list attributes of %s: %w", p.h.id, err)
	}
	p.attrs = attrs
	return attrs, nil
}

// listAttributes takes the head's catalogue forward to the part's rows. A part that is behind it counts for itself.
func (p *Part) listAttributes(ctx context.Context) ([]store.AttributeInfo, error) {
	c := &p.h.catalogue
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rows > p.s.rows {
		c = &catalogue{}
	}
	if c.infos != nil && c.rows == p.s.rows {
		return c.infos, nil
	}
	if err := c.advance(ctx, p); err != nil {
		return nil, err
	}
	c.infos = c.list(p)
	return c.infos, nil
}

// advance counts what the part has beyond what was counted. After an error the next call goes on where this one ended.
func (c *catalogue) advance(ctx context.Context, p *Part) error {
	if c.columns == nil {
		c.columns, c.spilled = map[*column]*counts{}, map[attrKey]*counts{}
	}
	c.infos = nil
	for i, t := range p.tables() {
		groups, spilled := t.table.all()
		for _, g := range groups {
			if err := ctx.Err(); err != nil {
				return err
			}
			g.columns(func(col *column) {
				n := c.columns[col]
				if n == nil {
					n = &counts{}
					c.columns[col] = n
				}
				n.advance(col, t.rows)
			})
		}
		if len(spilled) == 0 {
			continue
		}
		list, _, end := t.table.extraRange(0, t.rows)
		for ; c.extras[i] < end; c.extras[i]++ {
			if e := get(list, c.extras[i]); !e.dup {
				c.addSpilled(attrKey{store.Column{Scope: t.table.scope, Name: e.key}, e.val.Type}, e.val)
			}
		}
	}
	for i, scope := range [...]store.ColumnScope{store.ScopeResource, store.ScopeInstrumentation} {
		col := store.Column{Scope: scope}
		t, refs := p.refTable(col), p.refColumn(col)
		c.refs[i] = append(c.refs[i], make([]int, t.len()-len(c.refs[i]))...)
		for r := int(c.rows); r < int(p.s.rows); r++ {
			c.refs[i][get(refs, r)]++
		}
	}
	c.rows, c.events, c.links = p.s.rows, p.s.events, p.s.links
	return nil
}

// sizedTable is a table and how many of its rows a part has.
type sizedTable struct {
	table *attrTable
	rows  uint32
}

func (p *Part) tables() [3]sizedTable {
	return [3]sizedTable{{&p.h.attrs, p.s.rows}, {&p.h.events.attrs, p.s.events}, {&p.h.links.attrs, p.s.links}}
}

func (c *catalogue) addSpilled(k attrKey, v store.Value) {
	n := c.spilled[k]
	if n == nil {
		n = &counts{}
		c.spilled[k] = n
	}
	n.rows++
	n.add(v)
}

// add counts one value.
func (n *counts) add(v store.Value) {
	if n.many {
		return
	}
	if n.values == nil {
		n.values = map[store.Value]int{}
	}
	if n.values[v]++; len(n.values) > maxCounted {
		n.many, n.values = true, nil
	}
}

// advance counts the entries of the first rows of the column's table.
func (n *counts) advance(c *column, rows uint32) {
	_, end := c.entries(0, rows)
	from := n.entries
	n.entries, n.rows = end, end
	if n.many || from >= end {
		return
	}
	if isNumber(c.typ) {
		nums := c.nums.view()
		for i := from; i < end && !n.many; i++ {
			n.add(store.Value{Type: c.typ, Num: get(nums, i)})
		}
		return
	}
	if size := c.codeCount(); size > len(n.codes) {
		n.codes = append(n.codes, make([]int, size-len(n.codes))...)
	}
	if len(n.codes) > maxCounted {
		n.many, n.codes = true, nil
		return
	}
	for dir := c.codes.view(); from < end; {
		codes := segment(dir, from, end)
		for _, code := range codes {
			n.codes[code]++
		}
		from += len(codes)
	}
}

// list makes the catalogue's lines.
func (c *catalogue) list(p *Part) []store.AttributeInfo {
	lines := map[attrKey]*counts{}
	for _, t := range p.tables() {
		groups, _ := t.table.all()
		for _, g := range groups {
			g.columns(func(col *column) {
				if n := c.columns[col]; n != nil && n.rows > 0 {
					lines[attrKey{store.Column{Scope: t.table.scope, Name: g.name}, col.typ}] = n.resolved(col)
				}
			})
		}
	}
	for k, n := range c.spilled {
		if have := lines[k]; have != nil {
			n = have.plus(n)
		}
		lines[k] = n
	}
	for i, scope := range [...]store.ColumnScope{store.ScopeResource, store.ScopeInstrumentation} {
		p.addRefs(scope, c.refs[i], lines)
	}
	out := make([]store.AttributeInfo, 0, len(lines))
	for k, n := range lines {
		out = append(out, k.info(n))
	}
	slices.SortFunc(out, func(a, b store.AttributeInfo) int {
		return cmp.Or(cmp.Compare(a.Column.Scope, b.Column.Scope), cmp.Compare(a.Column.Name, b.Column.Name),
			cmp.Compare(a.Type, b.Type))
	})
	return out
}

// resolved returns counts by value. A code that the part's rows do not use counts for nothing.
func (n *counts) resolved(c *column) *counts {
	if n.codes == nil {
		return n
	}
	out := &counts{rows: n.rows, values: make(map[store.Value]int, len(n.codes))}
	for code, k := range n.codes {
		switch {
		case k == 0:
		case c.dict != nil:
			out.values[store.Value{Type: c.typ, Str: c.dict.at(uint32(code))}] = k
		default:
			out.values[store.Value{Type: c.typ, Num: uint64(code)}] = k
		}
	}
	return out
}

// plus returns the sum of two.
func (n *counts) plus(o *counts) *counts {
	out := &counts{rows: n.rows + o.rows, many: n.many || o.many}
	if out.many {
		return out
	}
	out.values = make(map[store.Value]int, len(n.values)+len(o.values))
	for _, values := range []map[store.Value]int{n.values, o.values} {
		for v, k := range values {
			out.values[v] += k
		}
	}
	return out
}

// addRefs adds the attributes of resources or scopes, once per span that has them.
func (p *Part) addRefs(scope store.ColumnScope, spans []int, lines map[attrKey]*counts) {
	c := store.Column{Scope: scope}
	t := p.refTable(c)
	var buf [1]store.Value
	for ref, n := range spans {
		if n == 0 {
			continue
		}
		e := t.at(uint32(ref))
		for i := range e.attrs {
			c.Name = e.attrs[i].Key
			if hasKey(e.attrs[:i], c.Name) {
				continue
			}
			v := e.values(c, buf[:])[0]
			k := attrKey{c, v.Type}
			if lines[k] == nil {
				lines[k] = &counts{values: map[store.Value]int{}}
			}
			lines[k].rows += n
			lines[k].values[v] += n
		}
	}
}

func (k attrKey) info(n *counts) store.AttributeInfo {
	info := store.AttributeInfo{Column: k.column, Type: k.typ, Rows: n.rows, Complete: !n.many && len(n.values) <= topValues}
	if n.many {
		return info
	}
	top := make([]store.ValueCount, 0, len(n.values))
	for v, k := range n.values {
		top = append(top, store.ValueCount{Value: v, Count: k})
	}
	slices.SortFunc(top, func(a, b store.ValueCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Value.Num, b.Value.Num),
			cmp.Compare(a.Value.Str, b.Value.Str))
	})
	info.Top = slices.Clone(top[:min(len(top), topValues)])
	return info
}

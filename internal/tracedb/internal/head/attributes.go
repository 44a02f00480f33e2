package head

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/bramble-tracing/bramble/internal/store"
)

// topValues is how many values Attributes lists per column and type.
const topValues = 100

// attrKey is one line of the catalogue.
type attrKey struct {
	column store.Column
	typ    store.ValueType
}

// catalogue counts values per line.
type catalogue map[attrKey]map[store.Value]int

func (c catalogue) add(col store.Column, v store.Value, n int) {
	k := attrKey{col, v.Type}
	m := c[k]
	if m == nil {
		m = map[store.Value]int{}
		c[k] = m
	}
	m[v] += n
}

// Attributes lists the attribute columns by scope, name and type. Counts are exact. They are counted by the first call.
func (p *Part) Attributes(ctx context.Context) ([]store.AttributeInfo, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.attrs != nil {
		return p.attrs, nil
	}
	attrs, err := p.listAttributes(ctx)
	if err != nil {
		return nil, err
	}
	p.attrs = attrs
	return attrs, nil
}

func (p *Part) listAttributes(ctx context.Context) ([]store.AttributeInfo, error) {
	cat := catalogue{}
	for _, t := range [...]struct {
		table *attrTable
		rows  uint32
	}{{&p.h.attrs, p.s.rows}, {&p.h.events.attrs, p.s.events}, {&p.h.links.attrs, p.s.links}} {
		if err := t.table.count(ctx, t.rows, cat); err != nil {
			return nil, fmt.Errorf("list attributes of %s: %w", p.h.id, err)
		}
	}
	p.countRefs(store.ScopeResource, cat)
	p.countRefs(store.ScopeInstrumentation, cat)
	out := make([]store.AttributeInfo, 0, len(cat))
	for k, values := range cat {
		out = append(out, k.info(values))
	}
	slices.SortFunc(out, func(a, b store.AttributeInfo) int {
		return cmp.Or(cmp.Compare(a.Column.Scope, b.Column.Scope), cmp.Compare(a.Column.Name, b.Column.Name),
			cmp.Compare(a.Type, b.Type))
	})
	return out, nil
}

func (k attrKey) info(values map[store.Value]int) store.AttributeInfo {
	info := store.AttributeInfo{Column: k.column, Type: k.typ, Complete: len(values) <= topValues}
	top := make([]store.ValueCount, 0, len(values))
	for v, n := range values {
		info.Rows += n
		top = append(top, store.ValueCount{Value: v, Count: n})
	}
	slices.SortFunc(top, func(a, b store.ValueCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Value.Num, b.Value.Num),
			cmp.Compare(a.Value.Str, b.Value.Str))
	})
	info.Top = slices.Clone(top[:min(len(top), topValues)])
	return info
}

// count adds the values of the first n rows of a table.
func (t *attrTable) count(ctx context.Context, n uint32, cat catalogue) error {
	groups, spilled := t.all()
	for _, g := range groups {
		if err := ctx.Err(); err != nil {
			return err
		}
		col := store.Column{Scope: t.scope, Name: g.name}
		g.columns(func(c *column) { c.count(col, n, cat) })
	}
	if len(spilled) == 0 {
		return nil
	}
	list, a, b := t.extraRange(0, n)
	for ; a < b; a++ {
		if e := get(list, a); !e.dup {
			cat.add(store.Column{Scope: t.scope, Name: e.key}, e.val, 1)
		}
	}
	return nil
}

// count adds the values of the first n rows of the column.
func (c *column) count(col store.Column, n uint32, cat catalogue) {
	_, b := c.entries(0, n)
	if isNumber(c.typ) {
		nums := c.nums.view()
		for i := range b {
			cat.add(col, store.Value{Type: c.typ, Num: get(nums, i)}, 1)
		}
		return
	}
	counts := make([]int, c.codeCount())
	codes := c.codes.view()
	for i := range b {
		counts[get(codes, i)]++
	}
	for code, n := range counts {
		switch {
		case n == 0:
		case c.dict != nil:
			cat.add(col, store.Value{Type: c.typ, Str: c.dict.at(uint32(code))}, n)
		default:
			cat.add(col, store.Value{Type: c.typ, Num: uint64(code)}, n)
		}
	}
}

// countRefs adds the attributes of resources or scopes, once per span that has them.
func (p *Part) countRefs(scope store.ColumnScope, cat catalogue) {
	c := store.Column{Scope: scope}
	t, refs := p.refTable(c), p.refColumn(c)
	counts := make([]int, t.len())
	for r := range int(p.s.rows) {
		counts[get(refs, r)]++
	}
	var buf [1]store.Value
	for ref, n := range counts {
		if n == 0 {
			continue
		}
		e := t.at(uint32(ref))
		for i := range e.attrs {
			c.Name = e.attrs[i].Key
			if hasKey(e.attrs[:i], c.Name) {
				continue
			}
			cat.add(c, e.values(c, buf[:])[0], n)
		}
	}
}

package block

import (
	"cmp"
	"slices"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/index"
)

// catalog returns the attribute catalogue of the block.
func (w *Writer) catalog() []store.AttributeInfo {
	var out []store.AttributeInfo
	for _, t := range []*table{w.spans, w.events, w.links} {
		out = t.catalog(out)
	}
	counter := attrCounter{}
	for i := range w.tables.resources {
		counter.add(store.ScopeResource, w.tables.resources[i].Attrs, w.tables.resources[i].spans)
	}
	for i := range w.tables.scopes {
		counter.add(store.ScopeInstrumentation, w.tables.scopes[i].Attrs, w.tables.scopes[i].spans)
	}
	return sortCatalog(counter.catalog(out))
}

// sortCatalog orders the catalogue by scope, key and type.
func sortCatalog(out []store.AttributeInfo) []store.AttributeInfo {
	slices.SortFunc(out, func(a, b store.AttributeInfo) int {
		return cmp.Or(cmp.Compare(a.Column.Scope, b.Column.Scope), cmp.Compare(a.Column.Name, b.Column.Name), cmp.Compare(a.Type, b.Type))
	})
	return out
}

func (t *table) catalog(out []store.AttributeInfo) []store.AttributeInfo {
	all := make(map[columnID]*store.AttributeInfo)
	for _, c := range t.columns {
		if c.num < 0 {
			continue
		}
		info := &store.AttributeInfo{Column: store.Column{Scope: c.scope, Name: c.key}, Type: c.typ, Rows: c.rows}
		info.Top, info.Complete = c.top()
		if _, over := t.spilled[c.columnID]; over {
			info.Complete = false
		}
		all[c.columnID] = info
	}
	for id, s := range t.spilled {
		if info := all[id]; info != nil {
			info.Rows += s.rows
			continue
		}
		all[id] = &store.AttributeInfo{Column: store.Column{Scope: id.scope, Name: id.key}, Type: id.typ, Rows: s.rows}
	}
	for _, info := range all {
		out = append(out, *info)
	}
	return out
}

func topOf(counts map[store.Value]int) ([]store.ValueCount, bool) {
	values := make([]store.ValueCount, 0, len(counts))
	for v, n := range counts {
		values = append(values, store.ValueCount{Value: v, Count: n})
	}
	return index.SortTop(values)
}

// attrCounter counts attributes of resources and scopes by the spans that have them.
type attrCounter map[columnID]map[store.Value]int

func (c attrCounter) add(scope store.ColumnScope, attrs []store.Attr, spans int) {
	if spans == 0 {
		return
	}
	for i := range attrs {
		a := &attrs[i]
		if slices.ContainsFunc(attrs[:i], func(b store.Attr) bool { return b.Key == a.Key }) {
			continue
		}
		id := columnID{attrID{scope, a.Key}, a.Value.Type}
		if c[id] == nil {
			c[id] = make(map[store.Value]int)
		}
		c[id][a.Value] += spans
	}
}

func (c attrCounter) catalog(out []store.AttributeInfo) []store.AttributeInfo {
	for id, counts := range c {
		info := store.AttributeInfo{Column: store.Column{Scope: id.scope, Name: id.key}, Type: id.typ}
		for _, n := range counts {
			info.Rows += n
		}
		switch id.typ {
		case store.TypeString, store.TypeInt, store.TypeFloat, store.TypeBool:
			info.Top, info.Complete = topOf(counts)
		}
		out = append(out, info)
	}
	return out
}

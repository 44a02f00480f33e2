package storetest

import (
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/store"
)

// attrLine identifies a line of the catalogue.
type attrLine struct {
	column store.Column
	typ    store.ValueType
}

// attributes compares the part's catalogue with its spans: every column and type that occurs as a column's value is
// listed, nothing is listed that does not occur, row counts are upper bounds, and complete value lists are complete.
func (c *partCheck) attributes() {
	c.t.Helper()
	infos, err := c.part.Attributes(c.t.Context())
	require.NoError(c.t, err)
	listed := map[attrLine]store.AttributeInfo{}
	for _, info := range infos {
		line := attrLine{info.Column, info.Type}
		require.NotEqual(c.t, store.ScopeIntrinsic, info.Column.Scope, "no intrinsics")
		require.NotEqual(c.t, store.ScopeUnscoped, info.Column.Scope, "no unscoped columns")
		require.NotContains(c.t, listed, line, "listed twice")
		listed[line] = info
		for i, top := range info.Top {
			require.Equal(c.t, info.Type, top.Value.Type, "a value of column %v", info.Column)
			require.Positive(c.t, top.Count)
			if i > 0 {
				require.LessOrEqual(c.t, top.Count, info.Top[i-1].Count, "most frequent first, column %v", info.Column)
			}
		}
	}
	first, all := c.occurring()
	for line, values := range first {
		info, ok := listed[line]
		require.True(c.t, ok, "column %v has values of type %s, which the catalogue of %s does not list", line.column, line.typ, c.info.ID)
		n := 0
		for _, count := range values {
			n += count
		}
		require.GreaterOrEqual(c.t, info.Rows, n, "rows of column %v, type %s", line.column, line.typ)
		if !info.Complete {
			continue
		}
		top := map[store.Value]int{}
		for _, vc := range info.Top {
			top[vc.Value] = vc.Count
		}
		for v := range values {
			require.Contains(c.t, top, v, "the complete values of column %v", line.column)
		}
		for v := range top {
			require.Contains(c.t, all[line], v, "a value of column %v that does not occur", line.column)
		}
	}
	for line := range listed {
		require.Contains(c.t, all, line, "listed, but does not occur")
	}
}

// occurring returns, per column and type, the values that count for queries (the first of each key) and all values.
func (c *partCheck) occurring() (first, all map[attrLine]map[store.Value]int) {
	first, all = map[attrLine]map[store.Value]int{}, map[attrLine]map[store.Value]int{}
	put := func(m map[attrLine]map[store.Value]int, line attrLine, v store.Value) {
		if m[line] == nil {
			m[line] = map[store.Value]int{}
		}
		m[line][v]++
	}
	add := func(scope store.ColumnScope, attrs []store.Attr) {
		seen := map[string]bool{}
		for _, a := range attrs {
			line := attrLine{store.Column{Scope: scope, Name: a.Key}, a.Value.Type}
			put(all, line, a.Value)
			if !seen[a.Key] {
				put(first, line, a.Value)
			}
			seen[a.Key] = true
		}
	}
	for i := range c.rows.Spans {
		s := &c.rows.Spans[i]
		add(store.ScopeSpan, s.Attrs)
		add(store.ScopeResource, c.rows.Resources[s.Resource].Attrs)
		add(store.ScopeInstrumentation, c.rows.Scopes[s.Scope].Attrs)
		for j := range s.Events {
			add(store.ScopeEvent, s.Events[j].Attrs)
		}
		for j := range s.Links {
			add(store.ScopeLink, s.Links[j].Attrs)
		}
	}
	return first, all
}

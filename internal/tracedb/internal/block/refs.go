package block

import (
	"fmt"
	"sync"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
)

// refSource is a property of resources or scopes.
type refSource struct {
	b    *Block
	ids  *column.Values
	base int
	col  *refColumn
}

// refColumn has the values of a column of resources or scopes by their id, as a dictionary.
type refColumn struct {
	codes []uint32 // store.NoCode where there is none
	dict  []store.Value
}

// code returns the dictionary code of a row, or store.NoCode.
func (s *refSource) code(row int) (uint32, error) {
	id := s.ids.Num(row) + uint64(s.base) //nolint:gosec // not negative
	if id >= uint64(len(s.col.codes)) {
		return 0, s.b.corrupt(fileSpans, fmt.Errorf("a span refers to resource or scope %d of %d", id, len(s.col.codes)))
	}
	return s.col.codes[id], nil
}

func (s *refSource) append(dst []store.Value, row int) ([]store.Value, error) {
	c, err := s.code(row)
	if err == nil && c != store.NoCode {
		dst = append(dst, s.col.dict[c])
	}
	return dst, err
}

// resourceRefs gives equal resources the same number.
func (g *granule) resourceRefs() (source, error) {
	v, err := g.column(colResource)
	if err != nil {
		return nil, err
	}
	refs, err := g.b.resources()
	if err != nil {
		return nil, err
	}
	base := uint64(g.meta.ResourceBase) //nolint:gosec // not negative
	return intSource(func(row int) int64 {
		id := v.Num(row) + base
		if id >= uint64(len(refs.same)) {
			return int64(id) //nolint:gosec // damage, which whoever reads the resource finds
		}
		return refs.same[id]
	}), nil
}

func (g *granule) refSource(c store.Column) (source, error) { return g.refSourceOf(c, g.column) }

// refSourceOf is refSource for the rows of which read returns columns.
func (g *granule) refSourceOf(c store.Column, read func(col int) (*column.Values, error)) (source, error) {
	col, err := g.b.refColumn(c)
	if err != nil {
		return nil, err
	}
	s := &refSource{b: g.b, col: col, base: g.meta.ResourceBase}
	id := colResource
	if c.Scope != store.ScopeResource {
		id, s.base = colScope, g.meta.ScopeBase
	}
	s.ids, err = read(id)
	return s, err
}

// refColumns remembers columns of resources and scopes.
type refColumns struct {
	mu   sync.Mutex
	cols map[store.Column]*refColumn
}

// maxRefColumns bounds what is remembered; queries use few columns.
const maxRefColumns = 64

func (b *Block) refColumn(c store.Column) (*refColumn, error) {
	r, err := b.resources()
	if err != nil {
		return nil, err
	}
	r.columns.mu.Lock()
	defer r.columns.mu.Unlock()
	if col := r.columns.cols[c]; col != nil {
		return col, nil
	}
	col := &refColumn{}
	codes := make(map[store.Value]uint32)
	each := func(v store.Value, ok bool) {
		if !ok {
			col.codes = append(col.codes, store.NoCode)
			return
		}
		code, known := codes[v]
		if !known {
			code = uint32(len(col.dict)) //nolint:gosec // at most one per span
			codes[v] = code
			col.dict = append(col.dict, v)
		}
		col.codes = append(col.codes, code)
	}
	if c.Scope == store.ScopeResource {
		for i := range r.resources {
			each(firstAttr(r.resources[i].Attrs, c.Name))
		}
	} else {
		for i := range r.scopes {
			each(scopeValue(&r.scopes[i], c))
		}
	}
	if r.columns.cols == nil || len(r.columns.cols) >= maxRefColumns {
		r.columns.cols = make(map[store.Column]*refColumn)
	}
	r.columns.cols[c] = col
	return col, nil
}

func scopeValue(s *store.Scope, c store.Column) (store.Value, bool) {
	switch c {
	case store.Intrinsic(store.ScopeName):
		return store.String(s.Name), true
	case store.Intrinsic(store.ScopeVersion):
		return store.String(s.Version), true
	}
	return firstAttr(s.Attrs, c.Name)
}

func firstAttr(attrs []store.Attr, key string) (store.Value, bool) {
	for i := range attrs {
		if attrs[i].Key == key {
			return attrs[i].Value, true
		}
	}
	return store.Value{}, false
}

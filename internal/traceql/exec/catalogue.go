package exec

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

// catalogue is what a run has learnt from the attribute catalogues of parts.
type catalogue struct {
	mu    sync.Mutex
	attrs map[int][]ast.Attr
	// opaque are the columns with values that queries cannot look into (E-06), by part.
	opaque map[store.Part]map[store.Column]bool
}

// attributesOf lists the attributes that spans of a part have, and the intrinsics that compare counts, once per run.
func (r *run) attributesOf(part int) ([]ast.Attr, error) {
	r.catalogue.mu.Lock()
	defer r.catalogue.mu.Unlock()
	if attrs, ok := r.catalogue.attrs[part]; ok {
		return attrs, nil
	}
	infos, err := r.parts[part].Attributes(r.ctx)
	if err != nil {
		return nil, fmt.Errorf("list attributes: %w", err)
	}
	var attrs []ast.Attr
	for _, i := range comparedIntrinsics {
		attrs = append(attrs, ast.IntrinsicAttr(i))
	}
	seen := map[ast.Attr]bool{}
	for _, info := range infos {
		scope, ok := scopeOf(info.Column.Scope)
		a := ast.Attr{Scope: scope, Name: info.Column.Name}
		if ok && !seen[a] {
			seen[a] = true
			attrs = append(attrs, a)
		}
	}
	slices.SortFunc(attrs, func(a, b ast.Attr) int {
		return cmp.Or(cmp.Compare(a.Scope, b.Scope), cmp.Compare(a.Intrinsic, b.Intrinsic), cmp.Compare(a.Name, b.Name))
	})
	if r.catalogue.attrs == nil {
		r.catalogue.attrs = map[int][]ast.Attr{}
	}
	r.catalogue.attrs[part] = attrs
	return attrs, nil
}

// scopeOf returns the scope of an attribute column.
func scopeOf(s store.ColumnScope) (ast.Scope, bool) {
	for a, c := range scopeColumns {
		if c == s && a != ast.ScopeNone {
			return a, true
		}
	}
	return ast.ScopeNone, false
}

// isOpaque reports whether a column may hold maps, bytes or empty values in a part. For queries these are no values.
func (r *run) isOpaque(p store.Part, c store.Column) (bool, error) {
	if c.Scope == store.ScopeIntrinsic {
		return false, nil
	}
	r.catalogue.mu.Lock()
	defer r.catalogue.mu.Unlock()
	columns, ok := r.catalogue.opaque[p]
	if !ok {
		infos, err := p.Attributes(r.ctx)
		if err != nil {
			return false, fmt.Errorf("list attributes: %w", err)
		}
		columns = map[store.Column]bool{}
		for _, info := range infos {
			switch info.Type {
			case store.TypeBytes, store.TypeMap, store.TypeEmpty, store.TypeAbsent:
				columns[info.Column] = true
				columns[store.Column{Scope: store.ScopeUnscoped, Name: info.Column.Name}] = true
			}
		}
		if r.catalogue.opaque == nil {
			r.catalogue.opaque = map[store.Part]map[store.Column]bool{}
		}
		r.catalogue.opaque[p] = columns
	}
	return columns[c], nil
}

// queryable reports whether a value is one for queries (E-06).
func queryable(v store.Value) bool {
	switch v.Type {
	case store.TypeString, store.TypeInt, store.TypeFloat, store.TypeBool, store.TypeArray:
		return true
	}
	return false
}

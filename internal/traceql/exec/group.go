package exec

import (
	"slices"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

// grouping numbers the combinations of values that rows have in some attributes. Work per row is a few table lookups;
// values are compared as texts only once per granule and combination.
type grouping struct {
	ids    []uint32       // Per row.
	groups [][]ast.Static // Per id, a value per attribute, nil if missing.
}

// groupRows groups n rows by attributes, whose values are given. Without attributes there is one group and no ids.
func groupRows(vecs []store.Vector, n int, attrs []ast.Attr) *grouping {
	g := &grouping{groups: [][]ast.Static{nil}}
	for k, a := range attrs {
		codes, values := wholeDict(&vecs[k], n, a)
		for i := range values {
			values[i] = groupValue(values[i])
		}
		if k == 0 {
			g.ids, g.groups = codes, make([][]ast.Static, len(values))
			for i := range values {
				g.groups[i] = values[i : i+1 : i+1]
			}
			continue
		}
		g.combine(codes, values)
	}
	return g
}

// groupValue makes nil of an array: it belongs to no single group (observed).
func groupValue(v ast.Static) ast.Static {
	if v.Type == ast.TypeArray {
		return ast.Static{}
	}
	return v
}

// combine refines the grouping by one more attribute.
func (g *grouping) combine(codes []uint32, values []ast.Static) {
	const none = ^uint32(0)
	old := g.groups
	g.groups = nil
	number := func(id, code uint32) uint32 {
		g.groups = append(g.groups, slices.Concat(old[id], values[code:code+1]))
		return uint32(len(g.groups) - 1) //nolint:gosec // At most one per row.
	}
	if len(old)*len(values) <= maxCells {
		table := slices.Repeat([]uint32{none}, len(old)*len(values))
		for i, id := range g.ids {
			at := &table[int(id)*len(values)+int(codes[i])]
			if *at == none {
				*at = number(id, codes[i])
			}
			g.ids[i] = *at
		}
		return
	}
	known := make(map[uint64]uint32, len(values))
	for i, id := range g.ids {
		key := uint64(id)<<32 | uint64(codes[i])
		next, ok := known[key]
		if !ok {
			next = number(id, codes[i])
			known[key] = next
		}
		g.ids[i] = next
	}
}

// valueCodes numbers the values of a column. Of several values, events or links, the first counts.
func valueCodes(v *store.Vector, n int, a ast.Attr) (codes []uint32, values []ast.Static) {
	codes = make([]uint32, n)
	code := func(s ast.Static) uint32 {
		values = append(values, orEmpty(a, s))
		return uint32(len(values) - 1) //nolint:gosec // At most one per row.
	}
	if len(v.Dict) > 0 && len(v.Offsets) == 0 && len(v.Codes) == n {
		codesOfDict(v, a, codes, code)
		return codes, values
	}
	known := map[store.Value]uint32{}
	var last store.Value
	var lastCode uint32
	for i := range n {
		value := v.At(i)
		if i > 0 && value == last {
			codes[i] = lastCode
			continue
		}
		c, ok := known[value]
		if !ok {
			c = code(toStatic(a, value))
			known[value] = c
		}
		codes[i], last, lastCode = c, value, c
	}
	return codes, values
}

// smallDict is how many entries a dictionary has at most that wholeDict takes as it is.
const smallDict = 256

// wholeDict is valueCodes where values may be among the result that no row has: small dictionaries need no second look.
func wholeDict(v *store.Vector, n int, a ast.Attr) (codes []uint32, values []ast.Static) {
	missing := uint32(len(v.Dict)) //nolint:gosec // checked below
	if len(v.Dict) == 0 || len(v.Dict) > smallDict || len(v.Offsets) > 0 || len(v.Codes) != n {
		return valueCodes(v, n, a)
	}
	values = make([]ast.Static, 0, len(v.Dict)+1)
	for _, d := range v.Dict {
		values = append(values, orEmpty(a, toStatic(a, d)))
	}
	values = append(values, orEmpty(a, ast.Static{}))
	codes = make([]uint32, n)
	for i, c := range v.Codes {
		codes[i] = min(c, missing)
	}
	return codes, values
}

// codesOfDict renumbers the codes of a dictionary to those that occur.
func codesOfDict(v *store.Vector, a ast.Attr, codes []uint32, code func(ast.Static) uint32) {
	const unknown = ^uint32(0)
	table := make([]uint32, len(v.Dict)+1) // The last entry is for rows without a value.
	for i := range table {
		table[i] = unknown
	}
	for i, c := range v.Codes {
		at := len(v.Dict)
		if c != store.NoCode {
			at = int(c)
		}
		if table[at] == unknown {
			var s ast.Static
			if c != store.NoCode {
				s = toStatic(a, v.Dict[c])
			}
			table[at] = code(s)
		}
		codes[i] = table[at]
	}
}

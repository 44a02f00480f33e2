package block

import (
	"fmt"
	"slices"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
)

// MayMatch implements store.Part. What cannot be read may match: Filter will tell.
func (b *Block) MayMatch(granule int, p *store.Predicate) (may bool) {
	err := b.mayMatch(granule, p, &may)
	return may || err != nil
}

func (b *Block) mayMatch(granule int, p *store.Predicate, may *bool) (err error) {
	defer b.contain(&err)
	if p.Op == store.OpNotExists || checkPredicate(p) != nil {
		*may = true
		return nil
	}
	if granule >= 0 {
		group, first, rows, err := b.within(granule)
		if err != nil {
			return err
		}
		*may, err = b.rangeMayMatch(group, first, rows, p.Column, p)
		return err
	}
	for i := range b.meta.Groups {
		if *may, err = b.rangeMayMatch(i, 0, b.meta.Groups[i].Rows, p.Column, p); err != nil || *may {
			return err
		}
	}
	return nil
}

// within finds the rows of a granule in their row group, as granule does, for what is asked about all granules of a block.
func (b *Block) within(granule int) (group, first, rows int, err error) {
	if granule < 0 || granule >= b.first[len(b.first)-1] {
		return 0, 0, 0, fmt.Errorf("%w: block %s has no granule %d", store.ErrInvalid, b.meta.ID, granule)
	}
	group, found := slices.BinarySearch(b.first, granule)
	if !found {
		group--
	}
	first = (granule - b.first[group]) * store.GranuleRows
	return group, first, min(store.GranuleRows, b.meta.Groups[group].Rows-first), nil
}

// rangeMayMatch decides for the rows [first, first+rows) of a row group: a granule or all of it.
func (b *Block) rangeMayMatch(group, first, rows int, c store.Column, p *store.Predicate) (bool, error) {
	switch c.Scope {
	case store.ScopeIntrinsic:
		return b.intrinsicMayMatch(group, first, rows, p)
	case store.ScopeSpan:
		t, err := b.tableFile(fileSpans)
		if err != nil {
			return true, err
		}
		return b.attrMayMatch(t, group, first, rows, c, p)
	case store.ScopeResource, store.ScopeInstrumentation:
		return b.refMayMatch(group, first, rows, c, p)
	case store.ScopeEvent:
		return b.childMayMatch(fileEvents, group, c, p)
	case store.ScopeLink:
		return b.childMayMatch(fileLinks, group, c, p)
	case store.ScopeUnscoped:
		for s := store.ScopeSpan; s <= store.ScopeInstrumentation; s++ {
			may, err := b.rangeMayMatch(group, first, rows, store.Column{Scope: s, Name: c.Name}, p)
			if may || err != nil {
				return true, err
			}
		}
		return false, nil
	}
	return true, nil
}

func (b *Block) intrinsicMayMatch(group, first, rows int, p *store.Predicate) (bool, error) {
	if f, ok := fixedIntrinsics[p.Column.Name]; ok {
		t, err := b.tableFile(fileSpans)
		if err != nil {
			return true, err
		}
		return b.columnMayMatch(t, group, f.col, first, rows, p)
	}
	if in, ok := childIntrinsics[p.Column.Name]; ok {
		return sum(b.meta.Groups[group].childRows(in.file)) > 0, nil
	}
	if p.Column.Name == store.TraceDecision || p.Column.Name == store.TracePolicy {
		return b.mayBeDecided(), nil
	}
	if p.Column.Name == store.ScopeName || p.Column.Name == store.ScopeVersion {
		return b.refMayMatch(group, first, rows, p.Column, p)
	}
	return true, nil
}

// attrMayMatch decides for an attribute of a table.
func (b *Block) attrMayMatch(t *tableFile, group, first, rows int, c store.Column, p *store.Predicate) (bool, error) {
	if t.overflow >= 0 && !t.Empty(group, t.overflow) {
		bounds, err := t.Bounds(group, t.overflow, first, rows)
		if err != nil || !bounds.Empty {
			return true, err
		}
	}
	for _, col := range t.attrs[attrID{c.Scope, c.Name}] {
		may, err := b.columnMayMatch(t, group, col, first, rows, p)
		if may || err != nil {
			return true, err
		}
	}
	return false, nil
}

// columnMayMatch decides for one column, by zone map, then dictionary or bloom filter.
func (b *Block) columnMayMatch(t *tableFile, group, col, first, rows int, p *store.Predicate) (bool, error) {
	bounds, err := t.Bounds(group, col, first, rows)
	if err != nil {
		return true, err
	}
	typ := t.Spec(col).Value
	if bounds.Empty || !typeMayMatch(typ, p) {
		return false, nil
	}
	if bounds.Known && !boundsMayMatch(&bounds, p) {
		return false, nil
	}
	if p.Op == store.OpExists || typ == store.TypeArray {
		return true, nil
	}
	if t.HasDict(group, col) {
		d, err := b.dict(t, group, col)
		if err != nil {
			return true, err
		}
		for _, m := range b.matches(chunkRef{t.num, group, col}, d, p) {
			if m {
				return true, nil
			}
		}
		return false, nil
	}
	if t.HasBloom(group, col) && (p.Op == store.OpEq || p.Op == store.OpIn) {
		return b.bloomMayMatch(t, group, col, p)
	}
	return true, nil
}

// typeMayMatch reports false if values of the type can never satisfy p (E-12).
func typeMayMatch(t store.ValueType, p *store.Predicate) bool {
	if p.Op == store.OpExists || t == store.TypeArray {
		return true
	}
	if p.Op == store.OpRegex || p.Op == store.OpNotRegex {
		return t == store.TypeString
	}
	for _, v := range p.Values {
		if _, ok := store.Compare(store.Value{Type: t}, v); ok {
			return true
		}
	}
	return false
}

// boundsMayMatch reports false if no value between the bounds satisfies a comparison.
func boundsMayMatch(b *column.Bounds, p *store.Predicate) bool {
	if p.Op != store.OpIn && (p.Op < store.OpEq || p.Op > store.OpGe || p.Op == store.OpNe) {
		return true
	}
	if b.Min.Type == store.TypeArray {
		return true
	}
	for _, v := range p.Values {
		lo, ok := store.Compare(b.Min, v)
		hi, _ := store.Compare(b.Max, v)
		if !ok || lo > 1 || hi > 1 { // other types, or not a number
			continue
		}
		switch p.Op {
		case store.OpEq, store.OpIn:
			if lo <= 0 && hi >= 0 {
				return true
			}
		case store.OpLt:
			return lo < 0
		case store.OpLe:
			return lo <= 0
		case store.OpGt:
			return hi > 0
		case store.OpGe:
			return hi >= 0
		}
	}
	return false
}

// bloomMayMatch asks the filter of a chunk for the operands. Floats are not asked for: 0 and -0 are equal.
func (b *Block) bloomMayMatch(t *tableFile, group, col int, p *store.Predicate) (bool, error) {
	typ := t.Spec(col).Value
	if typ != store.TypeString && typ != store.TypeInt {
		return true, nil
	}
	f, err := b.bloom(t, group, col)
	if err != nil {
		return true, err
	}
	for _, v := range p.Values {
		if v.Type != typ {
			if _, ok := store.Compare(store.Value{Type: typ}, v); ok {
				return true, nil // an int column and a float
			}
			continue
		}
		if f.MayHave(v) {
			return true, nil
		}
	}
	return false, nil
}

// refMayMatch decides for properties of resources and scopes: whether one that matches is among the spans'.
func (b *Block) refMayMatch(group, first, rows int, c store.Column, p *store.Predicate) (bool, error) {
	col, err := b.refColumn(c)
	if err != nil {
		return true, err
	}
	t, err := b.tableFile(fileSpans)
	if err != nil {
		return true, err
	}
	idCol, base := colResource, b.meta.Groups[group].ResourceBase
	if c.Scope != store.ScopeResource {
		idCol, base = colScope, b.meta.Groups[group].ScopeBase
	}
	bounds, err := t.Bounds(group, idCol, first, rows)
	if err != nil || !bounds.Known {
		return true, err
	}
	match := matchAll(col.dict, p)
	for id := max(0, bounds.Min.Int()+int64(base)); id <= bounds.Max.Int()+int64(base) && id < int64(len(col.codes)); id++ {
		if code := col.codes[id]; code != store.NoCode && match[code] {
			return true, nil
		}
	}
	return false, nil
}

// childMayMatch decides for attributes of events and links, by row group.
func (b *Block) childMayMatch(file, group int, c store.Column, p *store.Predicate) (bool, error) {
	if sum(b.meta.Groups[group].childRows(file)) == 0 {
		return false, nil
	}
	at := 0
	for i := range group {
		if sum(b.meta.Groups[i].childRows(file)) > 0 {
			at++
		}
	}
	t, err := b.tableFile(file)
	if err != nil {
		return true, err
	}
	return b.attrMayMatch(t, at, 0, t.GroupRows(at), c, p)
}

package block

import (
	"context"
	"errors"
	"fmt"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/index"
)

var _ store.Counter = (*Block)(nil)

// Ranges implements store.Counter. The ranges are the row groups.
func (b *Block) Ranges() []store.GranuleRange {
	if !b.meta.has(CountsFile) {
		return nil
	}
	out := make([]store.GranuleRange, len(b.first)-1)
	for i := range out {
		out[i] = store.GranuleRange{First: b.first[i], End: b.first[i+1]}
	}
	return out
}

// Counts implements store.Counter, from counts.idx.
func (b *Block) Counts(ctx context.Context, group int) (_ *store.RangeCounts, err error) {
	defer b.contain(&err)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("count values of block %s: %w", b.meta.ID, err)
	}
	raw, err := b.countSection(group)
	if err != nil || raw == nil {
		return nil, err
	}
	counts, err := index.DecodeCounts(raw, b.path(fileCounts))
	if err != nil {
		return nil, err
	}
	out := &store.RangeCounts{Roots: counts.Roots}
	if out.Roots == nil && !counts.NoRoots {
		out.Roots = []store.RootCount{}
	}
	if b.overlay != nil && len(b.overlay.Patches) > 0 {
		out.Roots = nil // The services of roots may be others now.
	}
	for i := range counts.Columns {
		c := &counts.Columns[i]
		if c.Column.Scope == store.ScopeIntrinsic && (c.Column.Name == refResource || c.Column.Name == refScope) {
			if out.Columns, err = b.countRefs(group, c, out.Columns); err != nil {
				return nil, err
			}
			continue
		}
		got := store.ColumnCounts{Column: c.Column, Type: c.Type, Values: c.Values, Counts: c.Counts, Sum: c.Sum, Max: c.Max, Unknown: c.Unknown}
		if c.Coded {
			if got.Values, err = b.codedValues(group, c); err != nil {
				return nil, err
			}
		}
		out.Columns = append(out.Columns, got)
	}
	return out, nil
}

// countSections returns the sections of counts.idx, nil if there is no such file.
func (b *Block) countSections() ([][]byte, error) {
	if !b.meta.has(CountsFile) {
		return nil, nil
	}
	key := CacheKey{Block: b.id, Kind: cacheCounts}
	if v, ok := b.reader.Cache.Get(key); ok {
		return v.([][]byte), nil //nolint:forcetypeassert // we put it there
	}
	f, err := b.file(fileCounts)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, b.meta.Files[CountsFile].Size)
	if err := column.ReadFull(f, b.path(fileCounts), buf, 0); err != nil {
		return nil, err
	}
	sections, err := index.DecodeCountsFile(buf, len(b.meta.Groups), b.path(fileCounts))
	if err != nil {
		return nil, err
	}
	b.reader.Cache.Put(key, sections, int64(len(buf)+24*len(sections)))
	return sections, nil
}

// countSection returns the section of a row group as it was packed, nil if nothing is known.
func (b *Block) countSection(group int) ([]byte, error) {
	key := CacheKey{Block: b.id, Kind: cacheSection, Group: int32(group)} //nolint:gosec // small
	if v, ok := b.reader.Cache.Get(key); ok {
		return v.([]byte), nil //nolint:forcetypeassert // we put it there
	}
	sections, err := b.countSections()
	if err != nil || sections == nil || len(sections[group]) == 0 {
		return nil, err
	}
	raw, err := index.UnpackCounts(sections[group], b.reader.Unzip.Unpack, b.path(fileCounts))
	if err != nil {
		return nil, err
	}
	b.reader.Cache.Put(key, raw, int64(len(raw)))
	return raw, nil
}

var errCounted = errors.New("counts do not fit the block")

// codedValues returns the dictionary of the column that was counted.
func (b *Block) codedValues(group int, c *index.ColumnCounts) ([]store.Value, error) {
	file, col := b.countedColumn(c)
	if col < 0 {
		return nil, b.corrupt(fileCounts, fmt.Errorf("%w: there is no column %q", errCounted, c.Column.Name))
	}
	t, err := b.tableFile(file)
	if err != nil {
		return nil, err
	}
	if file != fileSpans {
		group = b.childGroup(file, group)
	}
	if group >= t.Groups() || !t.HasDict(group, col) {
		return nil, b.corrupt(fileCounts, fmt.Errorf("%w: column %q has no dictionary", errCounted, c.Column.Name))
	}
	d, err := b.dict(t, group, col)
	if err != nil {
		return nil, err
	}
	if len(d.Values) != len(c.Counts) {
		return nil, b.corrupt(fileCounts, fmt.Errorf("%w: column %q has %d values, not %d", errCounted, c.Column.Name, len(d.Values), len(c.Counts)))
	}
	return d.Values, nil
}

// countedColumn finds the column that was counted; col is -1 if there is none.
func (b *Block) countedColumn(c *index.ColumnCounts) (file, col int) {
	switch c.Column.Scope {
	case store.ScopeIntrinsic:
		if c.Column.Name == store.EventName {
			return fileEvents, colEventName
		}
		if f, ok := fixedIntrinsics[c.Column.Name]; ok {
			return fileSpans, f.col
		}
		return fileSpans, -1
	case store.ScopeEvent:
		file = fileEvents
	case store.ScopeLink:
		file = fileLinks
	}
	t, err := b.tableFile(file)
	if err != nil {
		return file, -1
	}
	for _, col := range t.attrs[attrID{c.Column.Scope, c.Column.Name}] {
		if t.Spec(col).Value == c.Type {
			return file, col
		}
	}
	return file, -1
}

// countRefs adds the counts of the properties of resources or scopes.
func (b *Block) countRefs(group int, c *index.ColumnCounts, dst []store.ColumnCounts) ([]store.ColumnCounts, error) {
	attrs, err := b.Attributes(context.Background())
	if err != nil {
		return dst, err
	}
	scope, base := store.ScopeResource, b.meta.Groups[group].ResourceBase
	cols := []store.Column{{Scope: scope, Name: "service.name"}} // Asked for also where no resource has it.
	if c.Column.Name == refScope {
		scope, base = store.ScopeInstrumentation, b.meta.Groups[group].ScopeBase
		cols = []store.Column{store.Intrinsic(store.ScopeName), store.Intrinsic(store.ScopeVersion)}
	}
	for i := range attrs {
		if col := attrs[i].Column; col.Scope == scope && col != cols[0] && cols[len(cols)-1] != col {
			cols = append(cols, col)
		}
	}
	if c.Coded {
		return dst, b.corrupt(fileCounts, fmt.Errorf("%w: references have no dictionary", errCounted))
	}
	for _, col := range cols {
		counted, err := b.countRef(col, c, base)
		if err != nil {
			return dst, err
		}
		dst = append(dst, counted)
	}
	return dst, nil
}

// countRef counts a property of resources or scopes, of which c counts the spans.
func (b *Block) countRef(col store.Column, c *index.ColumnCounts, base int) (store.ColumnCounts, error) {
	out := store.ColumnCounts{Column: col}
	refs, err := b.refColumn(col)
	if err != nil {
		return out, err
	}
	sums := make([]store.SpanCount, len(refs.dict)+1) // The last is of those without.
	for i, v := range c.Values {
		id := v.Num + uint64(base) //nolint:gosec // not negative
		if id >= uint64(len(refs.codes)) {
			return out, b.corrupt(fileCounts, fmt.Errorf("%w: there is no resource or scope %d", errCounted, id))
		}
		n := &sums[min(int(refs.codes[id]), len(refs.dict))]
		n.Spans += c.Counts[i].Spans
		n.Errors += c.Counts[i].Errors
	}
	for i, n := range sums {
		if n.Spans == 0 {
			continue
		}
		value := store.Value{}
		if i < len(refs.dict) {
			value = refs.dict[i]
		}
		out.Values, out.Counts = append(out.Values, value), append(out.Counts, n)
	}
	return out, nil
}

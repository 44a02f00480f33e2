package block

import (
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
)

// Kinds of what is cached.
const (
	cacheCatalog = iota
	cacheTable
	cacheDict
	cacheValues
	cacheBloom
	cacheResources
	cacheMatches
	cacheCounts
	cacheSection
	cacheTouched
	cacheTracePage
)

func (b *Block) corrupt(file int, err error) error {
	return &store.CorruptionError{Path: b.path(file), Err: err}
}

// dict returns the dictionary of a column chunk that has one.
func (b *Block) dict(t *tableFile, group, col int) (*column.Dict, error) {
	key := CacheKey{Block: b.id, Kind: cacheDict, Table: uint8(t.num), Group: int32(group), Column: int32(col)} //nolint:gosec // small
	if v, ok := b.reader.Cache.Get(key); ok {
		return v.(*column.Dict), nil //nolint:forcetypeassert // we put it there
	}
	d, err := t.Dict(group, col)
	if err != nil {
		return nil, err
	}
	b.reader.Cache.Put(key, d, d.Bytes())
	return d, nil
}

// dictOf returns the dictionary of a column chunk, nil if it has none.
func (b *Block) dictOf(t *tableFile, group, col int) (*column.Dict, error) {
	if !t.HasDict(group, col) {
		return nil, nil //nolint:nilnil // nothing is an answer
	}
	return b.dict(t, group, col)
}

// bloom returns the bloom filter of a column chunk that has one.
func (b *Block) bloom(t *tableFile, group, col int) (*column.Bloom, error) {
	key := CacheKey{Block: b.id, Kind: cacheBloom, Table: uint8(t.num), Group: int32(group), Column: int32(col)} //nolint:gosec // small
	if v, ok := b.reader.Cache.Get(key); ok {
		return v.(*column.Bloom), nil //nolint:forcetypeassert // we put it there
	}
	f, err := t.Bloom(group, col)
	if err != nil {
		return nil, err
	}
	b.reader.Cache.Put(key, f, f.Bytes())
	return f, nil
}

// values returns a column's values in rows [first, first+rows) of a row group, which are a granule of the table.
func (b *Block) values(t *tableFile, group, col, first, rows int) (*column.Values, error) {
	if v, ok := b.cachedValues(t, group, col, first); ok {
		return v, nil
	}
	dict, err := b.dictOf(t, group, col)
	if err != nil {
		return nil, err
	}
	v, err := t.Granule(group, col, first, rows, dict)
	if err != nil {
		return nil, err
	}
	b.reader.Cache.Put(b.valuesKey(t, group, col, first), v, v.Bytes())
	return v, nil
}

func (b *Block) valuesKey(t *tableFile, group, col, first int) CacheKey {
	return CacheKey{
		Block: b.id, Kind: cacheValues, Table: uint8(t.num), Group: int32(group), Column: int32(col), Granule: int32(first), //nolint:gosec // small
	}
}

// cachedValues returns what values would, if it is in the cache.
func (b *Block) cachedValues(t *tableFile, group, col, first int) (*column.Values, bool) {
	v, ok := b.reader.Cache.Get(b.valuesKey(t, group, col, first))
	if !ok {
		return nil, false
	}
	return v.(*column.Values), true //nolint:forcetypeassert // we put it there
}

// granule is a granule of the block and the place of its rows in the files.
type granule struct {
	b     *Block
	num   int
	group int
	first int // row within the row group
	row   int // row of the block
	rows  int
	meta  *Group
	spans *tableFile
}

// granule finds a granule.
func (b *Block) granule(n int) (*granule, error) {
	group, first, rows, err := b.within(n)
	if err != nil {
		return nil, err
	}
	t, err := b.tableFile(fileSpans)
	if err != nil {
		return nil, err
	}
	return &granule{
		b: b, num: n, group: group, first: first, row: b.rows[group] + first, rows: rows, meta: &b.meta.Groups[group], spans: t,
	}, nil
}

// column returns the values of a column of the spans table.
func (g *granule) column(col int) (*column.Values, error) {
	return g.b.values(g.spans, g.group, col, g.first, g.rows)
}

// overflow returns the overflow column of a table in a granule, or nil if it has no value there.
func (b *Block) overflow(t *tableFile, group, first, rows int) (*column.Values, error) {
	if t.overflow < 0 || t.Empty(group, t.overflow) {
		return nil, nil //nolint:nilnil // nothing is an answer
	}
	v, err := b.values(t, group, t.overflow, first, rows)
	if err != nil || v.Len() == 0 {
		return nil, err
	}
	return v, nil
}

// firstColumns returns the numbers of the first n columns.
func firstColumns(n int) []int {
	cols := make([]int, n)
	for i := range cols {
		cols[i] = i
	}
	return cols
}

package block

import (
	"cmp"
	"fmt"
	"slices"

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
)

// tableFile is a Parquet file of the block with its attribute columns.
type tableFile struct {
	*column.File
	num      int
	attrs    map[attrID][]int // columns by scope and key
	ordered  []attrRef        // attribute columns in file order
	overflow int              // column, or -1
	sampling int              // column, or -1
}

// attrRef is an attribute column.
type attrRef struct {
	col int
	key string
}

// tableFile returns an open table.
func (b *Block) tableFile(n int) (*tableFile, error) {
	key := CacheKey{Block: b.id, Kind: cacheTable, Table: uint8(n)} //nolint:gosec // a file number
	if v, ok := b.reader.Cache.Get(key); ok {
		return v.(*tableFile), nil //nolint:forcetypeassert // we put it there
	}
	f, err := b.file(n)
	if err != nil {
		return nil, err
	}
	fixed := [...]func() []column.Spec{fileSpans: spanSpecs, fileResources: resourceSpecs, fileEvents: eventSpecs, fileLinks: linkSpecs}[n]()
	cf, err := column.Open(f, b.path(n), b.meta.Files[dataFiles[n]], b.reader.Unzip, specLookup(fixed))
	if err != nil {
		return nil, err
	}
	t := &tableFile{File: cf, num: n, attrs: make(map[attrID][]int), overflow: -1, sampling: -1}
	for i, s := range fixed {
		if at, ok := cf.Column(s.Name); !ok || at != i {
			return nil, b.corrupt(n, fmt.Errorf("column %q is missing", s.Name))
		}
	}
	for i := len(fixed); i < cf.Columns(); i++ {
		if scope, key, _, ok := parseAttrName(cf.Spec(i).Name); ok {
			id := attrID{scope, key}
			t.attrs[id] = append(t.attrs[id], i)
			t.ordered = append(t.ordered, attrRef{i, key})
		} else if cf.Spec(i).Name == overflowName {
			t.overflow = i
		} else if cf.Spec(i).Name == samplingName && n == fileSpans {
			t.sampling = i
		}
	}
	if err := b.checkTable(t); err != nil {
		return nil, err
	}
	b.reader.Cache.Put(key, t, cf.Bytes())
	return t, nil
}

// checkTable compares the row groups of a table with meta.json.
func (b *Block) checkTable(t *tableFile) error {
	var want []int
	for i := range b.meta.Groups {
		g := &b.meta.Groups[i]
		n := g.Rows
		switch t.num {
		case fileEvents:
			n = sum(g.EventRows)
		case fileLinks:
			n = sum(g.LinkRows)
		}
		if n > 0 {
			want = append(want, n)
		}
	}
	if t.num == fileResources {
		if t.Rows() != b.meta.Resources+b.meta.Scopes {
			return b.corrupt(t.num, fmt.Errorf("%d rows, want %d resources and %d scopes", t.Rows(), b.meta.Resources, b.meta.Scopes))
		}
		return nil
	}
	if len(want) != t.Groups() {
		return b.corrupt(t.num, fmt.Errorf("%d row groups, want %d", t.Groups(), len(want)))
	}
	for g, n := range want {
		if t.GroupRows(g) != n {
			return b.corrupt(t.num, fmt.Errorf("row group %d has %d rows, want %d", g, t.GroupRows(g), n))
		}
	}
	return nil
}

func sum(n []int) int {
	s := 0
	for _, v := range n {
		s += v
	}
	return s
}

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
	if n < 0 || n >= b.first[len(b.first)-1] {
		return nil, fmt.Errorf("%w: block %s has no granule %d", store.ErrInvalid, b.meta.ID, n)
	}
	g, found := slices.BinarySearchFunc(b.first, n, cmp.Compare)
	if !found {
		g--
	}
	t, err := b.tableFile(fileSpans)
	if err != nil {
		return nil, err
	}
	out := &granule{b: b, num: n, group: g, first: (n - b.first[g]) * store.GranuleRows, meta: &b.meta.Groups[g], spans: t}
	out.row = b.rows[g] + out.first
	out.rows = min(store.GranuleRows, out.meta.Rows-out.first)
	return out, nil
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

// resources is resources.parquet in memory.
type resources struct {
	resources []store.Resource
	scopes    []store.Scope
	same      []int64 // per resource: the id of the first one that is equal
	columns   refColumns
}

// findSame finds equal resources, which row groups that were copied from several blocks, and patches, leave behind.
func (r *resources) findSame() {
	var t tables
	first := make(map[string]int64, len(r.resources))
	for i := range r.resources {
		t.resourceKey(&r.resources[i])
		id, ok := first[string(t.key)]
		if !ok {
			id = int64(i)
			first[string(t.key)] = id
		}
		r.same = append(r.same, id)
	}
}

// resources returns the resources and scopes of the block.
func (b *Block) resources() (*resources, error) {
	key := CacheKey{Block: b.id, Kind: cacheResources, Group: b.overlay.cacheSeq()}
	if v, ok := b.reader.Cache.Get(key); ok {
		return v.(*resources), nil //nolint:forcetypeassert // we put it there
	}
	t, err := b.tableFile(fileResources)
	if err != nil {
		return nil, err
	}
	out := &resources{}
	size := int64(0)
	for g := range t.Groups() {
		for first := 0; first < t.GroupRows(g); first += store.GranuleRows {
			if err := b.readResources(t, g, first, out, &size); err != nil {
				return nil, err
			}
		}
	}
	if len(out.resources) != b.meta.Resources || len(out.scopes) != b.meta.Scopes {
		return nil, b.corrupt(fileResources, fmt.Errorf("%d resources and %d scopes, want %d and %d",
			len(out.resources), len(out.scopes), b.meta.Resources, b.meta.Scopes))
	}
	if err := b.overlay.patch(out); err != nil {
		return nil, b.corrupt(fileResources, err)
	}
	out.findSame()
	b.reader.Cache.Put(key, out, size)
	return out, nil
}

func (b *Block) readResources(t *tableFile, group, first int, out *resources, size *int64) error {
	rows := min(store.GranuleRows, t.GroupRows(group)-first)
	part := stretch{b: b, t: t, group: group, first: first, rows: rows}
	fixed, all, err := part.read(firstColumns(colResEntities + 1))
	if err != nil {
		return err
	}
	for r := range rows {
		attrs, err := all.of(r)
		if err != nil {
			return err
		}
		*size += 160 + int64(len(attrs))*64
		dropped := uint32(fixed[colResDropped].Num(r)) //nolint:gosec // it was one
		id := int(fixed[colResID].Num(r))              //nolint:gosec // checked below
		schema := fixed[colResSchema].Str(r)
		switch kind := fixed[colResKind].Str(r); {
		case kind == kindResource && id == len(out.resources):
			res := store.Resource{Attrs: attrs, DroppedAttrs: dropped, SchemaURL: schema, EntityRefs: text(fixed[colResEntities], r)}
			out.resources = append(out.resources, res)
		case kind == kindScope && id == len(out.scopes):
			sc := store.Scope{
				Name: text(fixed[colResName], r), Version: text(fixed[colResVersion], r), Attrs: attrs, DroppedAttrs: dropped, SchemaURL: schema,
			}
			out.scopes = append(out.scopes, sc)
		default:
			return b.corrupt(fileResources, fmt.Errorf("row of kind %q with id %d is out of order", kind, id))
		}
	}
	return nil
}

// firstColumns returns the numbers of the first n columns.
func firstColumns(n int) []int {
	cols := make([]int, n)
	for i := range cols {
		cols[i] = i
	}
	return cols
}

// text returns the text of a row, empty if it has none.
func text(v *column.Values, row int) string {
	if i := v.Index(row); i >= 0 {
		return v.Str(i)
	}
	return ""
}

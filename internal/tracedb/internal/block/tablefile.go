package block

import (
	"fmt"

	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
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

package column

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/bramble-tracing/bramble/internal/store"
)

// Groups returns the number of row groups.
func (f *File) Groups() int { return len(f.groups) }

// GroupRows returns the number of rows of a row group.
func (f *File) GroupRows(group int) int { return f.groups[group].rows }

// Rows returns the number of rows of the table.
func (f *File) Rows() int {
	if n := len(f.groups); n > 0 {
		return f.groups[n-1].first + f.groups[n-1].rows
	}
	return 0
}

// Column returns the number of a column.
func (f *File) Column(name string) (int, bool) {
	i, ok := f.byName[name]
	return i, ok
}

// Spec returns the description of a column.
func (f *File) Spec(col int) Spec { return f.specs[col] }

// Columns returns the number of columns.
func (f *File) Columns() int { return len(f.specs) }

// Empty reports whether a column has no value in a row group.
func (f *File) Empty(group, col int) bool {
	c := &f.groups[group].chunks[col]
	return c.nulls == c.values
}

// HasDict reports whether a column has a dictionary in a row group.
func (f *File) HasDict(group, col int) bool { return f.groups[group].chunks[col].dictOffset != 0 }

// Chunk returns the number of values of a column in a row group, and the bytes of its pages before compression.
func (f *File) Chunk(group, col int) (values, raw int) {
	c := &f.groups[group].chunks[col]
	return c.values - c.nulls, c.rawBytes
}

// Bytes returns about how much memory the file takes.
func (f *File) Bytes() int64 {
	n := int64(1024 + 2*f.footer)
	for i := range f.groups {
		n += int64(len(f.groups[i].chunks)) * 160
	}
	// Page indexes and what is parsed of them.
	return n + 4*(f.layout.FooterOffset-f.layout.IndexOffset)
}

// loadIndex returns the page indexes as stored.
func (f *File) loadIndex() ([]byte, error) {
	if b := f.index.Load(); b != nil {
		return *b, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if b := f.index.Load(); b != nil {
		return *b, nil
	}
	buf := make([]byte, f.layout.FooterOffset-f.layout.IndexOffset)
	if err := ReadFull(f.r, f.name, buf, f.layout.IndexOffset); err != nil {
		return nil, err
	}
	if crc := crc32.Checksum(buf, Castagnoli); crc != f.layout.IndexCRC {
		return nil, f.corrupt(f.layout.IndexOffset,
			fmt.Errorf("checksum of the page indexes is %08x, want %08x", crc, f.layout.IndexCRC))
	}
	f.index.Store(&buf)
	return buf, nil
}

// pageRefs returns the pages of a chunk.
func (f *File) pageRefs(gi, col int) ([]pageRef, error) {
	c := &f.groups[gi].chunks[col]
	if p := c.pages.Load(); p != nil {
		return *p, nil
	}
	index, err := f.loadIndex()
	if err != nil {
		return nil, err
	}
	pages, err := f.parsePages(index, &f.groups[gi], c, f.specs[col].Type)
	if err != nil {
		return nil, f.corrupt(f.layout.IndexOffset, fmt.Errorf("page index of column %q: %w", f.specs[col].Name, err))
	}
	c.pages.Store(&pages)
	return pages, nil
}

var errPageIndex = errors.New("it is malformed")

func (f *File) section(index []byte, place [2]int64) ([]byte, error) {
	from := place[0] - f.layout.IndexOffset
	if from < 0 || from > int64(len(index)) || place[1] > int64(len(index))-from {
		return nil, errPageIndex
	}
	return index[from : from+place[1]], nil
}

func (f *File) parsePages(index []byte, g *group, c *chunk, t Type) ([]pageRef, error) {
	sec, err := f.section(index, c.offsetIndex)
	if err != nil {
		return nil, err
	}
	pages, err := parseOffsets(sec)
	if err != nil {
		return nil, err
	}
	pos := c.dataOffset
	for i := range pages {
		p := &pages[i]
		end := g.rows
		if i+1 < len(pages) {
			end = pages[i+1].firstRow
		}
		p.rows = end - p.firstRow
		if p.rows <= 0 || i == 0 && p.firstRow != 0 || p.offset < pos || int64(p.size) > f.layout.IndexOffset-p.offset {
			return nil, errPageIndex
		}
		pos = p.offset + int64(p.size)
	}
	if len(pages) == 0 && g.rows > 0 {
		return nil, errPageIndex
	}
	if c.columnIndex[1] == 0 {
		return pages, nil
	}
	if sec, err = f.section(index, c.columnIndex); err != nil {
		return nil, err
	}
	return pages, parseBounds(sec, pages, t)
}

func parseOffsets(b []byte) ([]pageRef, error) {
	r := thriftReader{b: b}
	var pages []pageRef
	r.structure(func(id int16, typ byte) {
		if id != 1 || typ != thriftList {
			r.skip(typ)
			return
		}
		n, elem := r.listLen()
		if elem != thriftStruct {
			r.fail()
			return
		}
		pages = make([]pageRef, n)
		for i := range pages {
			p := &pages[i]
			r.structure(func(id int16, typ byte) {
				switch {
				case id == 1 && typ == thriftI64:
					p.offset = r.size(1 << 50)
				case id == 2 && typ == thriftI32:
					p.size = int(r.size(maxPageRaw))
				case id == 3 && typ == thriftI64:
					p.firstRow = int(r.size(1 << 31))
				default:
					r.skip(typ)
				}
			})
		}
	})
	return pages, r.err
}

func parseBounds(b []byte, pages []pageRef, t Type) error {
	r := thriftReader{b: b}
	list := func(each func(i int)) {
		n, _ := r.listLen()
		if n != len(pages) {
			r.fail()
			return
		}
		for i := range n {
			each(i)
		}
	}
	r.structure(func(id int16, typ byte) {
		switch {
		case id == 1 && typ == thriftList:
			list(func(i int) { pages[i].allNull = r.byte() == thriftTrue })
		case id == 2 && typ == thriftList:
			list(func(i int) { pages[i].min = r.bytes() })
		case id == 3 && typ == thriftList:
			list(func(i int) { pages[i].max = r.bytes() })
		case id == 5 && typ == thriftList:
			list(func(i int) { pages[i].nulls = int(r.size(1 << 31)) })
		default:
			r.skip(typ)
		}
	})
	if r.err != nil {
		return r.err
	}
	want := -1
	switch t {
	case Int, Float:
		want = 8
	case Bool:
		want = 1
	}
	for i := range pages {
		p := &pages[i]
		p.bounded = !p.allNull
		if p.bounded && want >= 0 && (len(p.min) != want || len(p.max) != want) {
			return errPageIndex
		}
	}
	return nil
}

// pagesOf returns the pages that hold the rows [first, first+rows) of a row group.
func (f *File) pagesOf(gi, col, first, rows int) ([]pageRef, error) {
	pages, err := f.pageRefs(gi, col)
	if err != nil {
		return nil, err
	}
	from := 0
	for from < len(pages) && pages[from].firstRow+pages[from].rows <= first {
		from++
	}
	to := from
	for to < len(pages) && pages[to].firstRow < first+rows {
		to++
	}
	return pages[from:to], nil
}

// NoValues reports whether the page index says that none of the rows [first, first+rows) of a row group has a value.
func (f *File) NoValues(gi, col, first, rows int) (bool, error) {
	if f.Empty(gi, col) {
		return true, nil
	}
	pages, err := f.pagesOf(gi, col, first, rows)
	if err != nil {
		return false, err
	}
	for i := range pages {
		if !pages[i].allNull {
			return false, nil
		}
	}
	return true, nil
}

// Bounds is what is known about the values of some rows of a column.
type Bounds struct {
	// Empty: no row has a value.
	Empty bool
	// Known: Min and Max hold. They are of the column's value type; text may be cut, Max then rounded up.
	Known    bool
	Min, Max store.Value
}

// Bounds returns the zone map of rows [first, first+rows) of a row group.
func (f *File) Bounds(gi, col, first, rows int) (Bounds, error) {
	if f.Empty(gi, col) {
		return Bounds{Empty: true}, nil
	}
	pages, err := f.pagesOf(gi, col, first, rows)
	if err != nil {
		return Bounds{}, err
	}
	b := Bounds{Empty: true, Known: true}
	t := f.specs[col].Type
	var lo, hi []byte
	for i := range pages {
		p := &pages[i]
		if p.allNull {
			continue
		}
		b.Empty = false
		if !p.bounded {
			b.Known = false
			continue
		}
		if lo == nil || compareBounds(t, p.min, lo) < 0 {
			lo = p.min
		}
		if hi == nil || compareBounds(t, p.max, hi) > 0 {
			hi = p.max
		}
	}
	b.Known = b.Known && !b.Empty
	if b.Known {
		b.Min, b.Max = f.boundValue(col, lo), f.boundValue(col, hi)
	}
	return b, nil
}

func (f *File) boundValue(col int, b []byte) store.Value {
	v := store.Value{Type: f.specs[col].Value}
	switch f.specs[col].Type {
	case Bool:
		v.Num = uint64(b[0] & 1)
	case Int:
		v.Num = binary.LittleEndian.Uint64(b)
	case Float:
		v.Num = binary.LittleEndian.Uint64(b)
		if v.Float() == 0 {
			v.Num = math.Float64bits(0)
		}
	default:
		v.Str = string(b)
	}
	return v
}

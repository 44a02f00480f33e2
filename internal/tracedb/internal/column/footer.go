package column

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
	"sync/atomic"

	"github.com/bramble-tracing/bramble/internal/store"
)

// File reads a table that FileWriter wrote. It keeps the footer and, from the first use on, the page indexes in
// memory. It does not close what it reads from.
type File struct {
	r      io.ReaderAt
	name   string // for errors
	layout Layout
	unzip  *Decompressor
	specs  []Spec
	byName map[string]int
	groups []group
	footer int // bytes of the footer, for Bytes

	mu    sync.Mutex
	index atomic.Pointer[[]byte] // page indexes as stored, once they are checked
}

type group struct {
	rows   int
	first  int // row of the table
	chunks []chunk
}

type chunk struct {
	codec       Codec
	encoding    Encoding
	values      int // including nulls
	nulls       int
	rawBytes    int
	dataOffset  int64
	dictOffset  int64 // 0: none
	size        int64
	bloomOffset int64
	bloomLen    int
	bloomCRC    uint32
	columnIndex [2]int64
	offsetIndex [2]int64
	pages       atomic.Pointer[[]pageRef]
}

// pageRef is a page as the page indexes describe it.
type pageRef struct {
	offset   int64
	size     int
	firstRow int
	rows     int
	nulls    int // 0 without a column index
	allNull  bool
	bounded  bool
	min, max []byte
}

// corrupt says what is wrong with the bytes at an offset of the file.
func (f *File) corrupt(off int64, err error) error {
	return &store.CorruptionError{Path: f.name, Offset: off, Err: err}
}

// ReadFull fills buf from an offset. A file that is too short is corrupt; other errors are those of the disk.
func ReadFull(r io.ReaderAt, name string, buf []byte, off int64) error {
	n, err := r.ReadAt(buf, off)
	if n == len(buf) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return &store.CorruptionError{
			Path: name, Offset: off,
			Err: fmt.Errorf("file ends %d bytes too early", len(buf)-n),
		}
	}
	return fmt.Errorf("read %s at byte %d: %w", name, off, err)
}

// Open reads and checks the footer of a file. specs are the columns that the caller knows, by their name: a column of
// the file that is not among them is ignored, one whose physical form differs makes the file corrupt.
func Open(r io.ReaderAt, name string, l Layout, unzip *Decompressor, specs func(name string) (Spec, bool)) (*File, error) {
	f := &File{r: r, name: name, layout: l, unzip: unzip, byName: make(map[string]int)}
	buf, err := ReadFooter(r, name, l)
	if err != nil {
		return nil, err
	}
	f.footer = len(buf)
	if err := f.parseFooter(buf, specs); err != nil {
		return nil, f.corrupt(l.FooterOffset, fmt.Errorf("read footer: %w", err))
	}
	return f, nil
}

// ReadFooter reads and checks the footer of a file and returns its contents without the tail.
func ReadFooter(r io.ReaderAt, name string, l Layout) ([]byte, error) {
	corrupt := func(off int64, err error) error { return &store.CorruptionError{Path: name, Offset: off, Err: err} }
	n := l.Size - l.FooterOffset
	if l.FooterOffset < int64(len(magic)) || l.IndexOffset > l.FooterOffset || l.IndexOffset < int64(len(magic)) ||
		n < tailLen || n > maxPageRaw {
		return nil, corrupt(0, fmt.Errorf("footer cannot be at byte %d of %d", l.FooterOffset, l.Size))
	}
	buf := make([]byte, n)
	if err := ReadFull(r, name, buf, l.FooterOffset); err != nil {
		return nil, err
	}
	if crc := crc32.Checksum(buf, Castagnoli); crc != l.FooterCRC {
		return nil, corrupt(l.FooterOffset, fmt.Errorf("checksum of the footer is %08x, want %08x", crc, l.FooterCRC))
	}
	tail := buf[n-tailLen:]
	if string(tail[4:]) != magic || int64(binary.LittleEndian.Uint32(tail)) != n-tailLen {
		return nil, corrupt(l.Size-tailLen, errors.New("file does not end as a Parquet file"))
	}
	return buf[:n-tailLen], nil
}

// schemaColumn is a column as the footer describes it.
type schemaColumn struct {
	name              string
	typ, width        int64
	optional, wrapped bool
}

func (f *File) parseFooter(b []byte, specs func(string) (Spec, bool)) error {
	r := thriftReader{b: b}
	var cols []schemaColumn
	var total int64
	r.structure(func(id int16, typ byte) {
		switch {
		case id == 2 && typ == thriftList:
			cols = readSchema(&r)
		case id == 3 && typ == thriftI64:
			total = r.int()
		case id == 4 && typ == thriftList:
			n, elem := r.listLen()
			if elem != thriftStruct {
				r.fail()
			}
			for range n {
				f.readGroup(&r, len(cols))
			}
		default:
			r.skip(typ)
		}
	})
	if r.err != nil {
		return r.err
	}
	if err := f.resolve(cols, specs); err != nil {
		return err
	}
	rows := 0
	for i := range f.groups {
		f.groups[i].first = rows
		rows += f.groups[i].rows
	}
	if int64(rows) != total {
		return fmt.Errorf("row groups have %d rows, the table %d", rows, total)
	}
	return f.checkChunks()
}

func readSchema(r *thriftReader) []schemaColumn {
	n, elem := r.listLen()
	if elem != thriftStruct || n == 0 {
		r.fail()
		return nil
	}
	cols := make([]schemaColumn, 0, n-1)
	for i := range n {
		c := schemaColumn{typ: -1}
		r.structure(func(id int16, typ byte) {
			switch {
			case id == 1 && typ == thriftI32:
				c.typ = r.int()
			case id == 2 && typ == thriftI32:
				c.width = r.int()
			case id == 3 && typ == thriftI32:
				c.optional = r.int() == 1
			case id == 4 && typ == thriftBinary:
				c.name = string(r.bytes())
			case id == 5 && typ == thriftI32:
				c.wrapped = r.int() > 0
			default:
				r.skip(typ)
			}
		})
		if i > 0 {
			cols = append(cols, c)
		}
	}
	return cols
}

// resolve matches the file's columns with those that the caller knows.
func (f *File) resolve(cols []schemaColumn, specs func(string) (Spec, bool)) error {
	f.specs = make([]Spec, len(cols))
	for i, c := range cols {
		if c.wrapped {
			return fmt.Errorf("column %q is nested", c.name)
		}
		spec, ok := specs(c.name)
		if !ok {
			continue
		}
		if spec.Type.parquet() != c.typ || spec.Optional != c.optional || spec.Type == Fixed && int64(spec.Width) != c.width {
			return fmt.Errorf("column %q has type %d (optional: %t), want %d (%t)",
				c.name, c.typ, c.optional, spec.Type.parquet(), spec.Optional)
		}
		if _, dup := f.byName[c.name]; dup {
			return fmt.Errorf("column %q is there twice", c.name)
		}
		f.specs[i] = spec
		f.byName[c.name] = i
	}
	return nil
}

// checkChunks checks what the footer says of each chunk that will be read.
func (f *File) checkChunks() error {
	for gi := range f.groups {
		g := &f.groups[gi]
		for ci := range g.chunks {
			c, name := &g.chunks[ci], f.specs[ci].Name
			start := c.dataOffset
			if c.dictOffset != 0 {
				start = c.dictOffset
			}
			switch {
			case c.values != g.rows || c.nulls > c.values:
				return fmt.Errorf("column %q has %d values and %d nulls in %d rows", name, c.values, c.nulls, g.rows)
			case start < int64(len(magic)) || start+c.size > f.layout.IndexOffset || c.dataOffset < start ||
				c.dataOffset > start+c.size:
				return fmt.Errorf("column %q is outside of the file's pages", name)
			case c.codec != Uncompressed && c.codec != Zstd:
				return fmt.Errorf("column %q has unknown codec %d", name, c.codec)
			case (c.encoding == Dictionary) != (c.dictOffset != 0):
				return fmt.Errorf("column %q has a dictionary page and no such encoding, or the reverse", name)
			case c.bloomLen > 0 && (c.bloomOffset < int64(len(magic)) || c.bloomOffset+int64(c.bloomLen) > f.layout.IndexOffset):
				return fmt.Errorf("column %q has its bloom filter outside of the file", name)
			}
		}
	}
	return nil
}

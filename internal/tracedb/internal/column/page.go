package column

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"

	"github.com/bramble-tracing/bramble/internal/store"
)

var errHeader = errors.New("page header does not fit the page")

type header struct {
	dict     bool
	raw      int
	stored   int
	crc      uint32
	values   int
	encoding Encoding
}

// page is a page in memory.
type page struct {
	header
	raw []byte // its bytes, decompressed
	buf []byte // the buffer that they are in
}

// readPage reads a page, checks its sum and decompresses it. The caller gives it to freePage when it has decoded it.
func (f *File) readPage(c *chunk, off int64, size int) (p page, err error) {
	buf := f.unzip.buffer(size)
	defer func() {
		if err != nil || c.codec != Uncompressed {
			f.unzip.free(buf)
		}
	}()
	if err := ReadFull(f.r, f.name, buf, off); err != nil {
		return p, err
	}
	h, n, err := parseHeader(buf)
	if err != nil {
		return p, f.corrupt(off, err)
	}
	if h.stored != size-n {
		return p, f.corrupt(off, fmt.Errorf("%w: %d bytes, the header says %d", errHeader, size-n, h.stored))
	}
	if crc := crc32.ChecksumIEEE(buf[n:]); crc != h.crc {
		return p, f.corrupt(off, fmt.Errorf("checksum of the page is %08x, want %08x", crc, h.crc))
	}
	if c.codec == Uncompressed {
		if h.raw != h.stored {
			return p, f.corrupt(off, fmt.Errorf("page has %d bytes, its header says %d", h.stored, h.raw))
		}
		return page{h, buf[n:], buf}, nil
	}
	raw, err := f.unzip.decompress(buf[n:], h.raw)
	if err != nil {
		return p, f.corrupt(off, err)
	}
	return page{h, raw, raw}, nil
}

func (f *File) freePage(p page) { f.unzip.free(p.buf) }

func parseHeader(b []byte) (h header, n int, err error) {
	r := thriftReader{b: b}
	kind := int64(-1)
	detail := func() {
		r.structure(func(id int16, typ byte) {
			switch {
			case id == 1 && typ == thriftI32:
				h.values = int(r.size(1 << 31))
			case id == 2 && typ == thriftI32:
				h.encoding = Encoding(r.size(255))
			default:
				r.skip(typ)
			}
		})
	}
	r.structure(func(id int16, typ byte) {
		switch {
		case id == 1 && typ == thriftI32:
			kind = r.int()
		case id == 2 && typ == thriftI32:
			h.raw = int(r.size(maxPageRaw))
		case id == 3 && typ == thriftI32:
			h.stored = int(r.size(maxPageRaw))
		case id == 4 && typ == thriftI32:
			h.crc = uint32(r.int()) //nolint:gosec // the bits of the sum
		case id == 5 && typ == thriftStruct && kind == 0:
			detail()
		case id == 7 && typ == thriftStruct && kind == 2:
			h.dict = true
			detail()
		default:
			r.skip(typ)
		}
	})
	if r.err == nil && kind != 0 && kind != 2 {
		r.err = fmt.Errorf("unknown page type %d", kind)
	}
	return h, r.pos, r.err
}

// Dict reads the dictionary of a column chunk that has one.
func (f *File) Dict(gi, col int) (*Dict, error) {
	c := &f.groups[gi].chunks[col]
	p, err := f.readPage(c, c.dictOffset, int(c.dataOffset-c.dictOffset))
	if err != nil {
		return nil, err
	}
	defer f.freePage(p)
	if !p.dict || p.encoding != Plain || p.values > maxDictValues {
		return nil, f.corrupt(c.dictOffset, errHeader)
	}
	spec := &f.specs[col]
	v := Values{typ: spec.Value, width: spec.Width}
	if err := v.decodePlain(p.raw, p.values, spec.Type); err != nil {
		return nil, f.corrupt(c.dictOffset, fmt.Errorf("dictionary of column %q: %w", spec.Name, err))
	}
	v.finish(p.raw, spec.Type)
	d := &Dict{Values: make([]store.Value, p.values), bytes: int64(32*p.values + len(p.raw))}
	for i := range d.Values {
		d.Values[i] = v.Value(i)
	}
	return d, nil
}

// Granule reads the values of the rows [first, first+rows) of a row group, at most a granule. dict is the chunk's
// dictionary if it has one.
func (f *File) Granule(gi, col, first, rows int, dict *Dict) (*Values, error) {
	v, err := f.newValues(gi, col, rows, dict)
	if err != nil || f.Empty(gi, col) && v.Present != nil {
		return v, err
	}
	pages, err := f.granulePages(gi, col, first, rows)
	if err != nil {
		return nil, err
	}
	c, spec := &f.groups[gi].chunks[col], &f.specs[col]
	var text []byte
	for i := range pages {
		p, err := f.dataPage(c, &pages[i])
		if err != nil {
			return nil, err
		}
		if text, err = v.decodePage(text, p.raw, pages[i].firstRow-first, p.values, c.encoding, spec); err != nil {
			return nil, f.corrupt(pages[i].offset, fmt.Errorf("page of column %q: %w", spec.Name, err))
		}
		if i == 0 && spec.Type == Fixed {
			defer f.freePage(p) // The text is the page itself.
			continue
		}
		f.freePage(p)
	}
	v.finish(text, spec.Type)
	return v, nil
}

// newValues returns values for some rows of a granule, without any yet.
func (f *File) newValues(gi, col, rows int, dict *Dict) (*Values, error) {
	c, spec := &f.groups[gi].chunks[col], &f.specs[col]
	v := &Values{Rows: rows, typ: spec.Value, width: spec.Width}
	if spec.Optional {
		v.Present = new(Presence)
		if f.Empty(gi, col) {
			return v, nil
		}
	}
	if c.encoding == Dictionary {
		if v.Dict = dict; dict == nil {
			return nil, fmt.Errorf("read column %q of %s: its dictionary is missing", spec.Name, f.name)
		}
	}
	return v, nil
}

// granulePages returns the pages that hold the rows [first, first+rows), and no others.
func (f *File) granulePages(gi, col, first, rows int) ([]pageRef, error) {
	pages, err := f.pagesOf(gi, col, first, rows)
	if err != nil {
		return nil, err
	}
	at := first
	for i := range pages {
		p := &pages[i]
		if p.firstRow != at || p.firstRow+p.rows > first+rows {
			return nil, f.corrupt(p.offset, fmt.Errorf("page of column %q crosses a granule's border", f.specs[col].Name))
		}
		at += p.rows
	}
	if at != first+rows {
		return nil, f.corrupt(f.layout.IndexOffset, fmt.Errorf("column %q has no page for row %d", f.specs[col].Name, at))
	}
	return pages, nil
}

// dataPage reads a data page, which must be what the page index says.
func (f *File) dataPage(c *chunk, ref *pageRef) (page, error) {
	p, err := f.readPage(c, ref.offset, ref.size)
	if err != nil {
		return p, err
	}
	if p.dict || p.values != ref.rows || p.encoding != c.encoding {
		f.freePage(p)
		return page{}, f.corrupt(ref.offset, errHeader)
	}
	return p, nil
}

var errPage = errors.New("values are malformed")

// decodePage adds the values of a page that begins at row. Text is collected in the returned slice.
func (v *Values) decodePage(text, raw []byte, row, rows int, enc Encoding, spec *Spec) ([]byte, error) {
	n := rows
	if spec.Optional {
		levels, rest, err := splitLevels(raw)
		if err != nil {
			return nil, err
		}
		if err := readLevels(v.Present, row, rows, levels); err != nil {
			return nil, err
		}
		n, raw = v.Present.rank()-v.count, rest
	}
	v.count += n
	var err error
	switch {
	case n == 0:
	case enc == Dictionary:
		v.Codes, err = readCodes(grow(v.Codes, n), raw, n, len(v.Dict.Values))
	case spec.Type == Int && enc == DeltaBinary:
		v.Nums, _, err = readDelta(grow(v.Nums, n), raw, n)
	case enc == Plain && spec.Type.number(), enc == Plain && spec.Type == Fixed && text == nil:
		v.count -= n
		err = v.decodePlain(raw, n, spec.Type)
		if spec.Type == Fixed {
			text = raw
		}
	case enc == Plain && spec.Type == Fixed:
		if len(raw) != n*spec.Width {
			return nil, errPage
		}
		text = append(slices.Clip(text), raw...)
	case enc == Plain:
		text, v.ends, err = readPlainText(text, v.ends, raw, n)
	case enc == DeltaLengthBytes && (spec.Type == Text || spec.Type == Bytes):
		text, v.ends, err = readDeltaLength(text, grow(v.ends, n), raw, n)
	case enc == DeltaBytes && (spec.Type == Text || spec.Type == Bytes):
		text, v.ends, err = readDeltaBytes(text, grow(v.ends, n), raw, n, maxPageRaw)
	default:
		err = fmt.Errorf("unknown encoding %d", enc)
	}
	if err == nil && len(text) > math.MaxUint32 {
		err = errPage
	}
	return text, err
}

// splitLevels divides a page into its definition levels and its values.
func splitLevels(raw []byte) (levels, values []byte, err error) {
	if len(raw) < 4 || uint64(binary.LittleEndian.Uint32(raw)) > uint64(len(raw)-4) {
		return nil, nil, errLevels
	}
	end := 4 + int(binary.LittleEndian.Uint32(raw))
	return raw[4:end], raw[end:], nil
}

func grow[T any](s []T, n int) []T {
	if s == nil {
		return make([]T, 0, n)
	}
	return s
}

// decodePlain reads n values in plain encoding. The text of Fixed and dictionary values is raw itself.
func (v *Values) decodePlain(raw []byte, n int, t Type) error {
	switch t {
	case Bool:
		if len(raw) != (n+7)/8 {
			return errPage
		}
		v.Nums = grow(v.Nums, n)
		for i := range n {
			v.Nums = append(v.Nums, uint64(raw[i>>3]>>(i&7)&1))
		}
	case Int, Float:
		if len(raw) != 8*n {
			return errPage
		}
		v.Nums = grow(v.Nums, n)
		for i := range n {
			v.Nums = append(v.Nums, binary.LittleEndian.Uint64(raw[8*i:]))
		}
	case Fixed:
		if v.width <= 0 || len(raw) != n*v.width {
			return errPage
		}
	default:
		var text []byte
		var err error
		if text, v.ends, err = readPlainText(nil, v.ends, raw, n); err != nil {
			return err
		}
		v.text = string(text)
	}
	v.count += n
	return nil
}

// finish makes the collected text immutable.
func (v *Values) finish(text []byte, t Type) {
	if t.number() || v.Dict != nil || v.text != "" {
		return
	}
	if t != Fixed {
		if v.ends == nil {
			v.ends = []uint32{}
		}
		if len(v.ends) == 0 || v.ends[len(v.ends)-1] == 0 {
			return
		}
	}
	v.text = string(text)
}

// readPlainText reads n values that have their length before them.
func readPlainText(text []byte, ends []uint32, raw []byte, n int) ([]byte, []uint32, error) {
	ends = grow(ends, n)
	for range n {
		if len(raw) < 4 {
			return nil, nil, errPage
		}
		size := uint64(binary.LittleEndian.Uint32(raw))
		if size > uint64(len(raw)-4) {
			return nil, nil, errPage
		}
		text = append(text, raw[4:4+size]...)
		ends = append(ends, uint32(len(text))) //nolint:gosec // pages are bounded by maxPageRaw
		raw = raw[4+size:]
	}
	if len(raw) != 0 {
		return nil, nil, errPage
	}
	return text, ends, nil
}

package column

import (
	"fmt"
	"hash/crc32"
)

// ReadChunk fills dst, which it resets first, with a column chunk as it is stored, to be written to another file without
// decoding it. The checksum of every page and of the bloom filter is checked, so that damage is not copied under a
// new checksum.
func (f *File) ReadChunk(gi, col int, dst *Chunk) error {
	c := &f.groups[gi].chunks[col]
	dst.reset()
	dst.Encoding, dst.Codec, dst.Rows, dst.Values, dst.RawBytes = c.encoding, c.codec, c.values, c.values-c.nulls, c.rawBytes
	start := c.dataOffset
	if c.dictOffset != 0 {
		start, dst.DictPage, dst.DataStart = c.dictOffset, true, int(c.dataOffset-c.dictOffset)
	}
	dst.Distinct = dst.Values
	if c.size > maxChunk {
		return f.corrupt(start, fmt.Errorf("column %q has %d bytes in one row group", f.specs[col].Name, c.size))
	}
	dst.Buf = append(dst.Buf[:0], make([]byte, c.size)...)
	if err := ReadFull(f.r, f.name, dst.Buf, start); err != nil {
		return err
	}
	if err := f.checkPages(gi, col, start, dst); err != nil {
		return err
	}
	if c.bloomLen == 0 {
		return nil
	}
	b, err := f.Bloom(gi, col)
	if err != nil {
		return err
	}
	dst.Bloom = append(dst.Bloom, b.filter.Bytes()...)
	return nil
}

// maxChunk is the most that ReadChunk takes memory for: what 32-bit offsets in a builder can tell.
const maxChunk = 1 << 32

// checkPages checks the pages of a chunk and describes them.
func (f *File) checkPages(gi, col int, start int64, dst *Chunk) error {
	pages, err := f.pageRefs(gi, col)
	if err != nil {
		return err
	}
	if dst.DictPage {
		h, err := f.checkPage(dst.Buf, start, 0, dst.DataStart)
		if err != nil {
			return err
		}
		dst.Distinct = h.values
	}
	at := int64(dst.DataStart)
	for i := range pages {
		p := &pages[i]
		if p.offset-start != at || at+int64(p.size) > int64(len(dst.Buf)) {
			return f.corrupt(p.offset, fmt.Errorf("pages of column %q do not follow each other", f.specs[col].Name))
		}
		if _, err := f.checkPage(dst.Buf, start, int(at), int(at)+p.size); err != nil {
			return err
		}
		dst.Pages = append(dst.Pages, Page{
			Offset: int(at), Size: p.size, FirstRow: p.firstRow, Rows: p.rows, Nulls: p.nulls, Min: p.min, Max: p.max, HasBounds: p.bounded,
		})
		at += int64(p.size)
	}
	if at != int64(len(dst.Buf)) {
		return f.corrupt(start, fmt.Errorf("column %q has %d bytes that are in no page", f.specs[col].Name, int64(len(dst.Buf))-at))
	}
	return nil
}

func (f *File) checkPage(buf []byte, start int64, from, to int) (header, error) {
	h, n, err := parseHeader(buf[from:to])
	if err != nil {
		return h, f.corrupt(start+int64(from), err)
	}
	if h.stored != to-from-n {
		return h, f.corrupt(start+int64(from), fmt.Errorf("%w: %d bytes, the header says %d", errHeader, to-from-n, h.stored))
	}
	if crc := crc32.ChecksumIEEE(buf[from+n : to]); crc != h.crc {
		return h, f.corrupt(start+int64(from), fmt.Errorf("checksum of the page is %08x, want %08x", crc, h.crc))
	}
	return h, nil
}

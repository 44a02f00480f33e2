package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

var (
	errFragmentCut    = errors.New("fragment is cut short")
	errFragmentHeader = errors.New("fragment header is impossible")
	errFragmentCRC    = errors.New("fragment has a wrong checksum")
	errNoEnd          = errors.New("record has no end")
	errNoStart        = errors.New("record has no start")
)

// readAhead is how many bytes are read at once.
const readAhead = 8 * pageBytes

// segmentReader finds the records of one segment. It never fails over their contents: damage is passed to bad and
// skipped, to the next page.
type segmentReader struct {
	src    io.ReaderAt
	size   int64
	number uint64
	// bad is told where damage begins and what it is.
	bad func(off int64, err error)

	off    int64 // of the next fragment
	begin  int64 // of the last intact record
	end    int64 // behind the last intact record
	chunk  []byte
	at     int64 // offset of chunk
	rec    []byte
	start  int64 // of the record being assembled, or -1
	resync bool  // after damage: the rest of a record may follow
}

// newSegmentReader reads size bytes of src. The header of the segment is not looked at.
func newSegmentReader(src io.ReaderAt, size int64, number uint64, bad func(off int64, err error)) *segmentReader {
	return &segmentReader{
		src: src, size: size, number: number, bad: bad,
		off: segmentHeaderBytes, end: segmentHeaderBytes, start: -1,
	}
}

// next returns the next record, valid until the next call, or io.EOF at the end. Other errors are those of reading.
func (r *segmentReader) next() (record, error) {
	for {
		typ, data, err := r.fragment()
		if err != nil {
			return record{}, err
		}
		if typ == 0 {
			continue
		}
		b, ok := r.assemble(typ, data)
		if !ok {
			continue
		}
		rec, err := parseRecord(b)
		if err != nil {
			r.bad(r.start, err)
			r.start = -1
			continue
		}
		r.begin, r.start, r.end, r.resync = r.start, -1, r.off, false
		return rec, nil
	}
}

// fragment returns the fragment at r.off and moves behind it. typ is 0 if there was none.
func (r *segmentReader) fragment() (typ byte, data []byte, err error) {
	left := pageBytes - r.off%pageBytes
	switch {
	case r.off >= r.size:
		r.drop(r.size, errNoEnd)
		return 0, nil, io.EOF
	case left < minFragment:
		r.off += left
		return 0, nil, nil
	case r.size-r.off < minFragment:
		r.damage(errFragmentCut)
		return 0, nil, nil
	}
	page, err := r.page(min(left, r.size-r.off))
	if err != nil {
		return 0, nil, err
	}
	n := int(binary.LittleEndian.Uint16(page[4:]))
	typ = page[6]
	switch {
	case typ < fragFull || typ > fragLast || n == 0 || int64(fragmentBytes+n) > left:
		r.damage(errFragmentHeader)
		return 0, nil, nil
	case fragmentBytes+n > len(page):
		r.damage(errFragmentCut)
		return 0, nil, nil
	}
	data = page[fragmentBytes : fragmentBytes+n]
	if fragmentCRC(r.number, r.off, typ, data) != binary.LittleEndian.Uint32(page) {
		r.damage(errFragmentCRC)
		return 0, nil, nil
	}
	r.off += int64(fragmentBytes + n)
	return typ, data, nil
}

// damage reports the fragment at r.off, gives up the record it belongs to and skips to the next page.
func (r *segmentReader) damage(err error) {
	r.drop(r.off, err)
	if r.start < 0 && !r.resync {
		r.bad(r.off, err)
	}
	r.start, r.resync = -1, true
	r.off += pageBytes - r.off%pageBytes
}

// drop gives up the record being assembled, if there is one.
func (r *segmentReader) drop(at int64, err error) {
	if r.start < 0 {
		return
	}
	r.bad(r.start, fmt.Errorf("%w at byte %d", err, at))
	r.start, r.resync = -1, true
}

// assemble adds a fragment and returns the record when it is complete.
func (r *segmentReader) assemble(typ byte, data []byte) (rec []byte, ok bool) {
	at := r.off - int64(fragmentBytes+len(data))
	switch typ {
	case fragFull, fragFirst:
		r.drop(at, errNoEnd)
		r.start = at
		if typ == fragFull {
			return data, true
		}
		r.rec = append(r.rec[:0], data...)
		return nil, false
	}
	if r.start < 0 {
		if !r.resync {
			r.bad(at, errNoStart)
			r.resync = true
		}
		return nil, false
	}
	r.rec = append(r.rec, data...)
	return r.rec, typ == fragLast
}

// page returns n bytes at r.off, which do not cross a page.
func (r *segmentReader) page(n int64) ([]byte, error) {
	if r.chunk == nil {
		r.chunk = make([]byte, 0, min(readAhead, r.size))
		r.at = r.off
	}
	if r.off < r.at || r.off+n > r.at+int64(len(r.chunk)) {
		r.at = r.off / pageBytes * pageBytes
		want := min(int64(readAhead), r.size-r.at)
		if int64(cap(r.chunk)) < want {
			r.chunk = make([]byte, 0, want)
		}
		got, err := r.src.ReadAt(r.chunk[:want], r.at)
		if int64(got) < want {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("read %d bytes at %d: %w", want, r.at, err)
		}
		r.chunk = r.chunk[:want]
	}
	return r.chunk[r.off-r.at : r.off-r.at+n], nil
}

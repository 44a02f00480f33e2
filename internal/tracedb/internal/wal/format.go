package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
)

// The constants of format version 1; see docs/format/wal.md.
const (
	magic   = "BRMBLWAL"
	version = 1
	// pageShift is the binary logarithm of pageBytes.
	pageShift = 15
	// pageBytes is the unit in which a reader finds its way back after damage.
	pageBytes          = 1 << pageShift
	segmentHeaderBytes = 40
	fragmentBytes      = 7 // the header of a fragment
	// minFragment is the smallest fragment: a header and one byte. Less room at the end of a page is padding.
	minFragment = fragmentBytes + 1
	nameDigits  = 8
)

// Types of fragments.
const (
	fragFull = iota + 1
	fragFirst
	fragMiddle
	fragLast
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrVersion: a segment was written by a newer version of this program.
var ErrVersion = errors.New("unsupported WAL format version")

var (
	errMagic     = errors.New("segment header has no magic number")
	errHeaderCRC = errors.New("segment header has a wrong checksum")
	errHeaderCut = errors.New("segment header is cut short")
	errNumber    = errors.New("segment header has the number of another segment")
	errPageSize  = errors.New("segment header has an impossible page size")
	errSequence  = errors.New("segment header has impossible sequence numbers")
)

// segmentHeader begins a segment.
type segmentHeader struct {
	number   uint64
	prevSeq  uint64 // the last record accepted before this segment; 0 if none was
	firstSeq uint64 // the least number a record of this segment may have
}

// encode returns the bytes of the header.
func (h segmentHeader) encode() []byte {
	b := make([]byte, 0, segmentHeaderBytes)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint16(b, version)
	b = append(b, pageShift, 0)
	b = binary.LittleEndian.AppendUint64(b, h.number)
	b = binary.LittleEndian.AppendUint64(b, h.prevSeq)
	b = binary.LittleEndian.AppendUint64(b, h.firstSeq)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeHeader reads the header of segment number. An error that wraps ErrVersion means that the segment is intact
// but not for us; all others that it is damaged.
func decodeHeader(b []byte, number uint64) (segmentHeader, error) {
	var h segmentHeader
	if len(b) < segmentHeaderBytes {
		return h, errHeaderCut
	}
	b = b[:segmentHeaderBytes]
	if !bytes.HasPrefix(b, []byte(magic)) {
		return h, errMagic
	}
	v := binary.LittleEndian.Uint16(b[8:])
	if crc32.Checksum(b[:36], castagnoli) != binary.LittleEndian.Uint32(b[36:]) {
		return h, errHeaderCRC
	}
	h.number = binary.LittleEndian.Uint64(b[12:])
	h.prevSeq = binary.LittleEndian.Uint64(b[20:])
	h.firstSeq = binary.LittleEndian.Uint64(b[28:])
	switch {
	case v != version:
		return h, fmt.Errorf("%w %d (this program reads %d): use the version that wrote it", ErrVersion, v, version)
	case b[10] != pageShift:
		return h, errPageSize
	case h.number != number:
		return h, errNumber
	case h.prevSeq >= h.firstSeq:
		return h, errSequence
	}
	return h, nil
}

// segmentName returns the file name of a segment.
func segmentName(number uint64) string { return fmt.Sprintf("%0*d", nameDigits, number) }

// parseSegmentName is the inverse of segmentName; ok is false for every other name.
func parseSegmentName(name string) (number uint64, ok bool) {
	number, err := strconv.ParseUint(name, 10, 64)
	return number, err == nil && number > 0 && segmentName(number) == name
}

// fragmentedEnd returns where a record of n > 0 bytes ends if it is written at offset off of a segment.
func fragmentedEnd(off int64, n int) int64 {
	for {
		left := pageBytes - off%pageBytes
		if left < minFragment {
			off += left
			left = pageBytes
		}
		take := min(left-fragmentBytes, int64(n))
		off += fragmentBytes + take
		n -= int(take)
		if n == 0 {
			return off
		}
	}
}

var padding [minFragment]byte

// appendFragments appends to dst the fragments of a record that is not empty, as they stand at offset off of a
// segment.
func appendFragments(dst []byte, off int64, number uint64, rec []byte) []byte {
	for first := true; ; first = false {
		left := pageBytes - off%pageBytes
		if left < minFragment {
			dst = append(dst, padding[:left]...)
			off += left
			left = pageBytes
		}
		n := min(int(left)-fragmentBytes, len(rec))
		typ := byte(fragMiddle)
		switch last := n == len(rec); {
		case first && last:
			typ = fragFull
		case first:
			typ = fragFirst
		case last:
			typ = fragLast
		}
		crc := fragmentCRC(number, off, typ, rec[:n])
		dst = binary.LittleEndian.AppendUint32(dst, crc)
		dst = binary.LittleEndian.AppendUint16(dst, uint16(n)) //nolint:gosec // Less than a page.
		dst = append(dst, typ)
		dst = append(dst, rec[:n]...)
		off += fragmentBytes + int64(n)
		if rec = rec[n:]; len(rec) == 0 {
			return dst
		}
	}
}

// fragmentCRC covers the place of the fragment too, so that old blocks of the disk and misplaced sectors do not pass
// for data.
func fragmentCRC(number uint64, off int64, typ byte, data []byte) uint32 {
	c := ^uint32(0)
	c = crcBytes(c, number, 8)
	c = crcBytes(c, uint64(off), 4) //nolint:gosec // Segments are at most MaxSegmentBytes long.
	c = crcBytes(c, uint64(len(data)), 2)
	c = crcBytes(c, uint64(typ), 1)
	return crc32.Update(^c, castagnoli, data)
}

// crcBytes adds the n low bytes of v, lowest first, to an inverted checksum. Giving crc32.Update an array would
// allocate it.
func crcBytes(c uint32, v uint64, n int) uint32 {
	for range n {
		c = castagnoli[byte(c)^byte(v)] ^ c>>8 //nolint:gosec // The low bytes are meant.
		v >>= 8
	}
	return c
}

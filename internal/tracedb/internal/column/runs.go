package column

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"slices"
)

// codeWidth returns the bits of a dictionary index. Width 0 is legal for a dictionary of one value, but not every
// reader takes it.
func codeWidth(distinct int) int { return max(1, bits.Len(uint(max(distinct-1, 0)))) }

// appendCodes writes dictionary indexes in Parquet's RLE/bit-packing hybrid, after the byte that holds their width.
func appendCodes(dst []byte, codes []uint16, width int) []byte {
	dst = append(dst, byte(width))
	for i := 0; i < len(codes); {
		if r := runLen(codes[i:]); r >= 8 {
			dst = binary.AppendUvarint(dst, uint64(r)<<1)
			dst = append(dst, byte(codes[i]))
			if width > 8 {
				dst = append(dst, byte(codes[i]>>8))
			}
			i += r
			continue
		}
		start := i
		for i += 8; i < len(codes) && runLen(codes[i:min(len(codes), i+8)]) < 8; i += 8 {
		}
		dst = binary.AppendUvarint(dst, uint64((i-start)/8)<<1|1)
		dst = packCodes(dst, codes[start:min(i, len(codes))], width, i-start)
	}
	return dst
}

func runLen(codes []uint16) int {
	n := 1
	for n < len(codes) && codes[n] == codes[0] {
		n++
	}
	return n
}

// packCodes writes codes of width bits each, least significant bit first, padded with zeros to total codes, which is a
// multiple of 8.
func packCodes(dst []byte, codes []uint16, width, total int) []byte {
	var acc uint64
	have := 0
	for _, c := range codes {
		acc |= uint64(c) << have
		for have += width; have >= 8; have -= 8 {
			dst = append(dst, byte(acc))
			acc >>= 8
		}
	}
	for have += (total - len(codes)) * width; have >= 8; have -= 8 {
		dst = append(dst, byte(acc))
		acc >>= 8
	}
	return dst
}

var errCodes = errors.New("dictionary indexes are malformed")

// readCodes appends n dictionary indexes below distinct to dst.
func readCodes(dst []uint16, src []byte, n, distinct int) ([]uint16, error) {
	if n == 0 {
		return dst, nil
	}
	if len(src) == 0 || src[0] > 16 {
		return nil, errCodes
	}
	width := int(src[0])
	src = src[1:]
	for n > 0 {
		h, k := binary.Uvarint(src)
		if k <= 0 || h>>1 == 0 {
			return nil, errCodes
		}
		src = src[k:]
		var err error
		var did int
		if h&1 == 0 {
			dst, src, did, err = readRun(dst, src, h>>1, n, width, distinct)
		} else {
			dst, src, did, err = readPacked(dst, src, h>>1, n, width, distinct)
		}
		if err != nil {
			return nil, err
		}
		n -= did
	}
	return dst, nil
}

func readRun(dst []uint16, src []byte, count uint64, n, width, distinct int) ([]uint16, []byte, int, error) {
	size := (width + 7) / 8
	if count > uint64(n) || len(src) < size {
		return nil, nil, 0, errCodes
	}
	code := 0
	for i, b := range src[:size] {
		code |= int(b) << (8 * i)
	}
	if code >= distinct {
		return nil, nil, 0, errCodes
	}
	for range count {
		dst = append(dst, uint16(code)) //nolint:gosec // below distinct
	}
	return dst, src[size:], int(count), nil
}

func readPacked(dst []uint16, src []byte, groups uint64, n, width, distinct int) ([]uint16, []byte, int, error) {
	if groups > uint64(len(src)) || groups*uint64(width) > uint64(len(src)) {
		return nil, nil, 0, errCodes
	}
	size := int(groups) * width
	n = min(n, int(groups)*8)
	dst, most := unpackCodes(dst, src[:size], n, width)
	if most >= distinct {
		return nil, nil, 0, errCodes
	}
	return dst, src[size:], n, nil
}

// unpackCodes appends the first n codes of packed ones and returns the largest.
func unpackCodes(dst []uint16, packed []byte, n, width int) (_ []uint16, most int) {
	at := len(dst)
	dst = slices.Grow(dst, n)[:at+n]
	out := dst[at:]
	mask := uint64(1)<<width - 1
	var largest uint64
	// Eight codes are width bytes. Four of them, from whichever bit they begin, are within eight bytes.
	half, shift := width>>1, width<<2&7
	for len(out) >= 8 && len(packed) >= half+8 {
		o := (*[8]uint16)(out)
		lo := binary.LittleEndian.Uint64(packed)
		hi := binary.LittleEndian.Uint64(packed[half:]) >> shift
		for i := range 4 {
			a, b := lo&mask, hi&mask
			largest = max(largest, a, b)
			o[i], o[i+4] = uint16(a), uint16(b) //nolint:gosec // at most 16 bits
			lo >>= width
			hi >>= width
		}
		out, packed = out[8:], packed[width:]
	}
	for i := range out {
		code := unpackBits(packed, i*width, width)
		largest = max(largest, code)
		out[i] = uint16(code) //nolint:gosec // as above
	}
	return dst, int(largest) //nolint:gosec // as above
}

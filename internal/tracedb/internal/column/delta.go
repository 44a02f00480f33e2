package column

import (
	"encoding/binary"
	"errors"
)

var errDelta = errors.New("delta-encoded values are malformed")

// readDelta appends the n numbers of a DELTA_BINARY_PACKED sequence (Parquet, Encodings.md) to dst and returns what
// follows them in src.
func readDelta(dst []uint64, src []byte, n int) ([]uint64, []byte, error) {
	return readDeltaHead(dst, src, n, n)
}

// readDeltaHead is readDelta for the first m of the n numbers. The others are passed over.
func readDeltaHead(dst []uint64, src []byte, n, m int) ([]uint64, []byte, error) {
	var head [3]uint64 // values per block, miniblocks per block, number of values
	for i := range head {
		v, k := binary.Uvarint(src)
		if k <= 0 {
			return nil, nil, errDelta
		}
		head[i], src = v, src[k:]
	}
	first, k := binary.Varint(src)
	if k <= 0 || head[2] != uint64(n) || head[0] == 0 || head[0]%128 != 0 || head[0] > 1<<16 ||
		head[1] == 0 || head[1] > 512 || head[0]%head[1] != 0 || head[0]/head[1]%32 != 0 {
		return nil, nil, errDelta
	}
	src = src[k:]
	if n == 0 {
		return dst, src, nil
	}
	last := uint64(first)
	if m > 0 {
		dst = append(dst, last)
	}
	minis, perMini := int(head[1]), int(head[0]/head[1])
	wanted := m - 1
	for left := n - 1; left > 0; {
		minDelta, k := binary.Varint(src)
		if k <= 0 || len(src)-k < minis {
			return nil, nil, errDelta
		}
		widths := src[k : k+minis]
		src = src[k+minis:]
		for _, w := range widths {
			if left == 0 {
				break
			}
			size := perMini * int(w) / 8
			if w > 64 || len(src) < size {
				return nil, nil, errDelta
			}
			for i := range min(left, perMini, wanted) {
				last += uint64(minDelta) + unpackBits(src[:size], i*int(w), int(w))
				dst = append(dst, last)
			}
			left -= min(left, perMini)
			wanted -= perMini
			src = src[size:]
		}
	}
	return dst, src, nil
}

// unpackBits returns the width bits of src that begin at bit at.
func unpackBits(src []byte, at, width int) uint64 {
	if width == 0 {
		return 0
	}
	pos, shift := at>>3, at&7
	var v uint64
	if pos+8 <= len(src) {
		v = binary.LittleEndian.Uint64(src[pos:]) >> shift
		if over := shift + width - 64; over > 0 {
			v |= uint64(src[pos+8]) << (64 - shift)
		}
	} else {
		for i := pos; i < len(src); i++ {
			if s := 8*(i-pos) - shift; s < 0 {
				v |= uint64(src[i]) >> -s
			} else {
				v |= uint64(src[i]) << s
			}
		}
	}
	if width == 64 {
		return v
	}
	return v & (1<<width - 1)
}

// readDeltaLength reads n values of DELTA_LENGTH_BYTE_ARRAY: their lengths, then their bytes. It appends the bytes to
// data and the end of each value to ends.
func readDeltaLength(data []byte, ends []uint32, src []byte, n int) ([]byte, []uint32, error) {
	lengths, src, err := readDelta(make([]uint64, 0, n), src, n)
	if err != nil {
		return nil, nil, err
	}
	left := uint64(len(src))
	for _, l := range lengths {
		if l > left {
			return nil, nil, errDelta
		}
		left -= l
	}
	end := uint32(len(data)) //nolint:gosec // pages are bounded by maxPageRaw
	data = append(data, src[:uint64(len(src))-left]...)
	for _, l := range lengths {
		end += uint32(l) //nolint:gosec // at most len(src)
		ends = append(ends, end)
	}
	return data, ends, nil
}

// readDeltaBytes reads n values of DELTA_BYTE_ARRAY: lengths of the prefixes shared with the previous value, then the
// suffixes as DELTA_LENGTH_BYTE_ARRAY. limit bounds the decoded bytes.
func readDeltaBytes(data []byte, ends []uint32, src []byte, n, limit int) ([]byte, []uint32, error) {
	prefixes, src, err := readDelta(make([]uint64, 0, n), src, n)
	if err != nil {
		return nil, nil, err
	}
	suffixes, suffixEnds, err := readDeltaLength(nil, make([]uint32, 0, n), src, n)
	if err != nil {
		return nil, nil, err
	}
	var start, prevStart, prevEnd int
	for i, p := range prefixes {
		if p > uint64(prevEnd-prevStart) || len(data)+int(p) > limit {
			return nil, nil, errDelta
		}
		at := len(data)
		data = append(data, data[prevStart:prevStart+int(p)]...)
		data = append(data, suffixes[start:suffixEnds[i]]...)
		start, prevStart, prevEnd = int(suffixEnds[i]), at, len(data)
		ends = append(ends, uint32(len(data))) //nolint:gosec // bounded by limit
	}
	return data, ends, nil
}

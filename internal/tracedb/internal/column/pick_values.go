package column

import (
	"encoding/binary"
	"fmt"
)

// values adds those of a page's n values that are at the places, which ascend.
func (p *picker) values(raw []byte, n int, places []int) (err error) {
	v, enc, t := p.v, p.chunk.encoding, p.spec.Type
	switch {
	case enc == Dictionary:
		v.Codes, err = pickCodes(v.Codes, raw, n, len(v.Dict.Values), places)
		return err
	case enc == DeltaBinary && t == Int:
		return p.delta(raw, n, places)
	case enc == Plain && t.number():
		return p.numbers(raw, n, places)
	case enc == Plain && t == Fixed:
		w := p.spec.Width
		if w <= 0 || len(raw) != n*w {
			return errPage
		}
		for _, i := range places {
			p.text = append(p.text, raw[i*w:(i+1)*w]...)
		}
		return nil
	case enc == Plain:
		return p.plainText(raw, places)
	case enc == DeltaLengthBytes && (t == Text || t == Bytes):
		return p.deltaLength(raw, n, places)
	case enc == DeltaBytes && (t == Text || t == Bytes):
		return p.deltaBytes(raw, n, places)
	}
	return fmt.Errorf("unknown encoding %d", enc)
}

func (p *picker) numbers(raw []byte, n int, places []int) error {
	v := p.v
	if p.spec.Type == Bool {
		if len(raw) != (n+7)/8 {
			return errPage
		}
		for _, i := range places {
			v.Nums = append(v.Nums, uint64(raw[i>>3]>>(i&7)&1))
		}
		return nil
	}
	if len(raw) != 8*n {
		return errPage
	}
	for _, i := range places {
		v.Nums = append(v.Nums, binary.LittleEndian.Uint64(raw[8*i:]))
	}
	return nil
}

func (p *picker) delta(raw []byte, n int, places []int) error {
	m := places[len(places)-1] + 1
	nums := p.f.unzip.numbers(m)
	defer p.f.unzip.freeNumbers(nums)
	all, _, err := readDeltaHead(nums, raw, n, m)
	if err != nil {
		return err
	}
	for _, i := range places {
		p.v.Nums = append(p.v.Nums, all[i])
	}
	return nil
}

// plainText picks values that have their length before them.
func (p *picker) plainText(raw []byte, places []int) error {
	for i := 0; len(places) > 0; i++ {
		if len(raw) < 4 {
			return errPage
		}
		size := uint64(binary.LittleEndian.Uint32(raw))
		if size > uint64(len(raw)-4) {
			return errPage
		}
		if i == places[0] {
			if err := p.addText(raw[4 : 4+size]); err != nil {
				return err
			}
			places = places[1:]
		}
		raw = raw[4+size:]
	}
	return nil
}

// deltaLength picks values of DELTA_LENGTH_BYTE_ARRAY.
func (p *picker) deltaLength(raw []byte, n int, places []int) error {
	m := places[len(places)-1] + 1
	nums := p.f.unzip.numbers(m)
	defer p.f.unzip.freeNumbers(nums)
	lengths, text, err := readDeltaHead(nums, raw, n, m)
	if err != nil {
		return err
	}
	for i, size := range lengths {
		if size > uint64(len(text)) {
			return errDelta
		}
		if i == places[0] {
			if err := p.addText(text[:size]); err != nil {
				return err
			}
			places = places[1:]
		}
		text = text[size:]
	}
	return nil
}

// deltaBytes picks values of DELTA_BYTE_ARRAY, of which each begins as the one before.
func (p *picker) deltaBytes(raw []byte, n int, places []int) error {
	m := places[len(places)-1] + 1
	nums, more := p.f.unzip.numbers(m), p.f.unzip.numbers(m)
	defer p.f.unzip.freeNumbers(nums)
	defer p.f.unzip.freeNumbers(more)
	prefixes, rest, err := readDeltaHead(nums, raw, n, m)
	if err != nil {
		return err
	}
	lengths, text, err := readDeltaHead(more, rest, n, m)
	if err != nil {
		return err
	}
	var last []byte
	for i, size := range lengths {
		if size > uint64(len(text)) || prefixes[i] > uint64(len(last)) || prefixes[i]+size > maxPageRaw {
			return errDelta
		}
		last = append(last[:prefixes[i]], text[:size]...)
		text = text[size:]
		if i == places[0] {
			if err := p.addText(last); err != nil {
				return err
			}
			places = places[1:]
		}
	}
	return nil
}

// addText adds a value of text. One that a block may have is far below the bound.
func (p *picker) addText(s []byte) error {
	if len(p.text)+len(s) > maxPageRaw {
		return errPage
	}
	p.text = append(p.text, s...)
	p.v.ends = append(p.v.ends, uint32(len(p.text))) //nolint:gosec // bounded above
	return nil
}

// pickCodes appends those of n dictionary indexes below distinct that are at the places to dst.
func pickCodes(dst []uint16, src []byte, n, distinct int, places []int) ([]uint16, error) {
	if len(src) == 0 || src[0] > 16 {
		return nil, errCodes
	}
	width := int(src[0])
	src = src[1:]
	for from := 0; len(places) > 0; {
		h, k := binary.Uvarint(src)
		if k <= 0 || h>>1 == 0 {
			return nil, errCodes
		}
		src = src[k:]
		var some []byte
		var to int
		packed := h&1 == 1
		if packed {
			groups := h >> 1
			if groups > uint64(len(src)) || groups*uint64(width) > uint64(len(src)) {
				return nil, errCodes
			}
			some, to = src[:int(groups)*width], from+int(groups)*8
		} else {
			size := (width + 7) / 8
			if h>>1 > uint64(n-from) || len(src) < size {
				return nil, errCodes
			}
			some, to = src[:size], from+int(h>>1)
		}
		for len(places) > 0 && places[0] < to {
			code := uint64(0)
			if packed {
				code = unpackBits(some, (places[0]-from)*width, width)
			} else {
				for i, b := range some {
					code |= uint64(b) << (8 * i)
				}
			}
			if code >= uint64(distinct) { //nolint:gosec // not negative
				return nil, errCodes
			}
			dst = append(dst, uint16(code)) //nolint:gosec // below distinct
			places = places[1:]
		}
		src, from = src[len(some):], to
	}
	return dst, nil
}

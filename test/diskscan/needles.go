package diskscan

import (
	"encoding/binary"
	"math"
	"strconv"
)

// window is the number of bytes that count as a find: of random letters and digits no eight occur by chance.
const window = 8

// digitWindow is the same for texts of hexadecimal digits alone, which clocks, counters and ids are full of.
const digitWindow = 12

// Needles are the texts that are looked for, by number. Add must not be called concurrently with Find.
type Needles struct {
	windows map[uint64][]needle // by their first eight bytes
	seen    [1 << 16]uint64     // a filter in front of the map
}

type needle struct {
	text string
	id   int
}

// Add makes windows of the text findable under the id. The text is at least eight bytes long (of hexadecimal digits alone: twelve) and
// should be random: parts of it are found wherever they occur.
func (n *Needles) Add(id int, text string) {
	size := digitWindow
	for _, c := range []byte(text) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && c != ' ' {
			size = window
			break
		}
	}
	for i := 0; i+size <= len(text); i++ {
		n.add(needle{text[i : i+size], id})
	}
}

// AddNumber makes a number findable as a protobuf field, as eight bytes and in decimal digits. It has at least twelve
// digits.
func (n *Needles) AddNumber(id int, v uint64) {
	n.Add(id, strconv.FormatUint(v, 10))
	varint := binary.AppendUvarint(nil, v)
	// The type of a field of int64 in AnyValue (3, varint) is part of it.
	n.add(needle{string(append([]byte{3 << 3}, varint...)), id})
	n.add(needle{string(binary.LittleEndian.AppendUint64(nil, v)), id})
}

// AddDouble makes a number findable as eight bytes and as the shortest decimal text, with and without an exponent.
func (n *Needles) AddDouble(id int, v float64) {
	n.add(needle{string(binary.LittleEndian.AppendUint64(nil, math.Float64bits(v))), id})
	for _, format := range []byte{'f', 'e'} {
		n.add(needle{strconv.FormatFloat(v, format, -1, 64), id})
	}
}

func (n *Needles) add(nd needle) {
	if len(nd.text) < window {
		panic("diskscan: a text of less than eight bytes would be found everywhere") // A bug of the test.
	}
	if n.windows == nil {
		n.windows = map[uint64][]needle{}
	}
	w := binary.LittleEndian.Uint64([]byte(nd.text))
	n.windows[w] = append(n.windows[w], nd)
	h := bit(w)
	n.seen[h>>6] |= 1 << (h & 63)
}

// bit is the place of a window in the filter.
func bit(w uint64) uint64 { return w * 0x9e3779b97f4a7c15 >> (64 - 22) }

// Find calls hit for each place of data at which a window of a text is.
func (n *Needles) Find(data []byte, hit func(id, at int)) {
	for i := 0; i+window <= len(data); i++ {
		w := binary.LittleEndian.Uint64(data[i:])
		h := bit(w)
		if n.seen[h>>6]&(1<<(h&63)) == 0 {
			continue
		}
		for _, nd := range n.windows[w] {
			if len(data)-i >= len(nd.text) && string(data[i:i+len(nd.text)]) == nd.text {
				hit(nd.id, i)
			}
		}
	}
}

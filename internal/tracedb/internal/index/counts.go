package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/zstd"

	"github.com/bramble-tracing/bramble/internal/store"
)

// Counts says how many spans of a row group have each value of each column.
type Counts struct {
	Columns []ColumnCounts
	Roots   []store.RootCount
	NoRoots bool // Roots are not known.
}

// ColumnCounts are the counts of one column of one type.
type ColumnCounts struct {
	Column store.Column
	Type   store.ValueType
	// Coded says that Counts are in the order of the dictionary of the row group's column; Values are empty then.
	Coded  bool
	Values []store.Value
	Counts []store.SpanCount
	// Sum, Max and Unknown are those of store.ColumnCounts.
	Sum     store.SpanCount
	Max     uint32
	Unknown bool
}

const (
	countsHead = 16
	// maxCountsGroup bounds the counts of a row group when they are read.
	maxCountsGroup = 64 << 20
)

var countsMagic = [8]byte{'B', 'R', 'C', 'O', 'U', 'N', 'T', '1'}

const (
	flagCoded   = 1
	flagUnknown = 2
)

// CountsEncoder encodes the counts of row groups. It belongs to one goroutine.
type CountsEncoder struct {
	zstd *zstd.Encoder
	raw  []byte
}

// NewCountsEncoder returns an encoder.
func NewCountsEncoder() (*CountsEncoder, error) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithWindowSize(1<<20))
	if err != nil {
		return nil, fmt.Errorf("make zstd encoder: %w", err)
	}
	return &CountsEncoder{zstd: z}, nil
}

// Encode returns the section of a row group: its raw length and its compressed form.
func (e *CountsEncoder) Encode(c *Counts) []byte {
	raw := binary.AppendUvarint(e.raw[:0], uint64(len(c.Columns)))
	for i := range c.Columns {
		raw = appendCounts(raw, &c.Columns[i])
	}
	if c.NoRoots {
		raw = append(raw, 0)
	} else {
		raw = append(raw, 1)
		raw = binary.AppendUvarint(raw, uint64(len(c.Roots)))
		for _, r := range c.Roots {
			raw = appendCount(appendText(appendText(raw, r.Name), r.Service), r.SpanCount)
		}
	}
	e.raw = raw
	return e.zstd.EncodeAll(raw, binary.LittleEndian.AppendUint32(nil, uint32(len(raw)))) //nolint:gosec // Bounded by the rows of a row group.
}

func appendCount(b []byte, c store.SpanCount) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, uint64(c.Spans)), uint64(c.Errors))
}

func appendCounts(raw []byte, c *ColumnCounts) []byte {
	flags := byte(0)
	if c.Coded {
		flags |= flagCoded
	}
	if c.Unknown {
		flags |= flagUnknown
	}
	raw = append(raw, byte(c.Column.Scope), byte(c.Type), flags)
	raw = appendText(raw, c.Column.Name)
	raw = appendCount(raw, c.Sum)
	raw = binary.AppendUvarint(raw, uint64(c.Max))
	raw = binary.AppendUvarint(raw, uint64(len(c.Counts)))
	for i, n := range c.Counts {
		raw = appendCount(raw, n)
		switch {
		case c.Coded:
		case isNumber(c.Type):
			raw = binary.LittleEndian.AppendUint64(raw, c.Values[i].Num)
		default:
			raw = appendText(raw, c.Values[i].Str)
		}
	}
	return raw
}

func isNumber(t store.ValueType) bool {
	return t == store.TypeInt || t == store.TypeFloat || t == store.TypeBool
}

// EncodeCountsFile returns the contents of counts.idx. sections are those of the row groups in order, empty for those
// about which nothing is known.
func EncodeCountsFile(sections [][]byte) []byte {
	size := countsHead
	for _, s := range sections {
		size += 4 + len(s)
	}
	out := append(make([]byte, 0, size), countsMagic[:]...)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(sections))) //nolint:gosec // At most one per granule.
	out = append(out, 0, 0, 0, 0)
	for _, s := range sections {
		out = binary.LittleEndian.AppendUint32(out, uint32(len(s))) //nolint:gosec // Below maxCountsGroup.
		out = append(out, s...)
	}
	binary.LittleEndian.PutUint32(out[12:], countsSum(out))
	return out
}

// countsSum covers everything but the sum itself.
func countsSum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:12], castagnoli), castagnoli, b[countsHead:])
}

var errCounts = errors.New("counts of values are malformed")

// DecodeCountsFile finds the sections in the contents of counts.idx. name is for errors.
func DecodeCountsFile(b []byte, groups int, name string) ([][]byte, error) {
	damaged := &store.CorruptionError{Path: name, Err: errCounts}
	if len(b) < countsHead || [8]byte(b[:8]) != countsMagic || binary.LittleEndian.Uint32(b[12:]) != countsSum(b) {
		return nil, damaged
	}
	if binary.LittleEndian.Uint32(b[8:]) != uint32(groups) { //nolint:gosec // Checked by meta.json.
		return nil, damaged
	}
	rest := b[countsHead:]
	var out [][]byte
	for range groups {
		if len(rest) < 4 {
			return nil, damaged
		}
		n := binary.LittleEndian.Uint32(rest)
		if uint64(n) > uint64(len(rest)-4) {
			return nil, damaged
		}
		out = append(out, rest[4:4+n:4+n])
		rest = rest[4+n:]
	}
	if len(rest) != 0 {
		return nil, damaged
	}
	return out, nil
}

// UnpackCounts decompresses a section. unzip gets the compressed form and the length of the result.
func UnpackCounts(section []byte, unzip func(b []byte, size int) ([]byte, error), name string) ([]byte, error) {
	if len(section) < 4 || binary.LittleEndian.Uint32(section) > maxCountsGroup {
		return nil, &store.CorruptionError{Path: name, Err: errCounts}
	}
	raw, err := unzip(section[4:], int(binary.LittleEndian.Uint32(section)))
	if err != nil {
		return nil, &store.CorruptionError{Path: name, Err: fmt.Errorf("%w: %w", errCounts, err)}
	}
	return raw, nil
}

// DecodeCounts parses a section that was unpacked. name is for errors.
func DecodeCounts(raw []byte, name string) (*Counts, error) {
	c := cursor{b: raw}
	out := &Counts{}
	for n := c.count(); n > 0 && !c.bad; n-- {
		out.Columns = append(out.Columns, c.columnCounts())
	}
	if head := c.take(1); !c.bad {
		if out.NoRoots = head[0] == 0; !out.NoRoots {
			for n := c.count(); n > 0 && !c.bad; n-- {
				r := store.RootCount{Name: c.text(), Service: c.text()}
				r.SpanCount = c.spanCount()
				out.Roots = append(out.Roots, r)
			}
		}
	}
	if c.bad || len(c.b) != 0 {
		return nil, &store.CorruptionError{Path: name, Err: errCounts}
	}
	return out, nil
}

func (c *cursor) columnCounts() ColumnCounts {
	var out ColumnCounts
	head := c.take(3)
	if c.bad {
		return out
	}
	out.Column.Scope, out.Type = store.ColumnScope(head[0]), store.ValueType(head[1])
	out.Coded, out.Unknown = head[2]&flagCoded != 0, head[2]&flagUnknown != 0
	if out.Column.Scope > store.ScopeInstrumentation || out.Type > store.TypeMap {
		c.bad = true
		return out
	}
	out.Column.Name = c.text()
	out.Sum = c.spanCount()
	limit := c.count()
	if limit > 1<<31 {
		c.bad = true
		return out
	}
	out.Max = uint32(limit)
	n := c.count()
	if n > len(c.b) { // Each takes two bytes at least.
		c.bad = true
		return out
	}
	out.Counts = make([]store.SpanCount, 0, n)
	if !out.Coded {
		out.Values = make([]store.Value, 0, n)
	}
	for range n {
		out.Counts = append(out.Counts, c.spanCount())
		if out.Coded {
			continue
		}
		v := store.Value{Type: out.Type}
		if isNumber(out.Type) {
			if b := c.take(8); !c.bad {
				v.Num = binary.LittleEndian.Uint64(b)
			}
		} else {
			v.Str = c.text()
		}
		out.Values = append(out.Values, v)
	}
	return out
}

func (c *cursor) spanCount() store.SpanCount {
	spans, errs := c.count(), c.count()
	if spans > 1<<31 || errs > spans {
		c.bad = true
	}
	return store.SpanCount{Spans: uint32(spans), Errors: uint32(errs)} //nolint:gosec // Checked.
}

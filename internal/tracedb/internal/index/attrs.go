package index

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/bramble-tracing/bramble/internal/store"
)

const (
	// maxTop and maxTopBytes bound the values kept of an attribute.
	maxTop      = 100
	maxTopBytes = 4096
	// maxCatalogBytes bounds attrs.idx when it is read.
	maxCatalogBytes = 64 << 20
	catalogHead     = 20
)

var catalogMagic = [8]byte{'B', 'R', 'A', 'T', 'T', 'R', 'S', '1'}

// SortTop orders values by count, most frequent first, and cuts the list to what the catalogue keeps. complete is
// false if it had to cut.
func SortTop(top []store.ValueCount) (out []store.ValueCount, complete bool) {
	slices.SortFunc(top, func(a, b store.ValueCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Value.Str, b.Value.Str), cmp.Compare(a.Value.Num, b.Value.Num))
	})
	size := 0
	for i := range top {
		if size += 8 + len(top[i].Value.Str); i >= maxTop || size > maxTopBytes {
			return top[:i], false
		}
	}
	return top, true
}

// EncodeCatalog returns the contents of attrs.idx.
func EncodeCatalog(attrs []store.AttributeInfo) ([]byte, error) {
	var raw []byte
	for i := range attrs {
		a := &attrs[i]
		flags := byte(0)
		if a.Complete {
			flags = 1
		}
		raw = append(raw, byte(a.Column.Scope), byte(a.Type), flags)
		raw = appendText(raw, a.Column.Name)
		raw = binary.AppendUvarint(raw, uint64(a.Rows)) //nolint:gosec // a count
		raw = binary.AppendUvarint(raw, uint64(len(a.Top)))
		for _, v := range a.Top {
			raw = binary.AppendUvarint(raw, uint64(v.Count)) //nolint:gosec // a count
			switch a.Type {
			case store.TypeInt, store.TypeFloat, store.TypeBool:
				raw = binary.LittleEndian.AppendUint64(raw, v.Value.Num)
			default:
				raw = appendText(raw, v.Value.Str)
			}
		}
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithWindowSize(1<<20))
	if err != nil {
		return nil, fmt.Errorf("make zstd encoder: %w", err)
	}
	out := append([]byte{}, catalogMagic[:]...)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(attrs))) //nolint:gosec // bounded by the columns of a block
	out = binary.LittleEndian.AppendUint32(out, uint32(len(raw)))   //nolint:gosec // bounded by maxTopBytes per column
	out = append(out, 0, 0, 0, 0)
	out = z.EncodeAll(raw, out)
	binary.LittleEndian.PutUint32(out[16:], catalogSum(out))
	return out, z.Close()
}

// catalogSum covers everything but the sum itself.
func catalogSum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:16], castagnoli), castagnoli, b[catalogHead:])
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

var errCatalog = errors.New("attribute catalogue is malformed")

// DecodeCatalog parses the contents of attrs.idx. name is for errors.
func DecodeCatalog(b []byte, name string) ([]store.AttributeInfo, error) {
	attrs, err := decodeCatalog(b)
	if err != nil {
		return nil, &store.CorruptionError{Path: name, Err: err}
	}
	return attrs, nil
}

func decodeCatalog(b []byte) ([]store.AttributeInfo, error) {
	le := binary.LittleEndian
	if len(b) < catalogHead || [8]byte(b[:8]) != catalogMagic {
		return nil, errors.New("it is not an attribute catalogue of version 1")
	}
	if got, want := catalogSum(b), le.Uint32(b[16:]); got != want {
		return nil, fmt.Errorf("checksum is %08x, want %08x", got, want)
	}
	n, size := le.Uint32(b[8:]), le.Uint32(b[12:])
	if size > maxCatalogBytes || n > size {
		return nil, errCatalog
	}
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("make zstd decoder: %w", err)
	}
	defer z.Close()
	raw, err := z.DecodeAll(b[catalogHead:], make([]byte, 0, size))
	if err != nil || len(raw) != int(size) {
		return nil, errCatalog
	}
	c := cursor{b: raw}
	attrs := make([]store.AttributeInfo, 0, min(n, 4096))
	for range n {
		attrs = append(attrs, c.attribute())
		if c.bad {
			return nil, errCatalog
		}
	}
	if len(c.b) != 0 {
		return nil, errCatalog
	}
	return attrs, nil
}

// cursor reads the raw catalogue. Once bad, it stays bad and gives zeros.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) attribute() store.AttributeInfo {
	var a store.AttributeInfo
	head := c.take(3)
	if c.bad {
		return a
	}
	a.Column.Scope, a.Type, a.Complete = store.ColumnScope(head[0]), store.ValueType(head[1]), head[2]&1 != 0
	if a.Column.Scope > store.ScopeInstrumentation || a.Type > store.TypeMap {
		c.bad = true
	}
	a.Column.Name = c.text()
	a.Rows = c.count()
	n := c.count()
	if n > len(c.b) {
		c.bad = true
		return a
	}
	for range n {
		v := store.ValueCount{Value: store.Value{Type: a.Type}, Count: c.count()}
		switch a.Type {
		case store.TypeInt, store.TypeFloat, store.TypeBool:
			if b := c.take(8); !c.bad {
				v.Value.Num = binary.LittleEndian.Uint64(b)
			}
		default:
			v.Value.Str = c.text()
		}
		a.Top = append(a.Top, v)
	}
	return a
}

func (c *cursor) take(n int) []byte {
	if c.bad || n > len(c.b) {
		c.bad, c.b = true, nil
		return nil
	}
	out := c.b[:n]
	c.b = c.b[n:]
	return out
}

func (c *cursor) count() int {
	v, n := binary.Uvarint(c.b)
	if c.bad || n <= 0 || v > 1<<40 {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[n:]
	return int(v)
}

func (c *cursor) text() string { return string(c.take(c.count())) }

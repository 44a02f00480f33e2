package column

import (
	"fmt"
	"hash/crc32"

	"github.com/parquet-go/parquet-go/bloom"
	"github.com/parquet-go/parquet-go/bloom/xxhash"

	"github.com/bramble-tracing/bramble/internal/store"
)

// HasBloom reports whether a column has a bloom filter in a row group.
func (f *File) HasBloom(group, col int) bool { return f.groups[group].chunks[col].bloomLen > 0 }

// Bloom is the filter of a column chunk.
type Bloom struct{ filter bloom.SplitBlockFilter }

// Bloom reads and checks the filter of a column chunk that has one.
func (f *File) Bloom(gi, col int) (*Bloom, error) {
	c := &f.groups[gi].chunks[col]
	buf := make([]byte, c.bloomLen)
	if err := ReadFull(f.r, f.name, buf, c.bloomOffset); err != nil {
		return nil, err
	}
	if crc := crc32.Checksum(buf, Castagnoli); crc != c.bloomCRC {
		return nil, f.corrupt(c.bloomOffset, fmt.Errorf("checksum of the bloom filter of column %q is %08x, want %08x",
			f.specs[col].Name, crc, c.bloomCRC))
	}
	r := thriftReader{b: buf}
	n := int64(0)
	r.structure(func(id int16, typ byte) {
		if id == 1 && typ == thriftI32 {
			n = r.size(int64(len(buf)))
			return
		}
		r.skip(typ)
	})
	if r.err != nil || n == 0 || n%bloom.BlockSize != 0 || int64(len(buf)-r.pos) != n {
		return nil, f.corrupt(c.bloomOffset, fmt.Errorf("bloom filter of column %q is malformed", f.specs[col].Name))
	}
	// A copy, because the header leaves the bits at an odd address.
	return &Bloom{filter: bloom.MakeSplitBlockFilter(append([]byte(nil), buf[r.pos:]...))}, nil
}

// MayHave reports false only if the chunk does not have the value, which is of the column's type.
func (b *Bloom) MayHave(v store.Value) bool {
	switch v.Type {
	case store.TypeInt, store.TypeFloat, store.TypeBool:
		return b.filter.Check(hashNum(v.Num))
	}
	return b.filter.Check(xxhash.Sum64([]byte(v.Str)))
}

// Bytes returns the memory that the filter takes.
func (b *Bloom) Bytes() int64 { return int64(len(b.filter) * bloom.BlockSize) }

package column

import (
	"fmt"
	"math/bits"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/bramble-tracing/bramble/internal/store"
)

// newCompressor returns a zstd encoder for whole pages. Level is zstd's (1 or 3).
func newCompressor(level int) (*zstd.Encoder, error) {
	e, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)),
		zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false), // pages carry their own
		zstd.WithLowerEncoderMem(true),
		zstd.WithWindowSize(1<<20))
	if err != nil {
		return nil, fmt.Errorf("make zstd encoder: %w", err)
	}
	return e, nil
}

// Decompressor undoes page compression. It is safe for concurrent use; Close it after the last file that uses it.
type Decompressor struct {
	zstd  *zstd.Decoder
	pools [maxPooledBits - minPooledBits + 1]sync.Pool // of *[]byte, for stored and raw pages, by size
	nums  sync.Pool                                    // of *[]uint64, for what is decoded on the way
}

// Buffers that are kept for the next page have 4 KiB to 1 MiB, in powers of two.
const (
	minPooledBits = 12
	maxPooledBits = 20
)

// maxUnsized is the largest page whose frame need not tell its size: the encoder leaves it out below 256 bytes.
const maxUnsized = 64 << 10

// buffer returns a buffer of n bytes with any contents.
func (d *Decompressor) buffer(n int) []byte {
	if n > 1<<maxPooledBits {
		return make([]byte, n)
	}
	size := max(minPooledBits, bits.Len(uint(max(n, 1)-1)))
	if b, ok := d.pools[size-minPooledBits].Get().(*[]byte); ok {
		return (*b)[:n]
	}
	return make([]byte, n, 1<<size)
}

// free gives a buffer back as a whole.
func (d *Decompressor) free(b []byte) {
	c := cap(b)
	if c&(c-1) != 0 || c < 1<<minPooledBits || c > 1<<maxPooledBits {
		return
	}
	d.pools[bits.TrailingZeros(uint(c))-minPooledBits].Put(&b)
}

// numbers returns an empty slice with room for n numbers.
func (d *Decompressor) numbers(n int) []uint64 {
	if s, ok := d.nums.Get().(*[]uint64); ok && cap(*s) >= n {
		return (*s)[:0]
	}
	return make([]uint64, 0, max(n, store.GranuleRows))
}

func (d *Decompressor) freeNumbers(s []uint64) { d.nums.Put(&s) }

// NewDecompressor returns a decompressor for up to concurrency pages at a time; more wait.
func NewDecompressor(concurrency int) (*Decompressor, error) {
	d, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(concurrency),
		zstd.WithDecoderMaxMemory(maxPageRaw),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("make zstd decoder: %w", err)
	}
	return &Decompressor{zstd: d}, nil
}

// Close frees the decoder.
func (d *Decompressor) Close() { d.zstd.Close() }

// decompress returns the contents of a zstd frame, which are as many bytes as given, in a buffer to be freed.
func (d *Decompressor) decompress(src []byte, raw int) ([]byte, error) {
	// The page's checksum covers the frame and not the page header, so memory is taken on the frame's word.
	var frame zstd.Header
	if err := frame.Decode(src); err != nil {
		return nil, fmt.Errorf("decompress page: %w", err)
	}
	if frame.HasFCS && frame.FrameContentSize != uint64(raw) || !frame.HasFCS && raw > maxUnsized { //nolint:gosec // not negative
		return nil, fmt.Errorf("page has %d bytes, its header says %d", frame.FrameContentSize, raw)
	}
	buf := d.buffer(raw)
	out, err := d.zstd.DecodeAll(src, buf[:0:raw])
	if err == nil && len(out) != raw {
		err = fmt.Errorf("it has %d bytes, its header says %d", len(out), raw)
	}
	if err != nil {
		d.free(buf)
		return nil, fmt.Errorf("decompress page: %w", err)
	}
	return buf, nil
}

// storedFrame writes a zstd frame (RFC 8878, 3.1.1) that holds fewer than 256 bytes as they are, for the levels of a
// chunk without values.
func storedFrame(dst, src []byte) []byte {
	dst = append(dst, 0x28, 0xb5, 0x2f, 0xfd, 0x20, byte(len(src)))
	block := len(src)<<3 | 1 // last block, type raw
	dst = append(dst, byte(block), byte(block>>8), byte(block>>16))
	return append(dst, src...)
}

// Unpack returns the raw bytes, which must be as many as given, of a zstd frame, in memory of their own.
func (d *Decompressor) Unpack(frame []byte, raw int) ([]byte, error) {
	b, err := d.decompress(frame, raw)
	if err != nil {
		return nil, err
	}
	out := slices.Clone(b)
	d.free(b)
	return out, nil
}

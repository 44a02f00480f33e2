package column

import (
	"fmt"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
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
	zstd *zstd.Decoder
	pool sync.Pool // of *[]byte, for stored and raw pages
}

// maxPooled is the largest buffer that is kept for the next page.
const maxPooled = 1 << 20

// maxUnsized is the largest page whose frame need not tell its size: the encoder leaves it out below 256 bytes.
const maxUnsized = 64 << 10

// buffer returns a buffer of n bytes with any contents.
func (d *Decompressor) buffer(n int) []byte {
	if b, ok := d.pool.Get().(*[]byte); ok && cap(*b) >= n {
		return (*b)[:n]
	}
	return make([]byte, n, max(n, 16<<10))
}

// free gives a buffer back.
func (d *Decompressor) free(b []byte) {
	if c := cap(b); c > 0 && c <= maxPooled {
		d.pool.Put(&b)
	}
}

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

// decode returns the raw bytes of a stored page, which are src itself if it is not compressed and a buffer otherwise.
func (d *Decompressor) decode(codec Codec, src []byte, raw int) ([]byte, error) {
	if codec == Uncompressed {
		if len(src) != raw {
			return nil, fmt.Errorf("page has %d bytes, its header says %d", len(src), raw)
		}
		return src, nil
	}
	// The page's checksum covers the frame and not the page header, so memory is taken on the frame's word.
	var frame zstd.Header
	if err := frame.Decode(src); err != nil {
		return nil, fmt.Errorf("decompress page: %w", err)
	}
	if frame.HasFCS && frame.FrameContentSize != uint64(raw) || !frame.HasFCS && raw > maxUnsized { //nolint:gosec // not negative
		return nil, fmt.Errorf("page has %d bytes, its header says %d", frame.FrameContentSize, raw)
	}
	out, err := d.zstd.DecodeAll(src, d.buffer(raw)[:0:raw])
	if err != nil {
		return nil, fmt.Errorf("decompress page: %w", err)
	}
	if len(out) != raw {
		return nil, fmt.Errorf("page has %d bytes, its header says %d", len(out), raw)
	}
	return out, nil
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
	b, err := d.decode(Zstd, frame, raw)
	if err != nil {
		return nil, err
	}
	out := slices.Clone(b)
	d.free(b)
	return out, nil
}

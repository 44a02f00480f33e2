package diskscan

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// zstdMagic begins a frame (RFC 8878, section 3.1.1).
var zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}

var decoder = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(1<<30))
})

// frames looks into everything in the data that can be decompressed by zstd, whatever the file is.
func (r *Report) frames(n *Needles, name string, data []byte) {
	dec, err := decoder()
	if err != nil {
		panic(err) // The options above are constant.
	}
	for at := 0; ; {
		next := bytes.Index(data[at:], zstdMagic)
		if next < 0 {
			return
		}
		at += next
		// Bytes that follow the frame make an error, and so do four bytes that only look like a frame's first.
		out, _ := dec.DecodeAll(data[at:], nil)
		if len(out) > 0 {
			r.Look(n, Frames, fmt.Sprintf("%s, frame at %d", name, at), out)
		}
		at += len(zstdMagic)
	}
}

package block

import (
	"context"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
)

// verifyPiece is how much Verify reads at a time.
const verifyPiece = 256 << 10

// Verify reads every file but the metas and compares its CRC32C with meta.json. pace, if it is not nil, is told before
// each piece how many bytes will be read; its error ends the verification.
func (b *Block) Verify(ctx context.Context, pace func(bytes int) error) error {
	buf := make([]byte, verifyPiece)
	for n, name := range dataFiles {
		if !b.meta.has(name) {
			continue
		}
		f, err := b.file(n)
		if err != nil {
			return err
		}
		l := b.meta.Files[name]
		crc := uint32(0)
		for off := int64(0); off < l.Size; off += int64(len(buf)) {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("verify block %s: %w", b.meta.ID, err)
			}
			part := buf[:min(int64(len(buf)), l.Size-off)]
			if pace != nil {
				if err := pace(len(part)); err != nil {
					return err
				}
			}
			if err := column.ReadFull(io.ReaderAt(f), b.path(n), part, off); err != nil {
				return err
			}
			crc = crc32.Update(crc, column.Castagnoli, part)
		}
		if crc != l.CRC {
			return &store.CorruptionError{Path: b.path(n), Err: fmt.Errorf("checksum of the file is %08x, want %08x", crc, l.CRC)}
		}
	}
	return nil
}

package block

import (
	"context"
	"fmt"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/index"
)

// Attributes implements store.Part.
func (b *Block) Attributes(ctx context.Context) (_ []store.AttributeInfo, err error) {
	defer b.contain(&err)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list attributes of block %s: %w", b.meta.ID, err)
	}
	if b.overlay != nil && len(b.overlay.Patches) > 0 {
		return b.patchedAttributes(ctx)
	}
	return b.attributeCatalog()
}

// attributeCatalog returns the contents of attrs.idx.
func (b *Block) attributeCatalog() ([]store.AttributeInfo, error) {
	key := CacheKey{Block: b.id, Kind: cacheCatalog}
	if v, ok := b.reader.Cache.Get(key); ok {
		return v.([]store.AttributeInfo), nil //nolint:forcetypeassert // we put it there
	}
	f, err := b.file(fileAttrs)
	if err != nil {
		return nil, err
	}
	l := b.meta.Files[AttrsFile]
	buf := make([]byte, l.Size)
	if err := column.ReadFull(f, b.path(fileAttrs), buf, 0); err != nil {
		return nil, err
	}
	attrs, err := index.DecodeCatalog(buf, b.path(fileAttrs))
	if err != nil {
		return nil, err
	}
	size := int64(0)
	for i := range attrs {
		size += 100 + int64(len(attrs[i].Top))*64
	}
	b.reader.Cache.Put(key, attrs, size)
	return attrs, nil
}

package block

import (
	"github.com/bramble-tracing/bramble/internal/store"
)

const (
	// ordinaryValue is what a value takes on average, in bytes, in columns that do not count for Bulk.
	ordinaryValue = 256
	// overflowGrows is how much more memory attributes without column take while they are written than in their column.
	overflowGrows = 8
)

// Bulk returns about how many bytes a granule may take in memory, beyond what so many spans ordinarily have, of a block
// that is merged from this one: the large values of the whole block, before compression, since all of them may come to
// lie in one granule, and attributes without column as far as a granule of this block has them. A granule is in memory as
// a whole while it is written.
func (b *Block) Bulk() (n int64, err error) {
	defer b.contain(&err)
	overflow := int64(0)
	for _, file := range [...]int{fileSpans, fileEvents, fileLinks} {
		t, err := b.tableFile(file)
		if err != nil {
			return 0, err
		}
		most := int64(0)
		for g := range t.Groups() {
			for col := range t.Columns() {
				values, raw := t.Chunk(g, col)
				n += int64(max(0, raw-ordinaryValue*values))
				if col == t.overflow {
					granules := max(1, t.GroupRows(g)/store.GranuleRows)
					most = max(most, overflowGrows*int64(raw/granules))
				}
			}
		}
		overflow += most
	}
	return n + overflow, nil
}

package block

// ordinaryValue is what a value takes on average, in bytes, in columns that do not count for Bulk.
const ordinaryValue = 256

// Bulk returns how many bytes of the block's values, before compression, are beyond what so many spans ordinarily have:
// about the bytes of its large values. They may all come to lie in one granule of a block that is merged from this one,
// and a granule is in memory as a whole while it is written.
func (b *Block) Bulk() (n int64, err error) {
	defer b.contain(&err)
	for _, file := range [...]int{fileSpans, fileEvents, fileLinks} {
		t, err := b.tableFile(file)
		if err != nil {
			return 0, err
		}
		for g := range t.Groups() {
			for col := range t.Columns() {
				values, raw := t.Chunk(g, col)
				n += int64(max(0, raw-ordinaryValue*values))
			}
		}
	}
	return n, nil
}

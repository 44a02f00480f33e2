package column

// What memory is held, about: counted by the room that was made, not by what is in it.

const (
	// textEntry is what a distinct text of a dictionary takes besides its bytes: in the map, the list and the counts.
	textEntry = 64
	// zstdHeld is what an encoder for whole pages takes, with its window.
	zstdHeld = 3 << 19
	// numEntry is what a distinct number takes in a dictionary.
	numEntry = 32
	// chunkHeld and pageHeld are what the indexes of a chunk take until the file is finished, without the bounds.
	chunkHeld, pageHeld = 400, 112
)

// Held returns about how many bytes of memory the builder has, for reuse included.
func (b *Builder) Held() int64 {
	n := 2*cap(b.rows) + 8*cap(b.ends) + 8*cap(b.nums) + 4*cap(b.counts) + 2*cap(b.codes) + cap(b.data) + 4*cap(b.offs)
	if b.dict != nil {
		n += b.size + textEntry*len(b.texts)
	}
	return int64(n)
}

// Held returns about how many bytes of memory the encoder has.
func (e *FlatEncoder) Held() int64 {
	n := cap(e.levels) + cap(e.raw) + cap(e.packed) + cap(e.trial) + cap(e.tmp) + 8*cap(e.ints) + 4*cap(e.offs) + 2*cap(e.codes) + cap(e.rawBuf)
	return zstdHeld + int64(n+numEntry*len(e.numDict.values))
}

// Held returns about how many bytes of memory the chunk has, for reuse included.
func (c *Chunk) Held() int64 { return int64(cap(c.Buf) + pageHeld*cap(c.Pages) + cap(c.Bloom)) }

// Held returns about how many bytes the indexes of what was written take until Finish.
func (f *FileWriter) Held() int64 { return f.held }

// hold counts the indexes of a chunk.
func (f *FileWriter) hold(c *Chunk) {
	f.held += chunkHeld + pageHeld*int64(len(c.Pages))
	for i := range c.Pages {
		f.held += int64(len(c.Pages[i].Min) + len(c.Pages[i].Max))
	}
}

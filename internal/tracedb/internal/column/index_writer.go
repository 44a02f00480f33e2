package column

import "encoding/binary"

// indexes returns the column indexes and offset indexes of all chunks, and notes where each is.
func (f *FileWriter) indexes() []byte {
	var w thriftWriter
	add := func(place *[2]int64, write func()) {
		from := len(w.b)
		write()
		*place = [2]int64{f.off + int64(from), int64(len(w.b) - from)}
	}
	// Some readers fetch all indexes of a kind at once and want them side by side.
	for gi := range f.groups {
		for col := range f.specs {
			m := f.groups[gi].chunks[col]
			if m.chunk.Values > 0 && f.specs[col].Type != Fixed && bounded(m.chunk.Pages) {
				add(&m.columnIndex, func() { columnIndex(&w, m.chunk.Pages) })
			}
		}
	}
	for gi := range f.groups {
		for col := range f.specs {
			m := f.groups[gi].chunks[col]
			add(&m.offsetIndex, func() { offsetIndex(&w, m) })
		}
	}
	return w.b
}

func bounded(pages []Page) bool {
	for i := range pages {
		if !pages[i].HasBounds && pages[i].Nulls < pages[i].Rows {
			return false
		}
	}
	return true
}

func columnIndex(w *thriftWriter, pages []Page) {
	w.begin()
	w.list(1, thriftTrue, len(pages))
	for i := range pages {
		if pages[i].Nulls == pages[i].Rows {
			w.b = append(w.b, thriftTrue)
		} else {
			w.b = append(w.b, thriftFalse)
		}
	}
	w.list(2, thriftBinary, len(pages))
	for i := range pages {
		w.b = append(binary.AppendUvarint(w.b, uint64(len(pages[i].Min))), pages[i].Min...)
	}
	w.list(3, thriftBinary, len(pages))
	for i := range pages {
		w.b = append(binary.AppendUvarint(w.b, uint64(len(pages[i].Max))), pages[i].Max...)
	}
	w.i32(4, 0) // unordered
	w.list(5, thriftI64, len(pages))
	for i := range pages {
		w.b = binary.AppendVarint(w.b, int64(pages[i].Nulls))
	}
	w.end()
}

func offsetIndex(w *thriftWriter, m *chunkMeta) {
	w.begin()
	w.list(1, thriftStruct, len(m.chunk.Pages))
	for i := range m.chunk.Pages {
		p := &m.chunk.Pages[i]
		w.begin()
		w.i64(1, m.start+int64(p.Offset))
		w.i32(2, int64(p.Size))
		w.i64(3, int64(p.FirstRow))
		w.end()
	}
	w.end()
}

package block

// What else the writer has in memory, about.
const (
	// countedEntry is what a counted value takes in the map of its column, with a short text.
	countedEntry = 80
	// knownEntry is what a resource or scope takes, with its key and attributes.
	knownEntry = 1 << 10
	// traceHeld and overflowedHeld are what an entry of the trace index and an attribute without column take.
	traceHeld, overflowedHeld = 64, 56
	// memberHeld is what a span of the open trace takes while its place is found.
	memberHeld = 64
	// filesOpen is how many files are open at a time, each with a buffer.
	filesOpen = 5
	// tallierHeld is what counting takes by itself.
	tallierHeld = 256 << 10
)

// Held returns about how many bytes of memory the writer has. What is not counted is short and few: names of columns,
// numbers of rows, the attributes of meta.json.
func (w *Writer) Held() int64 {
	n := int64(filesOpen*writeBuffer+tallierHeld) + w.enc.Held()
	for _, t := range []*table{w.spans, w.events, w.links, w.tables.table} {
		n += t.held()
	}
	n += traceHeld * int64(cap(w.traces))
	n += int64(cap(w.structure.members)) * memberHeld
	n += int64(len(w.tables.resources)+len(w.tables.scopes)) * knownEntry
	for _, s := range w.tallies.sections {
		n += int64(len(s))
	}
	for _, t := range w.tallies.pending {
		n += int64(len(t.roots)) * countedEntry
	}
	return n
}

func (w *Writer) tellHeld() {
	if w.opts.Held != nil {
		w.opts.Held(w.Held())
	}
}

// held returns about how many bytes of memory the table has.
func (t *table) held() int64 {
	n := t.w.Held() + t.chunk.Held()
	for _, b := range t.fixed {
		n += b.Held()
	}
	for _, c := range t.columns {
		n += c.builder.Held() + countedEntry*int64(len(c.texts)+len(c.nums))
	}
	n += overflowedHeld * int64(cap(t.overflow))
	for i := range t.overflow {
		n += int64(len(t.overflow[i].attr.Value.Str))
	}
	return n
}

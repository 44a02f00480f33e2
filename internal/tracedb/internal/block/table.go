package block

import (
	"fmt"
	"unicode/utf8"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
)

const (
	// maxAttrColumns is the most attribute columns of a table; further attributes are kept in the overflow column.
	maxAttrColumns = 512
	// maxCandidates bounds the keys that compete for columns within one row group.
	maxCandidates = 2048
	// maxCounted bounds the distinct values counted per column for the catalogue.
	maxCounted = 4096
	// writeBuffer is how much is written to a file at once.
	writeBuffer = 64 << 10
)

// table writes one Parquet file of a block: fixed columns, attribute columns as they come, and the overflow column.
type table struct {
	out   *outFile
	w     *column.FileWriter
	enc   column.Encoder
	chunk column.Chunk

	fixed    []*column.Builder
	fixedNum []int
	deferred int // the last fixed columns, which are written by somebody else

	attrs    map[attrID]*attrKey
	columns  []*attrColumn // in the order of their first value
	inFile   int           // attribute columns that the file has
	overflow []overflowed
	overCol  int // number of the overflow column, or -1
	overRows int
	spilled  map[columnID]*spilled // attributes without column

	granules []int // lengths of the finished granules of the row group, which may be short in events and links
	row      int   // in the current granule
	stamp    uint64
	first    *attrKey // what the last list began with, a guess for the next
}

func newTable(out *outFile, enc column.Encoder, fixed []column.Spec, deferred int) *table {
	t := &table{
		out: out, w: column.NewFileWriter(out), enc: enc, deferred: deferred, overCol: -1,
		attrs: make(map[attrID]*attrKey), spilled: make(map[columnID]*spilled),
	}
	for _, s := range fixed {
		t.fixed = append(t.fixed, column.NewBuilder(s))
		t.fixedNum = append(t.fixedNum, t.w.AddColumn(s))
	}
	return t
}

// addAttrs adds the attributes of the current row. The first value of a key gets into its column.
func (t *table) addAttrs(scope store.ColumnScope, attrs []store.Attr) {
	if len(attrs) == 0 {
		return
	}
	t.stamp++
	var prev *attrKey
	for i := range attrs {
		a := &attrs[i]
		guess := t.first
		if prev != nil {
			guess = prev.next
		}
		k := guess
		if k == nil || k.key != a.Key || k.scope != scope {
			if k = t.key(scope, a.Key); k != nil {
				if prev == nil {
					t.first = k
				} else {
					prev.next = k
				}
			}
		}
		if k != nil {
			t.addAttr(k, a)
			prev = k
		} else {
			t.spill(scope, a, true)
		}
	}
}

// key returns the key of an attribute, or nil if there are too many.
func (t *table) key(scope store.ColumnScope, key string) *attrKey {
	id := attrID{scope, key}
	k := t.attrs[id]
	if k == nil {
		if len(t.attrs) >= 4*maxCandidates {
			return nil
		}
		k = &attrKey{attrID: id, legal: columnKey(key)}
		t.attrs[id] = k
	}
	return k
}

func (t *table) addAttr(k *attrKey, a *store.Attr) {
	again := k.stamp == t.stamp
	k.stamp = t.stamp
	if again || !k.legal || a.Value.Type == store.TypeAbsent || a.Value.Type > store.TypeMap {
		t.spill(k.scope, a, !again)
		return
	}
	c := k.columns[a.Value.Type]
	if c == nil {
		if c = t.newColumn(k, a.Value.Type); c == nil {
			t.spill(k.scope, a, true)
			return
		}
	}
	b := c.builder
	switch a.Value.Type {
	case store.TypeString:
		if !b.KnowsText(a.Value.Str) && !utf8.ValidString(a.Value.Str) {
			t.spill(k.scope, a, true)
			return
		}
		b.AddText(t.row, a.Value.Str)
	case store.TypeEmpty:
		b.AddNum(t.row, 0)
	case store.TypeInt, store.TypeFloat, store.TypeBool:
		b.AddNum(t.row, a.Value.Num)
	default:
		b.AddText(t.row, a.Value.Str)
	}
}

func (t *table) newColumn(k *attrKey, typ store.ValueType) *attrColumn {
	if t.inFile >= maxAttrColumns || len(t.columns) >= maxCandidates {
		return nil
	}
	c := &attrColumn{
		columnID: columnID{k.attrID, typ}, builder: column.NewBuilder(attrSpec(k.scope, k.key, typ)), num: -1,
		texts: make(map[string]int), nums: make(map[uint64]int),
	}
	c.builder.PadGranules(len(t.granules))
	k.columns[typ] = c
	t.columns = append(t.columns, c)
	return c
}

// endRow goes to the next row, and to the next granule if this one is full.
func (t *table) endRow() {
	if t.row++; t.row == store.GranuleRows {
		t.endGranule()
	}
}

// endGranule ends the current granule, if it has rows.
func (t *table) endGranule() {
	if t.row == 0 {
		return
	}
	for _, b := range t.fixed[:len(t.fixed)-t.deferred] {
		b.EndGranule()
	}
	for _, c := range t.columns {
		c.builder.EndGranule()
	}
	t.granules = append(t.granules, t.row)
	t.row = 0
}

// buffered returns about how many bytes the row group has so far.
func (t *table) buffered() int {
	n := 0
	for _, b := range t.fixed {
		n += b.Bytes()
	}
	for _, c := range t.columns {
		n += c.builder.Bytes()
	}
	for i := range t.overflow {
		n += overflowedHeld + len(t.overflow[i].attr.Value.Str)
	}
	return n
}

// endGroup writes the row group and returns its number, or -1 if it has no rows.
func (t *table) endGroup() (int, error) {
	t.endGranule()
	if len(t.granules) == 0 {
		return -1, nil
	}
	g := t.w.BeginGroup(t.granules)
	for i, b := range t.fixed[:len(t.fixed)-t.deferred] {
		if err := t.writeColumn(g, t.fixedNum[i], b); err != nil {
			return g, err
		}
	}
	t.choose()
	for _, c := range t.columns {
		if c.builder.Len() == 0 {
			c.builder.Reset()
			continue
		}
		if c.num < 0 {
			c.num = t.w.AddColumn(c.builder.Spec())
			t.inFile++
		}
		c.count()
		if err := t.writeColumn(g, c.num, c.builder); err != nil {
			return g, err
		}
		c.distinct = max(c.distinct, t.chunk.Distinct, len(c.texts), len(c.nums))
	}
	if err := t.writeOverflow(g); err != nil {
		return g, err
	}
	t.granules = t.granules[:0]
	return g, nil
}

func (t *table) writeColumn(group, col int, b *column.Builder) error {
	if err := t.enc.Encode(b, t.w.GroupRows(group), &t.chunk); err != nil {
		return fmt.Errorf("write %s: %w", t.out.name, err)
	}
	b.Reset()
	if err := t.w.WriteChunk(group, col, &t.chunk); err != nil {
		return fmt.Errorf("write %s: %w", t.out.name, err)
	}
	return nil
}

package block

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/index"
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

// outFile is a file of the block that is being written.
type outFile struct {
	file fsx.File
	buf  *bufio.Writer
	name string
}

func createFile(fs fsx.FS, path, name string) (*outFile, error) {
	f, err := fs.Create(path)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", path, err)
	}
	return &outFile{file: f, buf: bufio.NewWriterSize(f, writeBuffer), name: name}, nil
}

// Write implements io.Writer.
func (o *outFile) Write(b []byte) (int, error) { return o.buf.Write(b) }

// finish makes the contents durable and closes the file.
func (o *outFile) finish() error {
	err := o.buf.Flush()
	if err == nil {
		err = o.file.Sync()
	}
	err = errors.Join(err, o.file.Close())
	o.file = nil
	if err != nil {
		return fmt.Errorf("finish %s: %w", o.name, err)
	}
	return nil
}

func (o *outFile) abort() {
	if o != nil && o.file != nil {
		_ = o.file.Close()
		o.file = nil
	}
}

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

type attrID struct {
	scope store.ColumnScope
	key   string
}

type columnID struct {
	attrID
	typ store.ValueType
}

// attrKey is a key with its columns by type.
type attrKey struct {
	attrID
	legal   bool // can name columns
	stamp   uint64
	columns [store.TypeMap + 1]*attrColumn
	next    *attrKey // what followed the last time
}

type attrColumn struct {
	columnID
	builder  *column.Builder
	num      int // in the file, or -1
	rows     int
	distinct int
	texts    map[string]int // how often each value occurs, of strings
	nums     map[uint64]int // the same, of numbers
	partial  bool           // counts does not have all values
}

// overflowed is an attribute of a row that goes to the overflow column.
type overflowed struct {
	granule, row uint32
	attr         store.Attr
}

func compareRows(a, b overflowed) int {
	return cmp.Or(cmp.Compare(a.granule, b.granule), cmp.Compare(a.row, b.row))
}

// spilled counts the rows of an attribute without column.
type spilled struct{ rows int }

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

// spill adds an attribute of the current row to the overflow column. counted says that it is the first of its key.
func (t *table) spill(scope store.ColumnScope, a *store.Attr, counted bool) {
	t.overflow = append(t.overflow, overflowed{uint32(len(t.granules)), uint32(t.row), *a}) //nolint:gosec // below the rows of a block
	if counted {
		t.countSpilled(columnID{attrID{scope, a.Key}, a.Value.Type})
	}
}

func (t *table) countSpilled(id columnID) {
	s := t.spilled[id]
	if s == nil {
		if len(t.spilled) >= maxCounted {
			return
		}
		s = &spilled{}
		t.spilled[id] = s
	}
	s.rows++
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

// choose keeps the columns with the most rows if there are too many, and moves the rest to the overflow column. Columns
// that the file has already are kept.
func (t *table) choose() {
	fresh := make([]*attrColumn, 0, len(t.columns))
	for _, c := range t.columns {
		if c.num < 0 && c.builder.Len() > 0 {
			fresh = append(fresh, c)
		}
	}
	room := maxAttrColumns - t.inFile
	if len(fresh) <= room {
		return
	}
	slices.SortStableFunc(fresh, func(a, b *attrColumn) int { return cmp.Compare(b.builder.Len(), a.builder.Len()) })
	var moved []overflowed
	for _, c := range fresh[room:] {
		moved = t.demote(c, moved)
	}
	t.columns = slices.DeleteFunc(t.columns, func(c *attrColumn) bool { return c.builder == nil })
	// First values before later ones of the same key.
	t.overflow = append(moved, t.overflow...)
	slices.SortStableFunc(t.overflow, compareRows)
}

// demote moves the values of a column to the end of dst and forgets the column.
func (t *table) demote(c *attrColumn, dst []overflowed) []overflowed {
	for g := range c.builder.Granules() {
		from, to := c.builder.Span(g)
		for i := from; i < to; i++ {
			row, v := c.builder.Value(i)
			dst = append(dst, overflowed{uint32(g), uint32(row), store.Attr{Key: c.key, Value: v}}) //nolint:gosec // below the rows of a block
			t.countSpilled(c.columnID)
		}
	}
	t.attrs[c.attrID].columns[c.typ] = nil
	c.builder = nil
	return dst
}

func (t *table) writeOverflow(group int) error {
	if len(t.overflow) == 0 {
		return nil
	}
	b := column.NewBuilder(overflowSpec())
	var attrs []store.Attr
	for i := 0; i < len(t.overflow); {
		o := t.overflow[i]
		attrs = attrs[:0]
		for ; i < len(t.overflow) && compareRows(t.overflow[i], o) == 0; i++ {
			attrs = append(attrs, t.overflow[i].attr)
		}
		b.PadGranules(int(o.granule))
		b.AddText(int(o.row), store.Map(attrs...).Str)
		t.overRows++
	}
	b.PadGranules(len(t.granules))
	if t.overCol < 0 {
		t.overCol = t.w.AddColumn(overflowSpec())
	}
	clear(t.overflow)
	t.overflow = t.overflow[:0]
	return t.writeColumn(group, t.overCol, b)
}

// count adds the values of the row group to the column's counts.
func (c *attrColumn) count() {
	c.rows += c.builder.Len()
	switch c.typ {
	case store.TypeString:
		complete := c.builder.TextCounts(func(s string, n int) {
			if _, ok := c.texts[s]; ok || len(c.texts) < maxCounted {
				c.texts[s] += n
			} else {
				c.partial = true
			}
		})
		c.partial = c.partial || !complete
	case store.TypeInt, store.TypeFloat, store.TypeBool:
		c.countNums()
	default:
		c.partial = true // not offered as values
	}
}

// countNums counts until there are too many distinct numbers.
func (c *attrColumn) countNums() {
	for i := 0; i < c.builder.Len() && !c.partial; {
		v, from := c.builder.Num(i), i
		for i++; i < c.builder.Len() && c.builder.Num(i) == v; i++ {
		}
		c.countNum(v, i-from)
	}
}

func (c *attrColumn) countNum(v uint64, n int) {
	if _, ok := c.nums[v]; ok || len(c.nums) < maxCounted {
		c.nums[v] += n
	} else {
		c.partial = true
	}
}

// top returns the most frequent values of the column and whether these are all.
func (c *attrColumn) top() ([]store.ValueCount, bool) {
	values := make([]store.ValueCount, 0, len(c.texts)+len(c.nums))
	for s, n := range c.texts {
		values = append(values, store.ValueCount{Value: store.String(s), Count: n})
	}
	for v, n := range c.nums {
		values = append(values, store.ValueCount{Value: store.Value{Type: c.typ, Num: v}, Count: n})
	}
	values, all := index.SortTop(values)
	return values, all && !c.partial
}

package block

import (
	"fmt"
	"strings"
	"sync"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
)

// source gives the values of one column for the rows of one granule.
type source interface {
	// append appends the values of a row, none if it is absent.
	append(dst []store.Value, row int) ([]store.Value, error)
}

// columnSource is a column of a file.
type columnSource struct {
	v    *column.Values
	from chunkRef
	ints bool // every row has a number: Read answers with Vector.Ints
}

// chunkRef names a column chunk, for what is remembered about its dictionary.
type chunkRef struct{ table, group, col int }

func (s *columnSource) append(dst []store.Value, row int) ([]store.Value, error) {
	if i := s.v.Index(row); i >= 0 {
		dst = append(dst, s.v.Value(i))
	}
	return dst, nil
}

// attrSource is an attribute: the columns of its types, and the overflow column.
type attrSource struct {
	b        *Block
	table    int
	key      string
	typed    []columnSource
	overflow *column.Values
}

func (s *attrSource) append(dst []store.Value, row int) ([]store.Value, error) {
	for i := range s.typed {
		if at := s.typed[i].v.Index(row); at >= 0 {
			return append(dst, s.typed[i].v.Value(at)), nil
		}
	}
	if s.overflow == nil {
		return dst, nil
	}
	at := s.overflow.Index(row)
	if at < 0 {
		return dst, nil
	}
	packed := s.overflow.Value(at)
	if !strings.Contains(packed.Str, s.key) {
		return dst, nil
	}
	attrs, err := packed.Attrs()
	if err != nil {
		return dst, s.b.corrupt(s.table, fmt.Errorf("overflow attributes: %w", err))
	}
	for i := range attrs {
		if attrs[i].Key == s.key {
			return append(dst, attrs[i].Value), nil
		}
	}
	return dst, nil
}

// refSource is a property of resources or scopes.
type refSource struct {
	b    *Block
	ids  *column.Values
	base int
	col  *refColumn
}

// refColumn has the values of a column of resources or scopes by their id, as a dictionary.
type refColumn struct {
	codes []uint32 // store.NoCode where there is none
	dict  []store.Value
}

// code returns the dictionary code of a row, or store.NoCode.
func (s *refSource) code(row int) (uint32, error) {
	id := s.ids.Num(row) + uint64(s.base) //nolint:gosec // not negative
	if id >= uint64(len(s.col.codes)) {
		return 0, s.b.corrupt(fileSpans, fmt.Errorf("a span refers to resource or scope %d of %d", id, len(s.col.codes)))
	}
	return s.col.codes[id], nil
}

func (s *refSource) append(dst []store.Value, row int) ([]store.Value, error) {
	c, err := s.code(row)
	if err == nil && c != store.NoCode {
		dst = append(dst, s.col.dict[c])
	}
	return dst, err
}

// funcSource computes values.
type funcSource func(dst []store.Value, row int) ([]store.Value, error)

func (f funcSource) append(dst []store.Value, row int) ([]store.Value, error) { return f(dst, row) }

// intSource computes a number for every row.
type intSource func(row int) int64

func (f intSource) append(dst []store.Value, row int) ([]store.Value, error) {
	return append(dst, store.Int(f(row))), nil
}

// traceSource is the text of trace ids.
type traceSource struct{ v *column.Values }

func (s traceSource) text(row int) store.Value {
	return store.String(spanid.TraceID([]byte(s.v.Str(row))).Short())
}

func (s traceSource) append(dst []store.Value, row int) ([]store.Value, error) {
	return append(dst, s.text(row)), nil
}

// read gives a dictionary entry to each run of rows of a trace.
func (s traceSource) read(sel *store.Bitmap, dst *store.Vector) {
	last, code := "", store.NoCode
	for r := range sel.Rows() {
		if raw := s.v.Str(r); raw != last {
			last = raw
			code++ // From NoCode to 0 first.
			dst.Dict = append(dst.Dict, s.text(r))
		}
		dst.Codes = append(dst.Codes, code)
	}
}

// firstSource is an unscoped attribute: the values of the first source that has some (E-03).
type firstSource []source

func (f firstSource) append(dst []store.Value, row int) ([]store.Value, error) {
	n := len(dst)
	for _, s := range f {
		var err error
		if dst, err = s.append(dst, row); err != nil || len(dst) > n {
			return dst, err
		}
	}
	return dst, nil
}

// source returns the values of a column in the granule.
func (g *granule) source(c store.Column) (source, error) {
	switch c.Scope {
	case store.ScopeIntrinsic:
		return g.intrinsic(c.Name)
	case store.ScopeSpan:
		return g.attrSource(c.Name)
	case store.ScopeResource, store.ScopeInstrumentation:
		return g.refSource(c)
	case store.ScopeEvent:
		return g.childAttrs(fileEvents, c)
	case store.ScopeLink:
		return g.childAttrs(fileLinks, c)
	case store.ScopeUnscoped:
		var out firstSource
		for _, s := range [...]store.ColumnScope{
			store.ScopeSpan, store.ScopeResource, store.ScopeEvent, store.ScopeLink, store.ScopeInstrumentation,
		} {
			src, err := g.source(store.Column{Scope: s, Name: c.Name})
			if err != nil {
				return nil, err
			}
			out = append(out, src)
		}
		return out, nil
	}
	return nil, unsupported(c)
}

func unsupported(c store.Column) error {
	return fmt.Errorf("%w: column %q of scope %s", store.ErrUnsupported, c.Name, c.Scope)
}

// fixedIntrinsics are the intrinsics that are columns of spans.parquet as they are.
var fixedIntrinsics = map[string]struct {
	col  int
	ints bool
}{
	store.SpanName: {colName, false}, store.SpanKind: {colKind, true}, store.SpanStatus: {colStatus, true},
	store.SpanStatusMessage: {colStatusMessage, false}, store.SpanStart: {colStart, true},
	store.SpanDuration: {colDuration, true}, store.SpanTraceState: {colTraceState, false}, store.SpanFlags: {colFlags, true},
}

func (g *granule) intrinsic(name string) (source, error) {
	if f, ok := fixedIntrinsics[name]; ok {
		v, err := g.column(f.col)
		return &columnSource{v: v, from: chunkRef{fileSpans, g.group, f.col}, ints: f.ints}, err
	}
	switch name {
	case store.SpanEnd:
		return g.ends()
	case store.SpanTraceID:
		v, err := g.column(colTraceID)
		return traceSource{v}, err
	case store.SpanID:
		v, err := g.column(colSpanID)
		return spanIDs{v}, err
	case store.SpanParentID:
		return g.parents()
	case store.ScopeName, store.ScopeVersion:
		return g.refSource(store.Intrinsic(name))
	case store.ResourceRef:
		return g.resourceRefs()
	case store.TraceDecision, store.TracePolicy:
		return g.decisions(name)
	case store.EventName, store.EventTimeSinceStart, store.LinkTraceID, store.LinkSpanID:
		return g.childIntrinsic(name)
	}
	return nil, unsupported(store.Intrinsic(name))
}

// resourceRefs gives equal resources the same number.
func (g *granule) resourceRefs() (source, error) {
	v, err := g.column(colResource)
	if err != nil {
		return nil, err
	}
	refs, err := g.b.resources()
	if err != nil {
		return nil, err
	}
	base := uint64(g.meta.ResourceBase) //nolint:gosec // not negative
	return intSource(func(row int) int64 {
		id := v.Num(row) + base
		if id >= uint64(len(refs.same)) {
			return int64(id) //nolint:gosec // damage, which whoever reads the resource finds
		}
		return refs.same[id]
	}), nil
}

func (g *granule) ends() (source, error) {
	end, err := g.endTimes()
	return intSource(func(row int) int64 { return int64(end(row)) }), err //nolint:gosec // wraps, as the contract has it
}

// endTimes returns a function for the end of a row's span.
func (g *granule) endTimes() (func(row int) uint64, error) {
	var vs [3]*column.Values
	for i, col := range [...]int{colStart, colDuration, colEnd} {
		var err error
		if vs[i], err = g.column(col); err != nil {
			return nil, err
		}
	}
	return func(row int) uint64 {
		if i := vs[2].Index(row); i >= 0 {
			return vs[2].Num(i)
		}
		return vs[0].Num(row) + vs[1].Num(row)
	}, nil
}

func (g *granule) attrSource(key string) (source, error) {
	return g.b.attrSource(g.spans, store.ScopeSpan, key, g.group, g.first, g.rows)
}

func (b *Block) attrSource(t *tableFile, scope store.ColumnScope, key string, group, first, rows int) (*attrSource, error) {
	s := &attrSource{b: b, table: t.num, key: key}
	for _, col := range t.attrs[attrID{scope, key}] {
		if t.Empty(group, col) {
			continue
		}
		v, err := b.values(t, group, col, first, rows)
		if err != nil {
			return nil, err
		}
		if v.Len() > 0 {
			s.typed = append(s.typed, columnSource{v: v, from: chunkRef{t.num, group, col}})
		}
	}
	var err error
	s.overflow, err = b.overflow(t, group, first, rows)
	return s, err
}

func (g *granule) refSource(c store.Column) (source, error) {
	col, err := g.b.refColumn(c)
	if err != nil {
		return nil, err
	}
	s := &refSource{b: g.b, col: col, base: g.meta.ResourceBase}
	id := colResource
	if c.Scope != store.ScopeResource {
		id, s.base = colScope, g.meta.ScopeBase
	}
	s.ids, err = g.column(id)
	return s, err
}

// refColumns remembers columns of resources and scopes.
type refColumns struct {
	mu   sync.Mutex
	cols map[store.Column]*refColumn
}

// maxRefColumns bounds what is remembered; queries use few columns.
const maxRefColumns = 64

func (b *Block) refColumn(c store.Column) (*refColumn, error) {
	r, err := b.resources()
	if err != nil {
		return nil, err
	}
	r.columns.mu.Lock()
	defer r.columns.mu.Unlock()
	if col := r.columns.cols[c]; col != nil {
		return col, nil
	}
	col := &refColumn{}
	codes := make(map[store.Value]uint32)
	each := func(v store.Value, ok bool) {
		if !ok {
			col.codes = append(col.codes, store.NoCode)
			return
		}
		code, known := codes[v]
		if !known {
			code = uint32(len(col.dict)) //nolint:gosec // at most one per span
			codes[v] = code
			col.dict = append(col.dict, v)
		}
		col.codes = append(col.codes, code)
	}
	if c.Scope == store.ScopeResource {
		for i := range r.resources {
			each(firstAttr(r.resources[i].Attrs, c.Name))
		}
	} else {
		for i := range r.scopes {
			each(scopeValue(&r.scopes[i], c))
		}
	}
	if r.columns.cols == nil || len(r.columns.cols) >= maxRefColumns {
		r.columns.cols = make(map[store.Column]*refColumn)
	}
	r.columns.cols[c] = col
	return col, nil
}

func scopeValue(s *store.Scope, c store.Column) (store.Value, bool) {
	switch c {
	case store.Intrinsic(store.ScopeName):
		return store.String(s.Name), true
	case store.Intrinsic(store.ScopeVersion):
		return store.String(s.Version), true
	}
	return firstAttr(s.Attrs, c.Name)
}

func firstAttr(attrs []store.Attr, key string) (store.Value, bool) {
	for i := range attrs {
		if attrs[i].Key == key {
			return attrs[i].Value, true
		}
	}
	return store.Value{}, false
}

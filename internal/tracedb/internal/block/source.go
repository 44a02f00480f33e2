package block

import (
	"fmt"
	"strings"

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

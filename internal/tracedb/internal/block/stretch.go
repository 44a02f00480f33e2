package block

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
)

// stretch is a range of rows of one row group of a table, a granule at most: all of them, or those that are wanted. Values
// read from it are counted by their place among the rows that it is about.
type stretch struct {
	b           *Block
	t           *tableFile
	group       int
	first, rows int
	want        []uint16 // rows from first on, ascending, each once; nil: all
	keep        bool     // decode and cache all rows, also if some are wanted
}

// stretch returns the granule's rows of the spans table, all of them.
func (g *granule) stretch() *stretch {
	return &stretch{b: g.b, t: g.spans, group: g.group, first: g.first, rows: g.rows}
}

// row returns which row, from first on, the k-th is.
func (s *stretch) row(k int) int {
	if s.want == nil {
		return k
	}
	return int(s.want[k])
}

// len returns the number of rows that the stretch is about.
func (s *stretch) len() int {
	if s.want == nil {
		return s.rows
	}
	return len(s.want)
}

// find returns the place of a row among those that the stretch is about.
func (s *stretch) find(row int) (int, bool) {
	if s.want == nil {
		return row, row >= 0 && row < s.rows
	}
	if row < 0 || row >= s.rows {
		return 0, false
	}
	return slices.BinarySearch(s.want, uint16(row)) //nolint:gosec // a row of a granule
}

// column returns the values of a column.
func (s *stretch) column(col int) (*column.Values, error) {
	if s.want == nil || s.keep {
		v, err := s.b.values(s.t, s.group, col, s.first, s.rows)
		if err != nil || s.want == nil {
			return v, err
		}
		return v.Pick(s.want), nil
	}
	if v, ok := s.b.cachedValues(s.t, s.group, col, s.first); ok {
		return v.Pick(s.want), nil
	}
	dict, err := s.b.dictOf(s.t, s.group, col)
	if err != nil {
		return nil, err
	}
	return s.t.Pick(s.group, col, s.first, s.rows, s.want, dict)
}

// fewColumns is up to how many columns another goroutine is not worth its start.
const fewColumns = 8

// columns returns the values of several columns. Picking is mostly decompression, which two goroutines share if the reader
// is made for queries: it takes no more of the processors, and half of the time where one is idle.
func (s *stretch) columns(cols []int) ([]*column.Values, error) {
	out := make([]*column.Values, len(cols))
	var next atomic.Int64
	work := func() (err error) {
		defer s.b.contain(&err)
		for err == nil {
			i := int(next.Add(1)) - 1
			if i >= len(cols) {
				break
			}
			out[i], err = s.column(cols[i])
		}
		return err
	}
	if s.want == nil || len(cols) <= fewColumns || s.b.reader.concurrency < 2 {
		return out, work()
	}
	var other error
	var wg sync.WaitGroup
	wg.Go(func() { other = work() })
	err := work()
	wg.Wait()
	return out, cmp.Or(err, other)
}

// attrColumns returns the attribute columns that may have values in the rows.
func (s *stretch) attrColumns() ([]attrRef, error) {
	out := make([]attrRef, 0, len(s.t.ordered))
	for _, a := range s.t.ordered {
		empty, err := s.t.NoValues(s.group, a.col, s.first, s.rows)
		if err != nil {
			return nil, err
		}
		if !empty {
			out = append(out, a)
		}
	}
	return out, nil
}

// read returns the values of fixed columns, and all attributes.
func (s *stretch) read(fixed []int) ([]*column.Values, *rowAttrs, error) {
	refs, err := s.attrColumns()
	if err != nil {
		return nil, nil, err
	}
	cols := slices.Clone(fixed)
	for _, a := range refs {
		cols = append(cols, a.col)
	}
	over := s.t.overflow
	if over >= 0 && !s.t.Empty(s.group, over) {
		cols = append(cols, over)
	} else {
		over = -1
	}
	values, err := s.columns(cols)
	if err != nil {
		return nil, nil, err
	}
	attrs := &rowAttrs{b: s.b, file: s.t.num}
	if over >= 0 {
		if v := values[len(values)-1]; v.Len() > 0 {
			attrs.overflow = v
		}
	}
	for i, a := range refs {
		if v := values[len(fixed)+i]; v.Len() > 0 {
			attrs.columns, attrs.keys = append(attrs.columns, v), append(attrs.keys, a.key)
		}
	}
	return values[:len(fixed)], attrs, nil
}

// rowAttrs gives the attributes of rows.
type rowAttrs struct {
	b        *Block
	file     int
	columns  []*column.Values
	keys     []string
	overflow *column.Values
}

// of returns the attributes of a row: first values, then later ones of the same keys.
func (a *rowAttrs) of(row int) ([]store.Attr, error) {
	n := 0
	for _, v := range a.columns {
		if v.Index(row) >= 0 {
			n++
		}
	}
	var more []store.Attr
	if a.overflow != nil {
		if at := a.overflow.Index(row); at >= 0 {
			var err error
			if more, err = a.overflow.Value(at).Attrs(); err != nil {
				return nil, a.b.corrupt(a.file, fmt.Errorf("overflow attributes: %w", err))
			}
		}
	}
	if n+len(more) == 0 {
		return nil, nil
	}
	dst := make([]store.Attr, 0, n+len(more))
	for i, v := range a.columns {
		if at := v.Index(row); at >= 0 {
			dst = append(dst, store.Attr{Key: a.keys[i], Value: v.Value(at)})
		}
	}
	return append(dst, more...), nil
}

package exec

import (
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

// rowCounter counts the marked rows of one granule after another: a table of cells, one per bucket and group, is filled
// by loops without calls and then added to the series. It belongs to one worker.
type rowCounter struct {
	x   *metricsRun
	acc *accumulator

	start, measure store.Vector
	by             []store.Vector
	cells, zeros   []uint32 // per row

	first, buckets, groups int // The table: buckets from first on times groups.
	count                  []uint32
	sum, low, top          []float64
	hist                   []uint32 // expCells per cell
	wanted                 []bool   // cells whose exemplar is looked for
}

// maxCells bounds the table; granules with more combinations are counted row by row.
const maxCells = 1 << 14

// expCells is how many powers of two there are, and so buckets of histograms.
const expCells = 64

func newRowCounter(x *metricsRun, acc *accumulator) *rowCounter {
	return &rowCounter{x: x, acc: acc, by: make([]store.Vector, len(x.by))}
}

// add counts the marked rows of a granule.
func (c *rowCounter) add(s spot, sel *store.Bitmap) error {
	n := sel.Count()
	r := c.x.run
	lo, hi, known := r.rangeOf(s, store.SpanStart)
	var first, last int
	if known {
		first = c.x.timeline.bucket(max(lo, c.x.window.start))
		last = c.x.timeline.bucket(min(hi, c.x.window.end))
		known = first >= 0 && last >= first
	}
	columns := int64(len(c.x.by) + 1)
	if c.x.measured {
		columns++
	}
	bytes := int64(n) * columns * valueBytes
	if err := r.meter.take(r.ctx, bytes); err != nil {
		return err
	}
	defer r.meter.give(bytes)
	if err := c.read(s, sel, known && first == last); err != nil {
		return err
	}
	if !known {
		first, last = c.bucketsOfStarts(n)
		if last < 0 {
			return nil
		}
	}
	g := groupRows(c.by, n, c.x.query.AST.By)
	c.first, c.buckets, c.groups = first, last-first+1, len(g.groups)
	limit := maxCells
	if c.acc.needs.hist {
		limit /= 16
	}
	if c.buckets > limit/c.groups {
		return c.each(s, sel, g)
	}
	c.locate(n, g)
	c.fill(n)
	return c.flush(s, sel, g)
}

// read reads the columns that are needed; starts are not if all rows are in one bucket.
func (c *rowCounter) read(s spot, sel *store.Bitmap, oneBucket bool) error {
	c.start.Reset()
	if !oneBucket {
		if err := c.column(s, sel, store.Intrinsic(store.SpanStart), &c.start); err != nil {
			return err
		}
		if len(c.start.Ints) == 0 { // Another form of the same.
			for i := range c.start.Rows() {
				c.start.Ints = append(c.start.Ints, c.start.At(i).Int())
			}
			c.start.Values, c.start.Codes = c.start.Values[:0], c.start.Codes[:0]
		}
	}
	for i, col := range c.x.by {
		if err := c.column(s, sel, col, &c.by[i]); err != nil {
			return err
		}
	}
	if c.x.measured {
		return c.column(s, sel, c.x.measure, &c.measure)
	}
	return nil
}

func (c *rowCounter) column(s spot, sel *store.Bitmap, col store.Column, dst *store.Vector) error {
	r := c.x.run
	if err := r.err(); err != nil {
		return err
	}
	p := r.parts[s.part]
	if err := p.Read(r.ctx, s.granule, col, sel, dst); err != nil {
		return fmt.Errorf("read column %s of %s: %w", col.Name, p.Info().ID, err)
	}
	r.bytes.Add(int64(sel.Count()) * valueBytes)
	return nil
}

// bucketsOfStarts returns the first and last bucket of the rows; last is -1 if none is in the timeline.
func (c *rowCounter) bucketsOfStarts(n int) (first, last int) {
	lo, hi := int64(math.MaxInt64), int64(math.MinInt64)
	for _, v := range c.start.Ints[:n] {
		if v >= c.x.window.start && v <= c.x.window.end {
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	if hi < lo {
		return 0, -1
	}
	return c.x.timeline.bucket(lo), c.x.timeline.bucket(hi)
}

// locate finds the cell of each row. Rows outside of the timeline get the cell behind the last.
func (c *rowCounter) locate(n int, g *grouping) {
	if c.cells = g.ids; len(g.ids) == 0 {
		c.zeros = zeroed(c.zeros, n)
		c.cells = c.zeros
	}
	if len(c.start.Ints) == 0 {
		return
	}
	groups, outside := uint32(c.groups), uint32(c.buckets*c.groups) //nolint:gosec // at most maxCells
	t := c.x.timeline
	from, to, offset := int64(1), int64(0), uint32(0) // The rows of (from, to] have this offset.
	for i := range n {
		start := c.start.Ints[i]
		if start <= from || start > to {
			b := t.bucket(start)
			if b < c.first || b >= c.first+c.buckets {
				c.cells[i] = outside
				continue
			}
			offset = uint32(b-c.first) * groups //nolint:gosec // at most maxCells
			from, to = t.Start+int64(b)*t.Step, t.Start+int64(b+1)*t.Step
			if t.Instant {
				from--
			}
		}
		c.cells[i] += offset
	}
}

// fill counts and measures the rows.
func (c *rowCounter) fill(n int) {
	cells := c.buckets*c.groups + 1
	c.count = zeroed(c.count, cells)
	if !c.x.measured {
		for _, cell := range c.cells {
			c.count[cell]++
		}
		return
	}
	need := c.acc.needs
	switch {
	case need.hist:
		c.hist = zeroed(c.hist, cells*expCells)
	case need.low:
		c.low = zeroed(c.low, cells)
	case need.top:
		c.top = zeroed(c.top, cells)
	default:
		c.sum = zeroed(c.sum, cells)
	}
	if need.hist && c.durations() {
		for i, cell := range c.cells {
			c.count[cell]++
			if v := c.measure.Ints[i]; v >= 2 {
				c.hist[int(cell)*expCells+bits.Len64(uint64(v-1))]++
			}
		}
		return
	}
	for i := range n {
		v, ok := c.value(i)
		if !ok {
			continue
		}
		cell := c.cells[i]
		c.count[cell]++
		switch {
		case need.hist:
			if exp, ok := exponent(v); ok {
				c.hist[int(cell)*expCells+int(exp)]++
			}
		case need.low:
			if c.count[cell] == 1 {
				c.low[cell] = absent
			}
			c.low[cell] = least(c.low[cell], v)
		case need.top:
			if c.count[cell] == 1 {
				c.top[cell] = absent
			}
			c.top[cell] = greatest(c.top[cell], v)
		default:
			c.sum[cell] += v
		}
	}
}

// durations reports whether what is measured are plain numbers of nanoseconds.
func (c *rowCounter) durations() bool {
	return c.x.query.AST.Attr.Intrinsic == ast.SpanDuration && len(c.measure.Ints) > 0 && len(c.measure.Offsets) == 0
}

// value returns what is measured in a row.
func (c *rowCounter) value(i int) (float64, bool) {
	return c.acc.measured(toStatic(c.x.query.AST.Attr, c.measure.At(i)))
}

func zeroed[T any](s []T, n int) []T {
	s = slices.Grow(s[:0], n)[:n]
	clear(s)
	return s
}

// flush adds the cells to the series and looks for exemplars where better ones are wanted.
func (c *rowCounter) flush(s spot, sel *store.Bitmap, g *grouping) error {
	series := make([]*accSeries, c.groups)
	c.wanted = zeroed(c.wanted, c.buckets*c.groups+1)
	looking := false
	for cell, k := range c.count[:c.buckets*c.groups] {
		if k == 0 {
			continue
		}
		group, bucket := cell%c.groups, c.first+cell/c.groups
		sr := series[group]
		if sr == nil {
			var err error
			if sr, err = c.acc.of(g.groups[group]); err != nil {
				return err
			}
			series[group] = sr
		}
		c.addCell(sr, cell, bucket, float64(k))
		if c.acc.exemplar && c.acc.slot(sr, bucket).wants(s) {
			c.wanted[cell], looking = true, true
		}
	}
	if looking {
		c.findExemplars(s, sel, series)
	}
	return nil
}

// addCell adds one cell to a series.
func (c *rowCounter) addCell(sr *accSeries, cell, bucket int, k float64) {
	switch need := c.acc.needs; {
	case need.hist:
		for exp, n := range c.hist[cell*expCells : (cell+1)*expCells] {
			if n > 0 {
				sr.Hist[bucket] = addHist(sr.Hist[bucket], uint8(exp), float64(n)) //nolint:gosec // below 64
			}
		}
	case need.low:
		sr.Min[bucket] = least(sr.Min[bucket], c.low[cell])
	case need.top:
		sr.Max[bucket] = greatest(sr.Max[bucket], c.top[cell])
	default:
		sr.Count[bucket] += k
		if need.sum {
			sr.Sum[bucket] += c.sum[cell]
		}
	}
}

// findExemplars offers the first row of each wanted cell.
func (c *rowCounter) findExemplars(s spot, sel *store.Bitmap, series []*accSeries) {
	i := -1
	for row := range sel.Rows() {
		i++
		cell := c.cells[i]
		if !c.wanted[cell] {
			continue
		}
		v := 0.0
		if c.x.measured {
			var ok bool
			if v, ok = c.value(i); !ok {
				continue
			}
		}
		c.wanted[cell] = false
		c.acc.offer(series[int(cell)%c.groups], c.first+int(cell)/c.groups, s, uint32(row), v) //nolint:gosec // a row of a granule
	}
}

// each counts row by row.
func (c *rowCounter) each(s spot, sel *store.Bitmap, g *grouping) error {
	series := make([]*accSeries, len(g.groups))
	i := -1
	for row := range sel.Rows() {
		i++
		bucket := c.first
		if len(c.start.Ints) > 0 {
			if bucket = c.x.timeline.bucket(c.start.Ints[i]); bucket < 0 {
				continue
			}
		}
		v := 0.0
		if c.x.measured {
			var ok bool
			if v, ok = c.value(i); !ok {
				continue
			}
		}
		group := uint32(0)
		if len(g.ids) > 0 {
			group = g.ids[i]
		}
		sr := series[group]
		if sr == nil {
			var err error
			if sr, err = c.acc.of(g.groups[group]); err != nil {
				return err
			}
			series[group] = sr
		}
		c.acc.add(sr, bucket, v)
		if c.acc.exemplar {
			c.acc.offer(sr, bucket, s, uint32(row), v) //nolint:gosec // a row of a granule
		}
	}
	return nil
}

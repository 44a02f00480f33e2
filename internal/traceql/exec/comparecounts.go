package exec

import (
	"fmt"
	"slices"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// countedRange is a range of granules of which a part may know how often values occur. All of its spans are counted as if
// they were in its main bucket and, unless exactly the spans with errors are selected, in the baseline; rows for which
// that is wrong are corrected later.
type countedRange struct {
	part     int
	n        int // Of the part's ranges.
	granules store.GranuleRange
	main     int
	unknown  bool // The part knows nothing after all.
	noRoots  bool // Roots are to be counted row by row.
	partial  map[ast.Attr]*partialCount
	scan     map[ast.Attr]bool // Attributes that are to be counted row by row.
}

// partialCount is what is known of an attribute with too many values: the common ones, and that no other has more spans
// than most.
type partialCount struct {
	listed  map[store.Value]store.SpanCount
	sum     store.SpanCount
	most    uint32
	unknown bool
}

// countedRanges lists the ranges that are worth it: at least a third of their granules lie in one bucket.
func (x *metricsRun) countedRanges() []*countedRange {
	r := x.run
	if x.local.op != plan.True || len(r.skip) > 0 || x.window != x.timeline.window() {
		return nil
	}
	x.failed = x.errorSelection()
	_, listed := r.split.(store.TraceNamer)
	x.rootless = r.split.Len() > 0 && !listed || r.split.Len()*len(r.parts) > maxSplitLookups || x.manySplit()
	var out []*countedRange
	for part := range r.parts {
		p, ok := r.parts[part].(store.Counter)
		if !ok {
			continue
		}
		for n, g := range p.Ranges() {
			in := &countedRange{part: part, n: n, granules: g, main: -1}
			votes := map[int]int{}
			for i := g.First; i < g.End; i++ {
				lo, hi, known := r.rangeOf(spot{part, i}, store.SpanStart)
				if b := x.timeline.bucket(lo); known && b >= 0 && b == x.timeline.bucket(hi) {
					if votes[b]++; in.main < 0 || votes[b] > votes[in.main] {
						in.main = b
					}
				}
			}
			if in.main >= 0 && 3*votes[in.main] >= g.End-g.First {
				out = append(out, in)
			}
		}
	}
	return out
}

// countedIntrinsics are the intrinsics of compare by their columns.
var countedIntrinsics = func() map[store.Column]ast.Attr {
	out := map[store.Column]ast.Attr{}
	for _, i := range comparedIntrinsics {
		c, _ := columnOf(ast.IntrinsicAttr(i))
		out[c] = ast.IntrinsicAttr(i)
	}
	return out
}()

// countedAttr returns the attribute of a column.
func countedAttr(c store.Column) (ast.Attr, bool) {
	if c.Scope == store.ScopeIntrinsic {
		a, ok := countedIntrinsics[c]
		return a, ok
	}
	scope, ok := scopeOf(c.Scope)
	return ast.Attr{Scope: scope, Name: c.Name}, ok
}

// rangesAtOnce bounds the ranges whose counts are in memory at a time.
const rangesAtOnce = 64

// countedAttribute is what some ranges know of the values of one attribute.
type countedAttribute struct {
	attr    ast.Attr
	columns []countedColumn
	values  int
}

type countedColumn struct {
	in     *countedRange
	values []store.Value
	counts []store.SpanCount
}

// addRanges counts ranges by what their parts know of them, attribute by attribute: so each value is looked up in one place,
// which stays in the processor's cache, and there is nothing to merge.
func (c *comparer) addRanges(ranges []*countedRange) error {
	for some := range slices.Chunk(ranges, rangesAtOnce) {
		counts := make([]*store.RangeCounts, len(some))
		err := c.x.run.each(len(some), func(i int) (err error) {
			counts[i], err = c.rangeCounts(some[i])
			return err
		})
		if err != nil {
			return err
		}
		attrs := c.byAttribute(some, counts)
		err = c.x.run.each(len(attrs), func(i int) error { return c.addAttribute(attrs[i]) })
		if err != nil {
			return err
		}
	}
	return nil
}

// rangeCounts reads what the part knows of a range, nil if that is nothing.
func (c *comparer) rangeCounts(in *countedRange) (*store.RangeCounts, error) {
	r := c.x.run
	p := r.parts[in.part]
	counts, err := p.(store.Counter).Counts(r.ctx, in.n) //nolint:forcetypeassert // It has ranges.
	if err != nil {
		return nil, fmt.Errorf("read counts of values: %w", err)
	}
	if counts == nil {
		in.unknown = true
		return nil, nil //nolint:nilnil // Nothing is an answer.
	}
	info := p.Info()
	for g := in.granules.First; g < in.granules.End; g++ {
		r.granules.Add(1)
		r.spans.Add(int64(info.GranuleLen(g)))
	}
	in.findPartial(counts)
	in.noRoots = counts.Roots == nil || c.x.rootless
	return counts, nil
}

// byAttribute lists what is known of all values of attributes, the attributes with the most of them first.
func (c *comparer) byAttribute(ranges []*countedRange, counts []*store.RangeCounts) []*countedAttribute {
	known := map[ast.Attr]*countedAttribute{}
	var out []*countedAttribute
	add := func(a ast.Attr, col countedColumn) {
		all := known[a]
		if all == nil {
			all = &countedAttribute{attr: a}
			known[a] = all
			out = append(out, all)
			c.of(a) // Those who count find it there.
		}
		all.columns, all.values = append(all.columns, col), all.values+len(col.values)
	}
	for i, in := range ranges {
		if counts[i] == nil {
			continue
		}
		for k := range counts[i].Columns {
			col := &counts[i].Columns[k]
			if a, ok := countedAttr(col.Column); ok && in.partial[a] == nil {
				add(a, countedColumn{in, col.Values, col.Counts})
			}
		}
		if in.noRoots {
			continue
		}
		names, services := countedColumn{in: in}, countedColumn{in: in}
		for _, root := range counts[i].Roots {
			names.values, names.counts = append(names.values, store.String(root.Name)), append(names.counts, root.SpanCount)
			services.values = append(services.values, store.String(root.Service))
		}
		services.counts = names.counts
		add(ast.IntrinsicAttr(ast.RootName), names)
		add(ast.IntrinsicAttr(ast.RootService), services)
	}
	slices.SortStableFunc(out, func(a, b *countedAttribute) int { return b.values - a.values })
	return out
}

// addAttribute counts one attribute.
func (c *comparer) addAttribute(known *countedAttribute) error {
	all := c.attrs[known.attr]
	if !all.closed && known.manyValues(len(all.values)) {
		if err := c.closeToCommon(all, known); err != nil {
			return err
		}
	}
	for _, col := range known.columns {
		if err := c.x.run.err(); err != nil {
			return err
		}
		for k, v := range col.values {
			if err := c.addCounted(col.in, all, v, col.counts[k]); err != nil {
				return err
			}
		}
	}
	return nil
}

// manyValues reports whether an attribute has more values than are counted, so that counting does not begin with values that are
// given up afterwards. counted is how many are.
func (known *countedAttribute) manyValues(counted int) bool {
	if known.values <= maxCompareValues {
		return false
	}
	var t numbering
	t.reset(maxCompareValues)
	for _, col := range known.columns {
		for _, v := range col.values {
			if t.code(v); len(t.dict) > max(maxCompareValues, counted) {
				return true
			}
		}
	}
	return false
}

// closeToCommon leaves the values that a column of a range has often: others are rare in all of them.
func (c *comparer) closeToCommon(all *valueCounts, known *countedAttribute) error {
	if err := c.x.closeValues(all); err != nil {
		return err
	}
	for _, col := range known.columns {
		spans := 0
		for _, n := range col.counts {
			spans += int(n.Spans)
		}
		for k, v := range col.values {
			if int(col.counts[k].Spans)*rareValue < spans || all.values[v] != nil || toStatic(all.attr, v).IsNil() {
				continue
			}
			if _, err := c.x.newValue(all, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// findPartial notes the attributes not all values of which are counted.
func (in *countedRange) findPartial(counts *store.RangeCounts) {
	in.partial = map[ast.Attr]*partialCount{}
	for i := range counts.Columns {
		col := &counts.Columns[i]
		a, ok := countedAttr(col.Column)
		if !ok || !col.Unknown && col.Sum.Spans == 0 || !queryable(store.Value{Type: col.Type}) {
			continue
		}
		p := in.partial[a]
		if p == nil {
			p = &partialCount{listed: map[store.Value]store.SpanCount{}}
			in.partial[a] = p
		}
		p.sum.Spans += col.Sum.Spans
		p.sum.Errors += col.Sum.Errors
		p.most = max(p.most, col.Max)
		p.unknown = p.unknown || col.Unknown
	}
	for i := range counts.Columns {
		col := &counts.Columns[i]
		a, _ := countedAttr(col.Column)
		p := in.partial[a]
		if p == nil || !queryable(store.Value{Type: col.Type}) {
			continue
		}
		for k, v := range col.Values {
			p.listed[v] = col.Counts[k]
		}
	}
}

// addCounted adds the spans of a range that have a value.
func (c *comparer) addCounted(in *countedRange, all *valueCounts, v store.Value, n store.SpanCount) error {
	if n.Spans == 0 {
		return nil
	}
	counts, err := c.value(all, v)
	if err != nil || counts == nil {
		return err
	}
	return c.x.addSpans(counts, in.main, n)
}

// addSpans adds spans in a bucket on the sides that they are taken for.
func (x *metricsRun) addSpans(v *valueCount, bucket int, n store.SpanCount) error {
	if !x.failed {
		return x.addCount(v, 0, bucket, int64(n.Spans))
	}
	if n.Spans > n.Errors {
		if err := x.addCount(v, 0, bucket, int64(n.Spans-n.Errors)); err != nil {
			return err
		}
	}
	if n.Errors == 0 {
		return nil
	}
	return x.addCount(v, 1, bucket, int64(n.Errors))
}

// settle joins what the workers have counted to what is known of ranges, and decides about attributes with too many values
// in some of these: ranges are read in which a value that is not rare may have spans that are not counted.
func (x *metricsRun) settle(all *comparer, ranges []*countedRange) error {
	for w := range x.compare {
		if err := all.merge(x.compare[w]); err != nil {
			return err
		}
		x.compare[w] = newComparer(x)
	}
	x.compare[0] = all
	partial := map[ast.Attr][]*countedRange{}
	for _, in := range ranges {
		in.scan = map[ast.Attr]bool{}
		for a := range in.partial {
			partial[a] = append(partial[a], in)
		}
	}
	for a, in := range partial {
		if err := all.settle(a, in); err != nil {
			return err
		}
	}
	return x.shareClosed()
}

// settle decides about one attribute.
func (c *comparer) settle(a ast.Attr, ranges []*countedRange) error {
	all := c.of(a)
	spans, most, unknown := all.spans(), 0.0, false
	listed := map[store.Value]float64{} // How often ranges list values.
	for _, in := range ranges {
		p := in.partial[a]
		spans += float64(p.sum.Spans)
		most += float64(p.most)
		if p.unknown {
			in.scan[a], unknown = true, true
		}
		for v, n := range p.listed {
			listed[v] += float64(n.Spans)
			spans += float64(n.Spans)
		}
	}
	if unknown || most*rareValue >= spans { // Any value may be common.
		for _, in := range ranges {
			in.scan[a] = true
		}
		return nil
	}
	common := func(n float64) bool { return (n+most)*rareValue >= spans }
	keep := func(v store.Value) error {
		for _, in := range ranges {
			if _, ok := in.partial[a].listed[v]; !ok {
				in.scan[a] = true
			}
		}
		_, err := c.value(all, v)
		return err
	}
	for v, vc := range all.values {
		if _, ok := listed[v]; !ok && common(vc.total()) {
			if err := keep(v); err != nil {
				return err
			}
		}
	}
	for v, n := range listed {
		if vc := all.values[v]; vc != nil {
			n += vc.total()
		}
		if common(n) {
			if err := keep(v); err != nil {
				return err
			}
		}
	}
	err := c.x.giveUp(all, func(v store.Value, n float64) bool { return !common(n + listed[v]) })
	for _, in := range ranges {
		if err != nil {
			return err
		}
		if p := in.partial[a]; !in.scan[a] {
			err = c.addPartial(in, all, p)
		}
	}
	return err
}

// addPartial counts what is known of an attribute in a range.
func (c *comparer) addPartial(in *countedRange, all *valueCounts, p *partialCount) error {
	for v, n := range p.listed {
		if err := c.addCounted(in, all, v, n); err != nil {
			return err
		}
	}
	return c.x.addSpans(all.other, in.main, p.sum)
}

// shareClosed makes all workers count the same values of attributes that have too many.
func (x *metricsRun) shareClosed() error {
	for a, counts := range x.compare[0].attrs {
		if !counts.closed {
			continue
		}
		for _, c := range x.compare[1:] {
			mine := &valueCounts{attr: a, values: map[store.Value]*valueCount{}, closed: true, other: &valueCount{}}
			if err := x.run.meter.take(x.run.ctx, valueCountBytes*int64(len(counts.values))); err != nil {
				return err
			}
			for v, vc := range counts.values {
				mine.values[v] = &valueCount{value: vc.value}
			}
			c.attrs[a] = mine
		}
	}
	return nil
}

package storetest

import (
	"errors"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/spansize"
	"github.com/bramble-tracing/bramble/internal/store"
)

// known compares what a part says of its columns without reading them (store.Lister, store.Ranger,
// store.Sizer, store.Picker, store.TraceReader) with their values.
func (c *partCheck) known(columns []store.Column) {
	c.t.Helper()
	lister, _ := c.part.(store.Lister)
	ranger, _ := c.part.(store.Ranger)
	c.sizes()
	c.traces()
	c.ids()
	c.counts(columns)
	for _, col := range columns {
		c.picks(col)
		if lister != nil {
			c.distinct(lister, col)
		}
		if ranger != nil {
			c.ranges(ranger, col)
		}
	}
}

// traces compares the list of traces with those that rows have: it may have more, and begins anywhere.
func (c *partCheck) traces() {
	c.t.Helper()
	lister, ok := c.part.(store.TraceLister)
	if !ok {
		return
	}
	var listed []spanid.TraceID
	n, err := lister.EachTrace(c.t.Context(), 0, func(id spanid.TraceID) { listed = append(listed, id) })
	if errors.Is(err, store.ErrUnsupported) {
		return
	}
	require.NoError(c.t, err)
	require.Len(c.t, listed, n)
	for first := range n + 2 {
		var rest []spanid.TraceID
		got, err := lister.EachTrace(c.t.Context(), first, func(id spanid.TraceID) { rest = append(rest, id) })
		require.NoError(c.t, err)
		require.Equal(c.t, n, got)
		require.True(c.t, slices.Equal(listed[min(first, n):], rest), "%s lists other traces from %d on", c.info.ID, first)
		if first == 3 {
			break // Not for thousands.
		}
	}
	set := map[spanid.TraceID]bool{}
	for _, id := range listed {
		require.False(c.t, set[id], "%s lists trace %s twice", c.info.ID, id)
		set[id] = true
	}
	for g := range c.info.Granules() {
		for _, v := range c.column(g, store.Intrinsic(store.SpanTraceID)) {
			var id spanid.TraceID
			if v.Str != "" { // Of the id zero, which has no digits.
				var err error
				id, err = spanid.ParseTraceID(v.Str)
				require.NoError(c.t, err)
			}
			require.True(c.t, set[id], "%s has spans of trace %s, which is not listed", c.info.ID, id)
		}
	}
}

// ids compares trace ids with those of the whole spans, for all rows and for every third.
func (c *partCheck) ids() {
	c.t.Helper()
	reader, ok := c.part.(store.TraceReader)
	if !ok {
		return
	}
	for g := range c.info.Granules() {
		for _, step := range []int{1, 3} {
			var sel store.Bitmap
			want := []spanid.TraceID{{1}}
			for r := 0; r < c.info.GranuleLen(g); r += step {
				sel.Set(r)
				want = append(want, c.rows.Spans[g*store.GranuleRows+r].TraceID)
			}
			got, err := reader.TraceIDs(c.t.Context(), g, &sel, []spanid.TraceID{{1}})
			if errors.Is(err, store.ErrUnsupported) {
				return
			}
			require.NoError(c.t, err)
			require.Equal(c.t, want, got, "trace ids of granule %d of %s", g, c.info.ID)
			if n := c.info.GranuleLen(g); n < store.GranuleRows {
				sel.Set(n)
				_, err = reader.TraceIDs(c.t.Context(), g, &sel, nil)
				require.ErrorIs(c.t, err, store.ErrInvalid, "a row beyond granule %d", g)
			}
		}
	}
}

// sizes compares the sizes of spans with those of the whole spans, for all rows and for every third.
func (c *partCheck) sizes() {
	c.t.Helper()
	sizer, ok := c.part.(store.Sizer)
	if !ok {
		return
	}
	for g := range c.info.Granules() {
		for _, step := range []int{1, 3} {
			var sel store.Bitmap
			var rows []uint32
			for r := 0; r < c.info.GranuleLen(g); r += step {
				sel.Set(r)
				rows = append(rows, uint32(g*store.GranuleRows+r)) //nolint:gosec // rows of a part fit
			}
			got, err := sizer.Sizes(c.t.Context(), g, &sel, nil)
			if errors.Is(err, store.ErrUnsupported) {
				return
			}
			require.NoError(c.t, err)
			var b store.Batch
			require.NoError(c.t, c.part.Spans(c.t.Context(), rows, &b))
			want := make([]int, len(b.Spans))
			for i := range b.Spans {
				want[i] = spansize.Of(&b.Spans[i])
			}
			require.Equal(c.t, want, got, "sizes of the spans of granule %d of %s", g, c.info.ID)
		}
	}
}

// picks compares some rows of a column, a few and more, with the same rows read.
func (c *partCheck) picks(col store.Column) {
	c.t.Helper()
	picker, ok := c.part.(store.Picker)
	if !ok {
		return
	}
	for g := range c.info.Granules() {
		for _, step := range []int{1, 3, 50} {
			var sel store.Bitmap
			for r := step / 2; r < c.info.GranuleLen(g); r += step {
				sel.Set(r)
			}
			var want, got store.Vector
			require.NoError(c.t, c.part.Read(c.t.Context(), g, col, &sel, &want))
			require.NoError(c.t, picker.Pick(c.t.Context(), g, col, &sel, &got))
			require.Equal(c.t, want.Rows(), got.Rows(), "rows of column %v", col)
			for i := range want.Rows() {
				require.Equal(c.t, want.AppendTo(nil, i), got.AppendTo(nil, i), "column %v of granule %d of %s", col, g, c.info.ID)
			}
			if c.info.GranuleLen(g) < store.GranuleRows {
				sel.Set(c.info.GranuleLen(g))
				require.ErrorIs(c.t, picker.Pick(c.t.Context(), g, col, &sel, &got), store.ErrInvalid)
			}
		}
	}
}

// column reads all values of a column in a granule.
func (c *partCheck) column(granule int, col store.Column) []store.Value {
	c.t.Helper()
	var sel store.Bitmap
	sel.Fill(c.info.GranuleLen(granule))
	var v store.Vector
	require.NoError(c.t, c.part.Read(c.t.Context(), granule, col, &sel, &v))
	var out []store.Value
	for i := range v.Rows() {
		out = v.AppendTo(out, i)
	}
	return out
}

func (c *partCheck) distinct(p store.Lister, col store.Column) {
	c.t.Helper()
	listed, complete, err := p.Distinct(c.t.Context(), col)
	require.NoError(c.t, err)
	if !complete {
		require.Empty(c.t, listed, "values of column %v, which are not all", col)
		return
	}
	occurs := map[store.Value]bool{}
	for g := range c.info.Granules() {
		for _, v := range c.column(g, col) {
			occurs[v] = true
		}
	}
	set := map[store.Value]bool{}
	for _, v := range listed {
		set[v] = true
		if c.info.Kind == store.KindBlock {
			require.True(c.t, occurs[v], "column %v of %s has no %v", col, c.info.ID, v)
		}
	}
	for v := range occurs {
		require.True(c.t, set[v], "column %v of %s has %v, which is not listed", col, c.info.ID, v)
	}
}

func (c *partCheck) ranges(p store.Ranger, col store.Column) {
	c.t.Helper()
	for g := range c.info.Granules() {
		lo, hi, ok := p.Range(g, col)
		if !ok {
			continue
		}
		values := c.column(g, col)
		require.Len(c.t, values, c.info.GranuleLen(g), "column %v has a range, so every row has a value", col)
		for _, v := range values {
			require.True(c.t, v.Type == store.TypeInt && v.Int() >= lo && v.Int() <= hi,
				"column %v of granule %d has %d, which is not in %d to %d", col, g, v.Int(), lo, hi)
		}
	}
}

package storetest

import (
	"bytes"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// countedIntrinsics are the intrinsics that store.RangeCounts has.
var countedIntrinsics = []string{
	store.SpanName, store.SpanKind, store.SpanStatus, store.SpanStatusMessage, store.EventName, store.ScopeName, store.ScopeVersion,
}

// counts compares what a part knows of how often values occur (store.Counter) with its columns.
func (c *partCheck) counts(columns []store.Column) {
	c.t.Helper()
	p, ok := c.part.(store.Counter)
	if !ok {
		return
	}
	for _, name := range countedIntrinsics {
		columns = append(slices.Clip(columns), store.Intrinsic(name))
	}
	next := 0
	for n, r := range p.Ranges() {
		require.GreaterOrEqual(c.t, r.First, next)
		require.Greater(c.t, r.End, r.First)
		require.LessOrEqual(c.t, r.End, c.info.Granules())
		next = r.End
		counts, err := p.Counts(c.t.Context(), n)
		require.NoError(c.t, err)
		if counts == nil {
			continue
		}
		for _, col := range columns {
			if col.Scope != store.ScopeUnscoped && (col.Scope != store.ScopeIntrinsic || slices.Contains(countedIntrinsics, col.Name)) {
				c.columnCounts(r, counts, col)
			}
		}
		if counts.Roots != nil {
			c.rootCounts(r, counts.Roots)
		}
	}
}

// columnCounts compares one column of a range.
func (c *partCheck) columnCounts(r store.GranuleRange, counts *store.RangeCounts, col store.Column) {
	c.t.Helper()
	want := map[store.Value]store.SpanCount{}
	for g := r.First; g < r.End; g++ {
		var sel store.Bitmap
		sel.Fill(c.info.GranuleLen(g))
		var v, status store.Vector
		require.NoError(c.t, c.part.Read(c.t.Context(), g, col, &sel, &v))
		require.NoError(c.t, c.part.Read(c.t.Context(), g, store.Intrinsic(store.SpanStatus), &sel, &status))
		for i := range v.Rows() {
			n := want[v.At(i)]
			n.Add(status.At(i).Int() == store.StatusError)
			want[v.At(i)] = n
		}
	}
	var unlisted store.SpanCount
	unknown, most := false, uint32(0)
	for _, got := range counts.Columns {
		if got.Column != col {
			continue
		}
		require.Len(c.t, got.Counts, len(got.Values))
		for i, v := range got.Values {
			if got.Counts[i].Spans > 0 {
				require.Equal(c.t, want[v], got.Counts[i], "spans whose %v is %v in granules %v of %s", col, v, r, c.info.ID)
			}
			delete(want, v)
		}
		most = max(most, got.Max)
		unlisted.Spans += got.Sum.Spans
		unlisted.Errors += got.Sum.Errors
		unknown = unknown || got.Unknown
	}
	if unknown {
		return
	}
	delete(want, store.Value{})
	var rest store.SpanCount
	for v, n := range want {
		if unlisted.Spans > 0 {
			require.LessOrEqual(c.t, n.Spans, most, "spans whose %v is %v in granules %v of %s", col, v, r, c.info.ID)
		}
		rest.Spans += n.Spans
		rest.Errors += n.Errors
	}
	require.Equal(c.t, rest, unlisted, "spans whose %v is not listed in granules %v of %s: %v", col, r, c.info.ID, want)
}

// rootCounts compares the counts by root.
func (c *partCheck) rootCounts(r store.GranuleRange, got []store.RootCount) {
	c.t.Helper()
	var b store.Batch
	rows := make([]uint32, c.info.Rows)
	for i := range rows {
		rows[i] = uint32(i) //nolint:gosec // rows of a part fit
	}
	require.NoError(c.t, c.part.Spans(c.t.Context(), rows, &b))
	roots := map[spanid.TraceID]*store.Span{}
	for i := range b.Spans {
		s := &b.Spans[i]
		if !s.ParentID.IsZero() {
			continue
		}
		have := roots[s.TraceID]
		if have == nil || int64(s.StartNano) > int64(have.StartNano) || //nolint:gosec // as columns of times have it
			s.StartNano == have.StartNano && bytes.Compare(s.SpanID[:], have.SpanID[:]) > 0 {
			roots[s.TraceID] = s
		}
	}
	want := map[store.RootCount]store.SpanCount{}
	for i := r.First * store.GranuleRows; i < min(r.End*store.GranuleRows, len(b.Spans)); i++ {
		key := store.RootCount{}
		if root := roots[b.Spans[i].TraceID]; root != nil {
			key.Name = root.Name
			for _, a := range b.Resources[root.Resource].Attrs {
				if a.Key == "service.name" {
					key.Service = a.Value.Str
					break
				}
			}
		}
		n := want[key]
		n.Add(b.Spans[i].StatusCode == store.StatusError)
		want[key] = n
	}
	have := map[store.RootCount]store.SpanCount{}
	for _, g := range got {
		have[store.RootCount{Name: g.Name, Service: g.Service}] = g.SpanCount
	}
	require.Equal(c.t, want, have, "spans by root in granules %v of %s", r, c.info.ID)
}

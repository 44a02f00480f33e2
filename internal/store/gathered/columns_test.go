package gathered_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/gathered"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

// carried are all kinds of columns.
var carried = append(slices.Clone(gathered.Base),
	store.Intrinsic(store.SpanName), store.Intrinsic(store.SpanParentID), store.Intrinsic(store.SpanStatus), store.Intrinsic(store.EventName),
	store.Intrinsic(store.EventTimeSinceStart), store.Intrinsic(store.LinkSpanID),
	store.Column{Scope: store.ScopeResource, Name: "service.name"}, store.Column{Scope: store.ScopeSpan, Name: "http.response.status_code"},
	store.Column{Scope: store.ScopeUnscoped, Name: "url.full"}, store.Column{Scope: store.ScopeEvent, Name: "exception.type"},
	store.Column{Scope: store.ScopeSpan, Name: "nobody.has.this"},
)

// columnsOf reads columns of a batch, in rows that follow each other: a third of them in each segment.
func columnsOf(t testing.TB, b *store.Batch, ids []spanid.TraceID, cols []store.Column) *gathered.Columns {
	t.Helper()
	out := &gathered.Columns{Columns: cols, Traces: len(ids)}
	v := gathered.New(b)
	for _, p := range v.Parts() {
		info := p.Info()
		require.Equal(t, 1, info.Granules())
		for k := range 3 {
			var sel store.Bitmap
			var trace []uint32
			rows := map[uint32]uint32{}
			for n, id := range ids {
				listed, err := p.TraceRows(t.Context(), id, nil)
				require.NoError(t, err)
				for _, r := range listed {
					if int(r)%3 == k {
						sel.Set(int(r))
						rows[r] = uint32(n)
					}
				}
			}
			for r := range sel.Rows() {
				trace = append(trace, rows[uint32(r)])
			}
			if len(trace) == 0 {
				continue
			}
			s := gathered.Segment{Trace: trace, Vectors: make([]store.Vector, len(cols))}
			for i, c := range cols {
				require.NoError(t, p.Read(t.Context(), 0, c, &sel, &s.Vectors[i]))
			}
			out.Segments = append(out.Segments, s)
		}
	}
	return out
}

// TestColumns scatters spans and brings columns of them together, over the wire: they read as those of whole spans do.
func TestColumns(t *testing.T) {
	b := testkit.NewGenerator(5).Batch(1500)
	var ids []spanid.TraceID
	for i := range b.Spans {
		if !slices.Contains(ids, b.Spans[i].TraceID) {
			ids = append(ids, b.Spans[i].TraceID)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	parts := make([]*store.Batch, 3)
	for i := range parts {
		parts[i] = &store.Batch{Resources: b.Resources, Scopes: b.Scopes}
	}
	for _, s := range b.Spans {
		p := parts[rng.IntN(3)]
		p.Spans = append(p.Spans, s)
	}
	asked := append(slices.Clone(ids[:len(ids)/2]), spanid.TraceID{1: 9}) // The last is nowhere.
	var fragments []*gathered.Columns
	for _, p := range parts {
		data, err := columnsOf(t, p, asked, carried).MarshalBinary()
		require.NoError(t, err)
		got := &gathered.Columns{}
		require.NoError(t, got.Read(data, carried, len(asked)))
		require.ErrorIs(t, (&gathered.Columns{}).Read(data, carried, len(asked)-1), gathered.ErrWire)
		require.ErrorIs(t, (&gathered.Columns{}).Read(data[:len(data)-1], carried, len(asked)), gathered.ErrWire)
		fragments = append(fragments, got)
	}
	data, err := (&gathered.Columns{Columns: carried, Traces: len(asked)}).MarshalBinary() // Of a store that has none of them.
	require.NoError(t, err)
	nothing := &gathered.Columns{}
	require.NoError(t, nothing.Read(data, carried, len(asked)))
	v, split, err := gathered.NewColumns(asked, append(fragments, nil, nothing)...)
	require.NoError(t, err)
	require.Positive(t, split)
	require.Less(t, split, len(asked))
	got, want := v.Parts()[0], gathered.New(parts...).Parts()[0]
	info := got.Info()
	require.NotZero(t, info.MaxEndNano)
	rows := 0
	for _, id := range asked {
		a, err := got.TraceRows(t.Context(), id, nil)
		require.NoError(t, err)
		b, err := want.TraceRows(t.Context(), id, nil)
		require.NoError(t, err)
		require.Len(t, a, len(b))
		rows += len(a)
		for _, c := range append([]store.Column{store.Intrinsic(store.SpanTraceID)}, carried...) {
			require.Equal(t, read(t, want, c, b), read(t, got, c, a), "column %v of %s", c, id)
		}
	}
	require.Equal(t, info.Rows, rows)

	var sel store.Bitmap
	sel.Set(0)
	require.ErrorIs(t, got.Read(t.Context(), 0, store.Intrinsic(store.SpanTraceState), &sel, &store.Vector{}), store.ErrUnsupported)
	require.ErrorIs(t, got.Spans(t.Context(), []uint32{0}, &store.Batch{}), store.ErrUnsupported)
	_, err = got.Attributes(t.Context())
	require.ErrorIs(t, err, store.ErrUnsupported)

	fragments[1].Segments = append(fragments[1].Segments, fragments[0].Segments...)
	_, _, err = gathered.NewColumns(asked, fragments...)
	require.ErrorIs(t, err, gathered.ErrCopies)
	_, _, err = gathered.NewColumns(asked, fragments[1])
	require.NoError(t, err, "what one store has twice stays")
	empty, split, err := gathered.NewColumns(asked)
	require.NoError(t, err)
	require.Zero(t, split)
	require.Empty(t, empty.Parts())
}

// read returns the values of rows, which follow each other, and checks that filters see the same.
func read(t *testing.T, p store.Part, c store.Column, rows []uint32) (out [][]store.Value) {
	t.Helper()
	var sel store.Bitmap
	for _, r := range rows {
		sel.Set(int(r))
	}
	var v store.Vector
	require.NoError(t, p.Read(t.Context(), 0, c, &sel, &v))
	has := sel
	require.NoError(t, p.Filter(t.Context(), 0, &store.Predicate{Column: c, Op: store.OpExists}, &has))
	with := 0
	for i := range rows {
		values := v.AppendTo(nil, i)
		if len(values) > 0 {
			with++
		}
		out = append(out, values)
	}
	require.Equal(t, with, has.Count(), "rows with a value in %v", c)
	return out
}

// FuzzColumns decodes arbitrary bytes: they are refused, or columns that can be read and that are the same when encoded
// and decoded again.
func FuzzColumns(f *testing.F) {
	b := testkit.NewGenerator(2).Batch(40)
	ids := []spanid.TraceID{b.Spans[0].TraceID, b.Spans[39].TraceID}
	data, err := columnsOf(f, b, ids, carried).MarshalBinary()
	require.NoError(f, err)
	f.Add(data)
	f.Add([]byte{1, 2, 15, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		var c gathered.Columns
		if c.Read(data, carried, len(ids)) != nil {
			return
		}
		if c.Weight() > 64*int64(len(data))*int64(len(carried)) {
			t.Fatalf("%d bytes became %d", len(data), c.Weight())
		}
		_, _, _ = gathered.NewColumns(ids, &c, &c) // Must not panic.
		again, err := c.MarshalBinary()
		require.NoError(t, err)
		var d gathered.Columns
		require.NoError(t, d.Read(again, carried, len(ids)))
		require.Equal(t, values(&c), values(&d))
	})
}

// values lists all values by segment, column and row.
func values(c *gathered.Columns) (out [][]store.Value) {
	for i := range c.Segments {
		for k := range c.Segments[i].Vectors {
			for n := range c.Segments[i].Trace {
				out = append(out, c.Segments[i].Vectors[k].AppendTo(nil, n))
			}
		}
	}
	return out
}

package head_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/oracle"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/head"
)

// appendTo appends a batch and checks what Append says about memory.
func appendTo(tb testing.TB, h *head.Head, b *store.Batch) {
	tb.Helper()
	before := h.Bytes()
	grown, err := h.Append(b)
	require.NoError(tb, err)
	require.Equal(tb, h.Bytes()-before, grown)
}

// fill appends batches of unpleasant spans to a head and to the oracle, which keeps them as one part.
func fill(tb testing.TB, h *head.Head, seed uint64, sizes ...int) store.Part {
	tb.Helper()
	o := oracle.New(0)
	g := testkit.NewNasty(seed)
	for _, n := range sizes {
		b := g.Batch(n)
		appendTo(tb, h, b)
		require.NoError(tb, o.Append(tb.Context(), b))
	}
	v, err := o.View()
	require.NoError(tb, err)
	return v.Parts()[0]
}

// columnsOf lists the columns that a part knows, all intrinsics, unscoped forms and some that nobody has.
func columnsOf(tb testing.TB, p store.Part) []store.Column {
	tb.Helper()
	attrs, err := p.Attributes(tb.Context())
	require.NoError(tb, err)
	var cols []store.Column
	for _, a := range attrs {
		cols = append(cols, a.Column, store.Column{Scope: store.ScopeUnscoped, Name: a.Column.Name})
	}
	for _, name := range store.Intrinsics {
		cols = append(cols, store.Intrinsic(name))
	}
	for scope := store.ScopeSpan; scope <= store.ScopeUnscoped; scope++ {
		cols = append(cols, store.Column{Scope: scope, Name: "nobody has this"})
	}
	slices.SortFunc(cols, func(a, b store.Column) int {
		return cmp.Or(cmp.Compare(a.Scope, b.Scope), cmp.Compare(a.Name, b.Name))
	})
	return slices.Compact(cols)
}

// predicates makes conditions on a column whose constants are values that occur in it, and others.
func predicates(rng *rand.Rand, c store.Column, seen []store.Value) []store.Predicate {
	pool := []store.Value{
		store.String(""), store.String("zzz"), store.Int(0), store.Int(-1), store.Float(0.5), store.Bool(true),
		store.Int(1 << 62), store.Float(1e300),
	}
	for range 6 {
		if len(seen) > 0 {
			v := seen[rng.IntN(len(seen))]
			if elems, err := v.Elems(); err == nil && len(elems) > 0 {
				v = elems[rng.IntN(len(elems))]
			}
			pool = append(pool, v)
		}
	}
	preds := []store.Predicate{{Column: c, Op: store.OpExists}, {Column: c, Op: store.OpNotExists}}
	for op := store.OpEq; op <= store.OpGe; op++ {
		for range 3 {
			preds = append(preds, store.Predicate{Column: c, Op: op, Values: []store.Value{pool[rng.IntN(len(pool))]}})
		}
	}
	for _, op := range []store.Op{store.OpIn, store.OpNotIn} {
		preds = append(preds, store.Predicate{Column: c, Op: op, Values: []store.Value{pool[rng.IntN(len(pool))], pool[rng.IntN(len(pool))]}},
			store.Predicate{Column: c, Op: op})
	}
	for _, expr := range []string{`^(?s:.*a.*)$`, `^(?s:)$`, `^(?s:0*1.*)$`} {
		re := regexp.MustCompile(expr)
		preds = append(preds, store.Predicate{Column: c, Op: store.OpRegex, Regex: re, Literal: store.RequiredLiteral(re)}, store.Predicate{Column: c, Op: store.OpNotRegex, Regex: re})
	}
	return preds
}

// readAll returns the values of a column for the marked rows, one list per row.
func readAll(tb testing.TB, p store.Part, granule int, c store.Column, sel *store.Bitmap) [][]store.Value {
	tb.Helper()
	var v store.Vector
	require.NoError(tb, p.Read(tb.Context(), granule, c, sel, &v))
	out := make([][]store.Value, sel.Count())
	if len(out) == 0 {
		return out
	}
	require.Equal(tb, len(out), v.Rows(), "%v", c)
	for i := range out {
		out[i] = v.AppendTo(nil, i)
	}
	return out
}

// requireSameColumns compares everything that can be asked about columns.
func requireSameColumns(t *testing.T, want, got store.Part, rng *rand.Rand, share float64) {
	t.Helper()
	info := got.Info()
	require.Equal(t, want.Info().Rows, info.Rows)
	for _, c := range columnsOf(t, want) {
		if rng.Float64() > share {
			continue
		}
		for g := range info.Granules() {
			var all store.Bitmap
			all.Fill(info.GranuleLen(g))
			for i := range info.GranuleLen(g) {
				if rng.IntN(5) == 0 {
					all.Clear(i)
				}
			}
			values := readAll(t, want, g, c, &all)
			if c != store.Intrinsic(store.ResourceRef) {
				require.Equal(t, values, readAll(t, got, g, c, &all), "%v granule %d", c, g)
			}
			var flat []store.Value
			for _, v := range values {
				flat = append(flat, v...)
			}
			for _, pred := range predicates(rng, c, flat) {
				if c == store.Intrinsic(store.ResourceRef) {
					continue // Numbers of resources are the part's own.
				}
				name := fmt.Sprintf("%v %s %v %v granule %d", c, pred.Op, pred.Values, pred.Regex, g)
				a, b := all, all
				require.NoError(t, want.Filter(t.Context(), g, &pred, &a), name)
				require.NoError(t, got.Filter(t.Context(), g, &pred, &b), name)
				require.Equal(t, a, b, name)
				if a.Any() {
					require.True(t, got.MayMatch(g, &pred), name)
					require.True(t, got.MayMatch(-1, &pred), name)
				}
			}
		}
	}
}

// normalise makes spans comparable: attributes in a fixed order, no difference between nil and empty.
func normalise(b *store.Batch) []string {
	out := make([]string, 0, len(b.Spans))
	for i := range b.Spans {
		s := b.Spans[i]
		r, sc := b.Resources[s.Resource], b.Scopes[s.Scope]
		s.Resource, s.Scope = 0, 0
		s.Attrs, r.Attrs, sc.Attrs = sorted(s.Attrs), sorted(r.Attrs), sorted(sc.Attrs)
		events, links := make([]store.Event, len(s.Events)), make([]store.Link, len(s.Links))
		for j, e := range s.Events {
			e.Attrs = sorted(e.Attrs)
			events[j] = e
		}
		for j, l := range s.Links {
			l.Attrs = sorted(l.Attrs)
			links[j] = l
		}
		s.Events, s.Links = events, links
		out = append(out, fmt.Sprintf("%+v %+v %+v", s, r, sc))
	}
	return out
}

func sorted(attrs []store.Attr) []store.Attr {
	out := make([]store.Attr, 0, len(attrs))
	out = append(out, attrs...)
	slices.SortFunc(out, func(a, b store.Attr) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Value.Type, b.Value.Type),
			cmp.Compare(a.Value.Num, b.Value.Num), cmp.Compare(a.Value.Str, b.Value.Str))
	})
	return out
}

// spanReader is what reads rows as spans: a part, or the reader of one.
type spanReader interface {
	Spans(ctx context.Context, rows []uint32, dst *store.Batch) error
}

// requireSameSpans compares every field of every span, read by the part and by a reader that uses its memory again.
func requireSameSpans(t *testing.T, want, got store.Part, rng *rand.Rand) {
	t.Helper()
	rows := make([]uint32, want.Info().Rows)
	for i := range rows {
		rows[i] = uint32(i)
	}
	readers := []spanReader{got}
	if p, ok := got.(*head.Part); ok {
		readers = append(readers, p.Reader())
	}
	for _, shuffled := range []bool{false, true} {
		if shuffled {
			rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
			rows = rows[:len(rows)/3]
		}
		var a store.Batch
		require.NoError(t, want.Spans(t.Context(), rows, &a))
		wantSpans := normalise(&a)
		for _, r := range readers {
			var b store.Batch
			require.NoError(t, r.Spans(t.Context(), rows, &b))
			gotSpans := normalise(&b)
			require.Len(t, gotSpans, len(wantSpans))
			for i := range wantSpans {
				require.Equal(t, wantSpans[i], gotSpans[i], "row %d, %T", rows[i], r)
			}
		}
	}
	var all store.Batch
	require.NoError(t, want.Spans(t.Context(), rows, &all))
	for i := range all.Spans {
		a, err := want.TraceRows(t.Context(), all.Spans[i].TraceID, nil)
		require.NoError(t, err)
		b, err := got.TraceRows(t.Context(), all.Spans[i].TraceID, nil)
		require.NoError(t, err)
		require.Equal(t, a, b)
	}
}

// TestSameAsOracle asks a head everything that a part can be asked, and the oracle too. The number of columns is
// limited so that attributes spill to the overflow list.
func TestSameAsOracle(t *testing.T) {
	for _, tc := range []struct {
		columns int
		sizes   []int
	}{
		{0, []int{1}}, {0, []int{5, 1, 30}}, {1, []int{20}}, {7, []int{20, 20}}, {30, []int{40}},
	} {
		t.Run(fmt.Sprintf("%d columns %v", tc.columns, tc.sizes), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(tc.columns), 7))
			h := head.New("h1", head.Options{MaxColumns: tc.columns})
			want := fill(t, h, uint64(tc.columns)+1, tc.sizes...)
			got := h.Part(store.KindHead)
			requireSameSpans(t, want, got, rng)
			requireSameColumns(t, want, got, rng, 1)
			a, err := want.Attributes(t.Context())
			require.NoError(t, err)
			b, err := got.Attributes(t.Context())
			require.NoError(t, err)
			require.Len(t, b, len(a))
			for i := range a {
				require.Equal(t, a[i].Column, b[i].Column)
				require.Equal(t, a[i].Rows, b[i].Rows, "%v %v", a[i].Column, a[i].Type)
				require.ElementsMatch(t, a[i].Top, b[i].Top, "%v %v", a[i].Column, a[i].Type)
			}
			wi, gi := want.Info(), got.Info()
			require.Equal(t, []uint64{wi.MinStartNano, wi.MaxStartNano, wi.MaxEndNano}, []uint64{gi.MinStartNano, gi.MaxStartNano, gi.MaxEndNano})
		})
	}
}

// TestSameAsOracleOverGranules does the same, less thoroughly, with chunks and granules that are full.
func TestSameAsOracleOverGranules(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 7))
	h := head.New("h1", head.Options{})
	o := oracle.New(0)
	g := testkit.NewGenerator(9)
	for h.Rows() < store.GranuleRows+500 {
		b := g.Batch(700)
		appendTo(t, h, b)
		require.NoError(t, o.Append(t.Context(), b))
	}
	v, err := o.View()
	require.NoError(t, err)
	if os.Getenv("BRAMBLE_FULL") == "1" {
		requireSameSpans(t, v.Parts()[0], h.Part(store.KindFrozen), rng)
	}
	share := 0.008
	if os.Getenv("BRAMBLE_FULL") == "1" {
		share = 1
	}
	requireSameColumns(t, v.Parts()[0], h.Part(store.KindFrozen), rng, share)
}

package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/oracle"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

// testRandom appends random batches and compares every part with the oracle on random predicates over all columns.
func testRandom(t *testing.T, open Open) {
	for _, seed := range seeds(t) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			s := open(t)
			g := testkit.NewNasty(seed)
			rng := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // Not for secrets.
			want := &store.Batch{}
			for range 1 + rng.IntN(4) {
				b := g.Batch(1 + rng.IntN(150))
				appendBatch(t, s, b)
				merge(want, b)
			}
			merge(want, workload(t, s, seed))
			v := view(t, s)
			RequireSameSpans(t, want, everything(t, v))
			checkSplit(t, v)
			for _, id := range traceIDs(want) {
				tr, err := v.Trace(t.Context(), id, 0)
				require.NoError(t, err)
				requireTrace(t, want, id, tr)
			}
			predicates := NewPredicates(seed, want)
			for _, p := range v.Parts() {
				c := newPartCheck(t, p)
				c.traceRows()
				c.spans(rng)
				c.attributes()
				c.known(predicates.Columns())
				// Small parts get fewer questions: together they get as many as one large part.
				share := max(1, len(want.Spans)/c.info.Rows)
				for i, column := range predicates.Columns() {
					if rng.IntN(share) == 0 || i == rng.IntN(len(store.Intrinsics)) {
						c.read(column, rng)
					}
				}
				for range max(5, 400/share) {
					c.filter(predicates.Next(), rng)
				}
			}
		})
	}
}

func workload(t testing.TB, s store.Store, seed uint64) *store.Batch {
	t.Helper()
	b := testkit.NewGenerator(seed).Batch(100)
	appendBatch(t, s, b)
	return b
}

// testGranules makes parts with more than one granule, if the implementation has such large parts.
func testGranules(t *testing.T, s store.Store) {
	n := store.GranuleRows + 500
	if full() {
		n = 3*store.GranuleRows + 1
	}
	all := testkit.NewGenerator(17).Batch(n)
	for lo := 0; lo < len(all.Spans); lo += 1000 {
		b := *all
		b.Spans = all.Spans[lo:min(lo+1000, len(all.Spans))]
		appendBatch(t, s, &b)
	}
	v := view(t, s)
	require.Len(t, everything(t, v).Spans, len(all.Spans))
	predicates := NewPredicates(18, all)
	rng := rand.New(rand.NewPCG(18, 1)) //nolint:gosec // Not for secrets.
	for _, p := range v.Parts() {
		if len(v.Parts()) > 50 && rng.IntN(len(v.Parts())) > 20 {
			continue // Tiny parts: the other tests' business.
		}
		c := newPartCheck(t, p)
		c.traceRows()
		for _, column := range predicates.Columns()[:len(store.Intrinsics)+4] {
			c.read(column, rng)
		}
		for range 40 {
			c.filter(predicates.Next(), rng)
		}
	}
}

// partCheck compares a part with its own spans.
type partCheck struct {
	t    testing.TB
	part store.Part
	info store.PartInfo
	rows *store.Batch // Row by row.
}

func newPartCheck(t testing.TB, p store.Part) *partCheck {
	t.Helper()
	c := &partCheck{t: t, part: p, info: p.Info(), rows: &store.Batch{}}
	require.NoError(t, p.Spans(t.Context(), allRows(c.info.Rows), c.rows))
	return c
}

func (c *partCheck) values(row int, column store.Column) []store.Value {
	s := &c.rows.Spans[row]
	return oracle.ValuesOf(s, &c.rows.Resources[s.Resource], &c.rows.Scopes[s.Scope], column)
}

// selection marks all rows of a granule, few or many at random.
func (c *partCheck) selection(granule int, rng *rand.Rand) *store.Bitmap {
	sel := &store.Bitmap{}
	n := c.info.GranuleLen(granule)
	switch rng.IntN(4) {
	case 0, 1:
		sel.Fill(n)
	case 2:
		for range 5 {
			sel.Set(rng.IntN(n))
		}
	default:
		for i := range n {
			if rng.IntN(2) == 0 {
				sel.Set(i)
			}
		}
	}
	return sel
}

func (c *partCheck) filter(p *store.Predicate, rng *rand.Rand) {
	c.t.Helper()
	anywhere := false
	for granule := range c.info.Granules() {
		matches := false
		base := granule * store.GranuleRows
		for i := range c.info.GranuleLen(granule) {
			matches = matches || p.MatchSpan(c.values(base+i, p.Column))
		}
		anywhere = anywhere || matches
		if matches {
			require.True(c.t, c.part.MayMatch(granule, p), "MayMatch(%d, %s) of %s, which has a match", granule, Text(p), c.info.ID)
		}
		sel := c.selection(granule, rng)
		before := *sel
		require.NoError(c.t, c.part.Filter(c.t.Context(), granule, p, sel))
		for i := range c.info.GranuleLen(granule) {
			values := c.values(base+i, p.Column)
			want := before.Has(i) && p.MatchSpan(values)
			if sel.Has(i) != want {
				require.Equal(c.t, want, sel.Has(i), "Filter %s on row %d of %s: was marked %v, has the values %v\n%s",
					Text(p), base+i, c.info.ID, before.Has(i), values, Canonical(c.rows, base+i))
			}
		}
		sel.AndNot(&before)
		require.False(c.t, sel.Any(), "Filter marked a row")
	}
	if anywhere {
		require.True(c.t, c.part.MayMatch(-1, p), "MayMatch(-1, %s) of %s, which has a match", Text(p), c.info.ID)
	}
}

func (c *partCheck) read(column store.Column, rng *rand.Rand) {
	c.t.Helper()
	if column == store.Intrinsic(store.ResourceRef) {
		c.resourceRefs()
		return
	}
	vec := &store.Vector{Values: []store.Value{store.String("left over")}, Offsets: []uint32{9, 9}}
	for granule := range c.info.Granules() {
		sel := c.selection(granule, rng)
		require.NoError(c.t, c.part.Read(c.t.Context(), granule, column, sel, vec))
		checkForms(c.t, column, vec)
		require.Equal(c.t, sel.Count(), vec.Rows(), "rows of column %v", column)
		i := 0
		for row := range sel.Rows() {
			want := c.values(granule*store.GranuleRows+row, column)
			got := vec.AppendTo(nil, i)
			if !slices.Equal(want, got) {
				require.Equal(c.t, want, got, "column %v, row %d of %s", column, row, c.info.ID)
			}
			if len(want) == 0 {
				want = []store.Value{{}}
			}
			if vec.At(i) != want[0] {
				require.Equal(c.t, want[0], vec.At(i), "At, column %v", column)
			}
			i++
		}
	}
}

// checkForms checks that a vector has one of the forms of its documentation.
func checkForms(t testing.TB, column store.Column, v *store.Vector) {
	t.Helper()
	forms, entries := 0, 0
	for _, n := range []int{len(v.Ints), len(v.Codes), len(v.Values)} {
		if n > 0 {
			forms++
			entries = n
		}
	}
	require.LessOrEqual(t, forms, 1, "column %v: exactly one form", column)
	if !column.Multi() {
		require.Empty(t, v.Offsets, "column %v has one value per span", column)
	} else {
		require.NotEmpty(t, v.Offsets, "column %v: one more offset than rows", column)
		require.Zero(t, v.Offsets[0])
		require.EqualValues(t, entries, v.Offsets[len(v.Offsets)-1])
		require.Empty(t, v.Ints, "offsets go with codes or values")
		for i := range v.Values {
			require.NotEqual(t, store.TypeAbsent, v.Values[i].Type, "none of several values is absent")
		}
	}
	for _, code := range v.Codes {
		if code == store.NoCode {
			require.False(t, column.Multi(), "none of several values is absent")
			continue
		}
		require.Less(t, int(code), len(v.Dict))
	}
}

// resourceRefs checks that rows share a number if and only if they share a resource, and that numbers are dense.
func (c *partCheck) resourceRefs() {
	c.t.Helper()
	refs, byRef := map[string]int64{}, map[int64]string{}
	var sel store.Bitmap
	var vec store.Vector
	for granule := range c.info.Granules() {
		sel.Fill(c.info.GranuleLen(granule))
		require.NoError(c.t, c.part.Read(c.t.Context(), granule, store.Intrinsic(store.ResourceRef), &sel, &vec))
		for i := range vec.Rows() {
			s := &c.rows.Spans[granule*store.GranuleRows+i]
			text := Canonical(&store.Batch{
				Resources: c.rows.Resources, Scopes: make([]store.Scope, 1), Spans: []store.Span{{Resource: s.Resource}},
			}, 0)
			ref := vec.At(i)
			require.Equal(c.t, store.TypeInt, ref.Type)
			require.GreaterOrEqual(c.t, ref.Int(), int64(0))
			if known, ok := refs[text]; ok {
				require.Equal(c.t, known, ref.Int(), "equal resources have equal numbers")
			} else {
				require.NotContains(c.t, byRef, ref.Int(), "different resources have different numbers")
			}
			refs[text], byRef[ref.Int()] = ref.Int(), text
		}
	}
	for ref := range byRef {
		require.Less(c.t, ref, int64(max(2*len(c.rows.Resources)+8, 2*len(byRef)+8)), "numbers are dense")
	}
}

func (c *partCheck) traceRows() {
	c.t.Helper()
	want := map[string][]uint32{}
	for i := range c.rows.Spans {
		id := c.rows.Spans[i].TraceID.String()
		want[id] = append(want[id], uint32(i)) //nolint:gosec // A row.
	}
	for _, id := range traceIDs(c.rows) {
		rows, err := c.part.TraceRows(c.t.Context(), id, nil)
		require.NoError(c.t, err)
		require.Equal(c.t, want[id.String()], rows, "rows of trace %s in %s", id, c.info.ID)
	}
}

// spans reads single rows, in any order and twice, into a batch that is not empty.
func (c *partCheck) spans(rng *rand.Rand) {
	c.t.Helper()
	dst := &store.Batch{Resources: make([]store.Resource, 3), Scopes: make([]store.Scope, 2), Spans: make([]store.Span, 1)}
	var rows []uint32
	for range 20 {
		rows = append(rows, uint32(rng.IntN(c.info.Rows))) //nolint:gosec // A row.
	}
	require.NoError(c.t, c.part.Spans(c.t.Context(), rows, dst))
	require.Len(c.t, dst.Spans, 1+len(rows))
	for i, row := range rows {
		require.Equal(c.t, Canonical(c.rows, int(row)), Canonical(dst, 1+i), "row %d", row)
	}
}

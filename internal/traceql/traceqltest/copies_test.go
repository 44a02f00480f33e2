package traceqltest

import (
	"cmp"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

// sentAgain returns a batch in which some spans are two or three times, anywhere.
func sentAgain(rng *rand.Rand, b *store.Batch) *store.Batch {
	out := &store.Batch{Resources: b.Resources, Scopes: b.Scopes, Spans: slices.Clone(b.Spans)}
	for i := range b.Spans {
		for rng.IntN(3) == 0 {
			out.Spans = append(out.Spans, b.Spans[i])
		}
	}
	rng.Shuffle(len(out.Spans), func(i, j int) { out.Spans[i], out.Spans[j] = out.Spans[j], out.Spans[i] })
	return out
}

// withoutTwins leaves out spans that share an id with another, as long as they are not the two sides of a call: which of them
// children belong to depends on the order of rows.
func withoutTwins(b *store.Batch) *store.Batch {
	type id struct {
		trace spanid.TraceID
		span  spanid.SpanID
	}
	kinds := map[id][]int32{}
	b.Spans = slices.DeleteFunc(b.Spans, func(s store.Span) bool {
		k := id{s.TraceID, s.SpanID}
		had := kinds[k]
		if len(had) > 0 && (len(had) > 1 || had[0]+s.Kind != store.KindClient+store.KindServer || had[0] == s.Kind) {
			return true
		}
		kinds[k] = append(had, s.Kind)
		return false
	})
	return b
}

// searchRows returns all results of a search, without what depends on the order of rows: spansets of a trace are sorted,
// siblings have no numbers, and sums are rounded.
func searchRows(t *testing.T, v store.View, query string) ([]exec.TraceRow, bool) {
	t.Helper()
	q, err := traceql.Compile(query)
	if err != nil {
		return nil, false
	}
	res, err := exec.Search(t.Context(), v, q, exec.SearchOptions{Limit: 10_000, SpansPerSpanSet: 100})
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	for i := range res.Traces {
		for k := range res.Traces[i].Spansets {
			set := &res.Traces[i].Spansets[k]
			for n := range set.Attrs { // The least of 1 and 1.0 is the first of them.
				if v := &set.Attrs[n].Value; v.Type == ast.TypeInt {
					*v = ast.Float(float64(v.N))
				}
			}
			unordered(set.Attrs)
			for n := range set.Spans {
				unordered(set.Spans[n].Attrs)
			}
		}
		slices.SortStableFunc(res.Traces[i].Spansets, func(a, b exec.SpansetRow) int {
			return cmp.Or(cmp.Compare(a.Spans[0].StartNano, b.Spans[0].StartNano), strings.Compare(a.Spans[0].ID.String(), b.Spans[0].ID.String()))
		})
	}
	return res.Traces, true
}

// unordered takes out of attributes what depends on the order of rows.
func unordered(attrs []exec.Attr) {
	for i := range attrs {
		v := &attrs[i].Value
		switch {
		case attrs[i].Key == "nestedSetParent" && v.N > 0:
			v.N = 1
		case v.Type == ast.TypeFloat:
			v.F = math.Round(v.F*1e6) / 1e6
		}
	}
}

// TestCopies: a span that was sent twice counts once in a search, also before blocks are merged (T-08, S-23, S-32, E-63).
func TestCopies(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	g := generator{rng}
	queries := []string{
		`{ }`, `{ status = error }`, `{ } | count() > 3`, `{ } | count() = 2`, `{ } | count() < 4`, `{ status = error } | count() > 1`,
		`{ } | avg(duration) > 5ms`, `{ } | sum(span.x) > 1`, `{ } >> { }`, `{ } !> { }`, `{ } ~ { }`, `{ name = "n1" } &>> { kind = client }`,
		`{ } | by(name) | count() > 1`, `{ } > { } | count() > 2`, `{ nestedSetParent < 0 }`, `{ span:childCount > 1 }`,
		`{ } | select(span:childCount)`,
	}
	for range rounds(150) {
		// Siblings are numbered in the order of rows, which is not the same.
		if q := g.pipeline(); !strings.Contains(q, "nestedSetLeft") && !strings.Contains(q, "nestedSetParent > 1") {
			queries = append(queries, q)
		}
	}
	b := withoutTwins(g.traces(60))
	want := engineView(t, b, engineForms["head"])
	for name, form := range engineForms {
		t.Run(name, func(t *testing.T) {
			v := engineView(t, sentAgain(rng, b), form)
			found := 0
			for _, q := range queries {
				wanted, ok := searchRows(t, want, q)
				if !ok {
					continue
				}
				found += len(wanted)
				got, _ := searchRows(t, v, q)
				if len(got) != len(wanted) {
					t.Errorf("%s: %d traces, want %d", q, len(got), len(wanted))
					continue
				}
				for i := range got {
					if !reflect.DeepEqual(got[i], wanted[i]) {
						t.Errorf("%s:\ngot  %+v\nwant %+v", q, got[i], wanted[i])
						break
					}
				}
			}
			if found < 500 {
				t.Errorf("only %d traces were found", found)
			}
		})
	}
}

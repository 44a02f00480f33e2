package traceqltest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

// splitPartial is an encoded result with split traces.
func splitPartial(tb testing.TB, b *store.Batch) []byte {
	tb.Helper()
	skip := exec.TraceSet{}
	for i := range b.Spans[:len(b.Spans)/2] {
		skip[b.Spans[i].TraceID] = struct{}{}
	}
	q := compileAll(tb, `{ } | compare({ status = error })`)[0]
	p, err := exec.MetricsPartial(tb.Context(), oracleView(tb, b, 0), q, exec.MetricsOptions{Start: Epoch, End: Epoch + 1e10, Step: time.Second, Skip: skip})
	if err != nil {
		tb.Fatal(err)
	}
	if len(p.Queries[0].Split) < 2 {
		tb.Fatal("no traces are split")
	}
	data, _ := p.MarshalBinary()
	return data
}

// TestCompareSplitTraces: stores that have pieces of traces count what spans say where they are, and roots are named when
// their results are together: the answer is that of one store. Few and most traces are split, and the roots of some lie
// outside of the range or do not match.
func TestCompareSplitTraces(t *testing.T) {
	b := shop(8_000)
	first, last := int64(1<<62), int64(0)
	for i := range b.Spans {
		s := int64(b.Spans[i].StartNano)
		first, last = min(first, s), max(last, s)
	}
	const stores = 3
	queries := compileAll(t,
		`{ } | compare({ status = error }, 200)`, `{ } | compare({ duration > 100ms && resource.service.name = "cart" }, 200)`, `{ kind = client } | compare({ status = error }, 200)`,
		fmt.Sprintf(`{ } | compare({ status = error }, 200, %d, %d)`, first+int64(3*time.Second), first+int64(6*time.Second)),
	)
	options := []exec.MetricsOptions{
		{Start: first, End: last, Step: time.Hour}, {Start: first + int64(2*time.Second), End: last - int64(2*time.Second), Step: 3 * time.Second},
	}
	var whole []*exec.MetricsResult
	for _, q := range queries {
		for _, o := range options {
			res, err := exec.Metrics(t.Context(), oracleView(t, b, 0), q, o)
			if err != nil {
				t.Fatal(err)
			}
			whole = append(whole, res)
		}
	}
	for _, share := range []int{100, 5, 0} { // One trace in so many stays whole.
		rng := rand.New(rand.NewPCG(7, uint64(share)))
		skip := exec.TraceSet{}
		parts := make([]*store.Batch, stores)
		for i := range parts {
			parts[i] = &store.Batch{Resources: b.Resources, Scopes: b.Scopes}
		}
		for i := range b.Spans {
			id, at := b.Spans[i].TraceID, rng.IntN(stores)
			if whole := int(id[15])*256 + int(id[14]); share > 5 && whole%share != 0 || share == 5 && whole%share == 0 {
				at = whole % stores
			} else {
				skip[id] = struct{}{}
			}
			parts[at].Spans = append(parts[at].Spans, b.Spans[i])
		}
		for _, form := range []string{"head", "several, and head", "level 2"} {
			var views []store.View
			for _, p := range parts {
				views = append(views, engineView(t, p, engineForms[form]))
			}
			for k, q := range queries {
				if exec.MetricsGather(q) {
					t.Fatalf("%s has its spans brought together", q.AST)
				}
				for n, o := range options {
					o.Skip = skip
					var merged *exec.Partial
					for _, v := range views {
						one, err := exec.MetricsPartial(t.Context(), v, q, o)
						if err != nil {
							t.Fatal(err)
						}
						sent, _ := one.MarshalBinary()
						p := &exec.Partial{}
						if err := p.UnmarshalBinary(sent); err != nil {
							t.Fatal(err)
						}
						if merged == nil {
							merged = p
						} else if err := merged.Merge(p); err != nil {
							t.Fatal(err)
						}
					}
					requireCompared(t, fmt.Sprintf("%s, %d split, %s, %+v", form, len(skip), q.AST, o), exec.Finish(q, merged, 0, 0), whole[k*len(options)+n], &o)
				}
			}
		}
	}
}

// requireCompared demands the same series of roots, and of attributes with few values: of the others each store sends some hundred.
func requireCompared(t *testing.T, what string, got, want *exec.MetricsResult, o *exec.MetricsOptions) {
	t.Helper()
	lines := func(r *exec.MetricsResult) (all []string, roots int) {
		values := map[string]int{}
		for _, s := range r.Series {
			values[s.Labels[len(s.Labels)-1].Key]++
		}
		out := *r
		out.Series = slices.DeleteFunc(slices.Clone(r.Series), func(s exec.Series) bool { return values[s.Labels[len(s.Labels)-1].Key] > 100 })
		for _, s := range out.Series {
			if strings.HasPrefix(s.Labels[len(s.Labels)-1].Key, "root") {
				roots++
			}
		}
		all, err := metricsLines(&out, o)
		if err != nil {
			t.Fatal(err)
		}
		return all, roots
	}
	wanted, roots := lines(want)
	have, _ := lines(got)
	if roots < 6 || len(wanted) < 100 {
		t.Fatalf("%s: only %d of %d series are of roots", what, roots, len(wanted))
	}
	for _, l := range wanted {
		if !slices.Contains(have, l) {
			t.Errorf("%s: there is no %s", what, l)
		}
	}
	for _, l := range have {
		if !slices.Contains(wanted, l) {
			t.Errorf("%s: %s is too much", what, l)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

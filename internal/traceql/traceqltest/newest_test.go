package traceqltest

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/traceql"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// manyTraces are some granules of spans, which mostly arrive in the order of their starts. Some traces last long, and some
// spans arrive long after the others of their trace.
func manyTraces() *store.Batch {
	rng := rand.New(rand.NewPCG(7, 8))
	gen := testkit.NewGenerator(9)
	gen.SetTime(time.Unix(0, Epoch))
	b := gen.Batch(5 * store.GranuleRows)
	for i := range b.Spans {
		s := &b.Spans[i]
		s.StartNano -= s.StartNano % 50e6 // Many start at the same time.
		if rng.IntN(500) == 0 {
			s.StartNano -= uint64(rng.IntN(20)) * 1e9
		}
	}
	for range len(b.Spans) / 300 {
		i, k := rng.IntN(len(b.Spans)), rng.IntN(len(b.Spans))
		b.Spans[i], b.Spans[k] = b.Spans[k], b.Spans[i]
	}
	return dedupe(b)
}

// found is a trace that matches.
type found struct {
	id    spanid.TraceID
	start int64
}

// matches lists all traces that match, newest first, by the naive evaluation of each.
func matches(tb testing.TB, b *store.Batch, query string) (out []found) {
	tb.Helper()
	root, err := traceql.Parse(query)
	require.NoError(tb, err)
	traces := map[spanid.TraceID][]*store.Span{}
	for i := range b.Spans {
		s := &b.Spans[i]
		traces[s.TraceID] = append(traces[s.TraceID], s)
	}
	for id, spans := range traces {
		if len(NewNaive(b, spans).Eval(root.Pipeline)) == 0 {
			continue
		}
		start := int64(math.MaxInt64)
		for _, s := range spans {
			start = min(start, int64(s.StartNano))
		}
		out = append(out, found{id, start})
	}
	slices.SortFunc(out, func(a, b found) int {
		return cmp.Or(cmp.Compare(b.start, a.start), slices.Compare(a.id[:], b.id[:]))
	})
	return out
}

// told is a feed that checks what it is told.
type told struct {
	tb    testing.TB
	want  []found
	floor atomic.Int64
	told  int
	raise int // After so many traces the floor is where the last one is.
	seen  map[spanid.TraceID]bool
	rest  int64
}

func (f *told) Floor() int64 { return f.floor.Load() }

func (f *told) Wanted() int { return max(0, 7-f.told) }

func (f *told) Found(traces []exec.TraceRow, rest int64, _ exec.Stats) error {
	for i := range traces {
		require.False(f.tb, f.seen[traces[i].ID], "a trace is told of twice")
		f.seen[traces[i].ID] = true
		f.told++
		require.True(f.tb, i == 0 || traces[i].StartNano <= traces[i-1].StartNano)
	}
	require.LessOrEqual(f.tb, rest, f.rest, "what is left gets older")
	f.rest = rest
	known := 0
	for _, w := range f.want {
		if w.start > rest && w.start >= f.floor.Load() {
			require.True(f.tb, f.seen[w.id], "a trace that starts at %d was not told of, but the rest starts at %d", w.start, rest)
			known++
		}
	}
	if f.raise > 0 && known >= f.raise {
		f.floor.Store(max(f.floor.Load(), f.want[f.raise-1].start))
	}
	return nil
}

// TestNewest: searches find the newest traces that match, whatever is where in the store; what a feed is told is complete
// down to where it is said to be, also with a floor; and the candidates are all that could match.
func TestNewest(t *testing.T) {
	b := manyTraces()
	queries := []string{
		`{}`, `{ status = error }`, `{ span.http.response.status_code = 503 }`, `{ resource.service.name = "payment" && duration > 300ms }`,
		`{} | count() > 25`, `{ resource.service.name = "checkout" } >> { kind = client }`, `{ status = error } | count() > 2`,
		`{ name = "no such" }`,
	}
	want := map[string][]found{}
	for _, q := range queries {
		want[q] = matches(t, b, q)
		require.Equal(t, q == queries[len(queries)-1], len(want[q]) == 0, "%s: %d", q, len(want[q]))
	}
	for _, form := range []string{"head", "block", "block and head", "several, and head", "level 1, and head"} {
		t.Run(form, func(t *testing.T) {
			v := engineView(t, b, engineForms[form])
			for _, query := range queries {
				q, err := traceql.Compile(query)
				require.NoError(t, err)
				for _, limit := range []int{1, 20, 150, 100_000} {
					checkNewest(t, v, q, want[query], limit)
				}
			}
		})
	}
}

func checkNewest(t *testing.T, v store.View, q *plan.Query, want []found, limit int) {
	t.Helper()
	what := fmt.Sprintf("%s, limit %d", q.AST, limit)
	o := exec.SearchOptions{Limit: limit, First: 3}
	res, err := exec.Search(t.Context(), v, q, o)
	require.NoError(t, err)
	best := want[:min(limit, len(want))]
	got := make([]found, len(res.Traces))
	for i := range got {
		got[i] = found{res.Traces[i].ID, int64(res.Traces[i].StartNano)}
	}
	require.Equal(t, append([]found{}, best...), got, what)

	for _, raise := range []int{0, min(len(want), 5)} {
		f := &told{tb: t, want: best, raise: raise, seen: map[spanid.TraceID]bool{}, rest: math.MaxInt64}
		require.NoError(t, exec.Newest(t.Context(), v, q, o, f), what)
		require.Equal(t, int64(math.MinInt64), f.rest)
	}

	list, err := exec.Candidates(t.Context(), v, q, o)
	require.NoError(t, err)
	listed := map[spanid.TraceID]bool{}
	for _, c := range list.Candidates {
		listed[c.ID] = true
	}
	for _, w := range want {
		if list.Rest == 0 || w.start > list.Rest {
			require.True(t, listed[w.id], "%s: no candidate, but it starts at %d and the rest at %d", what, w.start, list.Rest)
		}
	}
}

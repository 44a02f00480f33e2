package traceqltest

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/bramble-tracing/bramble/internal/memlimit"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

// FuzzExecutor runs whatever compiles, over a store of one part and one of many: both give the same answer, or one of
// them is out of memory.
func FuzzExecutor(f *testing.F) {
	scripts, err := Scripts()
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range scripts {
		for i := range s.Cases {
			if i%7 == 0 {
				f.Add(s.Cases[i].Query)
			}
		}
	}
	g := generator{rand.New(rand.NewPCG(1, 5))}
	b := g.traces(8)
	views := []store.View{oracleView(f, b, 0), oracleView(f, b, 5)}
	f.Fuzz(func(t *testing.T, query string) {
		if len(query) > 2000 {
			return
		}
		q, err := traceql.Compile(query)
		if err != nil {
			return
		}
		var answers [][]string
		for _, v := range views {
			budget := memlimit.New("query", 8<<20)
			var lines []string
			if len(q.Metrics) > 0 {
				o := exec.MetricsOptions{Start: Epoch, End: Epoch + 60e9, Step: 20 * time.Second, Exemplars: -1, Budget: budget}
				var res *exec.MetricsResult
				if res, err = exec.Metrics(t.Context(), v, q, o); err == nil {
					lines, err = metricsLines(res, &o)
				}
			} else {
				var res *exec.SearchResult
				if res, err = exec.Search(t.Context(), v, q, exec.SearchOptions{Limit: 1000, SpansPerSpanSet: 1000, Budget: budget}); err == nil {
					lines = searchLines(res, false)
				}
			}
			if errors.Is(err, exec.ErrBudget) {
				return
			}
			if err != nil {
				t.Fatalf("%q: %v", query, err)
			}
			if used := budget.Usage().Used; used != 0 {
				t.Fatalf("%q keeps %d bytes of its budget", query, used)
			}
			slices.Sort(lines)
			answers = append(answers, lines)
		}
		if !slices.Equal(answers[0], answers[1]) {
			t.Errorf("%q\none part: %q\nparts of 5: %q", query, answers[0], answers[1])
		}
	})
}

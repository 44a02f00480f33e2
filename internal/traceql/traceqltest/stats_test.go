package traceqltest

import (
	"testing"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

// TestSearchStats: a search counts a trace when it is evaluated and a span when filters run over it, each once; that the traces
// of the answer are read again for what is shown of them, or a granule is looked at in two steps, does not count (the example
// before S-20).
func TestSearchStats(t *testing.T) {
	whole := workload(3_000)
	one := &store.Batch{Resources: whole.Resources, Scopes: whole.Scopes}
	for i := range whole.Spans {
		if whole.Spans[i].TraceID == whole.Spans[0].TraceID {
			one.Spans = append(one.Spans, whole.Spans[i])
		}
	}
	if len(one.Spans) < 2 {
		t.Fatal("the first trace is too small")
	}
	for name, form := range engineForms {
		t.Run(name, func(t *testing.T) {
			v := engineView(t, one, form)
			for _, q := range compileAll(t, `{ }`, `{ } >> { }`, `{ } | count() > 1`, `{ nestedSetParent < 0 }`, `{ nestedSetParent > 1e9 }`) {
				res, err := exec.Search(t.Context(), v, q, exec.SearchOptions{})
				if err != nil {
					t.Fatal(err)
				}
				if res.Stats.Traces != 1 || res.Stats.Spans != int64(len(one.Spans)) || res.Stats.Bytes <= 0 {
					t.Errorf("%s: %+v, want 1 trace and %d spans", q.AST, res.Stats, len(one.Spans))
				}
			}
		})
	}
}

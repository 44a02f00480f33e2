package sampling

import (
	"context"
	"fmt"

	"github.com/bramble-tracing/bramble/internal/traceql/exec"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// traceqlLeaf holds for traces that a query finds.
type traceqlLeaf struct {
	query *plan.Query
}

func (*traceqlLeaf) holds(t *traces, n, i int) bool { return t.marked(n, i) }

func (l *traceqlLeaf) evaluate(ctx context.Context, sc *scan, n int) error {
	found, err := exec.Matching(ctx, sc.view, l.query, sc.parts, sc.t.ids)
	if err != nil {
		return fmt.Errorf("run the query of a policy: %w", err)
	}
	for i, yes := range found {
		if yes {
			sc.t.mark(n, int32(i)) //nolint:gosec // bounded by memory
		}
	}
	return nil
}

package exec

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/bramble-tracing/bramble/internal/memlimit"
)

// ErrBudget is wrapped when a query needs more memory than it may use. The cure is a narrower time range, a more
// selective filter or fewer groups.
var ErrBudget = errors.New("the query needs more memory than its budget; narrow the time range or the filter")

// errPlan marks a contradiction between plan and execution, which is a bug.
var errPlan = errors.New("condition cannot be decided here")

// meter counts the bytes that a query holds. It is safe for concurrent use.
type meter struct {
	budget *memlimit.Budget // May be nil: no limit.

	mu   sync.Mutex
	held int64
}

// take takes n bytes. It waits for other queries only while this one holds nothing: two queries that wait for each
// other's bytes would never end.
func (m *meter) take(ctx context.Context, n int64) error {
	if m.budget == nil || n <= 0 {
		return nil
	}
	m.mu.Lock()
	held := m.held
	m.mu.Unlock()
	switch {
	case held+n > m.budget.Limit():
		return fmt.Errorf("%w (%d bytes)", ErrBudget, m.budget.Limit())
	case m.budget.TryAcquire(n):
	case held > 0:
		return fmt.Errorf("%w: other queries use the rest of it", ErrBudget)
	default:
		if err := m.budget.Acquire(ctx, n); err != nil {
			return fmt.Errorf("%w: %w", ErrBudget, err)
		}
	}
	m.mu.Lock()
	m.held += n
	m.mu.Unlock()
	return nil
}

// give gives n bytes back.
func (m *meter) give(n int64) {
	if m.budget == nil || n <= 0 {
		return
	}
	m.mu.Lock()
	n = min(n, m.held)
	m.held -= n
	m.mu.Unlock()
	m.budget.Release(n)
}

// close gives everything back.
func (m *meter) close() {
	m.mu.Lock()
	n := m.held
	m.held = 0
	m.mu.Unlock()
	if m.budget != nil {
		m.budget.Release(n)
	}
}

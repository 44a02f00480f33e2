package query

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/bramble-tracing/bramble/internal/memlimit"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/gathered"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

// holding counts what is brought together against a budget.
type holding struct {
	budget *memlimit.Budget
	copies int64 // In how many forms it is there at a time.
	traces int

	mu   sync.Mutex
	held int64
}

func (h *holding) take(n int64) error {
	n *= h.copies
	if !h.budget.TryAcquire(n) {
		return fmt.Errorf("the spans of %d traces do not fit: %w", h.traces, exec.ErrBudget)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held += n
	return nil
}

func (h *holding) release() { h.budget.Release(h.held) }

// gather brings together the spans of traces from all agents. release gives their memory back.
func (f *fan) gather(ctx context.Context, budget *memlimit.Budget, r FragmentsRequest) (all []*Fragments, release func(), err error) {
	h := &holding{budget: budget, copies: gatherCopies, traces: len(r.IDs)}
	r.Client = f.client
	all = make([]*Fragments, len(f.nodes))
	err = f.each(ctx, func(ctx context.Context, i int, p Peer) error {
		var err error
		all[i], err = p.Fragments(ctx, r, h.take)
		return err
	})
	if err != nil {
		h.release()
		return nil, func() {}, err
	}
	return all, h.release, nil
}

// gatherCopies is in how many forms gathered spans are there at a time: as received and merged.
const gatherCopies = 2

// gatherColumns is gather of columns. The error is gathered.ErrCopies if whole spans are needed. split is how many traces
// are at several agents.
func (f *fan) gatherColumns(ctx context.Context, budget *memlimit.Budget, ids []spanid.TraceID, cols []store.Column) (v store.View, split int, release func(), err error) {
	h := &holding{budget: budget, copies: 1, traces: len(ids)}
	all := make([]*gathered.Columns, len(f.nodes))
	err = f.each(ctx, func(ctx context.Context, i int, p Peer) error {
		var err error
		all[i], err = p.Columns(ctx, ColumnsRequest{IDs: ids, Columns: cols, Client: f.client}, h.take)
		return err
	})
	if err == nil {
		v, split, err = gathered.NewColumns(ids, all...)
	}
	if err != nil {
		h.release()
		return nil, 0, func() {}, err
	}
	return v, split, h.release, nil
}

func batches(all []*Fragments) []*store.Batch {
	out := make([]*store.Batch, 0, len(all))
	for _, f := range all {
		if f != nil {
			out = append(out, &f.Batch)
		}
	}
	return out
}

// gatherPage is how many traces are brought together at a time.
const gatherPage = 256

// paged calls use with page after page of the traces. A page that does not fit into the budget is halved, so use must not
// have changed anything when it fails because of it.
func paged(ids []spanid.TraceID, use func(ids []spanid.TraceID) error) error {
	for page := gatherPage; len(ids) > 0; {
		n := min(page, len(ids))
		err := use(ids[:n])
		if errors.Is(err, exec.ErrBudget) && n > 1 {
			page = n / 2
			continue
		}
		if err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

// gatherAll calls use with what agents have of the traces and with a view of all of it, page by page.
func (f *fan) gatherAll(ctx context.Context, budget *memlimit.Budget, ids []spanid.TraceID, use func(all []*Fragments, v store.View, ids []spanid.TraceID) error) error {
	return paged(ids, func(some []spanid.TraceID) error {
		all, release, err := f.gather(ctx, budget, FragmentsRequest{IDs: some, Bulk: true})
		if err != nil {
			return err
		}
		defer release()
		return use(all, gathered.New(batches(all)...), some)
	})
}

// countSplit counts the traces of which several agents have spans.
func countSplit(all []*Fragments) int {
	at, split := map[spanid.TraceID]int{}, exec.TraceSet{}
	for i, f := range all {
		if f == nil {
			continue
		}
		for k := range f.Spans {
			id := f.Spans[k].TraceID
			if node, ok := at[id]; ok && node != i {
				split[id] = struct{}{}
			}
			at[id] = i
		}
	}
	return len(split)
}

// split finds which traces have spans at several agents.
func (f *fan) split(ctx context.Context, ids []spanid.TraceID) (exec.TraceSet, error) {
	out := exec.TraceSet{}
	if len(ids) == 0 {
		return out, nil
	}
	held := make([][]bool, len(f.nodes))
	err := f.each(ctx, func(ctx context.Context, i int, p Peer) error {
		var err error
		held[i], err = p.Holds(ctx, ids, f.client)
		return err
	})
	if err != nil {
		return nil, err
	}
	for k, id := range ids {
		if severalHold(held, k) {
			out[id] = struct{}{}
		}
	}
	return out, nil
}

// severalHold reports whether more than one agent has spans of the k-th trace.
func severalHold(held [][]bool, k int) bool {
	n := 0
	for i := range held {
		if k < len(held[i]) && held[i][k] {
			n++
		}
	}
	return n > 1
}

// candidates joins the traces that agents list for a query over whole traces. Without r.Only it returns those of which
// several agents have spans.
func (f *fan) candidates(ctx context.Context, budget *memlimit.Budget, r CandidatesRequest) (split exec.TraceSet, release func(), err error) {
	lists := make([]*exec.CandidateList, len(f.nodes))
	err = f.each(ctx, func(ctx context.Context, i int, p Peer) error {
		var err error
		lists[i], err = p.Candidates(ctx, r)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	all := exec.TraceSet{}
	for _, l := range lists {
		if l == nil {
			continue
		}
		for _, c := range l.Candidates {
			all[c.ID] = struct{}{}
		}
	}
	const idBytes = 96
	n := int64(len(all)) * idBytes
	if !budget.TryAcquire(n) {
		return nil, nil, fmt.Errorf("%d traces may match: %w", len(all), exec.ErrBudget)
	}
	if r.Only != nil {
		return all, func() { budget.Release(n) }, nil
	}
	split, err = f.split(ctx, sortedIDs(all))
	if err != nil {
		budget.Release(n)
		return nil, nil, err
	}
	return split, func() { budget.Release(n) }, nil
}

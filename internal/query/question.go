package query

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"

	"github.com/bramble-tracing/bramble/internal/memlimit"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

// question is what all agents are asked for a query that adds up their answers.
type question[T any] struct {
	// whole says that the query is about whole traces, and candidates which these are.
	whole      bool
	candidates CandidatesRequest
	ask        func(ctx context.Context, p Peer, s Share) (T, error)
}

// all returns the answers of agents by their number, zero of those that did not answer. They are without the split
// traces, which are to be brought together. The caller releases these.
func (q *question[T]) all(ctx context.Context, f *fan, budget *memlimit.Budget) (answers []T, split exec.TraceSet, release func(), err error) {
	release = func() {}
	if !q.whole {
		answers, err = q.round(ctx, f, func(int) Share { return Share{} })
		return answers, nil, release, err
	}
	rings, strays, err := f.strays(ctx)
	if err == nil && rings != nil {
		answers, err = q.round(ctx, f, func(i int) Share { return Share{Ring: rings[i]} })
		if !errors.Is(err, ErrStrays) {
			return answers, nil, release, err
		}
		strays, err = f.listStrays(ctx, rings)
	}
	if err != nil {
		return nil, nil, release, err
	}
	if r := q.candidates; strays == nil || len(strays) > 0 {
		r.Only = strays
		if split, release, err = f.candidates(ctx, budget, r); err != nil {
			return nil, nil, func() {}, err
		}
	}
	if answers, err = q.round(ctx, f, func(int) Share { return Share{Skip: split} }); err != nil {
		release()
		return nil, nil, func() {}, err
	}
	return answers, split, release, nil
}

// round asks every agent about its share.
func (q *question[T]) round(ctx context.Context, f *fan, share func(i int) Share) ([]T, error) {
	return askAll(ctx, f, share, q.ask)
}

// askAll returns the answers of all agents about their shares. The error is ErrStrays if an agent has some, and then
// there are no answers.
func askAll[T any](ctx context.Context, f *fan, share func(i int) Share, ask func(ctx context.Context, p Peer, s Share) (T, error)) ([]T, error) {
	out := make([]T, len(f.nodes))
	var strays atomic.Bool
	err := f.each(ctx, func(ctx context.Context, i int, p Peer) error {
		var err error
		if out[i], err = ask(ctx, p, share(i)); errors.Is(err, ErrStrays) {
			strays.Store(true)
			return nil
		}
		return err
	})
	if err == nil && strays.Load() {
		err = ErrStrays
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// hope says whether it is worth asking in the hope that no agent has strays. It belongs to a service and is a guess by
// earlier queries.
type hope struct {
	some atomic.Bool  // There were strays last time.
	wait atomic.Int32 // There were too many: so many queries do not ask.
}

// hopeless is how many queries do not ask for strays after there were too many of them.
const hopeless = 31

// strays begins a query about whole traces. If rings are returned, each agent should be asked with its own, and
// listStrays then if the error is ErrStrays. Otherwise the strays are known, or nil if there are too many.
func (f *fan) strays(ctx context.Context) (rings []*Ring, strays exec.TraceSet, err error) {
	if f.hope.wait.Load() > 0 {
		f.hope.wait.Add(-1)
		return nil, nil, nil
	}
	if rings = f.rings(); rings == nil || !f.hope.some.Load() {
		return rings, nil, nil
	}
	strays, err = f.listStrays(ctx, rings)
	return nil, strays, err
}

// rings returns a ring for each agent, or nil if their names do not tell them apart.
func (f *fan) rings() []*Ring {
	names := make([]string, len(f.nodes))
	for i, n := range f.nodes {
		if names[i] = n.Node(); i == 0 {
			names[i] = f.federation.Node
		}
	}
	sorted := slices.Sorted(slices.Values(names))
	if sorted[0] == "" || len(slices.Compact(slices.Clone(sorted))) < len(names) {
		return nil
	}
	out := make([]*Ring, len(names))
	for i, n := range names {
		at, _ := slices.BinarySearch(sorted, n)
		out[i] = &Ring{Nodes: sorted, Self: at}
	}
	return out
}

// listStrays joins the strays of all agents. It returns nil if there are too many.
func (f *fan) listStrays(ctx context.Context, rings []*Ring) (exec.TraceSet, error) {
	var many atomic.Bool
	lists := make([]exec.TraceSet, len(f.nodes))
	err := f.each(ctx, func(ctx context.Context, i int, p Peer) error {
		ids, more, err := p.Strays(ctx, rings[i], f.client)
		if err != nil {
			return err
		}
		if more {
			many.Store(true)
		}
		lists[i] = make(exec.TraceSet, len(ids))
		for _, id := range ids {
			lists[i][id] = struct{}{}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := exec.TraceSet{}
	for _, l := range lists {
		for id := range l {
			out[id] = struct{}{}
		}
	}
	f.hope.some.Store(len(out) > 0)
	if many.Load() || len(out) > 4*MostStrays {
		f.hope.wait.Store(hopeless)
		return nil, nil
	}
	return out, nil
}

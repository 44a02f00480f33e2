package otlpspan

import (
	"fmt"
	"slices"

	"github.com/bramble-tracing/bramble/internal/store"
)

// grouped returns the order in which the spans of b are written so that those of a resource, and within it those of a
// scope, stand together: by first occurrence, and otherwise as in the batch. nil means as in the batch. The error wraps
// store.ErrInvalid if a span refers to a resource or scope that is not there.
func grouped(b *store.Batch) ([]int, error) {
	seen := make([]bool, len(b.Resources))
	lastIn := make([]int32, len(b.Scopes)) // The resource that the scope was last seen in, plus one.
	ri, si := int32(-1), int32(-1)
	ordered := true
	for i := range b.Spans {
		s := &b.Spans[i]
		if i > 0 && s.Resource == ri && s.Scope == si {
			continue
		}
		if s.Resource < 0 || int(s.Resource) >= len(b.Resources) {
			return nil, fmt.Errorf("%w: span %d has resource %d of %d", store.ErrInvalid, i, s.Resource, len(b.Resources))
		}
		if s.Scope < 0 || int(s.Scope) >= len(b.Scopes) {
			return nil, fmt.Errorf("%w: span %d has scope %d of %d", store.ErrInvalid, i, s.Scope, len(b.Scopes))
		}
		switch {
		case s.Resource != ri:
			ordered = ordered && !seen[s.Resource]
			seen[s.Resource] = true
		default:
			ordered = ordered && lastIn[s.Scope] != s.Resource+1
		}
		ri, si = s.Resource, s.Scope
		lastIn[si] = ri + 1
	}
	if ordered {
		return nil, nil //nolint:nilnil // Documented: as in the batch.
	}
	return reorder(b), nil
}

func reorder(b *store.Batch) []int {
	type pair struct{ resource, scope int32 }
	resources, pairs := make(map[int32]int), make(map[pair]int)
	order := make([]int, len(b.Spans))
	for i := range b.Spans {
		s := &b.Spans[i]
		order[i] = i
		if _, ok := resources[s.Resource]; !ok {
			resources[s.Resource] = i
		}
		if p := (pair{s.Resource, s.Scope}); pairs[p] == 0 {
			pairs[p] = i + 1
		}
	}
	slices.SortStableFunc(order, func(i, j int) int {
		a, b := &b.Spans[i], &b.Spans[j]
		if c := resources[a.Resource] - resources[b.Resource]; c != 0 {
			return c
		}
		return pairs[pair{a.Resource, a.Scope}] - pairs[pair{b.Resource, b.Scope}]
	})
	return order
}

// run is a stretch of spans, in the order of grouped, that share a resource and a scope.
type run struct {
	lo, hi      int
	newResource bool // The run is the first of its resource.
}

// runs calls f for each run in turn.
func runs(b *store.Batch, order []int, f func(run) error) error {
	ri := int32(-1)
	for lo := 0; lo < len(b.Spans); {
		s := spanAt(b, order, lo)
		hi := lo + 1
		for ; hi < len(b.Spans); hi++ {
			if n := spanAt(b, order, hi); n.Resource != s.Resource || n.Scope != s.Scope {
				break
			}
		}
		if err := f(run{lo: lo, hi: hi, newResource: s.Resource != ri}); err != nil {
			return err
		}
		ri, lo = s.Resource, hi
	}
	return nil
}

func spanAt(b *store.Batch, order []int, i int) *store.Span {
	if order != nil {
		i = order[i]
	}
	return &b.Spans[i]
}

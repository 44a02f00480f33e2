package sampling

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// perService is the policy min_per_service. A trace counts for every service that has a span in it, in the window in
// which that span starts. Of the traces that count for a service in a window, and that no policy of type drop drops,
// those with the smallest hashes are sampled: which these are does not change when others are gone.
type perService struct {
	marking
	traces int
	window time.Duration
	index  int // among the policies of this type
}

// ranked is a trace with its place in the order of hashes.
type ranked struct {
	hash uint64
	id   spanid.TraceID
}

func compareRanked(a, b ranked) int {
	return cmp.Or(cmp.Compare(a.hash, b.hash), compareIDs(a.id, b.id))
}

// quota names a service and a window.
type quota struct {
	service string
	window  int64
}

// smallest keeps the n smallest of what is added, each once.
type smallest struct{ list []ranked }

func (s *smallest) add(r ranked, n int) {
	if len(s.list) == n && compareRanked(r, s.list[n-1]) > 0 {
		return
	}
	i, found := slices.BinarySearchFunc(s.list, r, compareRanked)
	if found {
		return
	}
	s.list = slices.Insert(s.list, i, r)
	s.list = s.list[:min(len(s.list), n)]
}

// summary holds, for a part, the first traces of each service and window.
type summary map[quota]*smallest

// summaries remembers summaries of blocks and frozen heads, which do not change: the decisions of a window need those of all its parts,
// again and again. The key has the number of rows, which tells when rows have been hidden.
type summaries struct {
	mu    sync.Mutex
	parts map[summaryKey]summary
}

type summaryKey struct {
	policy int
	part   string
	rows   int
}

// evaluate marks the traces that come first.
func (p *perService) evaluate(ctx context.Context, sc *scan, n int) error {
	low, high := int64(math.MaxInt64), int64(math.MinInt64)
	for i := range sc.t.ids {
		low, high = min(low, p.number(sc.t.start[i])), max(high, p.number(sc.t.end[i]))
	}
	total := summary{}
	live := map[summaryKey]bool{}
	for _, part := range sc.view.Parts() {
		info := part.Info()
		key := summaryKey{p.index, info.ID, info.Rows}
		live[key] = true
		if p.number(int64(info.MaxStartNano)) < low || p.number(int64(info.MinStartNano)) > high { //nolint:gosec // as the columns have it
			continue
		}
		s, err := p.summaryOf(ctx, sc, part, key)
		if err != nil {
			return err
		}
		for q, first := range s {
			if total[q] == nil {
				total[q] = &smallest{}
			}
			for _, r := range first.list {
				total[q].add(r, p.traces)
			}
		}
	}
	sc.policies.cache.prune(p.index, live)
	for _, first := range total {
		for _, r := range first.list {
			if i := sc.t.find(&r.id); i >= 0 {
				sc.t.mark(n, i)
			}
		}
	}
	return nil
}

// number is the number of the window of a time.
func (p *perService) number(nano int64) int64 {
	w := nano / int64(p.window)
	if nano%int64(p.window) < 0 {
		w--
	}
	return w
}

func (p *perService) summaryOf(ctx context.Context, sc *scan, part store.Part, key summaryKey) (summary, error) {
	cache := &sc.policies.cache
	fixed := part.Info().Kind != store.KindHead
	if fixed {
		if s, ok := cache.get(key); ok {
			return s, nil
		}
	}
	dropped, err := sc.policies.droppedIn(ctx, sc.view, part)
	if err != nil {
		return nil, err
	}
	s := summary{}
	salted := saltHash("")
	err = p.eachRow(ctx, part, func(q quota, id spanid.TraceID) {
		if dropped != nil && dropped(&id) {
			return
		}
		if s[q] == nil {
			s[q] = &smallest{}
		}
		s[q].add(ranked{hashID(salted, &id), id}, p.traces)
	})
	if err == nil && fixed {
		cache.put(key, s)
	}
	return s, err
}

var serviceName = store.Column{Scope: store.ScopeResource, Name: "service.name"}

// eachRow calls f for rows of a part, leaving out most that say the same as the row before.
func (p *perService) eachRow(ctx context.Context, part store.Part, f func(q quota, id spanid.TraceID)) error {
	info := part.Info()
	var ids, starts, services store.Vector
	for g := range info.Granules() {
		var sel store.Bitmap
		sel.Fill(info.GranuleLen(g))
		if err := readIDs(ctx, part, g, &sel, &ids); err != nil {
			return err
		}
		if err := part.Read(ctx, g, store.Intrinsic(store.SpanStart), &sel, &starts); err != nil {
			return fmt.Errorf("read span starts of %s: %w", info.ID, err)
		}
		if err := part.Read(ctx, g, serviceName, &sel, &services); err != nil {
			return fmt.Errorf("read services of %s: %w", info.ID, err)
		}
		last, id, q := "", spanid.TraceID{}, quota{}
		for row := range info.GranuleLen(g) {
			text := ids.At(row).Str
			next := quota{services.At(row).Str, p.number(starts.At(row).Int())}
			if row > 0 && text == last && next == q {
				continue
			}
			if row == 0 || text != last {
				last, id = text, parseShort(text)
			}
			q = next
			f(q, id)
		}
	}
	return nil
}

// droppedIn tells the traces of a part that policies of type drop drop; nil if there are no such policies.
func (p *Policies) droppedIn(ctx context.Context, view store.View, part store.Part) (func(*spanid.TraceID) bool, error) {
	if p.drops == nil {
		return nil, nil //nolint:nilnil // as documented
	}
	ids, err := tracesOf(ctx, part)
	if err != nil {
		return nil, err
	}
	t, err := p.drops.scan(ctx, view, []store.Part{part}, ids)
	if err != nil {
		return nil, err
	}
	o := &outcome{policies: p.drops, t: t}
	return func(id *spanid.TraceID) bool {
		i := t.find(id)
		return i >= 0 && o.decide(int(i)) != nil
	}, nil
}

// tracesOf lists the traces of a part in ascending order.
func tracesOf(ctx context.Context, part store.Part) ([]spanid.TraceID, error) {
	info := part.Info()
	var ids []spanid.TraceID
	var v store.Vector
	for g := range info.Granules() {
		var sel store.Bitmap
		sel.Fill(info.GranuleLen(g))
		if err := readIDs(ctx, part, g, &sel, &v); err != nil {
			return nil, err
		}
		ids = appendIDs(ids, &v)
	}
	slices.SortFunc(ids, compareIDs)
	return slices.Compact(ids), nil
}

func (c *summaries) get(key summaryKey) (summary, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.parts[key]
	return s, ok
}

func (c *summaries) put(key summaryKey, s summary) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.parts == nil {
		c.parts = map[summaryKey]summary{}
	}
	c.parts[key] = s
}

// prune forgets parts of a policy that are gone.
func (c *summaries) prune(policy int, live map[summaryKey]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key := range c.parts {
		if key.policy == policy && !live[key] {
			delete(c.parts, key)
		}
	}
}

package exec

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/bramble-tracing/bramble/internal/memlimit"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// TagOptions bounds a request for tag names or values.
type TagOptions struct {
	Filter     *plan.Filter // Only spans that match count; nil means all.
	Start, End int64        // Unix nanoseconds, 0 for an open end.
	Limit      int          // Names per scope, or values; 0 means no limit.
	MaxBytes   int          // Of all names or values; 0 means no limit. The rest is cut off silently (G-06).
	Skip       TraceSet     // Traces that are looked at elsewhere; see TagCandidates.
	Only       TraceSet     // If not nil, the traces that TagCandidates is about.
	Budget     *memlimit.Budget
}

// ScopeTags are the names of one scope, sorted.
type ScopeTags struct {
	Scope string
	Names []string
}

// TagNamesResult is the answer of TagNames.
type TagNamesResult struct {
	Scopes []ScopeTags // Without empty ones.
	Stats  Stats
}

// ErrScope is wrapped when a scope is asked for that does not exist (G-03).
var ErrScope = errors.New("invalid scope")

// nameScopes are the scopes with names in a catalogue, in the order of answers.
var nameScopes = []ast.Scope{ast.ScopeResource, ast.ScopeSpan, ast.ScopeEvent, ast.ScopeLink, ast.ScopeInstrumentation}

// TagNames lists the names of attributes. The scope is empty or "none" for all, or one of resource, span, event, link,
// instrumentation and intrinsic (G-03). Without a filter the catalogues answer and no row is read.
func TagNames(ctx context.Context, view store.View, scope string, o TagOptions) (*TagNamesResult, error) {
	all := scope == "" || scope == "none"
	only, known := ast.ParseScope(scope)
	if !all && !known && scope != "intrinsic" {
		return nil, fmt.Errorf("%w: %s; scopes are resource, span, event, link, instrumentation, intrinsic and none", ErrScope, scope)
	}
	r := newRun(ctx, view, o.Budget)
	r.skip = o.Skip
	defer r.meter.close()
	t := &tagRun{run: r, window: newWindow(o.Start, o.End), options: o}
	found := &nameSet{names: map[ast.Attr]bool{}, want: func(a ast.Attr) bool { return all || a.Scope == only }}
	if all || known {
		if err := t.names(found); err != nil {
			return nil, r.cause(err)
		}
	}
	out := &TagNamesResult{Stats: r.stats()}
	left := o.MaxBytes
	for _, s := range nameScopes {
		var names []string
		for a := range found.names {
			if a.Scope == s {
				names = append(names, a.Name)
			}
		}
		slices.Sort(names)
		out.add(s.String(), names, &left, o)
	}
	if all || scope == "intrinsic" {
		names := slices.Clone(ast.ListedIntrinsics)
		slices.Sort(names)
		out.add("intrinsic", names, &left, o)
	}
	return out, nil
}

// add adds the names of a scope within the limits. left is what remains of MaxBytes.
func (res *TagNamesResult) add(scope string, names []string, left *int, o TagOptions) {
	if o.Limit > 0 && len(names) > o.Limit {
		names = names[:o.Limit]
	}
	for i, n := range names {
		if *left -= len(n); o.MaxBytes > 0 && *left < 0 {
			names = names[:i]
			break
		}
	}
	if len(names) > 0 {
		res.Scopes = append(res.Scopes, ScopeTags{scope, names})
	}
}

// nameSet collects names. It is safe for concurrent use.
type nameSet struct {
	want func(ast.Attr) bool

	mu    sync.Mutex
	names map[ast.Attr]bool
}

func (s *nameSet) has(a ast.Attr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names[a]
}

func (s *nameSet) add(a ast.Attr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[a] = true
}

// tagRun is the execution of one tag request.
type tagRun struct {
	run     *run
	window  window
	options TagOptions
}

// names collects the names of attributes that matching spans have.
func (t *tagRun) names(found *nameSet) error {
	if t.options.Filter == nil {
		for _, p := range t.run.parts {
			info := p.Info()
			if info.Rows == 0 || !t.window.overlaps(info.MinStartNano, max(info.MaxEndNano, info.MaxStartNano)) {
				continue
			}
			if err := t.run.err(); err != nil {
				return err
			}
			infos, err := p.Attributes(t.run.ctx)
			if err != nil {
				return fmt.Errorf("list attributes: %w", err)
			}
			for k := range infos {
				scope, ok := scopeOf(infos[k].Column.Scope)
				if a := (ast.Attr{Scope: scope, Name: infos[k].Column.Name}); ok && found.want(a) {
					found.names[a] = true
				}
			}
		}
		return nil
	}
	return t.matching(nil, func(s spot, sel *store.Bitmap) (more bool, err error) {
		attrs, err := t.run.attributesOf(s.part)
		if err != nil {
			return false, err
		}
		p := t.run.parts[s.part]
		for _, a := range attrs {
			if a.Scope == ast.ScopeIntrinsic || !found.want(a) || found.has(a) {
				continue
			}
			col, _ := columnOf(a)
			exists := &store.Predicate{Column: col, Op: store.OpExists}
			if !p.MayMatch(s.granule, exists) {
				continue
			}
			there := *sel
			if err := p.Filter(t.run.ctx, s.granule, exists, &there); err != nil {
				return false, fmt.Errorf("filter %s: %w", a, err)
			}
			if there.Any() {
				found.add(a)
			}
		}
		return true, nil
	})
}

// matching calls f with the rows of every granule that match the filter and overlap the window, until f wants no more,
// but for those of the parts in skip. f is called by several goroutines.
func (t *tagRun) matching(skip map[int]bool, f func(spot, *store.Bitmap) (more bool, err error)) error {
	c := &cond{op: plan.True}
	if t.options.Filter != nil {
		c = compile(t.options.Filter.Cond, newColumns())
	}
	tests := t.window.timeTests()
	spots, err := t.run.spots(c, t.window, tests)
	if err != nil {
		return err
	}
	spots = slices.DeleteFunc(spots, func(s spot) bool { return skip[s.part] })
	enough := errors.New("enough")
	err = t.run.each(len(spots), func(i int) error {
		sel, err := t.run.matching(spots[i], c, tests)
		if err == nil && t.options.Filter != nil && t.options.Filter.WholeTrace {
			err = t.wholeTraces(spots[i], &sel)
		}
		if err != nil || !sel.Any() {
			return err
		}
		more, err := f(spots[i], &sel)
		if err == nil && !more {
			err = enough
		}
		return err
	})
	if errors.Is(err, enough) {
		return nil
	}
	return err
}

// wholeTraces keeps those of the marked rows that the filter leaves when it sees their whole traces.
func (t *tagRun) wholeTraces(s spot, sel *store.Bitmap) error {
	ids, err := t.run.traceIDs(s, sel)
	if err != nil {
		return err
	}
	var refs []traceRef
	known := map[string]bool{}
	for _, id := range ids {
		if k := string(id[:]); !known[k] {
			known[k] = true
			refs = append(refs, traceRef{id, s.part})
		}
	}
	p := t.options.Filter.Pipeline
	cols := newColumns()
	e := newEvaluator(p, cols)
	tc := newTraceColumns(cols)
	kept := store.Bitmap{}
	const portion = 256
	for len(refs) > 0 {
		n := min(portion, len(refs))
		l, err := t.run.loadTraces(refs[:n], tc, p.Structure)
		if err != nil {
			return err
		}
		refs = refs[n:]
		for _, tr := range l.traces {
			sets, err := e.eval(t.run, tr)
			if err != nil {
				l.release()
				return err
			}
			for _, i := range union(tr, sets) {
				if ch := tr.spans[i].chunk; ch.index == s.part && ch.granule == s.granule {
					kept.Set(int(ch.rows()[tr.spans[i].i]))
				}
			}
		}
		l.release()
	}
	sel.And(&kept)
	return nil
}

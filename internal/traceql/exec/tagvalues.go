package exec

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

// TagValue is one value as text, with its type (V-05).
type TagValue struct {
	Type  string // string, int, float, bool, duration or keyword.
	Value string
}

// TagValuesResult is the answer of TagValues, sorted by type and value.
type TagValuesResult struct {
	Values []TagValue
	Stats  Stats
}

// TagValues lists the values of an attribute or intrinsic. Those that are all different, and durations, have none
// (V-06). Where the filter pins the attribute with =, the operand is the answer (V-08).
func TagValues(ctx context.Context, view store.View, a ast.Attr, o TagOptions) (*TagValuesResult, error) {
	if v, ok := keywords(a); ok {
		return &TagValuesResult{Values: v}, nil
	}
	if v, ok := o.Filter.Pinned(a); ok {
		return &TagValuesResult{Values: []TagValue{tagValue(v)}}, nil
	}
	r := newRun(ctx, view, o.Budget)
	r.skip = o.Skip
	defer r.meter.close()
	t := &tagRun{run: r, window: newWindow(o.Start, o.End), options: o}
	found := &valueSet{run: r, limit: o.Limit, maxBytes: o.MaxBytes, values: map[TagValue]struct{}{}}
	if err := t.values(a, found); err != nil {
		return nil, r.cause(err)
	}
	out := &TagValuesResult{Stats: r.stats()}
	for v := range found.values {
		out.Values = append(out.Values, v)
	}
	slices.SortFunc(out.Values, compareTagValues)
	return out, nil
}

// keywords returns the fixed answers (V-06).
func keywords(a ast.Attr) ([]TagValue, bool) {
	var words []string
	switch a.Intrinsic {
	case ast.StatusCode:
		words = []string{"ok", "error", "unset"}
	case ast.SpanKind:
		words = []string{"client", "server", "producer", "consumer", "internal", "unspecified"}
	case ast.SpanDuration, ast.TraceDuration, ast.SpanID, ast.TraceID, ast.ParentID, ast.EventTimeSinceStart:
	default:
		return nil, false
	}
	var out []TagValue
	for _, w := range words {
		out = append(out, TagValue{"keyword", w})
	}
	return out, true
}

func tagValue(v ast.Static) TagValue {
	switch v.Type {
	case ast.TypeInt:
		return TagValue{"int", strconv.FormatInt(v.N, 10)}
	case ast.TypeFloat:
		return TagValue{"float", strconv.FormatFloat(v.F, 'g', -1, 64)}
	case ast.TypeBool, ast.TypeDuration:
		return TagValue{v.Type.String(), v.Text()}
	case ast.TypeStatus, ast.TypeKind:
		return TagValue{"keyword", v.Text()}
	}
	return TagValue{"string", v.Text()}
}

// valueSet collects values up to the limits. It is safe for concurrent use.
type valueSet struct {
	run             *run
	limit, maxBytes int

	mu     sync.Mutex
	values map[TagValue]struct{}
	bytes  int
	full   bool
}

// add adds a value, elements of an array one by one (V-09). It reports whether more are wanted.
func (s *valueSet) add(v ast.Static) (more bool, err error) {
	if v.Type == ast.TypeArray {
		for _, e := range v.Elems {
			if more, err := s.add(e); !more || err != nil {
				return more, err
			}
		}
		return true, nil
	}
	if v.IsNil() {
		return true, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	tv := tagValue(v)
	if _, ok := s.values[tv]; ok || s.full {
		return !s.full, nil
	}
	if s.maxBytes > 0 && s.bytes+len(tv.Value) > s.maxBytes {
		s.full = true
		return false, nil
	}
	if err := s.run.meter.take(s.run.ctx, int64(64+len(tv.Value))); err != nil {
		return false, err
	}
	s.values[tv] = struct{}{}
	s.bytes += len(tv.Value)
	s.full = s.limit > 0 && len(s.values) >= s.limit
	return !s.full, nil
}

// values collects the values of an attribute.
func (t *tagRun) values(a ast.Attr, found *valueSet) error {
	switch a.Intrinsic {
	case ast.RootName, ast.RootService, ast.NestedSetLeft, ast.NestedSetRight, ast.NestedSetParent, ast.ChildCount:
		return t.traceValues(a, found)
	}
	if a.Scope != ast.ScopeNone {
		return t.columnValues(a, found)
	}
	for _, s := range []ast.Scope{ast.ScopeSpan, ast.ScopeResource, ast.ScopeInstrumentation} { // V-07.
		if err := t.columnValues(ast.Attr{Scope: s, Name: a.Name}, found); err != nil {
			return err
		}
	}
	return nil
}

// columnValues collects the values of a column: from what parts know of it where they know all, else from rows. Parts
// that overlap the window count as a whole then: a value that lies just outside is better than a scan of the store.
func (t *tagRun) columnValues(a ast.Attr, found *valueSet) error {
	known := map[int]bool{}
	col, _ := columnOf(a)
	for i, p := range t.run.parts {
		info := p.Info()
		if t.options.Filter != nil || info.Rows == 0 || !t.window.overlaps(info.MinStartNano, max(info.MaxEndNano, info.MaxStartNano)) {
			continue
		}
		if err := t.run.err(); err != nil {
			return err
		}
		all, more, err := t.fromPart(p, a, col, found)
		if err != nil || !more {
			return err
		}
		known[i] = all
	}
	exists := &store.Predicate{Column: col, Op: store.OpExists}
	return t.matching(known, func(s spot, sel *store.Bitmap) (bool, error) {
		if a != ast.ServiceName && !t.run.parts[s.part].MayMatch(s.granule, exists) {
			return true, nil
		}
		return t.readValues(s, sel, a, col, found)
	})
}

// fromPart adds the values of a column that the part knows without reading rows: from its catalogue, or its
// dictionaries. all reports whether these are all of them.
func (t *tagRun) fromPart(p store.Part, a ast.Attr, col store.Column, found *valueSet) (all, more bool, err error) {
	var values []store.Value
	if col.Scope != store.ScopeIntrinsic {
		infos, err := p.Attributes(t.run.ctx)
		if err != nil {
			return false, false, fmt.Errorf("list attributes: %w", err)
		}
		rows := 0
		all = true
		for i := range infos {
			if at := &infos[i]; at.Column == col {
				all = all && at.Complete
				rows += at.Rows
				for _, v := range at.Top {
					values = append(values, v.Value)
				}
			}
		}
		if a == ast.ServiceName && rows < p.Info().Rows {
			values = append(values, store.String("")) // A missing one is empty (contract 11, X-17).
		}
	}
	if lister, ok := p.(store.Lister); ok && !all {
		listed, complete, err := lister.Distinct(t.run.ctx, col)
		if err != nil {
			return false, false, fmt.Errorf("list values of %s: %w", a, err)
		}
		if complete {
			values, all = append(values, listed...), true
		}
	}
	if !all {
		return false, true, nil
	}
	for _, v := range values {
		if more, err = found.add(toStatic(a, v)); err != nil || !more {
			return true, more, err
		}
	}
	return true, true, nil
}

// readValues adds the values of the marked rows of a granule.
func (t *tagRun) readValues(s spot, sel *store.Bitmap, a ast.Attr, col store.Column, found *valueSet) (bool, error) {
	var v store.Vector
	if err := t.run.parts[s.part].Read(t.run.ctx, s.granule, col, sel, &v); err != nil {
		return false, fmt.Errorf("read %s: %w", a, err)
	}
	n := sel.Count()
	if len(v.Offsets) == 0 {
		_, values := valueCodes(&v, n, a)
		for _, value := range values {
			if more, err := found.add(value); err != nil || !more {
				return false, err
			}
		}
		return true, nil
	}
	seen := map[store.Value]struct{}{}
	var buf []store.Value
	for i := range n {
		buf = v.AppendTo(buf[:0], i)
		for _, value := range buf {
			if _, ok := seen[value]; ok {
				continue
			}
			seen[value] = struct{}{}
			if more, err := found.add(toStatic(a, value)); err != nil || !more {
				return false, err
			}
		}
	}
	return true, nil
}

// traceValues collects values that only whole traces have.
func (t *tagRun) traceValues(a ast.Attr, found *valueSet) error {
	cols := newColumns()
	value := compileAttr(a, cols)
	tc := newTraceColumns(cols)
	structure := a.Intrinsic != ast.RootName && a.Intrinsic != ast.RootService
	return t.matching(nil, func(s spot, sel *store.Bitmap) (bool, error) {
		candidates, err := t.run.candidates(s, sel)
		if err != nil {
			return false, err
		}
		const portion = 512
		for len(candidates) > 0 {
			n := min(portion, len(candidates))
			refs := make([]traceRef, n)
			for i, c := range candidates[:n] {
				refs[i] = c.traceRef
			}
			candidates = candidates[n:]
			l, err := t.run.loadTraces(refs, tc, structure)
			if err != nil {
				return false, err
			}
			more, err := addTraceValues(l, value, structure, found)
			l.release()
			if err != nil || !more {
				return more, err
			}
		}
		return true, nil
	})
}

// addTraceValues adds the values of all spans, or of one span where the value is the trace's.
func addTraceValues(l *load, value evalFn, perSpan bool, found *valueSet) (bool, error) {
	for _, tr := range l.traces {
		e := env{trace: tr}
		for n := range tr.spans {
			e.at(int32(n)) //nolint:gosec // Spans of a trace fit.
			if more, err := found.add(value(&e)); err != nil || !more {
				return false, err
			}
			if !perSpan {
				break
			}
		}
	}
	return true, nil
}

package exec

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

type rootNames struct{ name, service string }

// rootTable holds the roots of the traces of one part, as long as granules of the part are to be counted.
type rootTable struct {
	users atomic.Int64 // granules that are left; the table goes with the last
	once  sync.Once
	err   error
	roots map[spanid.TraceID]root
	only  TraceSet          // If not nil, the traces that matter.
	texts map[string]string // Names, each once.
	bytes int64
}

// root is the root span of a trace, the latest of several (S-30).
type root struct {
	rootNames
	start int64
	span  string
}

// rootBytes is about what a root costs; names are shared.
const rootBytes = 144

// rootsOf returns the roots of a part's traces.
func (x *metricsRun) rootsOf(part int) (map[spanid.TraceID]root, error) {
	t := &x.roots[part]
	t.once.Do(func() {
		info := x.run.parts[part].Info()
		for g := 0; g < info.Granules() && t.err == nil; g++ {
			var sel store.Bitmap
			sel.Fill(info.GranuleLen(g))
			t.err = x.run.readRoots(spot{part, g}, &sel, x.run.parts[part].Read, t)
		}
	})
	return t.roots, t.err
}

// doneWith gives back the roots of a part after the last of its granules.
func (x *metricsRun) doneWith(part int) {
	if t := &x.roots[part]; t.users.Add(-1) == 0 {
		x.run.meter.give(t.bytes)
		t.roots, t.texts = nil, nil
	}
}

// readRoots adds the spans without a parent among the marked rows of a granule.
func (r *run) readRoots(s spot, sel *store.Bitmap, read readFunc, t *rootTable) error {
	if err := r.err(); err != nil {
		return err
	}
	if t.roots == nil {
		t.roots, t.texts = map[spanid.TraceID]root{}, map[string]string{}
	}
	p := r.parts[s.part]
	parentless := &store.Predicate{Column: store.Intrinsic(store.SpanParentID), Op: store.OpNotExists}
	if err := p.Filter(r.ctx, s.granule, parentless, sel); err != nil {
		return fmt.Errorf("find roots in %s: %w", p.Info().ID, err)
	}
	if !sel.Any() {
		return nil
	}
	bytes := int64(sel.Count()) * rootBytes
	if err := r.meter.take(r.ctx, bytes); err != nil {
		return err
	}
	t.bytes += bytes
	codes, ids, err := r.traceCodesBy(read, s, sel)
	if err != nil {
		return err
	}
	var vecs [4]store.Vector
	for i, c := range [...]store.Column{
		store.Intrinsic(store.SpanName), serviceColumn, store.Intrinsic(store.SpanStart), store.Intrinsic(store.SpanID),
	} {
		if err := read(r.ctx, s.granule, c, sel, &vecs[i]); err != nil {
			return fmt.Errorf("read roots in %s: %w", p.Info().ID, err)
		}
	}
	for i, code := range codes {
		if _, ok := t.only[ids[code]]; !ok && t.only != nil {
			continue
		}
		next := root{start: vecs[2].At(i).Int(), span: vecs[3].At(i).Str}
		if have, ok := t.roots[ids[code]]; ok && !have.before(&next) {
			continue
		}
		next.rootNames = rootNames{t.shared(vecs[0].At(i).Str), t.shared(vecs[1].At(i).Str)}
		t.roots[ids[code]] = next
	}
	return nil
}

// before reports whether o is the root of a trace that has both.
func (r *root) before(o *root) bool {
	return r.start < o.start || r.start == o.start && r.span <= o.span
}

func (t *rootTable) shared(s string) string {
	if have, ok := t.texts[s]; ok {
		return have
	}
	t.texts[s] = s
	return s
}

// countRoots counts the names of the roots of the rows' traces, which find looks up. With apart, those of which other stores may
// have the root are counted apart.
func (c *comparer) countRoots(s spot, sp *split, find func([]spanid.TraceID, spot) ([]rootNames, error), apart bool) error {
	codes, ids, err := c.x.run.traceCodesBy(c.reading(s.part), s, &sp.all)
	if err != nil {
		return err
	}
	c.gather(&sp.all)
	here := ids
	if apart = apart && len(c.x.elsewhere) > 0; apart {
		if here, err = c.addSplit(codes, ids); err != nil {
			return err
		}
	}
	if len(here) == 0 {
		return nil
	}
	names, err := find(here, s)
	if err != nil {
		return err
	}
	for _, named := range []struct {
		a  ast.Intrinsic
		of func(rootNames) string
	}{
		{ast.RootName, func(r rootNames) string { return r.name }}, {ast.RootService, func(r rootNames) string { return r.service }},
	} {
		known := map[string]uint32{}
		var dict []store.Value
		byTrace := make([]uint32, len(ids))
		next := 0
		for i, id := range ids {
			if _, ok := c.x.elsewhere[id]; ok && apart {
				byTrace[i] = store.NoCode
				continue
			}
			text := named.of(names[next])
			next++
			code, ok := known[text]
			if !ok {
				code = uint32(len(dict)) //nolint:gosec // At most one per row.
				known[text] = code
				dict = append(dict, store.String(text))
			}
			byTrace[i] = code
		}
		v := store.Vector{Dict: dict, Codes: make([]uint32, len(codes))}
		for i, t := range codes {
			v.Codes[i] = byTrace[t]
		}
		if err := c.column(ast.IntrinsicAttr(named.a), &v); err != nil {
			return err
		}
	}
	return nil
}

// rootNames returns the names of the roots of traces.
func (c *comparer) rootNames(ids []spanid.TraceID, s spot) ([]rootNames, error) {
	out, err := c.ownRoots(ids, s)
	if err != nil {
		return nil, err
	}
	var split []spanid.TraceID
	var at []int
	for i, id := range ids {
		if c.x.run.split.Has(id) {
			split, at = append(split, id), append(at, i)
		}
	}
	names, err := c.splitRoots(split, s)
	for i, n := range names {
		out[at[i]] = n
	}
	return out, err
}

// ownRoots returns the roots of traces as one part knows them.
func (c *comparer) ownRoots(ids []spanid.TraceID, s spot) ([]rootNames, error) {
	if _, ok := c.x.run.parts[s.part].(store.Counter); ok && c.x.run.kinds[s.part] == store.KindBlock {
		return c.nearRoots(ids, s) // A block keeps the rows of a trace together.
	}
	roots, err := c.x.rootsOf(s.part)
	if err != nil {
		return nil, err
	}
	out := make([]rootNames, len(ids))
	for i, id := range ids {
		out[i] = roots[id].rootNames
	}
	return out, nil
}

// readSplitRoots looks up the roots of traces that have spans in several parts.
func (c *comparer) readSplitRoots(refs []traceRef) error {
	if len(refs) == 0 {
		return nil
	}
	if err := c.x.run.meter.take(c.x.run.ctx, 2*seenBytes*int64(len(refs))); err != nil {
		return err
	}
	cols := newColumns()
	cols.addRoot()
	l, err := c.x.run.loadTraces(refs, newTraceColumns(cols), false)
	if err != nil {
		return err
	}
	defer l.release()
	for _, t := range l.traces {
		c.roots[t.id] = rootNames{t.rootName, t.rootService}
	}
	return nil
}

package tracedb

import (
	"context"
	"fmt"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/block"
)

// notedPart is a head with the columns of what was decided about its traces, of which the head knows nothing.
type notedPart struct {
	store.Part
	notes *headNotes
}

func isDecision(c store.Column) bool {
	return c.Scope == store.ScopeIntrinsic && (c.Name == store.TraceDecision || c.Name == store.TracePolicy)
}

// MayMatch implements store.Part.
func (p *notedPart) MayMatch(granule int, pred *store.Predicate) bool {
	if !isDecision(pred.Column) {
		return p.Part.MayMatch(granule, pred)
	}
	info := p.Info()
	return granule < info.Granules() && (pred.Op == store.OpNotExists || !p.notes.empty())
}

// Range implements store.Ranger.
func (p *notedPart) Range(granule int, c store.Column) (lo, hi int64, ok bool) {
	if r, is := p.Part.(store.Ranger); is {
		return r.Range(granule, c)
	}
	return 0, 0, false
}

// Distinct implements store.Lister.
func (p *notedPart) Distinct(ctx context.Context, c store.Column) (values []store.Value, complete bool, err error) {
	if l, is := p.Part.(store.Lister); is {
		return l.Distinct(ctx, c)
	}
	return nil, false, nil
}

// Filter implements store.Part.
func (p *notedPart) Filter(ctx context.Context, granule int, pred *store.Predicate, sel *store.Bitmap) error {
	if !isDecision(pred.Column) {
		return p.Part.Filter(ctx, granule, pred, sel)
	}
	// The inner part checks the predicate and takes out what is no row.
	probe := *pred
	probe.Column = store.Column{Scope: store.ScopeSpan, Name: ""}
	if err := p.Part.Filter(ctx, granule, &probe, &store.Bitmap{}); err != nil {
		return err
	}
	info := p.Info()
	var valid store.Bitmap
	valid.Fill(info.GranuleLen(granule))
	sel.And(&valid)
	values, err := p.decisions(ctx, granule, pred.Column, sel)
	if err != nil {
		return err
	}
	i := 0
	for r := range sel.Rows() {
		var list []store.Value
		if values[i].Type != store.TypeAbsent {
			list = values[i : i+1]
		}
		if !pred.MatchSpan(list) {
			sel.Clear(r)
		}
		i++
	}
	return nil
}

// Read implements store.Part.
func (p *notedPart) Read(ctx context.Context, granule int, c store.Column, sel *store.Bitmap, dst *store.Vector) error {
	if !isDecision(c) {
		return p.Part.Read(ctx, granule, c, sel, dst)
	}
	values, err := p.decisions(ctx, granule, c, sel)
	if err != nil {
		return err
	}
	dst.Reset()
	dst.Values = append(dst.Values, values...)
	return nil
}

// EachTrace implements store.TraceLister, if the inner part does.
func (p *notedPart) EachTrace(ctx context.Context, first int, f func(spanid.TraceID)) (int, error) {
	return eachTrace(ctx, p.Part, first, f)
}

// TraceIDs implements store.TraceReader, if the inner part does.
func (p *notedPart) TraceIDs(ctx context.Context, granule int, sel *store.Bitmap, dst []spanid.TraceID) ([]spanid.TraceID, error) {
	return readTraceIDs(ctx, p.Part, granule, sel, dst)
}

// decisions returns a value per marked row, absent where nothing is known.
func (p *notedPart) decisions(ctx context.Context, granule int, c store.Column, sel *store.Bitmap) ([]store.Value, error) {
	out := make([]store.Value, sel.Count())
	var ids store.Vector
	if err := p.Part.Read(ctx, granule, store.Intrinsic(store.SpanTraceID), sel, &ids); err != nil {
		return nil, err
	}
	if p.notes.empty() {
		return out, nil
	}
	for i := range out {
		text := ids.At(i).Str
		id, err := spanid.ParseTraceID(text)
		if err != nil {
			return nil, fmt.Errorf("trace id %q: %w", text, err)
		}
		n, ok := p.notes.get(id)
		switch {
		case !ok || !n.flags.Decided():
		case c.Name == store.TracePolicy && n.policy != "":
			out[i] = store.String(n.policy)
		case c.Name == store.TracePolicy:
		case n.flags&block.Kept != 0:
			out[i] = store.String("kept")
		default:
			out[i] = store.String("dropped")
		}
	}
	return out, nil
}

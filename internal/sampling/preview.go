package sampling

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// Report says what policies would keep of the traces that are not decided yet. Bytes are shares of the size that the
// parts of the store have now.
type Report struct {
	// Start and End are the first and last start of a span.
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	// Total is what there is, Kept what would be kept.
	Total Amount `json:"total"`
	Kept  Amount `json:"kept"`
	// Share of the traces that would be kept, 0 to 1.
	Share float64 `json:"share"`
	// Policies lists what each policy decides: one that keeps what it keeps, one of type drop what it drops. What no
	// policy samples is listed under the empty name, last.
	Policies []PolicyReport `json:"policies"`
	// Services are ordered by name. Spans and bytes are those of the service; a trace counts for each of its services.
	Services []ServiceReport `json:"services"`
}

// Amount is an amount of data.
type Amount struct {
	Traces int   `json:"traces"`
	Spans  int   `json:"spans"`
	Bytes  int64 `json:"bytes"`
	// BytesPerDay is Bytes extrapolated from the time between Start and End.
	BytesPerDay int64 `json:"bytesPerDay"`
}

// PolicyReport is what one policy decides.
type PolicyReport struct {
	Policy string `json:"policy"`
	Keep   bool   `json:"keep"`
	Amount
}

// ServiceReport is what becomes of the spans of one service.
type ServiceReport struct {
	Service string  `json:"service"`
	Total   Amount  `json:"total"`
	Kept    Amount  `json:"kept"`
	Share   float64 `json:"share"`
}

// Preview evaluates policies over everything in a view that is not decided. It changes nothing.
func Preview(ctx context.Context, view store.View, p *Policies) (*Report, error) {
	pv := &preview{policies: p, view: view, byPolicy: map[store.Decision]*amount{}, byService: map[string]*[2]amount{}}
	split := view.Split()
	var fragmented []spanid.TraceID
	for _, part := range view.Parts() {
		ids, err := pv.undecided(ctx, part)
		if err != nil {
			return nil, err
		}
		whole := ids[:0]
		for _, id := range ids {
			if split.Has(id) {
				fragmented = append(fragmented, id)
			} else {
				whole = append(whole, id)
			}
		}
		if err := pv.add(ctx, []store.Part{part}, whole); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(fragmented, compareIDs)
	if err := pv.add(ctx, nil, slices.Compact(fragmented)); err != nil {
		return nil, err
	}
	return pv.report(), nil
}

type amount struct {
	traces, spans int
	bytes         float64
}

type preview struct {
	policies   *Policies
	view       store.View
	start, end int64
	any        bool
	byPolicy   map[store.Decision]*amount
	byService  map[string]*[2]amount // all and kept
}

var undecidedOnly = &store.Predicate{Column: store.Intrinsic(store.TraceDecision), Op: store.OpNotExists}

// filterUndecided unmarks the rows of decided traces. A store that does not know the column has decided nothing.
func filterUndecided(ctx context.Context, p store.Part, granule int, sel *store.Bitmap) error {
	if err := p.Filter(ctx, granule, undecidedOnly, sel); err != nil && !errors.Is(err, store.ErrUnsupported) {
		return fmt.Errorf("find undecided traces in %s: %w", p.Info().ID, err)
	}
	return nil
}

// undecided lists the traces of a part that are not decided, in ascending order, and notes when they start.
func (pv *preview) undecided(ctx context.Context, p store.Part) ([]spanid.TraceID, error) {
	info := p.Info()
	var out []spanid.TraceID
	var v store.Vector
	for g := range info.Granules() {
		var sel store.Bitmap
		sel.Fill(info.GranuleLen(g))
		if err := filterUndecided(ctx, p, g, &sel); err != nil {
			return nil, err
		}
		if !sel.Any() {
			continue
		}
		if err := p.Read(ctx, g, store.Intrinsic(store.SpanStart), &sel, &v); err != nil {
			return nil, fmt.Errorf("read span starts of %s: %w", info.ID, err)
		}
		for i := range v.Rows() {
			if t := v.At(i).Int(); t != 0 {
				if !pv.any {
					pv.any, pv.start, pv.end = true, t, t
				}
				pv.start, pv.end = min(pv.start, t), max(pv.end, t)
			}
		}
		if err := readIDs(ctx, p, g, &sel, &v); err != nil {
			return nil, err
		}
		out = appendIDs(out, &v)
	}
	slices.SortFunc(out, compareIDs)
	return slices.Compact(out), nil
}

// add evaluates traces, which are in parts or split.
func (pv *preview) add(ctx context.Context, parts []store.Part, ids []spanid.TraceID) error {
	if len(ids) == 0 {
		return nil
	}
	results, err := pv.policies.Evaluate(ctx, &store.Undecided{View: pv.view, Parts: parts, Traces: ids})
	if err != nil {
		return err
	}
	for i := range results {
		r := &results[i]
		a := pv.byPolicy[r.Decision]
		if a == nil {
			a = &amount{}
			pv.byPolicy[r.Decision] = a
		}
		a.traces++
		a.spans += r.Spans
		a.bytes += r.Bytes
	}
	return pv.services(ctx, parts, ids, results)
}

// services adds the rows of the traces to their services.
func (pv *preview) services(ctx context.Context, parts []store.Part, ids []spanid.TraceID, results []Result) error {
	sc := &scan{policies: &Policies{}, view: pv.view, parts: parts, t: newTraces(ids, &Policies{})}
	type seen struct {
		trace   int32
		service string
	}
	traces := map[seen]struct{}{}
	sc.visit = func(ctx context.Context, s *slab) error {
		if err := s.part.Read(ctx, s.granule, serviceName, &s.sel, &s.vec); err != nil {
			return fmt.Errorf("read services: %w", err)
		}
		info := s.part.Info()
		each := float64(info.Bytes) / float64(max(1, info.Rows))
		i, last := -1, seen{trace: -1}
		for row := range s.sel.Rows() {
			i++
			key := seen{s.owner[row], s.vec.At(i).Str}
			both := pv.byService[key.service]
			if both == nil {
				both = &[2]amount{}
				pv.byService[key.service] = both
			}
			fresh := false
			if key != last {
				last = key
				_, known := traces[key]
				traces[key] = struct{}{}
				fresh = !known
			}
			for k := range both {
				if k == 1 && !results[key.trace].Keep {
					break
				}
				both[k].spans++
				both[k].bytes += each
				if fresh {
					both[k].traces++
				}
			}
		}
		return nil
	}
	return sc.run(ctx)
}

const secondsPerDay = 86400

func (pv *preview) report() *Report {
	r := &Report{Policies: []PolicyReport{}, Services: []ServiceReport{}}
	seconds := max(1, float64(pv.end-pv.start)/1e9)
	if pv.any {
		r.Start, r.End = time.Unix(0, pv.start).UTC(), time.Unix(0, pv.end).UTC()
	}
	export := func(a amount) Amount {
		return Amount{Traces: a.traces, Spans: a.spans, Bytes: int64(a.bytes), BytesPerDay: int64(a.bytes / seconds * secondsPerDay)}
	}
	var total, kept amount
	for d, a := range pv.byPolicy {
		total.add(a)
		if d.Keep {
			kept.add(a)
		}
		r.Policies = append(r.Policies, PolicyReport{Policy: d.Policy, Keep: d.Keep, Amount: export(*a)})
	}
	names := pv.policies.Names()
	rank := func(name string) int {
		if i := slices.Index(names, name); i >= 0 {
			return i
		}
		return len(names)
	}
	slices.SortFunc(r.Policies, func(a, b PolicyReport) int { return cmp.Compare(rank(a.Policy), rank(b.Policy)) })
	r.Total, r.Kept = export(total), export(kept)
	r.Share = share(kept.traces, total.traces)
	for name, both := range pv.byService {
		r.Services = append(r.Services, ServiceReport{
			Service: name, Total: export(both[0]), Kept: export(both[1]), Share: share(both[1].traces, both[0].traces),
		})
	}
	slices.SortFunc(r.Services, func(a, b ServiceReport) int { return cmp.Compare(a.Service, b.Service) })
	return r
}

func (a *amount) add(o *amount) {
	a.traces += o.traces
	a.spans += o.spans
	a.bytes += o.bytes
}

func share(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// OldestUndecided returns when the oldest part that has undecided traces begins, the zero time if there is none.
func OldestUndecided(ctx context.Context, view store.View) (time.Time, error) {
	parts := slices.Clone(view.Parts())
	slices.SortStableFunc(parts, func(a, b store.Part) int { return cmp.Compare(a.Info().MinStartNano, b.Info().MinStartNano) })
	for _, p := range parts {
		info := p.Info()
		for g := range info.Granules() {
			if !p.MayMatch(g, undecidedOnly) {
				continue
			}
			var sel store.Bitmap
			sel.Fill(info.GranuleLen(g))
			if err := filterUndecided(ctx, p, g, &sel); err != nil {
				return time.Time{}, err
			}
			if sel.Any() {
				return time.Unix(0, int64(info.MinStartNano)), nil
			}
		}
	}
	return time.Time{}, nil
}

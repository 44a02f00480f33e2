package query

import (
	"context"
	"slices"
	"strings"

	"github.com/bramble-tracing/bramble/internal/memlimit"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

// TagNamesResult is the answer of TagNames.
type TagNamesResult struct {
	Scopes []ScopeNames
	// Partial says what is missing; empty if nothing is.
	Partial string
	Stats   Stats
	Coverage
}

// ScopeNames are the attributes of one scope, sorted.
type ScopeNames struct {
	Name string
	Tags []string
}

// TagValuesResult is the answer of TagValues.
type TagValuesResult struct {
	Values []TagValue
	// Partial says what is missing; empty if nothing is.
	Partial string
	Stats   Stats
	Coverage
}

// TagValue is one value as text with its type: string, int, float, bool, duration or keyword (V-05).
type TagValue struct{ Type, Text string }

// TagNames lists attributes. What is beyond the limit of bytes is left out (G-06).
func (s *Service) TagNames(ctx context.Context, r TagNamesRequest) (*TagNamesResult, error) {
	o, err := s.tagOptions(r.Query, r.StartNano, r.EndNano, r.Limit)
	if err != nil {
		return nil, err
	}
	var out *TagNamesResult
	d := &Done{Kind: "tags", Query: r.Query, StartNano: r.StartNano, EndNano: r.EndNano, Client: r.Client}
	places := s.scans
	if o.Filter == nil { // The catalogues answer.
		places = s.lookups
	}
	err = s.run(ctx, places, d, func(ctx context.Context, v store.View, budget *memlimit.Budget) error {
		o.Budget = budget
		f := s.fanOut(&local{service: s, view: v, budget: budget}, r.Client)
		res, err := f.tagNames(ctx, budget, r, o)
		if err != nil {
			return err
		}
		d.Stats = statsOf(res.Stats)
		out = &TagNamesResult{Stats: d.Stats}
		out.Stats.without(d.Missing)
		out.Coverage = f.report(ctx, &out.Partial, &out.Stats)
		for _, sc := range res.Scopes {
			out.Scopes = append(out.Scopes, ScopeNames{Name: sc.Scope, Tags: cloneAll(sc.Names)})
		}
		return nil
	})
	return out, err
}

// TagValues lists the values of an attribute. An unknown name is an InvalidError (V-03).
func (s *Service) TagValues(ctx context.Context, r TagValuesRequest) (*TagValuesResult, error) {
	if r.Unscoped && r.Name == "error" { // V-01: it is not an attribute, but what tags=error=true searches for.
		return &TagValuesResult{Values: []TagValue{{Type: "bool", Text: "true"}}, Stats: Stats{Completed: 1, Jobs: 1}}, nil
	}
	if _, _, err := s.valueOptions(&r); err != nil {
		return nil, err
	}
	var out *TagValuesResult
	d := &Done{Kind: "values", Query: r.Name + " " + r.Query, StartNano: r.StartNano, EndNano: r.EndNano, Client: r.Client}
	err := s.run(ctx, s.scans, d, func(ctx context.Context, v store.View, budget *memlimit.Budget) error {
		f := s.fanOut(&local{service: s, view: v, budget: budget}, r.Client)
		res, err := f.tagValues(ctx, budget, v, r, s)
		if err != nil {
			return err
		}
		d.Stats = statsOf(res.Stats)
		out = &TagValuesResult{Stats: d.Stats, Values: make([]TagValue, len(res.Values))}
		out.Stats.without(d.Missing)
		out.Coverage = f.report(ctx, &out.Partial, &out.Stats)
		for i, tv := range res.Values {
			out.Values[i] = TagValue{Type: tv.Type, Text: strings.Clone(tv.Value)}
		}
		return nil
	})
	if err == nil && r.Unscoped {
		out.Values = untyped(out.Values)
	}
	return out, err
}

func (s *Service) tagOptions(q string, start, end uint64, limit int) (exec.TagOptions, error) {
	f, err := traceql.ParseFilter(q)
	if err != nil {
		return exec.TagOptions{}, &InvalidError{Reason: "invalid q", Err: err}
	}
	return exec.TagOptions{Filter: f, Start: clampNano(start), End: clampNano(end), Limit: limit, MaxBytes: s.limits.MaxTagBytes}, nil
}

// bareNames are what names without scope mean in the older endpoint besides intrinsics (V-01).
var bareNames = map[string]ast.Intrinsic{
	"root.name": ast.RootName, "root.service.name": ast.RootService, "status.code": ast.StatusCode,
}

func tagAttr(r TagValuesRequest) (ast.Attr, error) {
	if !r.Unscoped {
		a, err := traceql.ParseAttribute(r.Name)
		if err != nil {
			return a, &InvalidError{Reason: "please provide a valid tagName: failed to parse identifier " + r.Name, Err: err}
		}
		return a, nil
	}
	if i, ok := bareNames[r.Name]; ok {
		return ast.IntrinsicAttr(i), nil
	}
	if i, ok := ast.ParseIntrinsic(r.Name); ok {
		return ast.IntrinsicAttr(i), nil
	}
	return ast.Attr{Scope: ast.ScopeNone, Name: r.Name}, nil
}

// untyped sorts values by their text and drops those that differ in type only.
func untyped(values []TagValue) []TagValue {
	slices.SortFunc(values, func(a, b TagValue) int { return strings.Compare(a.Text, b.Text) })
	return slices.CompactFunc(values, func(a, b TagValue) bool { return a.Text == b.Text })
}

// cloneAll copies strings out of a view.
func cloneAll(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = strings.Clone(s)
	}
	return out
}

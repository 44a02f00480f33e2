package plan

import "github.com/bramble-tracing/bramble/internal/traceql/ast"

// Filter is the plan of the filter of a tag request.
type Filter struct {
	// Cond decides spans one by one; parts that need the whole trace are left out of it if WholeTrace is set.
	Cond *Cond
	// WholeTrace says that Pipeline has to decide.
	WholeTrace bool
	Pipeline   *Pipeline
}

// NewFilter plans a checked filter. It returns nil if the filter is nil or always true: the request is unfiltered
// (G-23).
func NewFilter(x ast.Expr) (*Filter, error) {
	if x == nil {
		return nil, nil //nolint:nilnil // No filter.
	}
	f := &ast.Filter{X: x}
	p, err := newPipeline(&ast.Pipeline{Stages: []ast.Stage{f}})
	if err != nil {
		return nil, err
	}
	exact := p.Conds[f].rootOnly()
	if exact.Op == True {
		return nil, nil //nolint:nilnil // As above.
	}
	return &Filter{Cond: exact.superset(), WholeTrace: exact.traceLevel(), Pipeline: p}, nil
}

// Pinned returns the value that the filter demands of an attribute with =, if there is one (V-08).
func (f *Filter) Pinned(a ast.Attr) (ast.Static, bool) {
	if f == nil {
		return ast.Static{}, false
	}
	for _, c := range f.Pipeline.Conds {
		all := []*Cond{c}
		if c.Op == And {
			all = c.Args
		}
		for _, one := range all {
			if one.Op == IsTest && one.Test.Attr == a && one.Test.Op == Eq {
				return one.Test.Values[0], true
			}
		}
	}
	return ast.Static{}, false
}

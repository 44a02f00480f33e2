package exec

import (
	"cmp"
	"math"
	"slices"

	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

// compare makes series of the commonest values per side and attribute, and totals.
func (f *finisher) compare(m *ast.MetricsQuery, p *QueryPartial) []*points {
	p.joinSplit(f.partial.Timeline.N)
	type side struct{ meta, attr string }
	groups := map[side][]*PartialSeries{}
	var order []side
	for i := range p.Series {
		s := &p.Series[i]
		k := side{s.Labels[0].Value.S, s.Labels[1].Key}
		if groups[k] == nil {
			order = append(order, k)
		}
		groups[k] = append(groups[k], s)
	}
	var out []*points
	for _, k := range order {
		series := groups[k]
		total := make([]float64, f.partial.Timeline.N)
		truncated := false
		for _, s := range series {
			truncated = truncated || s.Truncated
			for b, n := range s.Count {
				total[b] += n
			}
		}
		slices.SortStableFunc(series, func(a, b *PartialSeries) int {
			if c := cmp.Compare(sum(b.Count), sum(a.Count)); c != 0 {
				return c
			}
			return compareLabels(a.Labels, b.Labels)
		})
		kept := int64(0)
		for _, s := range series {
			if s.Labels[1].Value.IsNil() {
				continue
			}
			if kept++; kept > m.TopN {
				truncated = true
				break
			}
			out = append(out, &points{labels: s.Labels, values: slices.Clone(s.Count)})
		}
		meta := totalNames[0]
		if k.meta == metaNames[1] {
			meta = totalNames[1]
		}
		out = append(out, &points{labels: []Attr{{metaType, ast.String(meta)}, {k.attr, ast.String("nil")}}, values: total})
		if truncated {
			out = append(out, &points{
				labels: []Attr{{metaError, ast.String(tooManyValues)}, {metaType, ast.String(k.meta)}, {k.attr, ast.String("nil")}},
				values: slices.Repeat([]float64{math.NaN()}, f.partial.Timeline.N),
			})
		}
	}
	return out
}

func sum(list []float64) (s float64) {
	for _, v := range list {
		s += v
	}
	return s
}

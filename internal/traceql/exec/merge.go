package exec

import (
	"cmp"
	"maps"
	"slices"

	"github.com/bramble-tracing/bramble/internal/spanid"
)

// MergeSearch joins the answers that several stores gave to one search, as if one store had given them: the newest limit
// traces, newest first, with at most spansPerSpanSet spans in each spanset. 0 means the defaults of SearchOptions. The
// results are consumed.
//
// It is exact for traces that are in one store only. Of a trace that is in several, the fragments matched separately:
// what needed spans of two stores to match is missing, and aggregates are those of the fragments.
func MergeSearch(limit, spansPerSpanSet int, results ...*SearchResult) *SearchResult {
	if limit <= 0 {
		limit = DefaultLimit
	}
	if spansPerSpanSet <= 0 {
		spansPerSpanSet = DefaultSpansPerSpanSet
	}
	out := &SearchResult{}
	index := map[spanid.TraceID]int{}
	for _, res := range results {
		if res == nil {
			continue
		}
		out.Stats.Add(res.Stats)
		for i := range res.Traces {
			t := &res.Traces[i]
			if at, ok := index[t.ID]; ok {
				out.Traces[at].merge(t, spansPerSpanSet)
				continue
			}
			index[t.ID] = len(out.Traces)
			out.Traces = append(out.Traces, *t)
		}
	}
	slices.SortFunc(out.Traces, func(a, b TraceRow) int {
		return cmp.Or(cmp.Compare(b.StartNano, a.StartNano), slices.Compare(a.ID[:], b.ID[:]))
	})
	if len(out.Traces) > limit {
		out.Traces = slices.Clip(out.Traces[:limit])
	}
	return out
}

// merge adds a fragment of the same trace.
func (t *TraceRow) merge(o *TraceRow, spansPerSpanSet int) {
	end := max(t.StartNano+t.DurationNano, o.StartNano+o.DurationNano)
	t.StartNano = min(t.StartNano, o.StartNano)
	t.DurationNano = end - t.StartNano
	if t.RootService == RootNotReceived && (o.RootService != RootNotReceived || t.RootName == "") {
		t.RootService, t.RootName = o.RootService, o.RootName
	}
	if t.ServiceStats == nil {
		t.ServiceStats = o.ServiceStats
	} else {
		t.ServiceStats = maps.Clone(t.ServiceStats)
		for name, n := range o.ServiceStats {
			have := t.ServiceStats[name]
			t.ServiceStats[name] = ServiceStats{have.SpanCount + n.SpanCount, have.ErrorCount + n.ErrorCount}
		}
	}
	for i := range o.Spansets {
		s := &o.Spansets[i]
		at := slices.IndexFunc(t.Spansets, func(have SpansetRow) bool { return labelKey(have.Attrs) == labelKey(s.Attrs) })
		if at < 0 {
			t.Spansets = append(t.Spansets, *s)
			continue
		}
		t.Spansets[at].merge(s, spansPerSpanSet)
	}
}

// merge adds the spans of another fragment's spanset of the same group. A span that both list counts once.
func (s *SpansetRow) merge(o *SpansetRow, most int) {
	s.Matched += o.Matched
	spans := slices.Clone(s.Spans)
	for _, span := range o.Spans {
		if slices.ContainsFunc(s.Spans, func(have SpanRow) bool { return have.ID == span.ID && have.StartNano == span.StartNano }) {
			s.Matched--
			continue
		}
		spans = append(spans, span)
	}
	slices.SortStableFunc(spans, func(a, b SpanRow) int {
		return cmp.Or(cmp.Compare(a.StartNano, b.StartNano), slices.Compare(a.ID[:], b.ID[:]))
	})
	s.Spans = spans[:min(len(spans), most)]
}

// MergeTagNames joins the names that several stores have. The limits are those of TagOptions.
func MergeTagNames(limit, maxBytes int, results ...*TagNamesResult) *TagNamesResult {
	out := &TagNamesResult{}
	var order []string
	names := map[string]map[string]struct{}{}
	for _, res := range results {
		if res == nil {
			continue
		}
		out.Stats.Add(res.Stats)
		for _, s := range res.Scopes {
			if names[s.Scope] == nil {
				names[s.Scope] = map[string]struct{}{}
				order = append(order, s.Scope)
			}
			for _, n := range s.Names {
				names[s.Scope][n] = struct{}{}
			}
		}
	}
	slices.SortStableFunc(order, func(a, b string) int { return cmp.Compare(scopeRank(a), scopeRank(b)) })
	left := maxBytes
	for _, s := range order {
		out.add(s, slices.Sorted(maps.Keys(names[s])), &left, TagOptions{Limit: limit, MaxBytes: maxBytes})
	}
	return out
}

// scopeRank orders scopes as answers list them.
func scopeRank(name string) int {
	for i, s := range nameScopes {
		if s.String() == name {
			return i
		}
	}
	return len(nameScopes)
}

// MergeTagValues joins the values that several stores have. The limits are those of TagOptions; which values are cut
// off does not depend on the order of the results.
func MergeTagValues(limit, maxBytes int, results ...*TagValuesResult) *TagValuesResult {
	out := &TagValuesResult{}
	for _, res := range results {
		if res == nil {
			continue
		}
		out.Stats.Add(res.Stats)
		out.Values = append(out.Values, res.Values...)
	}
	slices.SortFunc(out.Values, compareTagValues)
	out.Values = slices.Compact(out.Values)
	if limit > 0 && len(out.Values) > limit {
		out.Values = slices.Clip(out.Values[:limit])
	}
	for i, left := 0, maxBytes; maxBytes > 0 && i < len(out.Values); i++ {
		if left -= len(out.Values[i].Value); left < 0 {
			out.Values = slices.Clip(out.Values[:i])
		}
	}
	return out
}

func compareTagValues(a, b TagValue) int {
	return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Value, b.Value))
}

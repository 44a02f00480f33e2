package sampling

import (
	"context"
	"fmt"

	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/bramble-tracing/bramble/internal/store"
)

// leaf is a policy that does not consist of others. Those that look at spans mark traces while the columns are read;
// the others answer from what is known of the trace.
type leaf interface {
	// holds decides the i-th trace once everything has been read. n is the leaf's own index.
	holds(t *traces, n, i int) bool
}

// scanner is a leaf that looks at spans.
type scanner interface {
	// scan marks the traces of the rows of a slab for which the leaf holds.
	scan(ctx context.Context, s *slab, n int) error
}

// marking is embedded by leaves that hold for marked traces.
type marking struct{}

func (marking) holds(t *traces, n, i int) bool { return t.marked(n, i) }

type alwaysLeaf struct{}

func (alwaysLeaf) holds(*traces, int, int) bool { return true }

// latencyLeaf compares in whole milliseconds.
type latencyLeaf struct{ low, high int64 }

func (l *latencyLeaf) holds(t *traces, _, i int) bool {
	ms := (t.end[i] - t.start[i]) / 1e6
	return ms > l.low && (l.high == 0 || ms <= l.high)
}

type countLeaf struct{ low, high int64 }

func (l *countLeaf) holds(t *traces, _, i int) bool {
	n := int64(t.spans[i])
	return n >= l.low && (l.high == 0 || n <= l.high)
}

// shareLeaf keeps traces with the smaller hashes.
type shareLeaf struct{ salted, most uint64 }

func (l *shareLeaf) holds(t *traces, _, i int) bool { return hashID(l.salted, &t.ids[i]) <= l.most }

// filterLeaf holds if one span satisfies a predicate.
type filterLeaf struct{ pred *store.Predicate }

func (*filterLeaf) holds(t *traces, n, i int) bool { return t.marked(n, i) }

func (l *filterLeaf) scan(ctx context.Context, s *slab, n int) error {
	if !s.part.MayMatch(s.granule, l.pred) {
		return nil
	}
	sel := s.sel
	if err := s.part.Filter(ctx, s.granule, l.pred, &sel); err != nil {
		return fmt.Errorf("filter by %s: %w", l.pred.Column.Name, err)
	}
	for row := range sel.Rows() {
		s.t.mark(n, s.owner[row])
	}
	return nil
}

// valueMatcher decides about values of an attribute of the resource and of the span.
type valueMatcher struct{ resource, span func(store.Value) bool }

// attrLeaf holds if the attribute of a span or of its resource matches.
type attrLeaf struct {
	marking
	key      string
	matcher  *valueMatcher
	remember int // outcomes by value, if the values do not come with codes
}

func (l *attrLeaf) scan(ctx context.Context, s *slab, n int) error {
	if err := l.scanScope(ctx, s, n, store.ScopeResource, l.matcher.resource); err != nil {
		return err
	}
	return l.scanScope(ctx, s, n, store.ScopeSpan, l.matcher.span)
}

func (l *attrLeaf) scanScope(ctx context.Context, s *slab, n int, scope store.ColumnScope, match func(store.Value) bool) error {
	col := store.Column{Scope: scope, Name: l.key}
	if !s.part.MayMatch(s.granule, &store.Predicate{Column: col, Op: store.OpExists}) {
		return nil
	}
	return s.matchColumn(ctx, col, n, l.remember, match)
}

// traceStateLeaf holds if a span's W3C trace state has one of the values.
type traceStateLeaf struct {
	marking
	match func(store.Value) bool
}

// maxStateMember is the length that a key and a value must stay below together (contrib, after W3C Trace Context).
const maxStateMember = 256

func newTraceStateLeaf(key string, values []string) *traceStateLeaf {
	wanted := map[string]bool{}
	for _, v := range values {
		if v != "" && len(key)+len(v) < maxStateMember {
			wanted[v] = true
		}
	}
	return &traceStateLeaf{match: func(v store.Value) bool {
		if v.Str == "" {
			return false
		}
		ts, err := oteltrace.ParseTraceState(v.Str)
		return err == nil && wanted[ts.Get(key)]
	}}
}

func (l *traceStateLeaf) scan(ctx context.Context, s *slab, n int) error {
	return s.matchColumn(ctx, store.Intrinsic(store.SpanTraceState), n, 0, l.match)
}

// flagsLeaf holds if a span has the flag sampled of W3C Trace Context.
type flagsLeaf struct{ marking }

const flagSampled = 1

func (flagsLeaf) scan(ctx context.Context, s *slab, n int) error {
	return s.matchColumn(ctx, store.Intrinsic(store.SpanFlags), n, 0, func(v store.Value) bool { return v.Int()&flagSampled != 0 })
}

package traceownerconnector

import (
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/bramble-tracing/bramble/internal/federation"
	"github.com/bramble-tracing/bramble/internal/owner"
	"github.com/bramble-tracing/bramble/internal/spanid"
)

// ring chooses owners among members.
type ring struct {
	members []federation.Member
	owners  *owner.Ring
}

// newRing keeps the members that answer, each node once.
func newRing(all []federation.Member) *ring {
	r := &ring{}
	seen := map[string]bool{}
	var names []string
	for _, m := range all {
		if m.Up && !seen[m.Node] {
			seen[m.Node] = true
			r.members = append(r.members, m)
			names = append(names, m.Node)
		}
	}
	r.owners = owner.New(names)
	return r
}

// owner returns the index of a trace's owner, -1 if there are no members.
func (r *ring) owner(id pcommon.TraceID) int { return r.owners.Of(spanid.TraceID(id)) }

// split gives every owner its share of td, by index; nobody's spans, those of a ring without members, have index -1. A
// batch that is one owner's is not copied.
func (r *ring) split(td ptrace.Traces) map[int]ptrace.Traces {
	owners := map[pcommon.TraceID]int{}
	first, several := 0, false
	eachSpan(td, func(_, _ int, s ptrace.Span) {
		id := s.TraceID()
		if _, ok := owners[id]; !ok {
			o := r.owner(id)
			if len(owners) == 0 {
				first = o
			}
			owners[id] = o
			several = several || o != first
		}
	})
	if !several {
		return map[int]ptrace.Traces{first: td}
	}
	shares := map[int]*share{}
	eachSpan(td, func(i, j int, s ptrace.Span) {
		o := owners[s.TraceID()]
		sh := shares[o]
		if sh == nil {
			sh = &share{traces: ptrace.NewTraces(), resource: -1, scope: -1}
			shares[o] = sh
		}
		sh.add(td, i, j, s)
	})
	out := make(map[int]ptrace.Traces, len(shares))
	for o, sh := range shares {
		out[o] = sh.traces
	}
	return out
}

func eachSpan(td ptrace.Traces, f func(i, j int, s ptrace.Span)) {
	for i := range td.ResourceSpans().Len() {
		scopes := td.ResourceSpans().At(i).ScopeSpans()
		for j := range scopes.Len() {
			spans := scopes.At(j).Spans()
			for k := range spans.Len() {
				f(i, j, spans.At(k))
			}
		}
	}
}

// share collects the spans of one owner, below copies of their resources and scopes.
type share struct {
	traces          ptrace.Traces
	resource, scope int // The indexes of the last span's.
	rs              ptrace.ResourceSpans
	ss              ptrace.ScopeSpans
}

func (s *share) add(td ptrace.Traces, i, j int, span ptrace.Span) {
	if s.resource != i {
		from := td.ResourceSpans().At(i)
		s.rs = s.traces.ResourceSpans().AppendEmpty()
		from.Resource().CopyTo(s.rs.Resource())
		s.rs.SetSchemaUrl(from.SchemaUrl())
		s.resource, s.scope = i, -1
	}
	if s.scope != j {
		from := td.ResourceSpans().At(i).ScopeSpans().At(j)
		s.ss = s.rs.ScopeSpans().AppendEmpty()
		from.Scope().CopyTo(s.ss.Scope())
		s.ss.SetSchemaUrl(from.SchemaUrl())
		s.scope = j
	}
	span.CopyTo(s.ss.Spans().AppendEmpty())
}

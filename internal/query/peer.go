package query

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/bramble-tracing/bramble/internal/memlimit"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/gathered"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

// Peer is the store of one agent, asked for what it holds itself: no method asks further agents. Results belong to the
// caller. Errors are those of Service; any other means that the peer cannot be asked.
type Peer interface {
	// Node is the name of the agent for people, empty for this one.
	Node() string
	// Holds says for each trace whether there are spans of it.
	Holds(ctx context.Context, ids []spanid.TraceID, client string) ([]bool, error)
	// Fragments returns the spans of traces. Each trace is cut at maxTraceBytes, 0 for no limit. take is called with the
	// weight in bytes of what arrives, before more is read; its error ends the call.
	Fragments(ctx context.Context, r FragmentsRequest, take func(bytes int64) error) (*Fragments, error)
	// Columns returns columns of the spans of traces. take is as with Fragments.
	Columns(ctx context.Context, r ColumnsRequest, take func(bytes int64) error) (*gathered.Columns, error)
	// Candidates lists traces that may match.
	Candidates(ctx context.Context, r CandidatesRequest) (*exec.CandidateList, error)
	// Strays lists the traces that are another agent's by the ring; many says that there are more than MostStrays, which
	// are not listed.
	Strays(ctx context.Context, r *Ring, client string) (ids []spanid.TraceID, many bool, err error)
	// Newest searches for the newest r.Limit traces that match by what the agent has of them, and tells of them one after
	// the other.
	Newest(ctx context.Context, r NewestRequest, to Listener) error
	// SearchTraces searches among the given traces, and says of which of them there are spans.
	SearchTraces(ctx context.Context, r SearchRequest, ids []spanid.TraceID) (res *exec.SearchResult, held []bool, err error)
	// MetricsPartial counts the traces of a share. r.Exemplars, if not 0, is the peer's share and goes before what
	// the query says.
	MetricsPartial(ctx context.Context, r MetricsRequest, s Share) (*exec.Partial, error)
	// TagNames and TagValues look at the traces of a share.
	TagNames(ctx context.Context, r TagNamesRequest, s Share) (*exec.TagNamesResult, error)
	TagValues(ctx context.Context, r TagValuesRequest, s Share) (*exec.TagValuesResult, error)
}

// Peers knows the other agents.
type Peers interface {
	// Peers returns those that can be asked now, and names those that cannot.
	Peers() (reachable []Peer, missing []MissingNode)
}

// FragmentsRequest asks for the spans of traces.
type FragmentsRequest struct {
	IDs           []spanid.TraceID
	MaxTraceBytes int64
	Client        string
	// Bulk asks for all rows, to evaluate a query: not cut, in any order, copies of spans included. Damage ends the call,
	// as it does with other questions.
	Bulk bool
}

// Fragments are what one agent has of some traces.
type Fragments struct {
	store.Batch
	InspectedBytes uint64
	// Partial and Missing are as in store.Trace.
	Partial, Missing string
}

// ColumnsRequest asks for columns of the spans of traces, which differ.
type ColumnsRequest struct {
	IDs     []spanid.TraceID
	Columns []store.Column
	Client  string
}

// CandidatesRequest asks for traces that a query has to look at as a whole. One of the pointers is set.
type CandidatesRequest struct {
	// Only, if it is not nil, are the traces among which to look.
	Only exec.TraceSet
	// Search lists the newest Limit traces that may match.
	Search *SearchRequest
	// Metrics, Names and Values list all traces that count.
	Metrics *MetricsRequest
	Names   *TagNamesRequest
	Values  *TagValuesRequest
}

// MissingNode is an agent that an answer is without.
type MissingNode struct{ Node, Reason string }

// Coverage says whose spans an answer is about.
type Coverage struct {
	// Nodes is how many agents should have been asked, this one included.
	Nodes int
	// Missing are those that did not answer, by name.
	Missing []MissingNode
}

// Text names what is missing, for people; it is empty if nothing is.
func (c *Coverage) Text() string {
	if len(c.Missing) == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d nodes did not answer, their spans are missing: %s", len(c.Missing), c.Nodes, strings.Join(c.reasons(), "; "))
}

func (c *Coverage) reasons() []string {
	out := make([]string, len(c.Missing))
	for i, m := range c.Missing {
		out[i] = m.Node + " (" + m.Reason + ")"
	}
	return out
}

// MissingNames returns the names of missing nodes.
func (c *Coverage) MissingNames() []string {
	out := make([]string, len(c.Missing))
	for i, m := range c.Missing {
		out[i] = m.Node
	}
	return out
}

// CoverageReport gets the coverage of the last query whose context it is in, for what all answers of an API have, such as
// headers. It is safe for concurrent use.
type CoverageReport struct{ last atomic.Pointer[Coverage] }

type coverageKey struct{}

// WithCoverage returns a context in which queries report to r.
func WithCoverage(ctx context.Context, r *CoverageReport) context.Context {
	return context.WithValue(ctx, coverageKey{}, r)
}

// Last returns what was reported last, or nil.
func (r *CoverageReport) Last() *Coverage { return r.last.Load() }

func (r *CoverageReport) set(c Coverage) { r.last.Store(&c) }

// MissingNodesError is the answer of a strict service when a node did not answer.
type MissingNodesError struct{ Coverage }

func (e *MissingNodesError) Error() string { return e.Text() }

// Federation says how other agents are asked.
type Federation struct {
	Peers Peers
	// Node is this agent's own name, as its peers have it. Without it queries about whole traces need more rounds.
	Node string
	// Strict makes an answer without a node an error.
	Strict bool
	// Parallel is how many agents are asked at the same time; 0 means 16.
	Parallel int
}

// Federate makes the service ask other agents too. It must be called before the first query.
func (s *Service) Federate(f Federation) {
	if f.Parallel <= 0 {
		f.Parallel = 16
	}
	s.federation = f
}

// Alone tells a service that it is not the only one and asks nobody else; the text is for people and is part of
// answers. An empty text takes it back.
func (s *Service) Alone(text string) { s.alone.Store(&text) }

// Notice is what answers have to say to people who read them, or empty.
func (s *Service) Notice() string {
	if t := s.alone.Load(); t != nil {
		return *t
	}
	return ""
}

type damageKey struct{}

// withDamage returns a context in which NoteDamage calls note.
func withDamage(ctx context.Context, note func(text string)) context.Context {
	return context.WithValue(ctx, damageKey{}, note)
}

// NoteDamage is what a Peer calls, with the context of a call, when the agent says that its answer is without damaged
// parts of its store.
func NoteDamage(ctx context.Context, text string) {
	if note, ok := ctx.Value(damageKey{}).(func(string)); ok && text != "" {
		note(text)
	}
}

// PeerRequest says for whom a peer asks, for admission and logs, and about which time (Unix nanoseconds, end 0 for none).
type PeerRequest struct {
	Kind, Query, Client string
	StartNano, EndNano  uint64
}

// ServePeer lets another agent ask this one: f gets the local store and may use the results of p until it returns. It
// has places of its own. Nothing that runs in them waits for other agents, so agents that ask each other never wait in a
// circle: a search that waits to be asked for more gives its place back meanwhile. damage says what of the store the answer is without because it is damaged.
func (s *Service) ServePeer(ctx context.Context, r PeerRequest, f func(ctx context.Context, p Peer) error) (damage string, err error) {
	d := &Done{Kind: "peer " + r.Kind, Query: r.Query, Client: r.Client, StartNano: r.StartNano, EndNano: r.EndNano}
	err = s.run(ctx, s.remote, d, func(ctx context.Context, v store.View, budget *memlimit.Budget) error {
		return f(ctx, &local{service: s, view: v, budget: budget, lend: d.place.lend, missing: d.Missing})
	})
	return d.Missing, err
}

// sortedIDs sorts a set for the wire.
func sortedIDs(set exec.TraceSet) []spanid.TraceID {
	out := make([]spanid.TraceID, 0, len(set))
	for id := range set {
		out = append(out, id)
	}
	slices.SortFunc(out, func(a, b spanid.TraceID) int { return slices.Compare(a[:], b[:]) })
	return out
}

package mcpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// traceArgs are the arguments of get-trace.
type traceArgs struct {
	ID string `json:"trace_id" jsonschema:"The trace's id, up to 32 hexadecimal digits."`
}

type traceAnswer struct {
	TraceID string `json:"traceId"`
	// Spans is how many there are, shown or not.
	Spans    int             `json:"spanCount"`
	Services []*traceService `json:"services"`
	notes
}

// traceService has the spans of one resource.
type traceService struct {
	Resource json.RawMessage   `json:"resource,omitempty"`
	Spans    []json.RawMessage `json:"spans"`
}

type traceSpan struct {
	SpanID        string         `json:"spanId"`
	ParentID      string         `json:"parentSpanId,omitempty"`
	Name          string         `json:"name"`
	Kind          string         `json:"kind,omitempty"`
	Start         string         `json:"start"`
	DurationMs    float64        `json:"durationMs"`
	Status        string         `json:"status,omitempty"`
	StatusMessage string         `json:"statusMessage,omitempty"`
	Scope         string         `json:"scope,omitempty"`
	Attributes    map[string]any `json:"attributes,omitempty"`
	Events        []traceEvent   `json:"events,omitempty"`
	Links         []traceLink    `json:"links,omitempty"`
}

type traceEvent struct {
	Name       string         `json:"name"`
	Time       string         `json:"time"`
	Attributes map[string]any `json:"attributes,omitempty"`
}

type traceLink struct {
	TraceID    string         `json:"traceId"`
	SpanID     string         `json:"spanId"`
	Attributes map[string]any `json:"attributes,omitempty"`
}

// Names as TraceQL has them.
var (
	kinds    = []string{"", "internal", "server", "client", "producer", "consumer"}
	statuses = []string{"", "ok", "error"}
)

func (a *API) trace(ctx context.Context, _ *mcp.CallToolRequest, in traceArgs) (*mcp.CallToolResult, any, error) {
	id, err := spanid.ParseTraceID(in.ID)
	if err != nil {
		return nil, nil, fmt.Errorf("trace_id: %w", err)
	}
	report := &query.CoverageReport{}
	ctx = query.WithCoverage(ctx, report)
	var out *traceAnswer
	err = a.service.Trace(ctx, query.TraceRequest{ID: id, Client: clientIn(ctx)}, func(t *store.Trace) error {
		if t == nil || len(t.Spans) == 0 {
			why := ""
			if t != nil && t.Why() != "" {
				why = "; it may be missing because " + t.Why()
			}
			return fmt.Errorf("there is no trace %s%s", id, why)
		}
		out, err = newTraceAnswer(t, id)
		if out != nil {
			truncated := out.Truncated
			out.notes = a.notes(t.Why(), nil)
			out.Truncated = truncated
		}
		return err
	})
	if err != nil {
		return nil, nil, failed(err)
	}
	if c := report.Last(); c != nil {
		out.MissingNodes = c.MissingNames()
	}
	return result(out)
}

// newTraceAnswer shares no memory with t. If not all spans fit, roots and errors come before the others, early ones
// before late ones.
func newTraceAnswer(t *store.Trace, id spanid.TraceID) (*traceAnswer, error) {
	out := &traceAnswer{TraceID: id.String(), Spans: len(t.Spans), Services: []*traceService{}}
	order := make([]int, len(t.Spans))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int {
		a, b := &t.Spans[x], &t.Spans[y]
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.StartNano, b.StartNano))
	})
	left := room{left: maxAnswer}
	services := make(map[int32]*traceService)
	shown := make(map[int32][]int) // By resource.
	encoded := make(map[int]json.RawMessage, len(order))
	for _, i := range order {
		s := &t.Spans[i]
		if left.left < leastSpan {
			left.omitted++
			continue
		}
		if _, ok := services[s.Resource]; !ok {
			service, err := newTraceService(&t.Resources[s.Resource], &left)
			if err != nil {
				return nil, err
			}
			services[s.Resource] = service
		}
		show, err := newTraceSpan(s, &t.Scopes[s.Scope])
		if err != nil {
			return nil, fmt.Errorf("span %s: %w", s.SpanID, err)
		}
		b, err := left.encode(show)
		if err != nil {
			return nil, err
		}
		if b != nil {
			encoded[i] = b
			shown[s.Resource] = append(shown[s.Resource], i)
		}
	}
	for _, r := range slices.Sorted(maps.Keys(shown)) {
		spans := shown[r]
		slices.SortStableFunc(spans, func(x, y int) int { return cmp.Compare(t.Spans[x].StartNano, t.Spans[y].StartNano) })
		for _, i := range spans {
			services[r].Spans = append(services[r].Spans, encoded[i])
		}
		out.Services = append(out.Services, services[r])
	}
	if omitted := len(t.Spans) - len(encoded); omitted > 0 {
		out.truncate("%d of %d spans do not fit; errors and roots are shown first. traceql-search with { trace:id = %q && ... } finds others", omitted, len(t.Spans), id)
	}
	return out, nil
}

// leastSpan is less than what any span takes.
const leastSpan = 100

func rank(s *store.Span) int {
	if s.ParentID.IsZero() || s.StatusCode == store.StatusError {
		return 0
	}
	return 1
}

// newTraceService has no resource if there is no room for it.
func newTraceService(r *store.Resource, left *room) (*traceService, error) {
	attrs, err := plainAttrs(r.Attrs)
	if err != nil {
		return nil, fmt.Errorf("resource: %w", err)
	}
	out := &traceService{Spans: []json.RawMessage{}}
	if attrs != nil {
		out.Resource, err = left.encode(attrs)
	}
	return out, err
}

func newTraceSpan(s *store.Span, scope *store.Scope) (*traceSpan, error) {
	out := &traceSpan{
		SpanID: s.SpanID.String(), Name: text(s.Name), Kind: nameOf(s.Kind, kinds), Start: timeText(s.StartNano), DurationMs: millis(s.DurationNano()),
		Status: nameOf(s.StatusCode, statuses), StatusMessage: text(s.StatusMessage), Scope: text(scope.Name),
	}
	if !s.ParentID.IsZero() {
		out.ParentID = s.ParentID.String()
	}
	var err error
	if out.Attributes, err = plainAttrs(s.Attrs); err != nil {
		return nil, err
	}
	for i := range s.Events {
		e := traceEvent{Name: text(s.Events[i].Name), Time: timeText(s.Events[i].TimeNano)}
		if e.Attributes, err = plainAttrs(s.Events[i].Attrs); err != nil {
			return nil, fmt.Errorf("event %d: %w", i, err)
		}
		out.Events = append(out.Events, e)
	}
	for i := range s.Links {
		l := traceLink{TraceID: s.Links[i].TraceID.String(), SpanID: s.Links[i].SpanID.String()}
		if l.Attributes, err = plainAttrs(s.Links[i].Attrs); err != nil {
			return nil, fmt.Errorf("link %d: %w", i, err)
		}
		out.Links = append(out.Links, l)
	}
	return out, nil
}

// nameOf is the name of a number, or the number if it has none.
func nameOf(n int32, names []string) string {
	if n >= 0 && int(n) < len(names) {
		return names[n]
	}
	return strconv.Itoa(int(n))
}

package mcpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/bramble-tracing/bramble/internal/query"
)

const (
	defaultTraces = 20
	maxTraces     = 100
	spansPerSet   = 3
	// justNow is how far a search that ends now looks ahead.
	justNow = time.Second
	// maxQuery is the length in bytes of a query (S-01).
	maxQuery = 128 << 10
)

// searchArgs are the arguments of traceql-search.
type searchArgs struct {
	Query string `json:"query" jsonschema:"TraceQL search, such as { resource.service.name = \"shop\" && status = error }. Attributes that it mentions or selects with select() are part of the answer."`
	span
	Limit int `json:"limit,omitempty" jsonschema:"Number of traces, 1 to 100; 20 without it. The newest come first."`
}

type searchAnswer struct {
	Traces []json.RawMessage `json:"traces"`
	notes
}

// foundTrace is a trace in a search's answer.
type foundTrace struct {
	TraceID     string                        `json:"traceId"`
	RootService string                        `json:"rootService,omitempty"`
	RootName    string                        `json:"rootName,omitempty"`
	Start       string                        `json:"start"`
	DurationMs  float64                       `json:"durationMs"`
	Services    map[string]query.ServiceStats `json:"services,omitempty"`
	Spansets    []foundSet                    `json:"spansets,omitempty"`
}

type foundSet struct {
	// Matched is how many spans match, of which Spans are the first.
	Matched    int            `json:"matched"`
	Attributes map[string]any `json:"attributes,omitempty"`
	Spans      []foundSpan    `json:"spans"`
}

type foundSpan struct {
	SpanID     string         `json:"spanId"`
	Name       string         `json:"name,omitempty"`
	Start      string         `json:"start"`
	DurationMs float64        `json:"durationMs"`
	Attributes map[string]any `json:"attributes,omitempty"`
}

func (a *API) search(ctx context.Context, _ *mcp.CallToolRequest, in searchArgs) (*mcp.CallToolResult, any, error) {
	if err := checkQuery("query", in.Query); err != nil {
		return nil, nil, err
	}
	if in.Limit == 0 {
		in.Limit = defaultTraces
	}
	if in.Limit < 1 || in.Limit > maxTraces {
		return nil, nil, fmt.Errorf("limit must be between 1 and %d, is %d", maxTraces, in.Limit)
	}
	start, end, err := in.nanos(a.opts.Now(), a.service.Limits().MaxSearchRange, justNow)
	if err != nil {
		return nil, nil, err
	}
	res, err := a.service.Search(ctx, query.SearchRequest{
		Query: in.Query, StartNano: start, EndNano: end, Limit: in.Limit, SpansPerSpanSet: spansPerSet, Client: clientIn(ctx),
	})
	if err != nil {
		return nil, nil, failed(err)
	}
	out := searchAnswer{Traces: []json.RawMessage{}, notes: a.notes(res.Partial, res.MissingNames())}
	left := room{left: maxAnswer}
	for i := range res.Traces {
		t, err := newFoundTrace(&res.Traces[i])
		if err != nil {
			return nil, nil, err
		}
		b, err := left.encode(t)
		if err != nil {
			return nil, nil, err
		}
		if b != nil {
			out.Traces = append(out.Traces, b)
		}
	}
	if left.omitted > 0 {
		out.truncate("%d of %d traces do not fit: lower limit or select fewer attributes", left.omitted, len(res.Traces))
	}
	return result(out)
}

func newFoundTrace(t *query.TraceRow) (*foundTrace, error) {
	out := &foundTrace{
		TraceID: t.ID.String(), RootService: text(t.RootService), RootName: text(t.RootName),
		Start: timeText(t.StartNano), DurationMs: millis(t.DurationNano), Services: t.ServiceStats,
	}
	for i := range t.Spansets {
		s := &t.Spansets[i]
		set := foundSet{Matched: s.Matched, Spans: make([]foundSpan, len(s.Spans))}
		var err error
		if set.Attributes, err = plainAttrs(s.Attrs); err != nil {
			return nil, err
		}
		for k := range s.Spans {
			p := &s.Spans[k]
			set.Spans[k] = foundSpan{SpanID: p.ID.String(), Name: text(p.Name), Start: timeText(p.StartNano), DurationMs: millis(p.DurationNano)}
			if set.Spans[k].Attributes, err = plainAttrs(p.Attrs); err != nil {
				return nil, fmt.Errorf("span %s: %w", p.ID, err)
			}
		}
		out.Spansets = append(out.Spansets, set)
	}
	return out, nil
}

// checkQuery bounds a query that must be there.
func checkQuery(name, q string) error {
	if q == "" {
		return fmt.Errorf("%s must not be empty: it is TraceQL, which the tool docs-traceql explains", name)
	}
	return checkSize(name, q)
}

func checkSize(name, q string) error {
	if len(q) > maxQuery {
		return fmt.Errorf("%s has %d bytes, more than the maximum of %d", name, len(q), maxQuery)
	}
	return nil
}

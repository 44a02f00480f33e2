package jaegerapi

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// The questions that both APIs ask, without their encodings.

func (a *API) services(ctx context.Context, client string) ([]string, error) {
	r, err := a.service.TagValues(ctx, query.TagValuesRequest{Name: "resource.service.name", Client: client})
	if err != nil {
		return nil, err
	}
	// Spans without a name of their service are nobody's: Jaeger's clients could not ask for "".
	return slices.DeleteFunc(texts(r), func(s string) bool { return s == "" }), nil
}

// operation is a span name with its kind; the kind is empty where only names were asked for.
type operation struct {
	Name string `json:"name"`
	Kind string `json:"spanKind"`
}

// operationNames lists the names of a service's spans.
func (a *API) operationNames(ctx context.Context, client, service string) ([]string, error) {
	q := traceQuery{service: service}
	return a.names(ctx, client, q.traceQL())
}

// kindFilters are the values of TraceQL's kind that Jaeger's span kinds stand for. Spans without a kind are internal (J-23).
var kindFilters = map[string][]string{
	"internal": {"internal", "unspecified"}, "server": {"server"}, "client": {"client"}, "producer": {"producer"}, "consumer": {"consumer"},
}

// operations lists the names of a service's spans by kind; kind restricts to one, "" means all.
func (a *API) operations(ctx context.Context, client, service, kind string) ([]operation, error) {
	ask := kindFilters
	if kind != "" {
		kind = strings.ToLower(kind)
		if ask[kind] == nil {
			return nil, query.Invalidf("unknown span kind %.100q: use internal, server, client, producer or consumer", kind)
		}
		ask = map[string][]string{kind: kindFilters[kind]}
	}
	out := []operation{}
	for kind, values := range ask {
		for _, value := range values {
			q := traceQuery{service: service, kind: value}
			names, err := a.names(ctx, client, q.traceQL())
			if err != nil {
				return nil, err
			}
			for _, n := range names {
				out = append(out, operation{n, kind})
			}
		}
	}
	slices.SortFunc(out, func(x, y operation) int {
		return cmp.Or(strings.Compare(x.Name, y.Name), strings.Compare(x.Kind, y.Kind))
	})
	return slices.Compact(out), nil
}

func (a *API) names(ctx context.Context, client, filter string) ([]string, error) {
	r, err := a.service.TagValues(ctx, query.TagValuesRequest{Name: "name", Query: filter, Client: client})
	if err != nil {
		return nil, err
	}
	return texts(r), nil
}

// texts lists values in order, each once; never nil, because clients expect a list.
func texts(r *query.TagValuesResult) []string {
	out := make([]string, 0, len(r.Values))
	for _, v := range r.Values {
		out = append(out, v.Text)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// checkWindow checks a time range against what can be stored and against the limit.
func (a *API) checkWindow(start, end time.Time) error {
	most := a.service.Limits().MaxSearchRange
	switch {
	case !end.After(start):
		return query.Invalidf("the end of the time range (%s) must be after its start (%s)", end.UTC().Format(time.RFC3339Nano), start.UTC().Format(time.RFC3339Nano))
	case start.Before(time.Unix(0, 0)) || end.Year() > lastYear:
		return query.Invalidf("the time range must be between the years 1970 and %d", lastYear)
	case most > 0 && end.Sub(start) > most:
		return query.Invalidf("the time range of %s is longer than the limit of %s (limits::max_search_range)", end.Sub(start), most)
	}
	return nil
}

// lastYear is the last whole one that Unix nanoseconds reach.
const lastYear = 2261

// find searches and calls use with each trace that was found, newest first. Nothing of a trace may be kept after use has
// come back.
func (a *API) find(ctx context.Context, client string, q traceQuery, use func(spanid.TraceID, *store.Trace) error) error {
	if err := q.check(); err != nil {
		return err
	}
	if err := a.checkWindow(q.start, q.end); err != nil {
		return err
	}
	found, err := a.service.Search(ctx, query.SearchRequest{
		Query: q.traceQL(), StartNano: uint64(q.start.UnixNano()), EndNano: uint64(q.end.UnixNano()), Limit: q.limit, SpansPerSpanSet: 1, Client: client,
	})
	if err != nil {
		return err
	}
	for _, row := range found.Traces {
		if _, err := a.trace(ctx, client, row.ID, func(t *store.Trace) error { return use(row.ID, t) }); err != nil {
			return err
		}
	}
	return nil
}

// maxAnswerSpans bounds the spans of an answer that is encoded as a whole.
const maxAnswerSpans = 500_000

// spanCount is the number of spans in an answer that is being collected.
type spanCount int

// add counts a trace and errors when the answer becomes too large.
func (n *spanCount) add(t *store.Trace) error {
	if *n += spanCount(len(t.Spans)); *n > maxAnswerSpans {
		return query.Invalidf("the traces have more than %d spans together: ask for fewer traces", maxAnswerSpans)
	}
	return nil
}

// trace looks a trace up and calls use with it if it is there. Nothing of it may be kept after use has come back.
func (a *API) trace(ctx context.Context, client string, id spanid.TraceID, use func(*store.Trace) error) (found bool, err error) {
	err = a.service.Trace(ctx, query.TraceRequest{ID: id, Client: client}, func(t *store.Trace) error {
		if t == nil {
			return nil
		}
		found = true
		return use(t)
	})
	return found, err
}

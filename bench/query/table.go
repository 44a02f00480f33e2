package main

import (
	"regexp"
	"strings"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// query is one row of the table.
type query struct {
	name, path string
	params     map[string]string
	untimed    bool
	count      func(body []byte) (int, error)
	truth      int
}

// searchLimit is the limit of every search: what a person asks for.
const searchLimit = 20

const shopURL = `.*/internal/00.*order=ord-1.*`

// truth is what the generator's spans say about each query: traces that match, or spans that are counted.
type truth struct {
	spans, traces                                    int
	service, serverErrors, needle, slow, under, many int
	url                                              int
	services, routes                                 map[string]bool
	tagNames                                         map[string]bool
	order                                            string // an order id in the middle
	regex                                            *regexp.Regexp
}

func newTruth() *truth {
	return &truth{
		services: map[string]bool{}, routes: map[string]bool{}, tagNames: map[string]bool{},
		regex: regexp.MustCompile("^(?:" + shopURL + ")$"),
	}
}

// see counts a batch of whole traces.
func (t *truth) see(b *store.Batch) {
	for from := 0; from < len(b.Spans); {
		to := from + 1
		for to < len(b.Spans) && b.Spans[to].TraceID == b.Spans[from].TraceID {
			to++
		}
		t.seeTrace(b, b.Spans[from:to])
		from = to
	}
}

func (t *truth) seeTrace(b *store.Batch, spans []store.Span) {
	var service, errors, needle, slow, url, under bool
	t.traces++
	if t.order == "" && t.traces == 500 {
		t.order = find(spans, "shop.order.id").Str
	}
	byID := make(map[spanid.SpanID]*store.Span, len(spans))
	for i := range spans {
		byID[spans[i].SpanID] = &spans[i]
	}
	name := func(s *store.Span) string { return attr(b.Resources[s.Resource].Attrs, "service.name").Str }
	for i := range spans {
		s := &spans[i]
		t.spans++
		t.services[name(s)] = true
		if r := attr(s.Attrs, "http.route"); r.Type == store.TypeString {
			t.routes[r.Str] = true
		}
		if t.traces < 2000 {
			for _, a := range s.Attrs {
				t.tagNames[a.Key] = true
			}
		}
		service = service || name(s) == "payment"
		errors = errors || name(s) == "payment" && attr(s.Attrs, "http.response.status_code").Int() >= 500
		needle = needle || t.order != "" && attr(s.Attrs, "shop.order.id").Str == t.order
		slow = slow || s.DurationNano() > 1e9
		url = url || t.regex.MatchString(attr(s.Attrs, "url.full").Str)
		under = under || name(s) == "audit" && hasAncestor(byID, s, func(a *store.Span) bool { return name(a) == "checkout" })
	}
	count := func(n *int, ok bool) {
		if ok {
			*n++
		}
	}
	count(&t.service, service)
	count(&t.serverErrors, errors)
	count(&t.needle, needle)
	count(&t.slow, slow)
	count(&t.url, url)
	count(&t.under, under)
	count(&t.many, len(spans) > 40)
}

func hasAncestor(byID map[spanid.SpanID]*store.Span, s *store.Span, ok func(*store.Span) bool) bool {
	for p := byID[s.ParentID]; p != nil; p = byID[p.ParentID] {
		if ok(p) {
			return true
		}
	}
	return false
}

func attr(attrs []store.Attr, key string) store.Value {
	for _, a := range attrs {
		if a.Key == key {
			return a.Value
		}
	}
	return store.Value{}
}

func find(spans []store.Span, key string) store.Value {
	for i := range spans {
		if v := attr(spans[i].Attrs, key); v.Type != store.TypeAbsent {
			return v
		}
	}
	return store.Value{}
}

// table returns the queries with what each must find.
func table(t *truth, id spanid.TraceID) []query {
	search := func(name, q string, matching int) query {
		return query{
			name: name, path: "/api/search", params: map[string]string{"q": q, "limit": "20"},
			count: countField("traces"), truth: min(searchLimit, matching),
		}
	}
	metrics := func(name, q string, count func([]byte) (int, error), truth int) query {
		return query{
			name: name, path: "/api/metrics/query_range", params: map[string]string{"q": q, "step": "600s"},
			count: count, truth: truth,
		}
	}
	return []query{
		{
			name: "trace by id", path: "/api/v2/traces/" + id.String(), untimed: true, truth: 1,
			count: func(body []byte) (int, error) { return min(1, strings.Count(string(body), `"resourceSpans"`)), nil },
		},
		search("service", `{ resource.service.name = "payment" }`, t.service),
		search("service + 5xx", `{ resource.service.name = "payment" && span.http.response.status_code >= 500 }`, t.serverErrors),
		search("needle: one order id", `{ span.shop.order.id = "`+t.order+`" }`, t.needle),
		search("needle: absent", `{ span.shop.order.id = "ord-absent" }`, 0),
		search("duration > 1s", `{ duration > 1s }`, t.slow),
		search("structural >>", `{ resource.service.name = "checkout" } >> { resource.service.name = "audit" }`, t.under),
		search("count() > 40", `{} | count() > 40`, t.many),
		search("regex on a URL", "{ span.url.full =~ `"+shopURL+"` }", t.url),
		metrics("count_over_time()", `{} | count_over_time()`, sumSamples, t.spans),
		metrics("rate() by service", `{} | rate() by (resource.service.name)`, countSeries, len(t.services)),
		metrics("quantiles by route", `{ span.http.route != nil } | quantile_over_time(duration, .5, .95, .99) by (span.http.route)`, countSeries, 3*len(t.routes)),
		metrics("count by service", `{} | count_over_time() by (resource.service.name)`, sumSamples, t.spans),
		{
			name: "tag names", path: "/api/v2/search/tags", params: map[string]string{"scope": "span"}, truth: len(t.tagNames),
			count: countTags,
		},
		{
			name: "tag values", path: "/api/v2/search/tag/resource.service.name/values", truth: len(t.services),
			count: countField("tagValues"),
		},
	}
}

package main

import (
	"regexp"
	"strings"
	"time"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// query is one row of the table.
type query struct {
	name, path string
	paths      func(round int) string // Instead of path.
	params     map[string]string
	untimed    bool         // Without a time range.
	lastHour   bool         // Over the last hour of spans instead of all.
	before     func() error // Called before each round.
	count      func(body []byte) (int, error)
	truth      int
	rounds     int     // At most, if not 0.
	tempo      float64 // CPU ms of Tempo 3.0.3 over its blocks of 2 M spans; 0 if not measured.
}

// searchLimit is the limit of every search: what a person asks for.
const searchLimit = 20

const shopURL = `.*/internal/00.*order=ord-1.*`

// truth is what the generator's spans say about each query: traces that match, or spans that are counted.
type truth struct {
	spans, traces                                    int
	service, serverErrors, needle, slow, under, many int
	url, failed                                      int
	spans5xx, errorSpans, measured                   int
	last                                             time.Time
	services, routes, names, tagNames                map[string]bool
	order                                            string // an order id in the middle
	regex                                            *regexp.Regexp
}

func newTruth() *truth {
	return &truth{
		services: map[string]bool{}, routes: map[string]bool{}, names: map[string]bool{}, tagNames: map[string]bool{},
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
	var service, errors, failed, needle, slow, url, under bool
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
		t.names[s.Name] = true
		if s.DurationNano() >= 2 { // Shorter ones have no bucket.
			t.measured++
		}
		if s.StatusCode == store.StatusError {
			t.errorSpans++
		}
		if attr(s.Attrs, "http.response.status_code").Int() >= 500 {
			t.spans5xx++
		}
		if start := time.Unix(0, int64(s.StartNano)); start.After(t.last) { //nolint:gosec // A time of today.
			t.last = start
		}
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
		failed = failed || name(s) == "payment" && s.StatusCode == store.StatusError
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
	count(&t.failed, failed)
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

// table returns the queries with what each must find. dir is where the server keeps its files.
func table(t *truth, traces []spanid.TraceID, dir string) []query {
	return append(append(lookups(traces, dir), searches(t)...), append(metrics(t), tags(t)...)...)
}

// lookups find single traces.
func lookups(traces []spanid.TraceID, dir string) []query {
	one := func(body []byte) (int, error) { return min(1, strings.Count(string(body), `"resourceSpans"`)), nil }
	path := func(id spanid.TraceID) string { return "/api/v2/traces/" + id.String() }
	// Prime steps, so that traces lie far apart and none comes twice.
	another := func(step int) func(int) string {
		return func(round int) string { return path(traces[(round+1)*step%len(traces)]) }
	}
	return []query{
		{name: "trace by id, the same", path: path(traces[len(traces)/2]), untimed: true, count: one, truth: 1, tempo: 256},
		{name: "trace by id, another each", paths: another(7919), untimed: true, count: one, truth: 1, tempo: 256},
		{
			name: "trace by id, pages dropped", paths: another(6841), untimed: true, count: one, truth: 1, tempo: 256,
			before: func() error { return dropPages(dir) },
		},
	}
}

func searches(t *truth) []query {
	search := func(name, q string, matching int, tempo float64) query {
		return query{
			name: name, path: "/api/search", params: map[string]string{"q": q, "limit": "20"},
			count: countField("traces"), truth: min(searchLimit, matching), tempo: tempo,
		}
	}
	return []query{
		search("service", `{ resource.service.name = "payment" }`, t.service, 56),
		search("service + 5xx", `{ resource.service.name = "payment" && span.http.response.status_code >= 500 }`, t.serverErrors, 243),
		search("service + error", `{ resource.service.name = "payment" && status = error }`, t.failed, 185),
		search("needle: one order id", `{ span.shop.order.id = "`+t.order+`" }`, t.needle, 571),
		search("needle: absent", `{ span.shop.order.id = "ord-absent" }`, 0, 0),
		search("duration > 1s", `{ duration > 1s }`, t.slow, 31),
		search("structural >>", `{ resource.service.name = "checkout" } >> { resource.service.name = "audit" }`, t.under, 107),
		search("count() > 40", `{} | count() > 40`, t.many, 0),
		search("regex on a URL", "{ span.url.full =~ `"+shopURL+"` }", t.url, 0),
	}
}

func metrics(t *truth) []query {
	metric := func(name, q, step string, count func([]byte) (int, error), truth int) query {
		params := map[string]string{"q": q}
		if step != "" {
			params["step"] = step
		}
		return query{name: name, path: "/api/metrics/query_range", params: params, count: count, truth: truth}
	}
	hour := func(q query, tempo float64) query {
		q.lastHour, q.tempo = true, tempo
		return q
	}
	few := func(q query) query {
		q.rounds = 3
		return q
	}
	const long = "600s"
	return []query{
		metric("column predicate, full scan", `{ span.http.response.status_code >= 500 } | count_over_time()`, long, sumSamples(1, nil), t.spans5xx),
		metric("count_over_time()", `{} | count_over_time()`, long, sumSamples(1, nil), t.spans),
		metric("rate() by service", `{} | rate() by (resource.service.name)`, long, sumSamples(600, nil), t.spans),
		hour(metric("rate() by service, 1 h", `{} | rate() by (resource.service.name)`, "", countSeries, len(t.services)), 796),
		hour(metric("p99 by service, 1 h", `{} | quantile_over_time(duration, .99) by (resource.service.name)`, "", countSeries, len(t.services)), 693),
		metric("quantiles by route", `{} | quantile_over_time(duration, .5, .95, .99) by (span.http.route)`, long, countSeries, 3*(len(t.routes)+1)),
		metric("histogram of durations", `{} | histogram_over_time(duration)`, long, sumSamples(1, nil), t.measured),
		few(metric("compare({status=error})", `{} | compare({ status = error })`, long, sumSamples(1, map[string]string{"__meta_type": "selection_total", "status": "nil"}), t.errorSpans)),
	}
}

func tags(t *truth) []query {
	names := func(name string, untimed bool) query {
		return query{
			name: name, path: "/api/v2/search/tags", params: map[string]string{"scope": "span"}, untimed: untimed, truth: len(t.tagNames),
			count: countTags,
		}
	}
	values := func(name, tag string, untimed bool, truth int) query {
		return query{name: name, path: "/api/v2/search/tag/" + tag + "/values", untimed: untimed, truth: truth, count: countField("tagValues")}
	}
	return []query{
		names("tag names", true), names("tag names in a range", false),
		values("tag values", "resource.service.name", true, len(t.services)),
		values("tag values in a range", "resource.service.name", false, len(t.services)),
		values("tag values: routes", "span.http.route", false, len(t.routes)),
		values("tag values: span names", "name", false, len(t.names)),
	}
}

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
	tempo      float64 // CPU ms of Tempo 3.0.3 over its blocks of 2 M spans; 0 if not measured.
}

// searchLimit is the limit of every search: what a person asks for.
const searchLimit = 20

const shopURL = `.*/internal/00.*order=ord-1.*`

// truth is what the generator's spans say about each query: traces that match, or spans that are counted.
type truth struct {
	Spans, Traces                                    int
	Service, ServerErrors, Needle, Slow, Under, Many int
	URL, Failed                                      int
	Spans5xx, ErrorSpans, Measured                   int
	Last                                             time.Time
	Services, Routes, Names, TagNames                map[string]bool
	Order                                            string // an order id in the middle
	regex                                            *regexp.Regexp
}

func newTruth() *truth {
	return &truth{
		Services: map[string]bool{}, Routes: map[string]bool{}, Names: map[string]bool{}, TagNames: map[string]bool{},
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
	t.Traces++
	if t.Order == "" && t.Traces == 500 {
		t.Order = find(spans, "shop.order.id").Str
	}
	byID := make(map[spanid.SpanID]*store.Span, len(spans))
	for i := range spans {
		byID[spans[i].SpanID] = &spans[i]
	}
	name := func(s *store.Span) string { return attr(b.Resources[s.Resource].Attrs, "service.name").Str }
	for i := range spans {
		s := &spans[i]
		t.Spans++
		t.Services[name(s)] = true
		t.Names[s.Name] = true
		if s.DurationNano() >= 2 { // Shorter ones have no bucket.
			t.Measured++
		}
		if s.StatusCode == store.StatusError {
			t.ErrorSpans++
		}
		if attr(s.Attrs, "http.response.status_code").Int() >= 500 {
			t.Spans5xx++
		}
		if start := time.Unix(0, int64(s.StartNano)); start.After(t.Last) { //nolint:gosec // A time of today.
			t.Last = start
		}
		if r := attr(s.Attrs, "http.route"); r.Type == store.TypeString {
			t.Routes[r.Str] = true
		}
		if t.Traces < 2000 {
			for _, a := range s.Attrs {
				t.TagNames[a.Key] = true
			}
		}
		service = service || name(s) == "payment"
		errors = errors || name(s) == "payment" && attr(s.Attrs, "http.response.status_code").Int() >= 500
		failed = failed || name(s) == "payment" && s.StatusCode == store.StatusError
		needle = needle || t.Order != "" && attr(s.Attrs, "shop.order.id").Str == t.Order
		slow = slow || s.DurationNano() > 1e9
		url = url || t.regex.MatchString(attr(s.Attrs, "url.full").Str)
		under = under || name(s) == "audit" && hasAncestor(byID, s, func(a *store.Span) bool { return name(a) == "checkout" })
	}
	count := func(n *int, ok bool) {
		if ok {
			*n++
		}
	}
	count(&t.Service, service)
	count(&t.ServerErrors, errors)
	count(&t.Failed, failed)
	count(&t.Needle, needle)
	count(&t.Slow, slow)
	count(&t.URL, url)
	count(&t.Under, under)
	count(&t.Many, len(spans) > 40)
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
		search("service", `{ resource.service.name = "payment" }`, t.Service, 56),
		search("service + 5xx", `{ resource.service.name = "payment" && span.http.response.status_code >= 500 }`, t.ServerErrors, 243),
		search("service + error", `{ resource.service.name = "payment" && status = error }`, t.Failed, 185),
		search("needle: one order id", `{ span.shop.order.id = "`+t.Order+`" }`, t.Needle, 571),
		search("needle: absent", `{ span.shop.order.id = "ord-absent" }`, 0, 0),
		search("duration > 1s", `{ duration > 1s }`, t.Slow, 31),
		search("structural >>", `{ resource.service.name = "checkout" } >> { resource.service.name = "audit" }`, t.Under, 107),
		search("count() > 40", `{} | count() > 40`, t.Many, 0),
		search("regex on a URL", "{ span.url.full =~ `"+shopURL+"` }", t.URL, 0),
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
	const long = "600s"
	return []query{
		metric("column predicate, full scan", `{ span.http.response.status_code >= 500 } | count_over_time()`, long, sumSamples(1, nil), t.Spans5xx),
		metric("count_over_time()", `{} | count_over_time()`, long, sumSamples(1, nil), t.Spans),
		metric("rate() by service", `{} | rate() by (resource.service.name)`, long, sumSamples(600, nil), t.Spans),
		hour(metric("rate() by service, 1 h", `{} | rate() by (resource.service.name)`, "", countSeries, len(t.Services)), 796),
		hour(metric("p99 by service, 1 h", `{} | quantile_over_time(duration, .99) by (resource.service.name)`, "", countSeries, len(t.Services)), 693),
		metric("quantiles by route", `{} | quantile_over_time(duration, .5, .95, .99) by (span.http.route)`, long, countSeries, 3*(len(t.Routes)+1)),
		metric("histogram of durations", `{} | histogram_over_time(duration)`, long, sumSamples(1, nil), t.Measured),
		metric("compare({status=error})", `{} | compare({ status = error })`, long, sumSamples(1, map[string]string{"__meta_type": "selection_total", "status": "nil"}), t.ErrorSpans),
	}
}

func tags(t *truth) []query {
	names := func(name string, untimed bool) query {
		return query{
			name: name, path: "/api/v2/search/tags", params: map[string]string{"scope": "span"}, untimed: untimed, truth: len(t.TagNames),
			count: countTags,
		}
	}
	values := func(name, tag string, untimed bool, truth int) query {
		return query{name: name, path: "/api/v2/search/tag/" + tag + "/values", untimed: untimed, truth: truth, count: countField("tagValues")}
	}
	return []query{
		names("tag names", true), names("tag names in a range", false),
		values("tag values", "resource.service.name", true, len(t.Services)),
		values("tag values in a range", "resource.service.name", false, len(t.Services)),
		values("tag values: routes", "span.http.route", false, len(t.Routes)),
		values("tag values: span names", "name", false, len(t.Names)),
	}
}

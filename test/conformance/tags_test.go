package conformance

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/tempopb"
)

// tagCases are sections 1.4 and 1.5.
var tagCases = []testCase{
	{"G-01", tagsV1},
	{"G-02", tagsV2},
	{"G-03", tagScopes},
	{"G-04", intrinsics},
	{"G-05", tagParameters},
	{"V-01", valuesV1},
	{"V-02", valuesV2},
	{"V-03", identifiers},
	{"V-04", oddIdentifiers},
	{"V-05", valueTypes},
	{"V-06", keywords},
	{"V-07", unscoped},
	{"V-08", valueParameters},
	{"V-09", arrays},
	{"G-20 G-20b", unfinished},
	{"G-21", firstFilter},
	{"G-22", mixedScopes},
	{"G-23", unfiltered},
}

func tagsV1(t *testing.T, w *world) {
	names := func(p string) []string {
		var m tempopb.SearchTagsResponse
		r := w.Get("/api/search/tags?" + w.window() + p)
		require.Equal(t, http.StatusOK, r.Status, "%s", r.Body)
		strict(t, r.Body, &m)
		return m.GetTagNames()
	}
	got := names("")
	require.Subset(t, got, append([]string{"service.name", "http.method", "db.system", "host.name"}, oddNames...))
	require.NotContains(t, got, "duration")
	require.NotContains(t, got, "span.http.method")
	require.Contains(t, names("&scope=intrinsic"), "duration")
	require.NotContains(t, names("&scope=resource"), "http.method")
}

func tagsV2(t *testing.T, w *world) {
	got := w.tags(t)
	for scope, some := range map[string][]string{
		"resource": {"service.name", "service.namespace", "k8s.pod.name", "cluster", "host.name"}, "span": append([]string{"http.method", "big"}, oddNames...),
		"event": {"exception.message"}, "link": {"why"}, "instrumentation": {"zone"}, "intrinsic": {"duration"},
	} {
		require.Subset(t, got[scope], some, scope)
	}
	require.Len(t, got, 6)
}

func tagScopes(t *testing.T, w *world) {
	for _, scope := range []string{"resource", "span", "event", "link", "instrumentation", "intrinsic"} {
		got := w.tags(t, "scope="+scope)
		require.Len(t, got, 1, scope)
		require.NotEmpty(t, got[scope])
	}
	require.Equal(t, w.tags(t), w.tags(t, "scope=none"))
	w.refused(t, "/api/v2/search/tags?scope=parent", 400, "scope")
	w.refused(t, "/api/search/tags?scope=parent", 400, "scope")
}

func intrinsics(t *testing.T, w *world) {
	want := strings.Fields(`duration name status statusMessage kind rootServiceName rootName traceDuration event:name event:timeSinceStart link:spanID
		link:traceID instrumentation:name instrumentation:version trace:id span:id span:parentID span:status span:statusMessage span:duration span:name span:kind
		trace:rootName trace:rootService trace:duration`)
	require.ElementsMatch(t, want, w.tags(t)["intrinsic"])
}

func tagParameters(t *testing.T, w *world) {
	q := "q=" + url.QueryEscape(`{ resource.service.name = "db" }`)
	got := w.tags(t, q)
	require.Equal(t, []string{"service.name"}, got["resource"])
	require.ElementsMatch(t, []string{"db.system", "db.name", "http.status_code"}, got["span"])
	require.Len(t, w.tags(t, "limit=2", "scope=span")["span"], 2)
	require.NotEmpty(t, w.tags(t, "limit=5000", "maxStaleValues=10")["span"])
	var m tempopb.SearchTagsV2Response
	strict(t, w.Get("/api/v2/search/tags?scope=span&since=2h").Body, &m)
	require.Contains(t, m.GetScopes()[0].GetTags(), "uid")
	w.refused(t, "/api/v2/search/tags?limit=x", 400, "limit")
}

// valuesOld asks the older endpoint.
func (w *world) valuesOld(t *testing.T, name string) []string {
	t.Helper()
	r := w.Get("/api/search/tag/" + url.PathEscape(name) + "/values?" + w.window())
	require.Equal(t, http.StatusOK, r.Status, "%s", r.Body)
	var m tempopb.SearchTagValuesResponse
	strict(t, r.Body, &m)
	return m.GetTagValues()
}

func valuesV1(t *testing.T, w *world) {
	require.Equal(t, []string{"GET", "HEAD"}, w.valuesOld(t, "http.method"))
	require.Equal(t, []string{"200", "204", "500"}, w.valuesOld(t, "http.status_code"), "text only")
	require.True(t, slices.IsSorted(w.valuesOld(t, "service.name")))
	require.Subset(t, w.valuesOld(t, "status.code"), []string{"unset", "ok", "error"})
	require.Equal(t, []string{"true"}, w.valuesOld(t, "error"))
	require.Empty(t, w.valuesOld(t, "nothing"))
}

func valuesV2(t *testing.T, w *world) {
	require.ElementsMatch(t, []string{"string GET", "string HEAD"}, w.values(t, "span.http.method"))
	r := w.Get("/api/v2/search/tag/span.nothing/values?" + w.window())
	require.Equal(t, []any{}, raw(t, r.Body)["tagValues"])
	require.Contains(t, raw(t, r.Body), "metrics")
	r = w.Get("/api/v2/search/tag/span.empty/values?" + w.window())
	require.Equal(t, []any{map[string]any{"type": "string"}}, raw(t, r.Body)["tagValues"], "an empty text is an entry without value")
}

func identifiers(t *testing.T, w *world) {
	for _, id := range []string{"span.http.method", ".http.method", "status", "span:name", `span."http.method"`, "resource.service.name", "event.exception.type", "link.why", "instrumentation.zone"} {
		require.NotEmpty(t, w.values(t, id), id)
	}
	for _, id := range []string{"nothing", "http.method", "foo", "resource", `span."a`} {
		w.refused(t, "/api/v2/search/tag/"+url.PathEscape(id)+"/values", 400, "please provide a valid tagName")
	}
}

func oddIdentifiers(t *testing.T, w *world) {
	for i, name := range oddNames {
		quoted := `span."` + strings.ReplaceAll(name, `"`, `\"`) + `"`
		want := []string{fmt.Sprintf("string value %d", i)}
		require.Equal(t, want, w.values(t, quoted), name)
		// Every byte escaped, as some clients do.
		var all strings.Builder
		for _, c := range []byte(quoted) {
			fmt.Fprintf(&all, "%%%02X", c)
		}
		r := w.Get("/api/v2/search/tag/" + all.String() + "/values?" + w.window())
		require.Contains(t, string(r.Body), fmt.Sprintf(`"value %d"`, i), name)
		require.Contains(t, w.valuesOld(t, name), fmt.Sprintf("value %d", i), name)
	}
	// As it is, where a path may hold it.
	r := w.Get("/api/v2/search/tag/span.http/path/values?" + w.window())
	require.Contains(t, string(r.Body), `"value 0"`, "a slash")
	r = w.Get("/api/v2/search/tag/span.a/values/b/values?" + w.window())
	require.Contains(t, string(r.Body), `"value 6"`, "up to the last /values")
	r = w.Get("/api/v2/search/tag/span.pl+us/values?" + w.window())
	require.Contains(t, string(r.Body), `"value 5"`, "a plus is no space in a path")
}

func valueTypes(t *testing.T, w *world) {
	for id, want := range map[string]string{
		"span.http.method": "string ", "span.http.status_code": "int ", "span.ratio": "float 0.5", "span.cached": "bool true", "status": "keyword ",
		"event:timeSinceStart": "", "kind": "keyword ",
	} {
		got := w.values(t, id)
		if want == "" {
			continue
		}
		require.NotEmpty(t, got, id)
		for _, v := range got {
			require.True(t, strings.HasPrefix(v, want), "%s: %s", id, v)
		}
	}
}

func keywords(t *testing.T, w *world) {
	for _, id := range []string{"status", "span:status"} {
		require.ElementsMatch(t, []string{"keyword ok", "keyword error", "keyword unset"}, w.values(t, id))
	}
	for _, id := range []string{"kind", "span:kind"} {
		require.ElementsMatch(t, []string{"keyword client", "keyword server", "keyword producer", "keyword consumer", "keyword internal", "keyword unspecified"}, w.values(t, id))
	}
	for _, id := range []string{"duration", "span:duration", "traceDuration", "span:id", "trace:id", "span:parentID"} {
		require.Empty(t, w.values(t, id), id)
	}
}

func unscoped(t *testing.T, w *world) {
	require.Subset(t, w.values(t, ".service.name"), []string{"string shop", "string db", "string orphan", "string odd", "string front", "string back"})
	for id, one := range map[string]string{
		"name": "string GET /cart", "rootName": "string HEAD /", "rootServiceName": "string shop", "statusMessage": "string boom", "event:name": "string exception",
		"instrumentation:name": "string lib/http", "instrumentation:version": "string 1.2.0", "trace:rootService": "string shop",
	} {
		require.Contains(t, w.values(t, id), one, id)
	}
}

func valueParameters(t *testing.T, w *world) {
	q := func(s string) string { return "q=" + url.QueryEscape(s) }
	require.Equal(t, []string{"int 200"}, w.values(t, "span.http.status_code", q(`{ resource.service.name = "db" }`)))
	require.Equal(t, []string{"string GET"}, w.values(t, "span.http.method", q(`{ span.http.method = "GET" }`)), "the pinned operand")
	require.Len(t, w.values(t, "span.http.status_code", "limit=1"), 1)
	require.Len(t, w.values(t, "span.http.status_code", "limit=5000", "maxStaleValues=3", "tag=http.status_code"), 3)
	r := w.Get(fmt.Sprintf("/api/v2/search/tag/span.uid/values?start=%d&end=%d", w.sec(-55*time.Minute), w.sec(-20*time.Minute)))
	require.Len(t, raw(t, r.Body)["tagValues"], bulk)
}

func arrays(t *testing.T, w *world) {
	require.ElementsMatch(t, []string{"string x", "string y"}, w.values(t, "span.labels"))
}

func unfinished(t *testing.T, w *world) {
	all := w.values(t, "span.http.status_code")
	require.Len(t, all, 3)
	for q, want := range map[string][]string{
		`{ resource.service.name = "db" && span.x = }`: {"int 200"}, `{ resource.service.name = "db" && `: {"int 200"}, `{ resource.service.name = "db" && name = }`: {"int 200"},
		`{ resource.service.name = "db"`: {"int 200"}, `{ status = error && span.`: {"int 500"}, `{ resource.service.name = "db" && span.http.status_code = }`: {"int 200"},
		`{ resource.service.name = }`: all, `{ && }`: all, `{`: all, `nonsense`: all, `{ span.a = "x`: all, `}}}`: all, "\x00": all, `{ name`: all,
	} {
		require.ElementsMatch(t, want, w.values(t, "span.http.status_code", "q="+url.QueryEscape(q)), q)
		r := w.Get("/api/v2/search/tags?" + w.window() + "&q=" + url.QueryEscape(q))
		require.Equal(t, http.StatusOK, r.Status, "%s: %s", q, r.Body)
	}
}

func firstFilter(t *testing.T, w *world) {
	all := w.values(t, "span.http.status_code")
	for _, q := range []string{`{ resource.service.name = "shop" } >> { kind = client }`, `{ kind = client } | count() > 1`} {
		require.ElementsMatch(t, all, w.values(t, "span.http.status_code", "q="+url.QueryEscape(q)), q)
	}
	require.ElementsMatch(t, []string{"int 500", "int 200"},
		w.values(t, "span.http.status_code", "q="+url.QueryEscape(`{ resource.service.name = "db" || status = error }`)))
	groups := strings.Repeat(`(span.a = "1" || span.b = "2") && `, 7) + `(span.a = "1" || span.b = "2")`
	r := w.Get("/api/v2/search/tag/span.http.method/values?q=" + url.QueryEscape("{ "+groups+" }"))
	require.Contains(t, []int{http.StatusOK, http.StatusBadRequest}, r.Status, "%s", r.Body)
}

func mixedScopes(t *testing.T, w *world) {
	require.Equal(t, []string{"int 200"}, w.values(t, "span.http.status_code", "q="+url.QueryEscape(`{ .service.name = "db" }`)))
}

func unfiltered(t *testing.T, w *world) {
	all := w.values(t, "span.http.status_code")
	for _, q := range []string{"{}", "{ }", "{ true }", ""} {
		require.ElementsMatch(t, all, w.values(t, "span.http.status_code", "q="+url.QueryEscape(q)), q)
	}
}

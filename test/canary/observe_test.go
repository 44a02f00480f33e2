package canary

import (
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/test/diskscan"
	"github.com/bramble-tracing/bramble/test/harness"
)

// The ways in which the process talks.
const (
	processLog = "log"
	zPages     = "zPages"
	metrics    = "metrics"
	statusPage = "status"
	traceByID  = "trace by id"
	tagsAPI    = "tags and values"
	searchAPI  = "search"
	metricsAPI = "metrics from traces"
)

// pages looks at what the process says without being asked for a trace: its log, zPages, metrics and status.
func pages(t *testing.T, b *harness.Bramble, p *planter, r *diskscan.Report) {
	t.Helper()
	r.Look(&p.needles, processLog, "log", []byte(b.Log.String()))
	get := func(way, listener string, paths ...string) {
		for _, path := range paths {
			a := b.Do(http.MethodGet, "http://"+b.Addr(listener)+path, http.NoBody)
			assert.Equal(t, http.StatusOK, a.Status, path)
			r.Look(&p.needles, way, path, a.Body)
		}
	}
	get(zPages, "extensions::zpages", "/debug/servicez", "/debug/pipelinez", "/debug/extensionz", "/debug/featurez", "/debug/tracez")
	a := b.Do(http.MethodGet, "http://"+b.Addr("extensions::zpages")+"/debug/tracez", http.NoBody)
	for link := range strings.SplitSeq(string(a.Body), `href="`) { // Spans of the Collector's own, by name and kind.
		if link, _, ok := strings.Cut(link, `"`); ok && strings.Contains(link, "zspanname=") {
			get(zPages, "extensions::zpages", "/debug/"+strings.TrimPrefix(strings.ReplaceAll(link, "&amp;", "&"), "/debug/"))
		}
	}
	get(metrics, "service::telemetry::metrics", "/metrics")
	get(metrics, "exporters::prometheus", "/metrics")
	get(metrics, "extensions::trace_query", "/metrics")
	get(statusPage, "extensions::trace_query", "/status", "/status/pii", "/status/pii?format=json")
}

// answers looks at what the query API answers: every trace, all tags with their values, searches, metrics.
func answers(t *testing.T, b *harness.Bramble, p *planter, traces [][]byte, r *diskscan.Report) {
	t.Helper()
	get := func(way, path string, header ...string) []byte {
		a := b.Get(path, header...)
		require.Equal(t, http.StatusOK, a.Status, "%s: %.300s", path, a.Body)
		r.Look(&p.needles, way, path, a.Body)
		return a.Body
	}
	for _, id := range traces {
		for _, version := range []string{"", "v2/"} {
			path := "/api/" + version + "traces/" + hex.EncodeToString(id)
			get(traceByID, path, "Accept", "application/protobuf")
			get(traceByID, path, "Accept", "application/json")
		}
	}
	var tags struct {
		Scopes []struct {
			Name string
			Tags []string
		}
	}
	require.NoError(t, json.Unmarshal(get(tagsAPI, "/api/v2/search/tags"), &tags))
	get(tagsAPI, "/api/search/tags")
	asked := 0
	for _, s := range tags.Scopes {
		for _, tag := range s.Tags {
			name := s.Name + `."` + tag + `"`
			if s.Name == "intrinsic" {
				name = tag
			}
			if asked++; asked > 200 { // In the control run each planted key is a tag.
				break
			}
			a := b.Get("/api/v2/search/tag/" + url.PathEscape(name) + "/values")
			r.Look(&p.needles, tagsAPI, name, a.Body) // An intrinsic that has no values is an error.
		}
	}
	for _, q := range []string{"{}", `{ resource.service.name = "canary" } | select(span.canary.text, span.exception.stacktrace, status, name, statusMessage)`} {
		get(searchAPI, "/api/search?limit=1000&spss=20&q="+url.QueryEscape(q))
	}
	get(metricsAPI, "/api/metrics/query_range?since=1h&q="+url.QueryEscape(`{ resource.service.name = "canary" } | rate() by (name)`))
}

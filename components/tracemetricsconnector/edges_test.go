package tracemetricsconnector

import (
	"cmp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// edge is what Grafana draws an arrow for.
type edge struct{ client, server, connection string }

// calls of an edge: all, and failed ones.
type edgeCalls struct{ all, failed int }

func attrText(attrs []store.Attr, key string) string {
	for _, a := range attrs {
		if a.Key == key {
			if a.Value.Type == store.TypeInt {
				return strconv.FormatInt(a.Value.Int(), 10)
			}
			return a.Value.Str
		}
	}
	return ""
}

// edgesOf finds the edges of whole traces in the plainest way (N-22 to N-26), without those that have to wait.
func edgesOf(b *store.Batch) map[edge]edgeCalls {
	type id struct {
		trace spanid.TraceID
		span  spanid.SpanID
	}
	spans := map[id]*store.Span{}
	for i := range b.Spans {
		spans[id{b.Spans[i].TraceID, b.Spans[i].SpanID}] = &b.Spans[i]
	}
	service := func(s *store.Span) string { return attrText(b.Resources[s.Resource].Attrs, "service.name") }
	out := map[edge]edgeCalls{}
	count := func(e edge, failed bool) {
		c := out[e]
		c.all++
		if failed {
			c.failed++
		}
		out[e] = c
	}
	for i := range b.Spans {
		s := &b.Spans[i]
		get := func(key string) string { return attrText(s.Attrs, key) }
		parent := spans[id{s.TraceID, s.ParentID}]
		failed := s.StatusCode == store.StatusError
		db := cmp.Or(get("db.namespace"), get("db.name"), get("db.system"), get("db.system.name"))
		switch {
		case s.Kind == store.KindClient && db != "":
			peer := get("network.peer.address")
			if port := get("network.peer.port"); peer != "" && port != "" {
				peer += ":" + port
			}
			count(edge{service(s), cmp.Or(get("peer.service"), get("server.address"), peer, db), "database"}, failed)
		case (s.Kind == store.KindServer || s.Kind == store.KindConsumer) && s.ParentID.IsZero():
			count(edge{cmp.Or(get("peer.service"), get("db.name"), get("db.system"), get("db.system.name"), "user"), service(s), "virtual_node"}, failed)
		case s.Kind == store.KindServer && parent != nil && parent.Kind == store.KindClient:
			count(edge{service(parent), service(s), ""}, failed || parent.StatusCode == store.StatusError)
		case s.Kind == store.KindConsumer && parent != nil && parent.Kind == store.KindProducer:
			count(edge{service(parent), service(s), "messaging_system"}, failed || parent.StatusCode == store.StatusError)
		}
	}
	return out
}

// edgesAnswer asks Prometheus for the edges and their calls.
func edgesAnswer(t *testing.T, base string) map[edge]edgeCalls {
	t.Helper()
	out := map[edge]edgeCalls{}
	const by = `sum by (client, server, connection_type) `
	for _, s := range query(t, base, by+`(traces_service_graph_request_total)`) {
		out[edge{s.Metric["client"], s.Metric["server"], s.Metric["connection_type"]}] = edgeCalls{all: int(s.number(t))}
	}
	for _, s := range query(t, base, by+`(traces_service_graph_request_failed_total)`) {
		e := edge{s.Metric["client"], s.Metric["server"], s.Metric["connection_type"]}
		c := out[e]
		c.failed = int(s.number(t))
		out[e] = c
	}
	return out
}

// serviceGraphOfReference: what Grafana's Service Graph asks returns each edge of the reference
// topology, with its calls, and no other.
func serviceGraphOfReference(t *testing.T, base string, batch *store.Batch) {
	want := edgesOf(batch)
	require.Greater(t, len(want), 30)
	assert.Equal(t, want, edgesAnswer(t, base))

	// Grafana draws what these have in common.
	pairs := map[string]bool{}
	failing := map[string]bool{}
	for e, c := range want {
		pairs[e.client+" "+e.server] = true
		if c.failed > 0 {
			failing[e.client+" "+e.server] = true
		}
	}
	require.NotEmpty(t, failing)
	for q, want := range map[string]map[string]bool{
		`sum by (client, server) (rate(traces_service_graph_request_total[1h])) > 0`:                                  pairs,
		`sum by (client, server) (rate(traces_service_graph_request_failed_total[1h])) > 0`:                           failing,
		`sum by (client, server) (rate(traces_service_graph_request_server_seconds_bucket{le="+Inf"}[1h])) > 0`:       pairs,
		`group by (client, server) (rate(traces_service_graph_request_server_seconds_sum[1h]))`:                       pairs,
		`group by (client, server) (group by (client, connection_type, server) (traces_service_graph_request_total))`: pairs,
	} {
		got := map[string]bool{}
		for _, s := range query(t, base, q) {
			got[s.Metric["client"]+" "+s.Metric["server"]] = true
		}
		assert.Equal(t, want, got, q)
	}
	// A filter on a node of the graph becomes one on the label service of the table beside it.
	for e := range want {
		if e.connection != "" {
			continue
		}
		q := `sum(traces_spanmetrics_calls_total{service="` + e.server + `",span_kind="SPAN_KIND_SERVER"})`
		n := 0
		for i := range batch.Spans {
			if s := &batch.Spans[i]; s.Kind == store.KindServer && attrText(batch.Resources[s.Resource].Attrs, "service.name") == e.server {
				n++
			}
		}
		got := query(t, base, q)
		require.Len(t, got, 1, q)
		assert.Equal(t, n, int(got[0].number(t)), q)
	}
	namespaces := query(t, base, `group by (client_service_namespace, server_service_namespace) (traces_service_graph_request_total{connection_type=""})`)
	require.Len(t, namespaces, 1)
	assert.Equal(t, "shop shop", strings.Join([]string{namespaces[0].Metric["client_service_namespace"], namespaces[0].Metric["server_service_namespace"]}, " "))
}

package conformance

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/bramble-tracing/bramble/test/harness"
)

// serviceGraphCases are section 3.2: the series that Grafana's Service Graph tab asks Prometheus for, as the shipped
// configuration exposes them.
var serviceGraphCases = []testCase{{"A-30 A-31 A-32 A-33 A-34", serviceGraph}}

func serviceGraph(t *testing.T, _ *world) {
	w := &world{Bramble: harness.Start(t, harness.Config{Files: []string{"config/local.yaml"}})}
	at := builder{time.Now().Add(-time.Second)}
	call := at.span(cart, "00000000000000a1", "", "call", client, 0, 50*time.Millisecond)
	serve := at.span(cart, "00000000000000a2", "00000000000000a1", "serve", server, 10*time.Millisecond, 20*time.Millisecond)
	serve.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR}
	query := at.span(cart, "00000000000000a3", "00000000000000a2", "SELECT", client, 15*time.Millisecond, 5*time.Millisecond, attr("db.system", "postgresql"), attr("db.name", "orders"))
	publish := at.span(cart, "00000000000000a4", "00000000000000a2", "publish", tracepb.Span_SPAN_KIND_PRODUCER, 15*time.Millisecond, 5*time.Millisecond)
	consume := at.span(cart, "00000000000000a5", "00000000000000a4", "consume", tracepb.Span_SPAN_KIND_CONSUMER, 25*time.Millisecond, 5*time.Millisecond)
	send(t, w.Bramble, []*traceResource{
		resourceSpans("front", nil, nil, call), resourceSpans("back", nil, nil, serve, query, publish), resourceSpans("worker", nil, nil, consume),
	})
	const edge = "traces_service_graph_request_"
	plain := []string{`client="front"`, `server="back"`}
	red := []string{`span_kind="SPAN_KIND_SERVER"`, `status_code="STATUS_CODE_ERROR"`, `service="back"`, `span_name="serve"`} // service.
	want := map[string][]string{                                                                                              // Parts of one line each.
		edge + "total{": plain, edge + "failed_total{": plain, edge + "server_seconds_sum{": plain, edge + "server_seconds_bucket{": plain, edge + "client_seconds_bucket{": plain,
		edge + "server_seconds_count{":    {`client="back"`, `server="orders"`, `connection_type="database"`},
		edge + "client_seconds_count{":    {`client="back"`, `server="worker"`, `connection_type="messaging_system"`},
		"traces_spanmetrics_calls_total{": red, "traces_spanmetrics_latency_bucket{": red,
	}
	harness.Poll(t, time.Minute, "the series of the service graph", func() error {
		r := w.Do(http.MethodGet, "http://"+w.Addr("exporters::prometheus")+"/metrics", http.NoBody)
		text := string(r.Body)
		for name, parts := range want {
			found := linesWith(text, append([]string{name}, parts...)...)
			if len(found) == 0 {
				return fmt.Errorf("%s with %v is missing in\n%s", name, parts, strings.Join(linesWith(text, "traces_"), ""))
			}
			if name == edge+"total{" {
				require.NotRegexp(t, `connection_type="[^"]`, found[0], "a plain call has no type")
			}
		}
		return nil
	})
}

// linesWith returns the lines that contain all of the parts.
func linesWith(text string, parts ...string) []string {
	var out []string
next:
	for line := range strings.Lines(text) {
		for _, p := range parts {
			if !strings.Contains(line, p) {
				continue next
			}
		}
		out = append(out, line)
	}
	return out
}

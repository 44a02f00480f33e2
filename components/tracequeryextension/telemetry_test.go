package tracequeryextension

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCollectorTelemetry: one scrape has our metrics and the Collector's, and ours also when those are out of reach.
func TestCollectorTelemetry(t *testing.T) {
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `# HELP otelcol_receiver_accepted_spans Spans.
# TYPE otelcol_receiver_accepted_spans counter
otelcol_receiver_accepted_spans{receiver="otlp",transport="grpc"} 42
# TYPE go_goroutines gauge
go_goroutines 7
`)
	}))
	e := start(t, someTrace(t), func(c *Config) { c.TelemetryEndpoint = collector.URL + "/metrics" })
	c := client(t, http1, nil)
	text := get(t, c, e.url("/metrics")).body
	require.Contains(t, text, `otelcol_receiver_accepted_spans{receiver="otlp",transport="grpc"} 42`)
	require.Contains(t, text, "bramble_build_info")
	require.NotContains(t, text, "go_goroutines 7\n")

	collector.Close()
	get(t, c, e.url("/metrics"))
	a := get(t, c, e.url("/metrics"))
	require.Equal(t, 200, a.code)
	require.Contains(t, a.body, "bramble_collector_telemetry_up 0")
	require.Contains(t, a.body, "go_goroutines")
	require.NotContains(t, a.body, "otelcol_")
}

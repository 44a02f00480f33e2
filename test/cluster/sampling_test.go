package cluster

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/bramble-tracing/bramble/test/harness"
)

// TestSamplingOnOwners sends the halves of traces to different agents of the shipped configuration, an error in one half of
// some. When traces leave the recent window their owners drop those without an error, and keep the others whole.
func TestSamplingOnOwners(t *testing.T) {
	c := harness.StartCluster(t, 3, harness.Config{Files: []string{"config/cluster.yaml"}, Overlay: harness.Set(
		"service::telemetry::metrics::level", "none",
		"extensions::trace_store::retention::recent", "5s",
		"processors::tail_sampling::policies", []any{
			map[string]any{"name": "errors", "type": "status_code", "status_code": map[string]any{"status_codes": []any{"ERROR"}}},
		},
	)})
	var clients []coltracepb.TraceServiceClient
	for _, a := range c.Agents {
		clients = append(clients, coltracepb.NewTraceServiceClient(harness.Dial(t, a.GRPC())))
	}
	const traces, everyError = 60, 10
	var failed [][]byte
	for n := range traces {
		halves := newTrace(n)
		for i, h := range halves {
			spans := h.GetScopeSpans()[0].GetSpans()
			if n%everyError == 0 && i == 1 {
				spans[len(spans)-1].Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR}
				failed = append(failed, spans[0].GetTraceId())
			}
			_, err := clients[(n+i)%len(clients)].Export(t.Context(), &coltracepb.ExportTraceServiceRequest{ResourceSpans: []*tracepb.ResourceSpans{h}})
			require.NoError(t, err)
		}
	}
	harness.Poll(t, 2*time.Minute, "the owners' decisions", func() error {
		n, err := countTraces(c.Agents[0])
		if err == nil && n != len(failed) {
			err = fmt.Errorf("%d of %d traces are there, %d have errors", n, traces, len(failed))
		}
		return err
	})
	for _, id := range failed {
		spans := 0
		for _, rs := range c.Agents[1].Trace(id).GetResourceSpans() {
			for _, ss := range rs.GetScopeSpans() {
				spans += len(ss.GetSpans())
			}
		}
		require.Equal(t, loadSpans, spans, "a trace with an error was not kept whole: %x", id)
	}
}

// countTraces counts the traces that an agent's answer about all agents has.
func countTraces(b *harness.Bramble) (int, error) {
	r, err := b.TryGet("/api/search?limit=1000&q=" + url.QueryEscape("{}"))
	if err != nil {
		return 0, err
	}
	if r.Status != http.StatusOK {
		return 0, fmt.Errorf("status %d: %.200s", r.Status, r.Body)
	}
	var out struct{ Traces []json.RawMessage }
	err = json.Unmarshal(r.Body, &out)
	return len(out.Traces), err
}

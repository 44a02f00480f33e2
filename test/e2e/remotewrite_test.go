package e2e

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/test/harness"
)

// TestRemoteWriteOverlay: with config/overlays/remote-write.yaml beside a shipped configuration the metrics of traces go
// out by remote write, with its header and labels, also when the remote end is away at first.
func TestRemoteWriteOverlay(t *testing.T) {
	for _, base := range []string{"config/local.yaml", "config/cluster.yaml"} {
		code, output := harness.Command(t, "validate", "--config", harness.Root(t, base), "--config", harness.Root(t, "config/overlays/remote-write.yaml"))
		assert.Zero(t, code, "%s: %s", base, output)
	}
	var mu sync.Mutex
	var received []byte
	tenant, refused := "", 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if refused < 2 {
			refused++
			http.Error(w, "away", http.StatusServiceUnavailable)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err == nil {
			body, err = s2.Decode(nil, body) // Snappy.
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		tenant = r.Header.Get("X-Scope-Orgid")
		received = append(received, body...)
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(server.Close)
	b := harness.Start(t, harness.Config{
		Files: []string{"config/local.yaml", "config/overlays/remote-write.yaml"},
		Env:   []string{"PROMETHEUS_REMOTE_WRITE_URL=" + server.URL, "PROMETHEUS_TENANT=team-a", "CLUSTER_NAME=berlin"},
		Overlay: harness.Set("connectors::trace_metrics::metrics_flush_interval", "1s",
			"exporters::prometheus_remote_write::retry_on_failure::initial_interval", "50ms"),
	})
	g := testkit.NewGenerator(31)
	g.SetTime(time.Now())
	body, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(g.Traces(300))
	require.NoError(t, err)
	r := b.Do(http.MethodPost, b.TracesURL(), bytes.NewReader(body), "Content-Type", "application/x-protobuf")
	require.Equal(t, http.StatusOK, r.Status, "%s", r.Body)
	want := []string{"traces_spanmetrics_calls_total", "traces_service_graph_request_total", "source\x12\x05tempo", "cluster\x12\x06berlin", "node", "traceID"}
	harness.Poll(t, time.Minute, "series by remote write", func() error {
		mu.Lock()
		defer mu.Unlock()
		for _, w := range want {
			if !bytes.Contains(received, []byte(w)) {
				return errors.New("nothing has " + w)
			}
		}
		return nil
	})
	mu.Lock()
	defer mu.Unlock()
	assert.Equal(t, "team-a", tenant, "N-43")
	assert.NotContains(t, string(received), "target_info")
}

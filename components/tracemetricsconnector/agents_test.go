package tracemetricsconnector

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/store"
)

const agentConfig = `
receivers:
  otlp: {protocols: {http: {endpoint: "%[1]s"}}}
exporters:
  trace_store: {}
  prometheus_remote_write: {endpoint: "%[2]s/api/v1/write", external_labels: {source: tempo, cluster: kubernetes}}
connectors:
  trace_metrics: {node: "%[3]s", metrics_flush_interval: 1s}
extensions:
  trace_store: {directory: "%[4]s", memory: {limit_mib: 64}}
  trace_query: {endpoint: "%[5]s"}
service:
  extensions: [trace_store, trace_query]
  pipelines:
    traces: {receivers: [otlp], exporters: [trace_store, trace_metrics]}
    metrics: {receivers: [trace_metrics], exporters: [prometheus_remote_write]}
  telemetry: {metrics: {level: none}}
`

// agent is one process of the binary.
type agent struct {
	t                  *testing.T
	binary, config     string
	receive, queryAddr string
	cmd                *exec.Cmd
	log                *os.File
}

func newAgent(t *testing.T, binary, prometheus, name string) *agent {
	t.Helper()
	dir := t.TempDir()
	a := &agent{t: t, binary: binary, config: filepath.Join(dir, "config.yaml"), receive: freeAddress(t), queryAddr: freeAddress(t)}
	text := fmt.Sprintf(agentConfig, a.receive, prometheus, name, filepath.Join(dir, "data"), a.queryAddr)
	require.NoError(t, os.WriteFile(a.config, []byte(text), 0o600))
	var err error
	a.log, err = os.Create(filepath.Join(dir, "log"))
	require.NoError(t, err)
	a.start()
	t.Cleanup(func() {
		a.end(syscall.SIGKILL)
		if t.Failed() {
			text, _ := os.ReadFile(a.log.Name())
			t.Logf("%s said:\n%s", name, text[max(0, len(text)-4000):])
		}
		_ = a.log.Close()
	})
	return a
}

func (a *agent) start() {
	a.t.Helper()
	a.cmd = exec.Command(a.binary, "--config", a.config) //nolint:gosec // A test.
	a.cmd.Stdout, a.cmd.Stderr = a.log, a.log
	require.NoError(a.t, a.cmd.Start())
	a.ready()
}

func (a *agent) ready() {
	a.t.Helper()
	require.Eventually(a.t, func() bool {
		res, err := http.Get("http://" + a.queryAddr + "/ready") //nolint:noctx // Polls until the server is up.
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	}, 60*time.Second, 50*time.Millisecond)
}

// end signals the process and waits for its end.
func (a *agent) end(sig syscall.Signal) {
	_ = a.cmd.Process.Signal(sig)
	_ = a.cmd.Wait()
}

// send sends spans until the agent has acknowledged them, as an SDK does.
func (a *agent) send(b *store.Batch) {
	a.t.Helper()
	td, err := otlpspan.Build(b)
	require.NoError(a.t, err)
	body, err := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	require.NoError(a.t, err)
	require.Eventually(a.t, func() bool {
		res, err := http.Post("http://"+a.receive+"/v1/traces", "application/x-protobuf", bytes.NewReader(body)) //nolint:noctx // As an SDK.
		if err != nil {
			return false
		}
		defer res.Body.Close()
		_, _ = io.Copy(io.Discard, res.Body)
		return res.StatusCode == http.StatusOK
	}, 30*time.Second, 20*time.Millisecond)
}

// split divides spans over n agents by their service.
func split(b *store.Batch, n int) []*store.Batch {
	out := make([]*store.Batch, n)
	for i := range out {
		out[i] = &store.Batch{Resources: b.Resources, Scopes: b.Scopes}
	}
	for i := range b.Spans {
		h := fnv.New32a()
		h.Write([]byte(b.Resources[b.Spans[i].Resource].Attrs[0].Value.Str))
		x := out[h.Sum32()%uint32(n)] //nolint:gosec // Small.
		x.Spans = append(x.Spans, b.Spans[i])
	}
	return out
}

// deltas sums what the counters of a selector grew by, over all samples that Prometheus has and over resets.
func deltas(t *testing.T, base, selector string) (sum float64) {
	t.Helper()
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string `json:"metric"`
				Values [][2]any          `json:"values"`
			} `json:"result"`
		} `json:"data"`
	}
	require.NoError(t, json.Unmarshal(get(t, base+"/api/v1/query?query="+url.QueryEscape(selector+"[1h]")), &answer))
	for _, s := range answer.Data.Result {
		assert.Equal(t, "tempo", s.Metric["source"])
		last := -1.0
		for _, v := range s.Values {
			f, err := strconv.ParseFloat(v[1].(string), 64)
			require.NoError(t, err)
			switch {
			case last < 0:
				assert.Zero(t, f, "the first sample of %v (N-41)", s.Metric)
			case f < last:
				sum += f
			default:
				sum += f - last
			}
			last = f
		}
	}
	return sum
}

// TestThreeAgents: the sum over three agents in processes of their own, with traffic split by service, is the truth,
// over graceful restarts and reloads; a killed agent loses at most what came since its last flush.
func TestThreeAgents(t *testing.T) {
	if os.Getenv("BRAMBLE_FULL") != "1" {
		t.Skip("starts four processes; set BRAMBLE_FULL=1")
	}
	binary := os.Getenv("BRAMBLE_BIN")
	if binary == "" {
		binary, _ = filepath.Abs("../../bin/bramble")
	}
	if _, err := os.Stat(binary); err != nil {
		t.Skipf("no binary at %s: run make build or set BRAMBLE_BIN", binary)
	}
	base := prometheus(t)
	agents := []*agent{newAgent(t, binary, base, "a1"), newAgent(t, binary, base, "a2"), newAgent(t, binary, base, "a3")}
	g := recent(1)
	truth, errs := 0, 0
	traffic := func() {
		g.SetTime(time.Now())
		batch := g.Batch(2000)
		for i, b := range split(batch, len(agents)) {
			agents[i].send(b)
		}
		truth += len(batch.Spans)
		for i := range batch.Spans {
			if batch.Spans[i].StatusCode == store.StatusError {
				errs++
			}
		}
	}
	const round = 1500 * time.Millisecond // More than a flush interval.
	for i := range 6 {
		traffic()
		time.Sleep(round)
		switch a := agents[i%3]; {
		case i < 3:
			require.NoError(t, a.cmd.Process.Signal(syscall.SIGHUP)) // Reload.
			time.Sleep(round)
			a.ready()
		default:
			a.end(syscall.SIGTERM)
			a.start()
		}
	}
	traffic()
	time.Sleep(2 * round)
	calls := `traces_spanmetrics_calls_total`
	require.InDelta(t, truth, deltas(t, base, calls), 0, "sum over agents, restarts and reloads")
	assert.InDelta(t, errs, deltas(t, base, calls+`{status_code="STATUS_CODE_ERROR"}`), 0)
	assert.InDelta(t, truth, deltas(t, base, `traces_spanmetrics_latency_bucket{le="+Inf"}`), 0)
	exemplarsOpen(t, base, agents)

	traffic()
	agents[0].end(syscall.SIGKILL)
	agents[0].start()
	traffic()
	time.Sleep(2 * round)
	lost := float64(truth) - deltas(t, base, calls)
	t.Logf("kill -9 lost %v of %d spans, all of the last flush interval", lost, truth)
	assert.GreaterOrEqual(t, lost, 0.0)
	assert.LessOrEqual(t, lost, 2000.0)
}

// exemplarsOpen asks the agents for the traces of exemplars (N-40).
func exemplarsOpen(t *testing.T, base string, agents []*agent) {
	t.Helper()
	var answer struct {
		Data []struct {
			Exemplars []struct {
				Labels map[string]string `json:"labels"`
			} `json:"exemplars"`
		} `json:"data"`
	}
	now := time.Now()
	require.NoError(t, json.Unmarshal(get(t, fmt.Sprintf("%s/api/v1/query_exemplars?query=traces_spanmetrics_latency_bucket&start=%d&end=%d",
		base, now.Add(-time.Hour).Unix(), now.Unix()+60)), &answer))
	n := 0
	for _, s := range answer.Data {
		for _, e := range s.Exemplars {
			if n++; n > 200 {
				return
			}
			found := false
			for _, a := range agents {
				found = found || bytes.Contains(get(t, "http://"+a.queryAddr+"/api/v2/traces/"+e.Labels["traceID"]), []byte(`"spanId"`))
			}
			assert.True(t, found, "trace %s of an exemplar", e.Labels["traceID"])
		}
	}
	assert.Greater(t, n, 20)
}

package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bramble-tracing/bramble/test/harness"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

// testCase checks lines of the contract against the binary with the fixture.
type testCase struct {
	ids string // Of the lines, separated by spaces.
	run func(t *testing.T, w *world)
}

// cases are those that every binary with the fixture passes.
var cases = slices.Concat(conventionCases, traceCases, searchCases, tagCases, metricsCases, streamCases, grafanaCases)

// ownCases start binaries of their own.
var ownCases = slices.Concat(configuredCases, securityCases, serviceGraphCases, jaegerCases, mcpCases)

// TestContract runs all cases while the fixture is in memory, and again when it is in blocks.
func TestContract(t *testing.T) {
	w := newWorld(t)
	run := func(t *testing.T) {
		for _, c := range cases {
			t.Run(strings.ReplaceAll(c.ids, " ", ","), func(t *testing.T) { c.run(t, w) })
		}
	}
	t.Run("head", run)
	w.intoBlocks(t, "")
	t.Run("blocks", run)
}

// TestConfigured runs the cases that need configurations of their own.
func TestConfigured(t *testing.T) {
	for _, c := range ownCases {
		t.Run(strings.ReplaceAll(c.ids, " ", ","), func(t *testing.T) { c.run(t, nil) })
	}
}

// TestEveryLineHasACase lists the lines of the contract without a case.
func TestEveryLineHasACase(t *testing.T) {
	all, covered := lines(), map[string]bool{}
	for _, c := range slices.Concat(cases, ownCases) {
		for id := range strings.FieldsSeq(c.ids) {
			_, ok := all[id]
			assert.True(t, ok, "a case names %s, which is no line of the contract", id)
			covered[id] = true
		}
	}
	var missing []string
	for id, l := range all {
		if l.needed && !covered[id] {
			missing = append(missing, id)
		}
	}
	slices.Sort(missing)
	assert.Empty(t, missing, "lines of the contract without a case")
	require.Len(t, all, 154, "lines in the list")
}

// config is the binary's configuration: nothing but the way from OTLP to the query port, so that nothing changes spans.
// Streams tell as often as they can.
const config = `yaml:
receivers:
  otlp: {protocols: {grpc: {endpoint: "localhost:4317", max_recv_msg_size_mib: 32}, http: {endpoint: "localhost:4318"}}}
exporters:
  trace_store: {}
extensions:
  trace_store: {directory: ./data, memory: {limit_mib: 16}}
  trace_query: {endpoint: "localhost:3200", limits: {stream_interval: 1us, slow_query: 1ms}}
service:
  extensions: [trace_store, trace_query]
  pipelines:
    traces: {receivers: [otlp], exporters: [trace_store]}
`

// start runs the binary with the configuration and what is merged over it.
func start(t *testing.T, overlay map[string]any) *harness.Bramble {
	t.Helper()
	return harness.Start(t, harness.Config{Files: []string{config}, Overlay: overlay})
}

// routed brings traces together on owners.
const routed = `yaml:
receivers:
  otlp/peer: {protocols: {grpc: {endpoint: "localhost:4319", max_recv_msg_size_mib: 64}}}
connectors:
  trace_owner: {client: {tls: {insecure: true}}}
service:
  pipelines:
    traces: {receivers: [otlp], exporters: [trace_owner]}
    traces/own: {receivers: [trace_owner, otlp/peer], exporters: [trace_store]}
`

// TestContractOfThree runs all cases against each of three agents: spans are scattered over them at random, and stay
// there or go to their owners.
func TestContractOfThree(t *testing.T) {
	if os.Getenv("BRAMBLE_FULL") == "" {
		t.Skip("all cases six times more: only with BRAMBLE_FULL=1")
	}
	for name, files := range map[string][]string{"scattered": {config}, "routed": {config, routed}} {
		for i := range 3 {
			t.Run(fmt.Sprintf("%s/node-%d", name, i+1), func(t *testing.T) {
				cluster := harness.StartCluster(t, 3, harness.Config{Files: files})
				grpcAddr, httpAddr := cluster.Scatter(t, uint64(i+1))
				b := cluster.Agents[i]
				b.Redirect("receivers::otlp::protocols::grpc", grpcAddr)
				b.Redirect("receivers::otlp::protocols::http", httpAddr)
				w := worldOf(t, b)
				for _, c := range cases {
					t.Run(strings.ReplaceAll(c.ids, " ", ","), func(t *testing.T) { c.run(t, w) })
				}
			})
		}
	}
}

// intoBlocks fills the head with other spans, of three hours ago and older, until blocks hold the fixture.
func (w *world) intoBlocks(t *testing.T, plainOf string) {
	t.Helper()
	w.fill(t, plainOf)
	deadline := time.Now().Add(2 * time.Minute)
	for {
		blocks, err := filepath.Glob(filepath.Join(w.Data, "trace_store", "blocks", "*"))
		require.NoError(t, err)
		if len(blocks) > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no block was written: %v", entries(w.Data))
		}
		w.fill(t, plainOf)
	}
}

func entries(dir string) []string {
	var out []string
	_ = filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		out = append(out, fmt.Sprint(path, err))
		return nil
	})
	return out
}

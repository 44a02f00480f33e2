package cluster

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/test/harness"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(selfRole); role != "" {
		if err := side(strings.Fields(role)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

func full() bool { return os.Getenv("BRAMBLE_FULL") != "" }

// direct is a configuration in which every agent stores what it receives; nothing changes spans.
const direct = `yaml:
receivers:
  otlp: {protocols: {grpc: {endpoint: "localhost:4317", max_recv_msg_size_mib: 32}, http: {endpoint: "localhost:4318"}}}
exporters:
  trace_store: {}
extensions:
  trace_store: {directory: ./data, memory: {limit_mib: 64}, retention: {max_age: 10000h}}
  trace_query: {endpoint: "localhost:3200"}
service:
  extensions: [trace_store, trace_query]
  telemetry: {metrics: {level: none}}
  pipelines:
    traces: {receivers: [otlp], exporters: [trace_store]}
`

// routed is the same with owners.
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

// layouts are the ways in which spans are spread over three agents.
var layouts = map[string][]string{"scattered": {direct}, "routed": {direct, routed}}

// send stores a batch over OTLP/HTTP.
func send(t *testing.T, addr string, b *store.Batch) {
	t.Helper()
	body, err := otlpspan.AppendProto(nil, b)
	require.NoError(t, err)
	m := &coltracepb.ExportTraceServiceRequest{}
	require.NoError(t, proto.Unmarshal(body, m))
	client := coltracepb.NewTraceServiceClient(harness.Dial(t, addr))
	_, err = client.Export(t.Context(), m)
	require.NoError(t, err)
}

// get asks an agent and returns the answer without what may differ between one agent and several.
func get(t *testing.T, b *harness.Bramble, path string, params url.Values) string {
	t.Helper()
	r := b.Get(path + "?" + params.Encode())
	require.Empty(t, r.Header.Get("Bramble-Missing-Nodes"), "%s?%s: %.20000s", path, params.Encode(), r.Body)
	if r.Status != http.StatusOK {
		return fmt.Sprintf("%d %s", r.Status, r.Body)
	}
	var v map[string]any
	require.NoError(t, json.Unmarshal(r.Body, &v), "%s", r.Body)
	delete(v, "metrics")
	series, _ := v["series"].([]any)
	for _, s := range series {
		delete(s.(map[string]any), "exemplars")
	}
	out, err := json.MarshalIndent(rounded(v), "", " ")
	require.NoError(t, err)
	return string(out)
}

// rounded drops the last digits of floats: sums depend on the order in which they were added up.
func rounded(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = rounded(v[k])
		}
	case []any:
		for i := range v {
			v[i] = rounded(v[i])
		}
	case float64:
		return strconv.FormatFloat(v, 'g', 12, 64)
	}
	return v
}

func hexID(id []byte) string { return hex.EncodeToString(id) }

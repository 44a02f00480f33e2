package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"

	"github.com/bramble-tracing/bramble/test/harness"
)

// setup names a configuration of users below testdata.
func setup(name string) []string { return []string{"test/e2e/testdata/" + name} }

// startTempo starts what takes the place of the users' Tempo.
func startTempo(t *testing.T) *harness.Bramble {
	t.Helper()
	return harness.Start(t, harness.Config{Files: setup("tempo.yaml")})
}

// warned says that the process warned about a type's old name.
func warned(t *testing.T, b *harness.Bramble, old string) {
	t.Helper()
	assert.NotEmpty(t, b.Log.Lines("deprecated", old), "a warning that %s is an old name\n%s", old, b.Log.Tail(40))
}

// TestSetupA runs the configuration of a small cluster: it takes OTLP and forwards it to Tempo, whose place is taken by
// a second process with a store.
func TestSetupA(t *testing.T) {
	tempo := startTempo(t)
	agent := harness.Start(t, harness.Config{Files: setup("setup-a.yaml"), Overlay: harness.Set("exporters::otlp::endpoint", tempo.GRPC())})
	for name, send := range senders {
		td := everyField(t)
		send(t, agent, td)
		id := harness.Spans(td)[0].GetTraceId()
		requireSame(t, td, tempo.WaitTrace(id, len(harness.Spans(td))))
		t.Logf("%s arrived whole", name)
	}
	warned(t, agent, `"otlp"`)
}

// TestSetupB runs the DaemonSet's configuration of a platform for many teams, with a stand-in for the API of Kubernetes:
// spans are enriched by their pod, scrubbed and forwarded.
func TestSetupB(t *testing.T) {
	const podIP, node = "127.0.0.10", "node-7"
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(podIP)}}).DialContext(t.Context(), "tcp", localListener(t))
	if err != nil {
		t.Skipf("a pod is played by a client with the address %s, which this system does not have: %v", podIP, err)
	}
	require.NoError(t, conn.Close())

	tempo := startTempo(t)
	agent := harness.Start(t, harness.Config{
		Files: setup("setup-b.yaml"),
		Env: []string{
			"KUBE_NODE_NAME=" + node, "KUBECONFIG=" + kubeconfig(t, podIP, node), "TEMPO_OTLP_GRPC_ENDPOINT=" + tempo.GRPC(),
			"TRACE_CLUSTER_NAME=berlin", "TRACE_ENVIRONMENT=prod", "OTEL_RESOURCE_ATTRIBUTES=zone=a",
		},
		// Not in a cluster: the credentials come from a file instead of the pod's own. The test does not wait 5 s for
		// each batch.
		Overlay: harness.Set("processors::k8sattributes::auth_type", "kubeConfig", "processors::batch/traces::timeout", "100ms"),
	})
	for _, old := range []string{"k8sattributes", "resourcedetection"} {
		warned(t, agent, old)
	}

	fromPod := grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
		return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(podIP)}}).DialContext(ctx, "tcp", addr)
	})
	client := coltracepb.NewTraceServiceClient(harness.Dial(t, "passthrough:///"+agent.GRPC(), fromPod))
	var span *tracepb.Span
	var resource map[string]string
	// The processor starts before it knows any pod, and lets what comes first pass without attributes.
	harness.Poll(t, 30*time.Second, "a span with the pod's name", func() error {
		traceID := unhex(t, randomHex(t, 16))
		_, err = client.Export(t.Context(), spanOfPod(t, traceID))
		require.NoError(t, err)
		td := tempo.WaitTrace(traceID, 1)
		span, resource = harness.Spans(td)[0], map[string]string{}
		for _, a := range td.GetResourceSpans()[0].GetResource().GetAttributes() {
			resource[a.GetKey()] = a.GetValue().GetStringValue()
		}
		if resource["k8s.pod.name"] == "" {
			return fmt.Errorf("the resource is %v", resource)
		}
		return nil
	})
	assert.Empty(t, attr(span, "http.request.header.authorization"))
	assert.NotEmpty(t, attr(span, "db.statement"))
	assert.NotContains(t, attr(span, "db.statement"), "SELECT")
	assert.Equal(t, "https://example.com/?token=***&x=1", attr(span, "http.url"))
	assert.Equal(t, "berlin", attr(span, "cluster"))
	assert.Equal(t, "prod", attr(span, "deployment.environment"))
	for key, want := range map[string]string{
		"service.name": "backstage", "k8s.pod.name": "shop-5d4f-x", "k8s.namespace.name": "shop", "k8s.node.name": node,
		"k8s.deployment.name": "shop", "k8s.pod.uid": "8a1b", "app": "cart", "zone": "a",
	} {
		assert.Equal(t, want, resource[key], key)
	}
	assert.NotEmpty(t, resource["host.name"], "from the system detector")
}

// spanOfPod returns a request with what must not reach the store.
func spanOfPod(t *testing.T, traceID []byte) *coltracepb.ExportTraceServiceRequest {
	t.Helper()
	return &coltracepb.ExportTraceServiceRequest{ResourceSpans: []*tracepb.ResourceSpans{{
		Resource: &resourcepb.Resource{Attributes: []*commonpb.KeyValue{kv("service.name", str("backstage"))}},
		ScopeSpans: []*tracepb.ScopeSpans{{Spans: []*tracepb.Span{{
			TraceId: traceID, SpanId: unhex(t, randomHex(t, 8)), Name: "GET", Attributes: []*commonpb.KeyValue{
				kv("http.request.header.authorization", str("Bearer secret")), kv("db.statement", str("SELECT 1")),
				kv("http.url", str("https://example.com/?token=abc&x=1")),
			},
		}}}},
	}}}
}

// localListener returns the address of a listener on all loopback addresses that accepts and closes.
func localListener(t *testing.T) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = lis.Close() })
	return lis.Addr().String()
}

// kubeconfig starts a stand-in for the Kubernetes API with one pod on the node, and returns the path of a file with the
// credentials for it.
func kubeconfig(t *testing.T, podIP, node string) string {
	t.Helper()
	type object = map[string]any
	objects := map[string]object{
		"pods": {
			"apiVersion": "v1", "kind": "Pod",
			"metadata": object{
				"name": "shop-5d4f-x", "namespace": "shop", "uid": "8a1b", "resourceVersion": "5", "labels": object{"app.kubernetes.io/name": "cart", "pod-template-hash": "5d4f"},
				"creationTimestamp": "2026-01-01T00:00:00Z",
				"ownerReferences":   []object{{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "shop-5d4f", "uid": "r1", "controller": true}},
			},
			"spec":   object{"nodeName": node, "containers": []object{{"name": "c", "image": "shop:1"}}},
			"status": object{"podIP": podIP, "startTime": "2026-01-01T00:00:00Z"},
		},
	}
	ctx, cancel := context.WithCancel(context.Background())
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resource := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
		obj, ok := objects[resource]
		if !ok {
			http.Error(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`, http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		send := func(v any) {
			_ = json.NewEncoder(w).Encode(v) // The client may be gone.
			_ = http.NewResponseController(w).Flush()
		}
		if r.URL.Query().Get("watch") == "" {
			send(object{
				"apiVersion": obj["apiVersion"], "kind": fmt.Sprint(obj["kind"], "List"),
				"metadata": object{"resourceVersion": "5"}, "items": []object{obj},
			})
			return
		}
		if r.URL.Query().Get("sendInitialEvents") == "true" {
			send(object{"type": "ADDED", "object": obj})
			send(object{"type": "BOOKMARK", "object": object{
				"apiVersion": obj["apiVersion"], "kind": obj["kind"],
				"metadata": object{"resourceVersion": "5", "annotations": object{"k8s.io/initial-events-end": "true"}},
			}})
		}
		select {
		case <-ctx.Done():
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() {
		cancel()
		srv.Close()
	})
	file := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: %q}}]
users: [{name: c, user: {}}]
contexts: [{name: c, context: {cluster: c, user: c}}]
`, srv.URL), 0o600))
	return file
}

// TestSetupE runs the central Collector's configuration, which takes OTLP, Jaeger and Zipkin.
func TestSetupE(t *testing.T) {
	tempo := startTempo(t)
	agent := harness.Start(t, harness.Config{Files: setup("setup-e.yaml"), Overlay: harness.Set("exporters::otlp::endpoint", tempo.GRPC())})

	td := everyField(t)
	sendGRPC(t, agent, td)
	requireSame(t, td, tempo.WaitTrace(harness.Spans(td)[0].GetTraceId(), len(harness.Spans(td))))
	for _, f := range jaegerFormats() {
		if f.listener == "thrift_binary" { // Not in these users' configuration.
			continue
		}
		j := newJaegerTrace(t)
		f.send(t, agent.Addr("receivers::jaeger::protocols::"+f.listener), j)
		j.check(t, tempo.WaitTrace(j.id(), 3))
	}
	traceID := randomHex(t, 16)
	r := agent.Do(http.MethodPost, "http://"+agent.Addr("receivers::zipkin")+"/api/v2/spans", strings.NewReader(
		`[{"traceId":"`+traceID+`","id":"00000000000000aa","name":"z","localEndpoint":{"serviceName":"old"}}]`), "Content-Type", "application/json")
	require.Equal(t, http.StatusAccepted, r.Status)
	assert.Equal(t, map[string]string{"z": "old"}, services(tempo.WaitTrace(unhex(t, traceID), 1)))
}

// TestOldNames starts a configuration in which every renamed type has its old name.
func TestOldNames(t *testing.T) {
	b := harness.Start(t, harness.Config{Files: setup("old-names.yaml")})
	for _, old := range []string{"resourcedetection", "otlphttp", "loadbalancing", "prometheusremotewrite", "spanmetrics", "servicegraph"} {
		warned(t, b, old)
	}
	b.Stop()
}

// TestOpenCensus starts a configuration that names the receiver which the Collector does not have any more.
func TestOpenCensus(t *testing.T) {
	started := time.Now()
	code, output := harness.Run(t, harness.Config{Files: setup("setup-e-opencensus.yaml")})
	assert.NotZero(t, code)
	assert.Less(t, time.Since(started), 10*time.Second)
	assert.Contains(t, output, `unknown type: "opencensus"`)
	assert.NotContains(t, output, "panic")
	docs, err := os.ReadFile(harness.Root(t, "docs", "receivers.md"))
	require.NoError(t, err)
	assert.Contains(t, string(docs), "OpenCensus")
}

package kubernetescheckextension

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/extension/extensioncapabilities"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/bramble-tracing/bramble/components/kubernetescheckextension/internal/metadatatest"
	"github.com/bramble-tracing/bramble/internal/kubecheck"
	"github.com/bramble-tracing/bramble/internal/kubecheck/kubechecktest"
	"github.com/bramble-tracing/bramble/internal/selfcheck"
)

// patience is for what happens in the background; it is only spent when a test fails.
const patience = time.Minute

type running struct {
	*checkExtension
	logs *observer.ObservedLogs
	tel  *componenttest.Telemetry
}

// start runs the extension against a server, with settings of the shipped configuration.
func start(t *testing.T, server *kubechecktest.Server) *running {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	r := &running{logs: logs, tel: componenttest.NewTelemetry()}
	set := metadatatest.NewSettings(r.tel)
	set.Logger = zap.New(core)
	r.checkExtension = newExtension(set, &Config{Interval: 20 * time.Millisecond, RetryInterval: time.Millisecond, Timeout: patience})
	if server != nil {
		transport := &http.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		r.checker.Connect = func() (kubernetes.Interface, error) {
			return kubernetes.NewForConfig(&rest.Config{Host: server.URL, Transport: transport, QPS: -1})
		}
	}
	require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
	t.Cleanup(func() {
		require.NoError(t, r.Shutdown(context.Background()))
		require.NoError(t, r.tel.Shutdown(context.Background()))
	})
	return r
}

func (r *running) notify(t *testing.T, tree map[string]any) {
	t.Helper()
	require.NoError(t, r.NotifyConfigSnapshot(t.Context(), extensioncapabilities.NewConfigSnapshot(confmap.NewFromStringMap(tree), nil)))
}

func shipped() map[string]any {
	return map[string]any{
		"processors": map[string]any{"k8s_attributes": map[string]any{"filter": map[string]any{"node_from_env_var": "KUBE_NODE_NAME"}}},
		"service":    map[string]any{"pipelines": map[string]any{"traces": map[string]any{"processors": []any{"k8s_attributes"}}}},
	}
}

// await waits until a check on the board has a state.
func (r *running) await(t *testing.T, name string, want selfcheck.State) selfcheck.Check {
	t.Helper()
	var last selfcheck.Check
	require.Eventually(t, func() bool {
		for _, c := range r.source.Board().Checks() {
			if c.Name == name {
				last = c
				return c.State == want
			}
		}
		return false
	}, patience, time.Millisecond, "%s is to become %s", name, want)
	return last
}

// metric waits until the metric of a check has a value.
func (r *running) metric(t *testing.T, check string, want int64) {
	t.Helper()
	require.Eventually(t, func() bool {
		m, err := r.tel.GetMetric("otelcol_kubernetes_check_failed")
		if err != nil {
			return false
		}
		for _, p := range m.Data.(metricdata.Gauge[int64]).DataPoints {
			if v, ok := p.Attributes.Value("check"); ok && v.AsString() == check {
				return p.Value == want
			}
		}
		return false
	}, patience, time.Millisecond)
}

const pods = kubecheck.RightsCheck + "pods"

// TestMissingRight: it is on the board, in the log once, and in the metric, and so is that it is there again.
func TestMissingRight(t *testing.T) {
	t.Setenv("KUBE_NODE_NAME", "n1")
	server := kubechecktest.New(t)
	server.Deny("list pods")
	r := start(t, server)
	r.notify(t, shipped())
	r.notify(t, shipped()) // A second time changes nothing.
	c := r.await(t, pods, selfcheck.Fail)
	assert.Contains(t, c.Fix, "verbs: [list, watch]")
	r.metric(t, pods, 1)
	r.metric(t, kubecheck.APICheck, 0)
	asked := len(server.Asked())
	require.Eventually(t, func() bool { return len(server.Asked()) > asked+6 }, patience, time.Millisecond, "it is asked again and again")
	assert.Len(t, r.logs.FilterField(zap.String("check", pods)).All(), 1, "and said once")
	entry := r.logs.FilterField(zap.String("check", pods)).All()[0]
	assert.Equal(t, zap.WarnLevel, entry.Level)
	assert.Contains(t, entry.ContextMap()["to_do"], "kubectl auth can-i list pods")

	server.Grant("list pods")
	r.await(t, pods, selfcheck.OK)
	r.metric(t, pods, 0)
	require.Eventually(t, func() bool { return r.logs.FilterMessage("A check of Kubernetes passes now").Len() == 1 }, patience, time.Millisecond)
}

// TestAPIServerIsAwayAtStart: the agent starts, says so, and finds out when the server is back.
func TestAPIServerIsAwayAtStart(t *testing.T) {
	t.Setenv("KUBE_NODE_NAME", "n1")
	server := kubechecktest.New(t)
	server.Answer(http.StatusServiceUnavailable)
	r := start(t, server)
	r.notify(t, shipped())
	r.await(t, kubecheck.APICheck, selfcheck.Fail)
	r.await(t, pods, selfcheck.Skipped)
	r.metric(t, kubecheck.APICheck, 1)
	server.Answer(0)
	r.await(t, pods, selfcheck.OK)
	r.metric(t, kubecheck.APICheck, 0)
}

func TestNothingIsMissing(t *testing.T) {
	t.Setenv("KUBE_NODE_NAME", "n1")
	server := kubechecktest.New(t)
	r := start(t, server)
	r.notify(t, shipped())
	r.await(t, pods, selfcheck.OK)
	require.Eventually(t, func() bool { return len(server.Asked()) > 6 }, patience, time.Millisecond, "it is asked now and then")
	assert.Equal(t, 1, r.logs.Len(), "one line: %v", r.logs.All())
}

// TestOutsideOfACluster: everything is skipped, once.
func TestOutsideOfACluster(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	t.Setenv("KUBECONFIG", "")
	t.Setenv("KUBE_NODE_NAME", "n1")
	r := start(t, nil)
	r.notify(t, shipped())
	r.await(t, kubecheck.APICheck, selfcheck.Skipped)
	r.work.Wait()
	assert.Zero(t, r.logs.FilterLevelExact(zap.WarnLevel).Len())
	board := r.source.Board()
	require.NoError(t, r.Shutdown(t.Context()))
	assert.Empty(t, board.Checks(), "what is gone says nothing")
	r.source = nil
}

// TestShutdownDuringARequest does not wait for a server that does not answer.
func TestShutdownDuringARequest(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	server := kubechecktest.New(t)
	inner := server.Config.Handler
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		close(entered)
		<-leave
		inner.ServeHTTP(w, req)
	})
	defer close(leave)
	r := start(t, server)
	r.notify(t, shipped())
	<-entered
	require.NoError(t, r.Shutdown(t.Context()))
	r.source, r.telemetry = nil, nil
}

func TestJitter(t *testing.T) {
	for range 1000 {
		d := jitter(time.Second)
		require.GreaterOrEqual(t, d, 800*time.Millisecond)
		require.LessOrEqual(t, d, 1200*time.Millisecond)
	}
}

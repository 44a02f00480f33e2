package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/kubecheck/kubechecktest"
	"github.com/bramble-tracing/bramble/test/harness"
)

// TestMissingRightsAreSaid runs the DaemonSet's configuration against an API server that does not let it list pods. It starts,
// is ready, takes spans, and says what is missing wherever somebody may look; when the right is there, it says that.
func TestMissingRightsAreSaid(t *testing.T) {
	api := kubechecktest.New(t)
	api.Deny("list pods")
	api.Place("tracing/bramble-x", "n1")
	b := harness.Start(t, harness.Config{
		Files: []string{"manifests/base/config/bramble.yaml"},
		Overlay: harness.Set("processors::k8s_attributes::auth_type", "kubeConfig",
			"extensions::kubernetes_check", map[string]any{"interval": "200ms", "retry_interval": "100ms"}),
		Env: []string{
			"KUBE_NODE_NAME=n1", "POD_NAMESPACE=tracing", "POD_NAME=bramble-x", "OTEL_RESOURCE_ATTRIBUTES=host.name=n1",
			"KUBECONFIG=" + api.Kubeconfig(t), "KUBERNETES_SERVICE_HOST=",
		},
	})
	text := func(path string) string {
		r := b.Get(path)
		require.Equal(t, http.StatusOK, r.Status, path)
		return string(r.Body)
	}
	await := func(path, want string) {
		harness.Poll(t, time.Minute, want, func() error {
			if got := text(path); !strings.Contains(got, want) {
				return fmt.Errorf("%s says %s", path, got)
			}
			return nil
		})
	}
	const failing = "fail    kubernetes/rights/pods"
	await("/ready?verbose", failing)
	assert.Equal(t, "ready\n", text("/ready"), "H-01")
	await("/status", failing)
	assert.Contains(t, text("/status/checks"), "kubectl auth can-i list pods -A --as "+kubechecktest.User)
	assert.Contains(t, b.Log.String(), `"check": "kubernetes/rights/pods"`)

	now := time.Now().UnixNano()
	body := fmt.Sprintf(`{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
		"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"n","kind":1,"startTimeUnixNano":"%d","endTimeUnixNano":"%d"}]}]}]}`, now, now+1e6)
	send := func() {
		sent := b.Do(http.MethodPost, b.TracesURL(), strings.NewReader(body), "Content-Type", "application/json")
		require.Equal(t, http.StatusOK, sent.Status, "%s", sent.Body)
	}
	send()
	await("/status/checks", "kubernetes/metadata")
	assert.Contains(t, text("/status/checks"), "1 of 1 spans have no metadata: rights_missing=1")
	metrics := func() string {
		return string(b.Do(http.MethodGet, "http://"+b.Addr("service::telemetry::metrics")+"/metrics", http.NoBody).Body)
	}
	assert.Regexp(t, `otelcol_kubernetes_check_failed\{check="kubernetes/rights/pods"[^}]*\} 1`, metrics())
	assert.Regexp(t, `otelcol_processor_kubernetes_check_spans_without_metadata\{[^}]*reason="rights_missing"[^}]*\} 1`, metrics())
	assert.Contains(t, b.Log.String(), `"reason": "rights_missing"`)

	api.Grant("list pods")
	await("/status/checks", "ok      kubernetes/rights/pods")
	send()
	await("/status/checks", "2 of 2 spans have no metadata: rights_missing=1 loopback=1")
	assert.Regexp(t, `otelcol_kubernetes_check_failed\{check="kubernetes/rights/pods"[^}]*\} 0`, metrics())
	b.Stop()
}

// TestEmptyDirIsSaid mounts the data directory as a kubelet mounts an emptyDir, in a mount namespace of the process's own.
func TestEmptyDirIsSaid(t *testing.T) {
	unshare, err := exec.LookPath("unshare")
	if err != nil || os.Getuid() != 0 {
		t.Skip("mounting needs root and unshare")
	}
	pod := filepath.Join(t.TempDir(), "pods", "5f6c", "volumes", "kubernetes.io~empty-dir", "data")
	data := t.TempDir()
	require.NoError(t, os.MkdirAll(pod, 0o755))
	if out, err := exec.CommandContext(t.Context(), unshare, "-m", "mount", "--bind", pod, data).CombinedOutput(); err != nil {
		t.Skipf("mounting is not allowed here: %s", out)
	}
	b := harness.Start(t, harness.Config{
		Files: []string{"config/local.yaml"}, Data: data,
		Wrap: []string{unshare, "-m", "sh", "-c", `mount --bind "$0" "$1" && shift && exec "$@"`, pod, data},
	})
	require.Contains(t, b.Log.String(), "What is stored does not last")
	require.Contains(t, b.Log.String(), "it is an emptyDir: the data dies with the pod")
	require.Contains(t, string(b.Get("/ready?verbose").Body), "warn    store/volume")
	require.Equal(t, "ready\n", string(b.Get("/ready").Body))
	b.Signal(syscall.SIGKILL)
}

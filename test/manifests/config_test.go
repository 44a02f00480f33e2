package manifests

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/bramble-tracing/bramble/test/harness"
)

// environment is what the container is given, with example values for the downward API.
func environment(t *testing.T, objects []object) []string {
	t.Helper()
	_, c := agent(t, objects)
	out := []string{"PATH=" + os.Getenv("PATH")}
	for _, from := range c.EnvFrom {
		for k, v := range named[*corev1.ConfigMap](t, objects, from.ConfigMapRef.Name).Data {
			out = append(out, k+"="+v)
		}
	}
	for _, e := range c.Env {
		value := e.Value
		if e.ValueFrom != nil {
			value = "example"
		}
		out = append(out, e.Name+"="+value)
	}
	return out
}

// checkConfiguration gives the binary the container's arguments, files and environment.
func checkConfiguration(t *testing.T, objects []object) {
	t.Helper()
	_, c := agent(t, objects)
	dir := t.TempDir()
	files := named[*corev1.ConfigMap](t, objects, "bramble-config").Data
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	args := []string{"config", "check", "--light"}
	for _, a := range c.Args {
		if api, fallback, ok := strings.Cut(a, "?fallback="); ok { // components/config-api
			require.Equal(t, "--config=k8sconfigmap:$(POD_NAMESPACE)/bramble-config/"+filepath.Base(fallback), api)
			a = "--config=" + fallback
		}
		name, ok := strings.CutPrefix(a, "--config=/etc/bramble/")
		require.True(t, ok, a)
		require.Contains(t, files, name)
		args = append(args, "--config="+filepath.Join(dir, name))
	}
	assert.Len(t, c.Args, len(files), "every file is used")
	cmd := exec.CommandContext(t.Context(), harness.Binary(t), args...) //nolint:gosec // The binary under test.
	cmd.Env = environment(t, objects)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), ": good\n")
	assert.NotContains(t, string(out), "warning")
}

// endpoints collects the ports on which a configuration listens beyond loopback: settings named endpoint of receivers,
// extensions and the prometheus exporter, and the port of the process's own metrics.
func endpoints(t *testing.T, node any, into map[int32]bool) {
	t.Helper()
	switch v := node.(type) {
	case map[string]any:
		if host, ok := v["host"].(string); ok && host == "0.0.0.0" {
			port, ok := v["port"].(int)
			require.True(t, ok)
			into[int32(port)] = true //nolint:gosec // A port.
		}
		for key, child := range v {
			if text, ok := child.(string); ok && key == "endpoint" && strings.HasPrefix(text, "0.0.0.0:") {
				_, port, err := net.SplitHostPort(text)
				require.NoError(t, err)
				n, err := strconv.ParseInt(port, 10, 32)
				require.NoError(t, err)
				into[int32(n)] = true
				continue
			}
			endpoints(t, child, into)
		}
	case []any:
		for _, child := range v {
			endpoints(t, child, into)
		}
	}
}

// checkPorts compares what the configuration opens with the container's ports, and those with what Services and
// NetworkPolicies name.
func checkPorts(t *testing.T, objects []object) {
	t.Helper()
	open := map[int32]bool{}
	for name, text := range named[*corev1.ConfigMap](t, objects, "bramble-config").Data {
		var tree map[string]any
		require.NoError(t, yaml.Unmarshal([]byte(text), &tree), name)
		endpoints(t, tree, open)
	}
	_, c := agent(t, objects)
	declared, names := map[int32]bool{}, map[string]corev1.Protocol{}
	for _, p := range c.Ports {
		declared[p.ContainerPort] = true
		names[p.Name] = protocol(p.Protocol)
	}
	assert.Equal(t, open, declared)
	assert.NotContains(t, declared, int32(55679), "zPages are for loopback")
	for _, s := range pick[*corev1.Service](objects) {
		for _, p := range s.Spec.Ports {
			assert.Equal(t, names[p.TargetPort.StrVal], protocol(p.Protocol), "%s: %s", s.Name, p.Name)
		}
	}
	allowed := map[string]bool{"health": true} // the kubelet's
	for _, n := range pick[*networkingv1.NetworkPolicy](objects) {
		assert.Equal(t, map[string]string{nameLabel: "bramble"}, n.Spec.PodSelector.MatchLabels)
		for _, rule := range n.Spec.Ingress {
			for _, p := range rule.Ports {
				var proto corev1.Protocol
				if p.Protocol != nil {
					proto = *p.Protocol
				}
				assert.Equal(t, names[p.Port.StrVal], protocol(proto), "%s: %s", n.Name, p.Port.StrVal)
				allowed[p.Port.StrVal] = true
			}
		}
	}
	for name := range names {
		assert.Contains(t, allowed, name, "no NetworkPolicy lets anybody in")
	}
	checkServices(t, objects)
}

// checkServices holds the Services to the addresses that documents name.
func checkServices(t *testing.T, objects []object) {
	t.Helper()
	apps := named[*corev1.Service](t, objects, "bramble")
	require.NotNil(t, apps.Spec.InternalTrafficPolicy)
	assert.Equal(t, corev1.ServiceInternalTrafficPolicyLocal, *apps.Spec.InternalTrafficPolicy)
	for _, want := range []int32{4317, 4318, 14268, 14250, 9411, 6831} {
		assert.Contains(t, ports(apps), want)
	}
	query := ports(named[*corev1.Service](t, objects, "bramble-query"))
	assert.Equal(t, "query", query[3200])
	assert.Equal(t, "query", query[3100], "an alias")
	assert.Equal(t, corev1.ClusterIPNone, named[*corev1.Service](t, objects, "bramble-peers").Spec.ClusterIP)
}

func ports(s *corev1.Service) map[int32]string {
	out := map[int32]string{}
	for _, p := range s.Spec.Ports {
		out[p.Port] = p.TargetPort.StrVal
	}
	return out
}

// protocol is a protocol with Kubernetes' default.
func protocol(p corev1.Protocol) corev1.Protocol {
	if p == "" {
		return corev1.ProtocolTCP
	}
	return p
}

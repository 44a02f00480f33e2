package manifests

import (
	"encoding/json"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/bramble-tracing/bramble/internal/selfcheck"
	"github.com/bramble-tracing/bramble/test/harness"
)

// TestDoctorJob: it is nobody's endpoint, passes the level restricted, and its arguments and environment are such that the
// binary can read the agents' configuration with them.
func TestDoctorJob(t *testing.T) {
	job := named[*batchv1.Job](t, decode(t, kustomize(t, harness.Root(t, "manifests", "doctor"))), "bramble-doctor")
	pod := job.Spec.Template
	require.Len(t, pod.Spec.Containers, 1)
	c := pod.Spec.Containers[0]
	assert.True(t, *pod.Spec.SecurityContext.RunAsNonRoot)
	assert.Equal(t, corev1.SeccompProfileTypeRuntimeDefault, pod.Spec.SecurityContext.SeccompProfile.Type)
	assert.True(t, *c.SecurityContext.ReadOnlyRootFilesystem)
	assert.False(t, *c.SecurityContext.AllowPrivilegeEscalation)
	assert.Equal(t, []corev1.Capability{"ALL"}, c.SecurityContext.Capabilities.Drop)
	assert.Equal(t, "tracing", job.Namespace)

	base := decode(t, kustomize(t, harness.Root(t, "manifests", "base")))
	selects := func(selector map[string]string) bool {
		for k, v := range selector {
			if pod.Labels[k] != v {
				return false
			}
		}
		return true
	}
	for _, s := range pick[*corev1.Service](base) {
		assert.False(t, selects(s.Spec.Selector), "the Service %s would send spans and queries to the doctor", s.Name)
	}
	for _, n := range pick[*networkingv1.NetworkPolicy](base) {
		assert.False(t, selects(n.Spec.PodSelector.MatchLabels), n.Name)
	}
	ds, agentContainer := agent(t, base)
	assert.Equal(t, ds.Spec.Template.Spec.ServiceAccountName, pod.Spec.ServiceAccountName)
	assert.Equal(t, agentContainer.Image, c.Image)
	files := named[*corev1.ConfigMap](t, base, pod.Spec.Volumes[0].ConfigMap.Name).Data

	dir := t.TempDir()
	var args []string
	env := map[string]string{}
	for _, e := range c.Env {
		env[e.Name] = e.Value
		if e.ValueFrom != nil {
			env[e.Name] = "example"
		}
		host, port, err := net.SplitHostPort(strings.TrimPrefix(e.Value, "http://"))
		if err != nil {
			continue
		}
		number, err := strconv.ParseInt(port, 10, 32)
		require.NoError(t, err)
		assert.Contains(t, ports(named[*corev1.Service](t, base, host)), int32(number), e.Name)
	}
	for _, a := range c.Args {
		if name, ok := strings.CutPrefix(a, "--config=/etc/bramble/"); ok {
			require.Contains(t, files, name)
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(files[name]), 0o600))
			a = "--config=" + filepath.Join(dir, name)
		}
		args = append(args, a)
	}
	cmd := exec.CommandContext(t.Context(), harness.Binary(t), append(args, "-o=json", "--timeout=2s")...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	env["OTEL_EXPORTER_OTLP_ENDPOINT"], env["TEMPO_URL"] = "http://127.0.0.1:1", "http://127.0.0.1:1" // There is no such cluster here.
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	out, err := cmd.Output()
	exit := &exec.ExitError{}
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 1, exit.ExitCode(), "%s", exit.Stderr)
	var report struct{ Checks []selfcheck.Check }
	require.NoError(t, json.Unmarshal(out, &report))
	require.Equal(t, "configuration", report.Checks[0].Name)
	assert.Equal(t, selfcheck.OK, report.Checks[0].State, "%+v", report.Checks[0])
}

// address is one of Bramble's Services in a text.
var address = regexp.MustCompile(`\b(bramble|bramble-query)\.tracing(?:\.svc\.cluster\.local)?:(\d+)`)

// forward is a command that users type.
var forward = regexp.MustCompile(`port-forward (daemonset|service)/(\S+) (\d+)`)

// TestForwardedPorts: what documents forward is open where they say; zPages are on the pod's loopback, which is what
// kubectl port-forward connects to.
func TestForwardedPorts(t *testing.T) {
	base := decode(t, kustomize(t, harness.Root(t, "manifests", "base")))
	_, c := agent(t, base)
	open := map[string]bool{}
	for _, p := range c.Ports {
		open[strconv.Itoa(int(p.ContainerPort))] = true
	}
	config := named[*corev1.ConfigMap](t, base, "bramble-config").Data["bramble.yaml"]
	found := 0
	for _, file := range []string{"docs/kubernetes.md", "manifests/README.md"} {
		text, err := os.ReadFile(harness.Root(t, file))
		require.NoError(t, err)
		for _, m := range forward.FindAllStringSubmatch(string(text), -1) {
			found++
			if m[1] == "service" {
				port, err := strconv.ParseInt(m[3], 10, 32)
				require.NoError(t, err)
				assert.Contains(t, ports(named[*corev1.Service](t, base, m[2])), int32(port), "%s: %s", file, m[0])
				continue
			}
			assert.Equal(t, "bramble", m[2])
			assert.True(t, open[m[3]] || strings.Contains(config, "endpoint: localhost:"+m[3]), "%s: %s", file, m[0])
		}
	}
	assert.GreaterOrEqual(t, found, 3)
}

// TestApplications: what is told to applications leads to ports of Services that there are, and patches apply.
func TestApplications(t *testing.T) {
	base := decode(t, kustomize(t, harness.Root(t, "manifests", "base")))
	found := map[string]bool{}
	files := []string{harness.Root(t, "docs", "kubernetes.md"), harness.Root(t, "manifests", "README.md")}
	require.NoError(t, filepath.WalkDir(harness.Root(t, "manifests", "applications"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	}))
	for _, path := range files {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, m := range address.FindAllStringSubmatch(string(text), -1) {
			port, err := strconv.ParseInt(m[2], 10, 32)
			require.NoError(t, err)
			assert.Contains(t, ports(named[*corev1.Service](t, base, m[1])), int32(port), "%s: %s", path, m[0])
			found[filepath.Base(filepath.Dir(path))] = true
		}
		if filepath.Base(path) == "values.yaml" {
			var tree map[string]any
			require.NoError(t, yaml.Unmarshal(text, &tree), path)
			require.NotEmpty(t, tree, path)
		}
	}
	assert.Equal(t, map[string]bool{"traefik": true, "opentelemetry-demo": true, "docs": true, "manifests": true}, found)

	alias := named[*corev1.Service](t, decode(t, kustomize(t, harness.Root(t, "manifests", "applications", "alias"))), "otel-collector")
	assert.Equal(t, "bramble.tracing.svc.cluster.local", alias.Spec.ExternalName)
	assert.Equal(t, "monitoring", alias.Namespace)

	const traefik = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: traefik, labels: {app.kubernetes.io/name: traefik}}, spec: {selector: {matchLabels: {a: b}},
  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: traefik, image: traefik, args: [--entryPoints.web.address=:8000/tcp]}]}}}}`
	dir, err := os.MkdirTemp(harness.Root(t, "manifests", "overlays"), ".test-") //nolint:usetesting // Beside what it names by relative paths.
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.WriteFile(filepath.Join(dir, "traefik.yaml"), []byte(traefik), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte("resources: [traefik.yaml]\ncomponents: [../../applications/traefik]\n"), 0o600))
	d := named[*appsv1.Deployment](t, decode(t, kustomize(t, dir)), "traefik")
	assert.Equal(t, []string{
		"--entryPoints.web.address=:8000/tcp", "--tracing.addinternals=true", "--tracing.otlp.http=true", "--tracing.otlp.http.endpoint=http://bramble.tracing:4318/v1/traces",
	}, d.Spec.Template.Spec.Containers[0].Args)
}

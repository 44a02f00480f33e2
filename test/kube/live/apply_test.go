package live

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/bramble-tracing/bramble/test/harness"
	"github.com/bramble-tracing/bramble/test/kube/plane"
	"github.com/bramble-tracing/bramble/test/kube/rendered"
)

// variant is something users apply, and the PodSecurity level that documents say its namespace has to allow.
type variant struct {
	make  func(t testing.TB) []*unstructured.Unstructured
	level string
}

func overlay(name string) func(testing.TB) []*unstructured.Unstructured {
	return func(t testing.TB) []*unstructured.Unstructured { t.Helper(); return rendered.Overlay(t, name) }
}

func components(names ...string) func(testing.TB) []*unstructured.Unstructured {
	return func(t testing.TB) []*unstructured.Unstructured { t.Helper(); return rendered.Components(t, names) }
}

func chart(values string) func(testing.TB) []*unstructured.Unstructured {
	return func(t testing.TB) []*unstructured.Unstructured { t.Helper(); return rendered.Chart(t, values) }
}

// variants are the rows of the tables in manifests/README.md and docs/helm.md. That the chart's objects are kustomize's is
// shown by the package chart, so a few of its renderings are enough.
var variants = map[string]variant{
	"overlay laptop":             {overlay("laptop"), "restricted"},
	"overlay single-node":        {overlay("single-node"), "privileged"},
	"overlay cluster":            {overlay("cluster"), "privileged"},
	"overlay cluster-forward":    {overlay("cluster-forward"), "privileged"},
	"overlay production":         {overlay("production"), "privileged"},
	"base":                       {components(), "restricted"},
	"component hostpath":         {components("hostpath"), "privileged"},
	"component hostport":         {components("hostport"), "privileged"},
	"component hostnetwork":      {components("hostnetwork"), "privileged"},
	"component cluster":          {components("cluster"), "restricted"},
	"component production":       {components("production"), "restricted"},
	"component forward-to-tempo": {components("cluster", "forward-to-tempo"), "restricted"},
	"component remote-write":     {components("remote-write"), "restricted"},
	"component podmonitor":       {components("podmonitor"), "restricted"},
	"component config-events":    {components("config-events"), "restricted"},
	"component config-api":       {components("config-api"), "restricted"},
	"component grafana":          {components("grafana"), "restricted"},
	"chart":                      {chart(""), "restricted"},
	"chart, everything in memory": {chart(`
cluster: {enabled: true}
production: {enabled: true}
forward: {enabled: true}
remoteWrite: {enabled: true}
extraConfig: {processors: {pii: {}}}
`), "restricted"},
	"chart, hostPath":     {chart("persistence: {type: hostPath}\n"), "privileged"},
	"chart, host ports":   {chart("hostPort: {enabled: true}\n"), "privileged"},
	"chart, host network": {chart("hostNetwork: {enabled: true}\n"), "privileged"},
}

// levels from the strictest.
var levels = []string{"restricted", "baseline", "privileged"}

// TestApply applies every object of every variant with a dry run on the server, and makes the pod of its DaemonSet in
// namespaces that enforce each level: those that are too strict have to refuse it.
func TestApply(t *testing.T) {
	p := plane.Start(t)
	p.Namespace(t, rendered.Namespace, "privileged")
	for _, level := range levels {
		p.Namespace(t, level, level)
	}
	for name, v := range variants {
		t.Run(name, func(t *testing.T) {
			objects := v.make(t)
			for _, u := range objects {
				if u.GroupVersionKind().Group == "monitoring.coreos.com" {
					continue // Its CRD is not here.
				}
				if ns := u.GetNamespace(); ns != "" && ns != rendered.Namespace {
					p.Namespace(t, ns, "restricted") // Grafana's
				}
				require.NoError(t, p.Apply(t.Context(), u, true), rendered.ID(u))
			}
			for _, level := range levels {
				// Baseline refuses what restricted refuses of ours: hostPath, host ports, the host's network.
				allowed := v.level == "restricted" || level == "privileged"
				err := dryPod(t, p, objects, level)
				if allowed {
					assert.NoError(t, err, level)
				} else if assert.Error(t, err, level) {
					assert.Contains(t, err.Error(), `violates PodSecurity "`+level+`:latest"`)
				}
			}
		})
	}
	t.Run("kubectl", func(t *testing.T) { // as users do
		kubectl, err := exec.LookPath("kubectl")
		if err != nil {
			t.Skip("kubectl is not installed")
		}
		for _, dir := range []string{"overlays/laptop", "overlays/single-node", "overlays/cluster", "overlays/cluster-forward", "overlays/production", "doctor"} {
			cmd := exec.CommandContext(t.Context(), kubectl, "--kubeconfig", p.Kubeconfig(), "--cache-dir", t.TempDir(), "apply", "--server-side", "--force-conflicts", "--dry-run=server", "-k", harness.Root(t, "manifests", dir))
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s: %s", dir, out)
			assert.Contains(t, string(out), "serverside-applied (server dry run)")
			assert.NotContains(t, string(out), "Warning", dir)
		}
	})
	t.Run("doctor and alias", func(t *testing.T) {
		p.Namespace(t, "monitoring", "restricted")
		needed(t, p, rendered.Overlay(t, "laptop"), "restricted")
		for _, u := range append(rendered.Directory(t, "doctor"), rendered.Directory(t, "applications", "alias")...) {
			require.NoError(t, p.Apply(t.Context(), u, true), rendered.ID(u))
			if u.GetKind() == "Job" {
				template := rendered.Typed[batchv1.Job](t, u).Spec.Template
				assert.NoError(t, dryCreate(t, p, &template, "restricted"))
			}
		}
	})
	t.Run("a misspelt field is refused", func(t *testing.T) {
		for _, u := range rendered.Overlay(t, "laptop") {
			if u.GetKind() == "DaemonSet" {
				require.NoError(t, unstructured.SetNestedField(u.Object, int64(5), "spec", "template", "spec", "terminationGracePeriod"))
				assert.ErrorContains(t, p.Apply(t.Context(), u, true), "terminationGracePeriod")
			}
		}
	})
}

// dryPod makes a pod from the DaemonSet's template.
func dryPod(t *testing.T, p *plane.Plane, objects []*unstructured.Unstructured, namespace string) error {
	t.Helper()
	needed(t, p, objects, namespace)
	return dryCreate(t, p, &rendered.DaemonSet(t, objects).Spec.Template, namespace)
}

// needed makes the objects that admission of the agent's pods looks at.
func needed(t *testing.T, p *plane.Plane, objects []*unstructured.Unstructured, namespace string) {
	t.Helper()
	for _, u := range objects {
		if kind := u.GetKind(); kind == "PriorityClass" || kind == "ServiceAccount" {
			u = u.DeepCopy()
			if kind == "ServiceAccount" {
				u.SetNamespace(namespace)
			}
			require.NoError(t, p.Apply(t.Context(), u, false), rendered.ID(u))
		}
	}
}

// dryCreate makes a pod from a template without storing it. Another error than PodSecurity's ends the test.
func dryCreate(t *testing.T, p *plane.Plane, template *corev1.PodTemplateSpec, namespace string) error {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "bramble-", Namespace: namespace, Labels: template.Labels, Annotations: template.Annotations},
		Spec:       template.Spec,
	}
	_, err := p.Client.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil && !strings.Contains(err.Error(), "PodSecurity") {
		require.NoError(t, err, "for another reason than PodSecurity")
	}
	return err
}

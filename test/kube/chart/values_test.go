package chart

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/bramble-tracing/bramble/test/harness"
	"github.com/bramble-tracing/bramble/test/kube/rendered"
)

// TestBadValues wants an error that names the value.
func TestBadValues(t *testing.T) {
	for values, want := range map[string]string{
		"persistance: {type: hostPath}":                     "persistance",
		"persistence: {type: pvc}":                          "persistence.type",
		"persistence: {hostPath: {path: data}}":             "persistence.hostPath.path",
		"persistence: {maxSizeMiB: 10Gi}":                   "persistence.maxSizeMiB",
		"traces: {samplingPercentage: 101}":                 "traces.samplingPercentage",
		"metrics: {scrape: serviceMonitor}":                 "metrics.scrape",
		"cluster: {enable: true}":                           "enable",
		"resources: {limits: null}":                         "limits",
		"remoteWrite: {url: prometheus:9090}":               "remoteWrite.url",
		"fullnameOverride: Bramble":                         "fullnameOverride",
		"forward: {enabled: true}":                          "set cluster.enabled too",
		"serviceAccount: {create: false}":                   "serviceAccount.name: name the ServiceAccount",
		"podDisruptionBudget: {minAvailable: 50%}":          "podDisruptionBudget.minAvailable",
		"image: {tag: 'no tag'}":                            "image.tag",
		"priorityClass: {value: 2000000000}":                "priorityClass.value",
		"terminationGracePeriodSeconds: 0":                  "terminationGracePeriodSeconds",
		"extraEnv: {A: b}":                                  "extraEnv",
		"persistence: {emptyDir: {sizeLimit: 5 gigabytes}}": "persistence.emptyDir.sizeLimit",
	} {
		_, _, err := rendered.TryChart(t, rendered.Release, values)
		if assert.Error(t, err, values) {
			// The library writes paths with slashes or dots, by its version.
			assert.Contains(t, strings.ReplaceAll(err.Error(), "/", "."), want, values)
		}
	}
}

// TestEveryValueHasASchema compares the names in values.yaml with those in values.schema.json, both ways.
func TestEveryValueHasASchema(t *testing.T) {
	text, err := os.ReadFile(harness.Root(t, "manifests", "helm", "values.schema.json"))
	require.NoError(t, err)
	var schema map[string]any
	require.NoError(t, json.Unmarshal(text, &schema))
	definitions := schema["definitions"].(map[string]any)
	var compare func(at string, values, schema map[string]any)
	compare = func(at string, values, schema map[string]any) {
		if ref, ok := schema["$ref"].(string); ok {
			schema = definitions[strings.TrimPrefix(ref, "#/definitions/")].(map[string]any)
		}
		properties, ok := schema["properties"].(map[string]any)
		if !ok || schema["additionalProperties"] != false { // Kubernetes' own, not ours to list.
			return
		}
		known := slices.Sorted(maps.Keys(properties))
		known = slices.DeleteFunc(known, func(k string) bool { return at == "" && k == "global" || at == ".resources" && k == "claims" })
		assert.Equal(t, known, slices.Sorted(maps.Keys(values)), "values at %s", at)
		for name, v := range values {
			if child, ok := v.(map[string]any); ok {
				compare(at+"."+name, child, properties[name].(map[string]any))
			}
		}
	}
	compare("", rendered.LoadChart(t).Values, schema)
}

// TestOwnValues renders what no component of kustomize has.
func TestOwnValues(t *testing.T) {
	objects := rendered.Chart(t, `
fullnameOverride: traces
cluster: {enabled: true}
serviceAccount: {create: false, name: agent}
priorityClass: {create: false}
metrics: {scrape: none}
networkPolicy: {queryNamespaces: []}
podLabels: {team: platform}
podAnnotations: {note: "yes"}
imagePullSecrets: [{name: registry}]
resources: {requests: {ephemeral-storage: 2Gi}}
traces: {samplingPercentage: 0}
extraConfig: {processors: {resource: {attributes: [{key: team, value: "${env:TEAM}", action: insert}]}}}
extraEnv: [{name: TEAM, value: a}]
extraEnvFrom: [{secretRef: {name: s}}]
extraVolumes: [{name: tls, secret: {secretName: tls}}]
extraVolumeMounts: [{name: tls, mountPath: /tls}]
`)
	ids := make([]string, 0, len(objects))
	var config, environment *corev1.ConfigMap
	for _, u := range objects {
		ids = append(ids, rendered.ID(u))
		switch u.GetName() {
		case "traces-config":
			config = rendered.Typed[corev1.ConfigMap](t, u)
		case "traces-environment":
			environment = rendered.Typed[corev1.ConfigMap](t, u)
		}
		if u.GetKind() == "RoleBinding" {
			assert.Equal(t, []rbacv1.Subject{{Kind: "ServiceAccount", Name: "agent", Namespace: rendered.Namespace}}, rendered.Typed[rbacv1.RoleBinding](t, u).Subjects)
		}
	}
	slices.Sort(ids)
	assert.Equal(t, []string{
		"ClusterRole /traces", "ClusterRoleBinding /traces", "ConfigMap tracing/traces-config", "ConfigMap tracing/traces-environment",
		"DaemonSet tracing/traces", "NetworkPolicy tracing/traces", "NetworkPolicy tracing/traces-peers",
		"PodDisruptionBudget tracing/traces", "Role tracing/traces-peers", "RoleBinding tracing/traces-peers",
		"Service tracing/traces", "Service tracing/traces-peers", "Service tracing/traces-query",
	}, ids)
	require.NotNil(t, config)
	require.NotNil(t, environment)
	assert.Contains(t, config.Data["cluster.yaml"], "service: traces-peers\n")
	assert.NotContains(t, config.Data["cluster.yaml"], "bramble-peers")
	assert.Equal(t, "0", environment.Data["TRACE_SAMPLING_PERCENTAGE"], "none is a share too")

	template := rendered.DaemonSet(t, objects).Spec.Template
	c := template.Spec.Containers[0]
	assert.Equal(t, "platform", template.Labels["team"])
	assert.Equal(t, "yes", template.Annotations["note"])
	assert.NotContains(t, template.Annotations, "prometheus.io/scrape")
	assert.Equal(t, "agent", template.Spec.ServiceAccountName)
	assert.Empty(t, template.Spec.PriorityClassName)
	assert.Equal(t, "registry", template.Spec.ImagePullSecrets[0].Name)
	assert.Equal(t, "2Gi", c.Resources.Requests.StorageEphemeral().String())
	assert.Equal(t, "6Gi", c.Resources.Limits.StorageEphemeral().String())
	assert.Equal(t, "1Gi", c.Resources.Limits.Memory().String(), "a default that was not named stays")
	assert.Equal(t, []string{"--config=/etc/bramble/bramble.yaml", "--config=/etc/bramble/cluster.yaml", "--config=/etc/bramble/extra.yaml"}, c.Args)
	check(t, config.Data, c.Args, environment.Data, c.Env)
}

// check gives the binary a container's arguments, files and environment.
func check(t *testing.T, files map[string]string, arguments []string, environment map[string]string, more []corev1.EnvVar) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	args := []string{"config", "check", "--light"}
	for _, a := range arguments {
		args = append(args, strings.ReplaceAll(a, "/etc/bramble", dir))
	}
	cmd := exec.CommandContext(t.Context(), harness.Binary(t), args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	for k, v := range environment {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	for _, e := range more {
		value := e.Value
		if e.ValueFrom != nil {
			value = "example"
		}
		cmd.Env = append(cmd.Env, e.Name+"="+value)
	}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), ": good\n")
}

// TestRelease names objects by the release, and rolls agents when their environment changes.
func TestRelease(t *testing.T) {
	sum := func(release, values string) (string, string) {
		objects, notes, err := rendered.TryChart(t, release, values)
		require.NoError(t, err)
		assert.Contains(t, notes, "die with the pod")
		assert.Contains(t, notes, "pod-security.kubernetes.io/enforce=restricted")
		ds := rendered.DaemonSet(t, objects)
		assert.Equal(t, release, ds.Spec.Selector.MatchLabels["app.kubernetes.io/instance"])
		return ds.Name, ds.Spec.Template.Annotations[checksum]
	}
	name, first := sum("store", "")
	assert.Equal(t, "store-bramble", name)
	_, second := sum("store", "traces: {environment: production}")
	assert.NotEqual(t, first, second)
	_, third := sum("store", "extraConfig: {processors: {pii: {}}}")
	assert.Equal(t, first, third, "an edit of the configuration needs no rollout")
	_, notes, err := rendered.TryChart(t, "store", "persistence: {type: hostPath}")
	require.NoError(t, err)
	assert.Contains(t, notes, "pod-security.kubernetes.io/enforce=privileged")
	assert.NotContains(t, notes, "die with the pod")
}

// TestGitOps renders the chart with the values of the examples, and reads Flux's objects strictly into Flux's types.
func TestGitOps(t *testing.T) {
	objects := gitops(t, "flux.yaml")
	require.Len(t, objects, 3)
	namespace := decode[corev1.Namespace](t, objects[0])
	source := decode[sourcev1.GitRepository](t, objects[1])
	release := decode[helmv2.HelmRelease](t, objects[2])
	assert.Equal(t, source.Name, release.Spec.Chart.Spec.SourceRef.Name)
	assert.Equal(t, namespace.Name, release.Namespace)
	chartIsAt(t, release.Spec.Chart.Spec.Chart)
	renderExample(t, release.Name, release.GetValues(), namespace.Labels["pod-security.kubernetes.io/enforce"])

	objects = gitops(t, "argocd.yaml")
	require.Len(t, objects, 1)
	app := decode[application](t, objects[0])
	chartIsAt(t, app.Spec.Source.Path)
	assert.Equal(t, rendered.Namespace, app.Spec.Destination.Namespace)
	renderExample(t, app.Spec.Source.Helm.ReleaseName, app.Spec.Source.Helm.ValuesObject,
		app.Spec.SyncPolicy.ManagedNamespaceMetadata.Labels["pod-security.kubernetes.io/enforce"])
}

func renderExample(t *testing.T, release string, values map[string]any, level string) {
	t.Helper()
	text, err := yaml.Marshal(values)
	require.NoError(t, err)
	objects, notes, err := rendered.TryChart(t, release, string(text))
	require.NoError(t, err)
	assert.Contains(t, notes, "pod-security.kubernetes.io/enforce="+level+"\n", "the namespace's level is what these values need")
	files, environment := map[string]string{}, map[string]string{}
	for _, u := range objects {
		switch rendered.ID(u) {
		case "ConfigMap tracing/bramble-config":
			files = rendered.Typed[corev1.ConfigMap](t, u).Data
		case "ConfigMap tracing/bramble-environment":
			environment = rendered.Typed[corev1.ConfigMap](t, u).Data
		}
	}
	c := rendered.DaemonSet(t, objects).Spec.Template.Spec.Containers[0]
	assert.Equal(t, "registry.example.com/bramble:v1.0.0", c.Image)
	check(t, files, c.Args, environment, c.Env)
}

package manifests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/bramble-tracing/bramble/test/harness"
)

// variant is something users apply.
type variant struct {
	overlay    string   // a directory of manifests/overlays, or empty for base with components
	components []string // of manifests/components
	level      string   // the PodSecurity level that its namespace enforces and its pods need
	clustered  bool
	noPDB      bool
	data       string              // emptyDir or hostPath
	rules      []rbacv1.PolicyRule // in the agent's namespace, beside those of clusters
}

var variants = map[string]variant{
	"laptop":                           {overlay: "laptop", level: "restricted", noPDB: true, data: "emptyDir"},
	"single-node":                      {overlay: "single-node", level: "privileged", noPDB: true, data: "hostPath"},
	"cluster":                          {overlay: "cluster", level: "privileged", clustered: true, data: "hostPath"},
	"cluster-forward":                  {overlay: "cluster-forward", level: "privileged", clustered: true, data: "hostPath"},
	"production":                       {overlay: "production", level: "privileged", clustered: true, data: "hostPath"},
	"base":                             {level: "restricted", data: "emptyDir"},
	"agents in memory only, clustered": {components: []string{"cluster"}, level: "restricted", clustered: true, data: "emptyDir"},
	"host ports":                       {components: []string{"hostport"}, level: "privileged", data: "emptyDir"},
	"host network":                     {components: []string{"hostnetwork", "cluster", "hostpath"}, level: "privileged", clustered: true, data: "hostPath"},
	"remote write":                     {components: []string{"production", "remote-write"}, level: "restricted", data: "emptyDir"},
	"edits": {components: []string{"config-events", "config-api"}, level: "restricted", data: "emptyDir", rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{"bramble-config"}, Verbs: []string{"get", "list", "watch"}},
		{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"create"}},
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"patch"}},
	}},
	"operator": {components: []string{"podmonitor", "grafana"}, level: "restricted", data: "emptyDir"},
}

// objects builds a variant and decodes it.
func (v variant) objects(t *testing.T) []object {
	t.Helper()
	switch {
	case v.overlay != "":
		return decode(t, kustomize(t, harness.Root(t, "manifests", "overlays", v.overlay)))
	case len(v.components) > 0:
		return decode(t, with(t, v.components...))
	}
	return decode(t, kustomize(t, harness.Root(t, "manifests", "base")))
}

// TestVariants builds everything that users may apply and holds it to what the documents promise.
func TestVariants(t *testing.T) {
	for name, v := range variants {
		t.Run(name, func(t *testing.T) {
			objects := v.objects(t)
			checkNames(t, objects)
			checkHardened(t, objects)
			checkEnvironment(t, objects)
			checkRights(t, objects, v)
			checkPorts(t, objects)
			checkConfiguration(t, objects)
			ns := named[*corev1.Namespace](t, objects, "tracing")
			assert.Equal(t, v.level, ns.Labels["pod-security.kubernetes.io/enforce"])
			checkLevel(t, objects, v)
			budgets := pick[*policyv1.PodDisruptionBudget](objects)
			assert.Equal(t, v.noPDB, len(budgets) == 0)
			for _, b := range budgets {
				require.NotNil(t, b.Spec.Selector, "a budget without a selector is for no pod")
				assert.Equal(t, map[string]string{nameLabel: "bramble"}, b.Spec.Selector.MatchLabels)
			}
		})
	}
}

// TestAnotherNamespace sets the namespace as an overlay of users does: nothing may stay in the old one.
func TestAnotherNamespace(t *testing.T) {
	text := build(t, "namespace: other\nresources: [../production]\n")
	assert.NotContains(t, string(text), "namespace: tracing")
	named[*corev1.Namespace](t, decode(t, text), "other")
}

// TestProduction looks for what the overlay sets over what its components do.
func TestProduction(t *testing.T) {
	objects := variants["production"].objects(t)
	for _, m := range pick[*corev1.ConfigMap](objects) {
		if strings.HasPrefix(m.Name, "bramble-environment") {
			assert.Equal(t, "51200", m.Data["BRAMBLE_MAX_SIZE_MIB"])
			assert.Equal(t, "production", m.Data["TRACE_ENVIRONMENT"])
			return
		}
	}
	t.Fatal("there is no environment")
}

// TestEveryOverlayAndComponentIsTested fails when one is added and not named above.
func TestEveryOverlayAndComponentIsTested(t *testing.T) {
	have := map[string]bool{}
	for _, v := range variants {
		have["overlays/"+v.overlay] = true
		for _, c := range v.components {
			have["components/"+c] = true
		}
	}
	have["components/forward-to-tempo"] = true // part of the overlay cluster-forward
	for _, class := range []string{"overlays", "components"} {
		entries, err := os.ReadDir(harness.Root(t, "manifests", class))
		require.NoError(t, err)
		for _, e := range entries {
			if e.Name()[0] != '.' {
				assert.True(t, have[class+"/"+e.Name()], "%s/%s is not tested", class, e.Name())
			}
		}
	}
}

// TestCopies compares files that kustomize needs below a component with their originals.
func TestCopies(t *testing.T) {
	for original, dup := range map[string]string{
		"production.yaml":   "production",
		"remote-write.yaml": "remote-write",
	} {
		want, err := os.ReadFile(harness.Root(t, "config", "overlays", original))
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join(harness.Root(t, "manifests", "components", dup), original))
		require.NoError(t, err)
		assert.Equal(t, string(want), string(got), "copy config/overlays/%s to manifests/components/%s", original, dup)
	}
}

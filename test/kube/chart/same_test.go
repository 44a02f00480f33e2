package chart

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/bramble-tracing/bramble/test/kube/rendered"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// helmLabels are the labels that a chart's objects have beside kustomize's. Any other difference is one.
var helmLabels = []string{"app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "app.kubernetes.io/version", "helm.sh/chart"}

// checksum does what kustomize does with a suffix of the ConfigMap's name: a new environment rolls the agents.
const checksum = "checksum/environment"

// fromHelm takes Helm's labels and the checksum out, which have to be there.
func fromHelm(t *testing.T, objects []*unstructured.Unstructured) []*unstructured.Unstructured {
	t.Helper()
	for _, u := range objects {
		for _, label := range helmLabels {
			assert.NotEmpty(t, u.GetLabels()[label], "%s has no label %s", rendered.ID(u), label)
		}
		if u.GetKind() == "DaemonSet" {
			sum, _, err := unstructured.NestedString(u.Object, "spec", "template", "metadata", "annotations", checksum)
			require.NoError(t, err)
			assert.Len(t, sum, 64)
			unstructured.RemoveNestedField(u.Object, "spec", "template", "metadata", "annotations", checksum)
		}
		walk(u.Object, func(m map[string]any) {
			for _, label := range helmLabels {
				delete(m, label)
			}
		})
	}
	return objects
}

// hashed is a name with kustomize's suffix.
var hashed = regexp.MustCompile(`^(bramble-environment)-[a-z0-9]{10}$`)

// fromKustomize takes the suffix of names out.
func fromKustomize(t *testing.T, objects []*unstructured.Unstructured) []*unstructured.Unstructured {
	t.Helper()
	n := 0
	for _, u := range objects {
		walk(u.Object, func(m map[string]any) {
			if name, ok := m["name"].(string); ok && hashed.MatchString(name) {
				m["name"] = hashed.ReplaceAllString(name, "$1")
				n++
			}
		})
	}
	assert.Equal(t, 2, n, "the ConfigMap and the DaemonSet's reference to it")
	return objects
}

// walk visits every mapping of a tree, and takes out what is empty: `annotations: {}` is no annotations.
func walk(node any, visit func(map[string]any)) {
	switch v := node.(type) {
	case map[string]any:
		visit(v)
		for key, child := range v {
			walk(child, visit)
			if m, ok := child.(map[string]any); ok && len(m) == 0 && key == "annotations" {
				delete(v, key)
			}
		}
	case []any:
		for _, child := range v {
			walk(child, visit)
		}
	}
}

func byID(t *testing.T, objects []*unstructured.Unstructured) map[string]map[string]any {
	t.Helper()
	sortVolumes(objects)
	out := map[string]map[string]any{}
	for _, u := range objects {
		id := rendered.ID(u)
		require.NotContains(t, out, id, "twice")
		out[id] = u.Object
	}
	return out
}

// sortVolumes orders volumes by their names: their order means nothing, and kustomize's patches change it.
func sortVolumes(objects []*unstructured.Unstructured) {
	for _, u := range objects {
		walk(u.Object, func(m map[string]any) {
			volumes, ok := m["volumes"].([]any)
			if !ok {
				return
			}
			slices.SortFunc(volumes, func(a, b any) int {
				return strings.Compare(fmt.Sprint(a.(map[string]any)["name"]), fmt.Sprint(b.(map[string]any)["name"]))
			})
		})
	}
}

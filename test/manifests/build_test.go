package manifests

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/bramble-tracing/bramble/test/harness"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// object is what every object of Kubernetes is.
type object interface {
	metav1.Object
	runtime.Object
}

// kustomize builds a directory, with kubectl since that is what users apply with.
func kustomize(t *testing.T, dir string) []byte {
	t.Helper()
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		t.Skip("kubectl is not installed")
	}
	cmd := exec.CommandContext(t.Context(), kubectl, "kustomize", dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s: %s", dir, stderr.String())
	require.Empty(t, stderr.String(), "kustomize warns about %s", dir)
	return out
}

// with builds base with components on top.
func with(t *testing.T, components ...string) []byte {
	t.Helper()
	return build(t, "resources: [../../base]\ncomponents: [../../components/"+strings.Join(components, ", ../../components/")+"]\n")
}

// build builds a kustomization that is beside the tree's overlays.
func build(t *testing.T, text string) []byte {
	t.Helper()
	dir, err := os.MkdirTemp(harness.Root(t, "manifests", "overlays"), ".test-") //nolint:usetesting // Beside what it names by relative paths.
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600))
	return kustomize(t, dir)
}

// decode reads documents strictly. Kinds of the Prometheus operator, whose types are not at hand, stay unstructured.
func decode(t *testing.T, text []byte) []object {
	t.Helper()
	strict := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme.Scheme, scheme.Scheme, json.SerializerOptions{Yaml: true, Strict: true})
	var out []object
	docs := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		obj, gvk, err := strict.Decode(doc, nil, nil)
		if runtime.IsNotRegisteredError(err) && gvk.Group == "monitoring.coreos.com" {
			u := &unstructured.Unstructured{}
			require.NoError(t, yaml.Unmarshal(doc, &u.Object))
			out = append(out, u)
			continue
		}
		require.NoError(t, err, "%s", doc)
		o, ok := obj.(object)
		require.True(t, ok, "%T", obj)
		out = append(out, o)
	}
}

// pick returns the objects of a type.
func pick[T object](objects []object) []T {
	var out []T
	for _, o := range objects {
		if v, ok := o.(T); ok {
			out = append(out, v)
		}
	}
	return out
}

// named returns the object of a type and name.
func named[T object](t *testing.T, objects []object, name string) T {
	t.Helper()
	for _, o := range pick[T](objects) {
		if o.GetName() == name {
			return o
		}
	}
	var none T
	t.Fatalf("there is no %T named %s", none, name)
	return none
}

// agent returns the DaemonSet and its container.
func agent(t *testing.T, objects []object) (*appsv1.DaemonSet, corev1.Container) {
	t.Helper()
	ds := named[*appsv1.DaemonSet](t, objects, "bramble")
	require.Len(t, ds.Spec.Template.Spec.Containers, 1)
	return ds, ds.Spec.Template.Spec.Containers[0]
}

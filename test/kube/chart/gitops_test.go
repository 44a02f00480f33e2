package chart

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/bramble-tracing/bramble/test/harness"
)

// application is what the example uses of Argo CD's Application; the module of the real type is not made to be imported.
type application struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Project string `json:"project"`
		Source  struct {
			RepoURL        string `json:"repoURL"`
			TargetRevision string `json:"targetRevision"`
			Path           string `json:"path"`
			Helm           struct {
				ReleaseName  string         `json:"releaseName"`
				ValuesObject map[string]any `json:"valuesObject"`
			} `json:"helm"`
		} `json:"source"`
		Destination struct {
			Server    string `json:"server"`
			Namespace string `json:"namespace"`
		} `json:"destination"`
		SyncPolicy struct {
			Automated struct {
				Prune    bool `json:"prune"`
				SelfHeal bool `json:"selfHeal"`
			} `json:"automated"`
			ManagedNamespaceMetadata struct {
				Labels map[string]string `json:"labels"`
			} `json:"managedNamespaceMetadata"`
			SyncOptions []string `json:"syncOptions"`
		} `json:"syncPolicy"`
	} `json:"spec"`
}

// gitops returns the documents of an example.
func gitops(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile(harness.Root(t, "manifests", "gitops", name))
	require.NoError(t, err)
	return strings.Split(string(text), "\n---\n")
}

func decode[T any](t *testing.T, doc string) *T {
	t.Helper()
	out := new(T)
	require.NoError(t, yaml.UnmarshalStrict([]byte(doc), out), "%s", doc)
	return out
}

func chartIsAt(t *testing.T, path string) {
	t.Helper()
	_, err := os.Stat(filepath.Join(harness.Root(t, path), "Chart.yaml"))
	assert.NoError(t, err)
}

package rendered

import (
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/releaseutil"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/bramble-tracing/bramble/test/harness"
)

// Release is the release's name in Chart.
const Release = "bramble"

// Namespace is where everything is.
const Namespace = "tracing"

// Chart renders manifests/helm as the release Release in Namespace with values, as YAML, over its own.
func Chart(t testing.TB, values string) []*unstructured.Unstructured {
	t.Helper()
	out, _, err := TryChart(t, Release, values)
	require.NoError(t, err, "%s", values)
	return out
}

// LoadChart reads manifests/helm.
func LoadChart(t testing.TB) *chart.Chart {
	t.Helper()
	c, err := loader.LoadDir(harness.Root(t, "manifests", "helm"))
	require.NoError(t, err)
	return c
}

// TryChart renders manifests/helm and returns its objects and notes, or the error that a user would see.
func TryChart(t testing.TB, release, values string) ([]*unstructured.Unstructured, string, error) {
	t.Helper()
	own := map[string]any{}
	require.NoError(t, yaml.UnmarshalStrict([]byte(values), &own), "%s", values)
	c := LoadChart(t)
	options := chartutil.ReleaseOptions{Name: release, Namespace: Namespace, Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(c, own, options, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, "", fmt.Errorf("values: %w", err)
	}
	files, err := engine.Engine{Strict: true}.Render(c, all)
	if err != nil {
		return nil, "", fmt.Errorf("render: %w", err)
	}
	var out []*unstructured.Unstructured
	notes := ""
	for name, text := range files {
		if strings.HasSuffix(name, "NOTES.txt") {
			notes = text
			continue
		}
		if strings.HasPrefix(path.Base(name), "_") {
			continue
		}
		for _, doc := range releaseutil.SplitManifests(text) {
			m := map[string]any{}
			require.NoError(t, yaml.UnmarshalStrict([]byte(doc), &m), "%s:\n%s", name, doc)
			if len(m) > 0 {
				out = append(out, normalise(t, m))
			}
		}
	}
	return out, notes, nil
}

package tracemetricsconnector

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"
)

// TestKustomization: overlays that name docs/grafana get the dashboards, data sources and alert rules as they are in the
// files, with the labels by which Grafana's sidecar finds them.
func TestKustomization(t *testing.T) {
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		t.Skip("kubectl is not installed")
	}
	overlay := t.TempDir()
	base, err := filepath.Abs(grafanaDir)
	require.NoError(t, err)
	base, err = filepath.Rel(overlay, base)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(overlay, "kustomization.yaml"), []byte("namespace: tracing\nresources: ["+base+"]\n"), 0o600))
	cmd := exec.CommandContext(t.Context(), kubectl, "kustomize", overlay) //nolint:gosec // A test.
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s", stderr.String())

	type configMap struct {
		Kind     string
		Metadata struct {
			Name, Namespace string
			Labels          map[string]string
		}
		Data map[string]string
	}
	got := map[string]configMap{}
	for d := yaml.NewDecoder(bytes.NewReader(out)); ; {
		var m configMap
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		assert.Equal(t, "ConfigMap", m.Kind)
		assert.Equal(t, "tracing", m.Metadata.Namespace)
		got[m.Metadata.Name] = m
	}
	require.Len(t, got, 3)
	assert.Equal(t, "1", got["bramble-grafana-dashboards"].Metadata.Labels["grafana_dashboard"])
	assert.Equal(t, "1", got["bramble-grafana-datasources"].Metadata.Labels["grafana_datasource"])
	for name, files := range map[string]map[string]string{
		"bramble-grafana-dashboards":  {"bramble.json": "dashboards/bramble.json", "red.json": "dashboards/red.json"},
		"bramble-grafana-datasources": {"loki-prometheus.yaml": "datasources/loki-prometheus.yaml"},
		"bramble-alert-rules":         {"bramble-alerts.yaml": "alerts.yaml"},
	} {
		assert.Len(t, got[name].Data, len(files), name)
		for key, file := range files {
			want, err := os.ReadFile(filepath.Join(grafanaDir, file))
			require.NoError(t, err)
			assert.Equal(t, string(want), got[name].Data[key], file)
		}
	}
}

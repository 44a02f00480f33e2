package kubernetescheckprocessor

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"
)

func load(t *testing.T, name string) (*Config, error) {
	t.Helper()
	cm, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	sub, err := cm.Sub(name)
	require.NoError(t, err)
	cfg := createDefaultConfig().(*Config)
	if err := sub.Unmarshal(cfg); err != nil {
		return nil, err
	}
	return cfg, confmap.Validate(cfg)
}

func TestConfig(t *testing.T) {
	cfg, err := load(t, "kubernetes_check")
	require.NoError(t, err)
	assert.Equal(t, createDefaultConfig(), cfg)
	cfg, err = load(t, "kubernetes_check/all")
	require.NoError(t, err)
	assert.Equal(t, &Config{Attributes: []string{"k8s.pod.uid"}, LogInterval: time.Minute}, cfg)
	for name, want := range map[string]string{
		"bad": "attributes::1: must not be empty\nlog_interval: must be above 0, is 0s", "none": "attributes: must name what spans with metadata have", "unknown": "atributes",
	} {
		_, err = load(t, "kubernetes_check/"+name)
		require.ErrorContains(t, err, want)
	}
}

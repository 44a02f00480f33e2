package kubernetescheckextension

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
	assert.Equal(t, &Config{Interval: time.Hour, RetryInterval: time.Second, Timeout: 3 * time.Second}, cfg)
	_, err = load(t, "kubernetes_check/bad")
	for _, want := range []string{"interval: must not be below retry_interval (2s), is 1s", "timeout: must be above 0, is 0s"} {
		require.ErrorContains(t, err, want)
	}
	_, err = load(t, "kubernetes_check/never")
	require.ErrorContains(t, err, "retry_interval: must be above 0, is -1s")
	_, err = load(t, "kubernetes_check/unknown")
	require.ErrorContains(t, err, "intervall")
}

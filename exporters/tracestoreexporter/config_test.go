package tracestoreexporter

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/bramble-tracing/bramble/exporters/tracestoreexporter/internal/metadata"
)

func TestConfig(t *testing.T) {
	cm, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	load := func(name string) (*Config, error) {
		cfg := createDefaultConfig()
		sub, err := cm.Sub(component.MustNewIDWithName(metadata.Type.String(), name).String())
		require.NoError(t, err)
		if err := sub.Unmarshal(cfg); err != nil {
			return nil, err
		}
		return cfg.(*Config), confmap.Validate(cfg)
	}

	cfg, err := load("")
	require.NoError(t, err)
	assert.Equal(t, createDefaultConfig(), cfg)
	assert.False(t, cfg.QueueConfig.HasValue(), "a queue acknowledges before the spans are stored")
	assert.False(t, cfg.BackOffConfig.Enabled)

	cfg, err = load("all")
	require.NoError(t, err)
	assert.Equal(t, component.MustNewIDWithName("trace_store", "other"), cfg.Store)
	assert.Equal(t, 2*time.Second, cfg.Timeout)
	assert.EqualValues(t, 100, cfg.QueueConfig.Get().QueueSize)
	assert.True(t, cfg.BackOffConfig.Enabled)

	_, err = load("bad_timeout")
	require.ErrorContains(t, err, "timeout: must be above 0, is -1s")
	_, err = load("unknown_field")
	require.ErrorContains(t, err, "stroe")
}

package tracestoreextension

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/bramble-tracing/bramble/components/tracestoreextension/internal/metadata"
)

func load(t *testing.T, name string) (*Config, error) {
	t.Helper()
	cm, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	sub, err := cm.Sub(component.MustNewIDWithName(metadata.Type.String(), name).String())
	require.NoError(t, err)
	cfg := createDefaultConfig()
	if err := sub.Unmarshal(cfg); err != nil {
		return nil, err
	}
	return cfg.(*Config), confmap.Validate(cfg)
}

func TestConfig(t *testing.T) {
	cfg, err := load(t, "")
	require.NoError(t, err)
	assert.Equal(t, createDefaultConfig(), cfg)

	cfg, err = load(t, "all")
	require.NoError(t, err)
	assert.Equal(t, &Config{
		Directory: "/var/lib/bramble",
		WAL:       WALConfig{Sync: "always", SyncInterval: time.Second},
		Memory:    MemoryConfig{LimitMiB: 256, LimitPercentage: 25},
		Scrub:     ScrubConfig{Enabled: true, Interval: 48 * time.Hour, RateMiB: 2},
		Compaction: CompactionConfig{
			MinBlocks: 8, MaxBlockSizeMiB: 256, CPULimitPercentage: 50,
		},
		Retention: RetentionConfig{Recent: 30 * time.Minute, PinMaxMiB: 64, MaxAge: 168 * time.Hour, MaxSizeMiB: 51200, MinFreePercentage: 10},
	}, cfg)
}

func TestConfigErrorsNameTheField(t *testing.T) {
	_, err := load(t, "bad")
	for _, want := range []string{
		"directory: must not be empty",
		`wal::sync: must be interval, always or off, is "sometimes"`,
		"memory::limit_percentage: must be at most 80, is 95",
		"scrub::interval: must be at least 1m, is 1s",
		"scrub::rate_mib: must be at least 1, is 0",
		"compaction::min_blocks: must be at least 2, is 1",
		"compaction::max_block_size_mib: must be at least 1, is 0",
		"compaction::cpu_limit_percentage: must be 1 to 100, is 200",
		"retention::max_age: must not be below retention::recent (2h0m0s), is 1h0m0s",
		"retention::pin_max_mib: must be at least 1, is 0",
		"retention::max_size_mib: must not be negative, is -1",
		"retention::min_free_percentage: must be at most 90, is 99",
	} {
		require.ErrorContains(t, err, want)
	}
	_, err = load(t, "no_memory")
	require.ErrorContains(t, err, "memory: set limit_mib or limit_percentage")
	_, err = load(t, "unknown_field")
	require.ErrorContains(t, err, "max_agee")
}

func TestMemoryBytes(t *testing.T) {
	got, err := (&MemoryConfig{LimitMiB: 64, LimitPercentage: 25}).memoryBytes()
	require.NoError(t, err)
	assert.EqualValues(t, 64*mib, got, "limit_mib wins")
	low, err := (&MemoryConfig{LimitPercentage: 10}).memoryBytes()
	require.NoError(t, err)
	high, err := (&MemoryConfig{LimitPercentage: 40}).memoryBytes()
	require.NoError(t, err)
	assert.Greater(t, high, low, "a percentage is of what the machine or container has")
	assert.GreaterOrEqual(t, low, int64(minMemory))
}

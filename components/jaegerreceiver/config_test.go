package jaegerreceiver

import (
	"path/filepath"
	"testing"

	contrib "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/jaegerreceiver"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/bramble-tracing/bramble/components/jaegerreceiver/internal/metadata"
)

func load(t *testing.T, name string, into any) error {
	t.Helper()
	cm, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	sub, err := cm.Sub(component.MustNewIDWithName(metadata.Type.String(), name).String())
	require.NoError(t, err)
	if err := sub.Unmarshal(into); err != nil {
		return err
	}
	return confmap.Validate(into)
}

// TestConfigIsContribs reads the same configurations with our type and with contrib's.
func TestConfigIsContribs(t *testing.T) {
	for _, name := range []string{"default", "all"} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := createDefaultConfig(), contrib.NewFactory().CreateDefaultConfig()
			require.NoError(t, load(t, name, ours))
			require.NoError(t, load(t, name, theirs))
			assert.Equal(t, theirs, &ours.(*Config).Config)
		})
	}
	assert.Equal(t, contrib.NewFactory().Type(), NewFactory().Type())
}

func TestConfigErrorsNameTheField(t *testing.T) {
	err := load(t, "bad", createDefaultConfig())
	for _, want := range []string{
		"protocols::thrift_binary::queue_size: must be at least 1, is -1",
		"protocols::thrift_binary::socket_buffer_size: must not be negative, is -5",
		"protocols::thrift_compact::max_packet_size: must be between 1 and 65507, is 70000",
		"protocols::thrift_compact::workers: must be at least 1, is 0",
	} {
		require.ErrorContains(t, err, want)
	}
	require.ErrorContains(t, load(t, "no_protocol", createDefaultConfig()), "at least one protocol")
	require.ErrorContains(t, load(t, "unknown_field", createDefaultConfig()), "queue_sice")
}

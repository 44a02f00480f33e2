package tracestoreextension

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/bramble-tracing/bramble/components/tracestoreextension/internal/metadata"
	"github.com/bramble-tracing/bramble/internal/selfcheck"
	"github.com/bramble-tracing/bramble/internal/volume"
)

func TestTellsWhenDataDoesNotLast(t *testing.T) {
	for told, want := range map[string]selfcheck.State{"emptyDir": selfcheck.Warn, "memory": selfcheck.Warn, "persistent": selfcheck.OK, "nonsense": selfcheck.Skipped} {
		t.Run(told, func(t *testing.T) {
			t.Setenv(volume.Env, told)
			core, logs := observer.New(zap.WarnLevel)
			set := extensiontest.NewNopSettings(metadata.Type)
			set.Logger = zap.New(core)
			cfg := createDefaultConfig().(*Config)
			cfg.Directory, cfg.Memory = t.TempDir(), MemoryConfig{LimitMiB: 64}
			ext := newStoreExtension(set, cfg)
			require.NoError(t, ext.Start(t.Context(), componenttest.NewNopHost()))
			board := ext.checks.Board()
			assert.Equal(t, want, board.State("store/volume"))
			lines := logs.FilterMessage("What is stored does not last")
			if want == selfcheck.Warn {
				require.Equal(t, 1, lines.Len())
				assert.Contains(t, lines.All()[0].ContextMap()["found"], "the data dies with")
				assert.Equal(t, cfg.Directory, lines.All()[0].ContextMap()["directory"])
			} else {
				assert.Zero(t, lines.Len())
			}
			require.NoError(t, ext.Shutdown(t.Context()))
			assert.Empty(t, board.Checks())
		})
	}
}

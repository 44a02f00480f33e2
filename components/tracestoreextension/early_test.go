package tracestoreextension

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/extension/extensioncapabilities"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/bramble-tracing/bramble/components/tracestoreextension/internal/metadata"
)

func pipelines(p map[string]any) *confmap.Conf {
	return confmap.NewFromStringMap(map[string]any{"service": map[string]any{"pipelines": p}})
}

// withProcessors adds the settings of processors.
func withProcessors(conf *confmap.Conf, settings map[string]any) *confmap.Conf {
	tree := conf.ToStringMap()
	tree["processors"] = settings
	return confmap.NewFromStringMap(tree)
}

func TestWarnsOfEarlyAcknowledgement(t *testing.T) {
	list := func(ids ...any) []any { return ids }
	for _, tc := range []struct {
		name string
		conf *confmap.Conf
		want []early
	}{
		{"synchronous", pipelines(map[string]any{
			"traces": map[string]any{"processors": list("memory_limiter", "pii"), "exporters": list("trace_store")},
		}), nil},
		{"textbook order", pipelines(map[string]any{
			"traces": map[string]any{"processors": list("memory_limiter", "tail_sampling", "batch/own"), "exporters": list("trace_store/a")},
		}), []early{{"traces", []string{"tail_sampling", "batch/own"}}}},
		{"sampling by the store", withProcessors(pipelines(map[string]any{
			"traces": map[string]any{"processors": list("tail_sampling", "tail_sampling/held"), "exporters": list("trace_store")},
		}), map[string]any{"tail_sampling": map[string]any{"store": "trace_store"}, "tail_sampling/held": nil}), []early{{"traces", []string{"tail_sampling/held"}}}},
		{"in front of the network only", pipelines(map[string]any{
			"traces":         map[string]any{"exporters": list("trace_store")},
			"traces/forward": map[string]any{"processors": list("batch"), "exporters": list("otlp_grpc")},
		}), nil},
		{"two pipelines", pipelines(map[string]any{
			"traces/b": map[string]any{"processors": []string{"batch"}, "exporters": []string{"trace_store"}},
			"traces/a": map[string]any{"processors": []string{"batch"}, "exporters": []string{"trace_store"}},
		}), []early{{"traces/a", []string{"batch"}}, {"traces/b", []string{"batch"}}}},
		{"nothing", confmap.New(), nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			core, logs := observer.New(zap.WarnLevel)
			set := extensiontest.NewNopSettings(metadata.Type)
			set.Logger = zap.New(core)
			ext := newStoreExtension(set, createDefaultConfig().(*Config))
			require.NoError(t, ext.NotifyConfigSnapshot(t.Context(), extensioncapabilities.NewConfigSnapshot(tc.conf, nil)))
			assert.Equal(t, tc.want, earlyAcknowledgement(tc.conf))
			assert.Equal(t, len(tc.want), logs.Len())
		})
	}
}

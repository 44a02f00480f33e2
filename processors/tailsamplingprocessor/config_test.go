package tailsamplingprocessor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/bramble-tracing/bramble/internal/sampling"
)

func load(t *testing.T, conf *confmap.Conf) (*Config, error) {
	t.Helper()
	cfg := NewFactory().CreateDefaultConfig().(*Config)
	if err := conf.Unmarshal(cfg); err != nil {
		return nil, err
	}
	return cfg, cfg.Validate()
}

func TestConfig(t *testing.T) {
	conf, err := confmaptest.LoadConf("testdata/config.yaml")
	require.NoError(t, err)
	get := func(id string) *Config {
		sub, err := conf.Sub(id)
		require.NoError(t, err)
		cfg, err := load(t, sub)
		require.NoError(t, err, id)
		return cfg
	}
	require.Nil(t, get("tail_sampling").Store)
	held := get("tail_sampling/contrib")
	require.Nil(t, held.Store)
	require.Equal(t, 5*time.Second, held.Contrib.DecisionWait)
	require.Len(t, held.Contrib.PolicyCfgs, 1)

	stored := get("tail_sampling/store")
	require.Equal(t, component.MustNewIDWithName("trace_store", "a"), *stored.Store)
	require.Equal(t, component.MustNewIDWithName("trace_query", "b"), stored.Query)
	require.True(t, stored.SampleOnFirstMatch)
	require.Equal(t, []string{"decision_wait", "decision_cache"}, stored.Ignored())
	require.Equal(t, []sampling.Policy{{Name: "a", Type: "and", And: &sampling.AndConfig{SubPolicies: []sampling.Policy{
		{Name: "b", Type: "latency", Latency: sampling.LatencyConfig{ThresholdMs: 5}},
	}}}}, stored.Policies)
	require.Equal(t, "/etc/bramble/policies.yaml", get("tail_sampling/file").PoliciesFile)
}

func TestRefusedConfigs(t *testing.T) {
	for says, yaml := range map[string]string{
		"policies_file: needs store":                    "policies_file: x",
		"query: needs store":                            "query: trace_query",
		"store: is empty":                               "store:",
		"there are none":                                "store: trace_store",
		"takes the place of policies":                   "{store: trace_store, policies_file: x, policies: [{name: a, type: always_sample}]}",
		`policies::0 (policy "a"): type ottl_condition`: "{store: trace_store, policies: [{name: a, type: ottl_condition}]}",
		"unknown_setting":                               "{store: trace_store, unknown_setting: 1}",
		"as contrib's tail_sampling":                    "unknown_setting: 1",
		"sampling_strategy":                             "sampling_strategy: nonsense",
	} {
		r, err := confmap.NewRetrievedFromYAML([]byte(yaml))
		require.NoError(t, err)
		conf, err := r.AsConf()
		require.NoError(t, err)
		_, err = load(t, conf)
		require.ErrorContains(t, err, says, yaml)
	}
}

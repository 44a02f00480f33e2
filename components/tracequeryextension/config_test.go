package tracequeryextension

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"
)

func load(t *testing.T, name string) (*Config, error) {
	t.Helper()
	all, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	sub, err := all.Sub(name)
	require.NoError(t, err)
	cfg := createDefaultConfig().(*Config)
	if err := sub.Unmarshal(cfg); err != nil {
		return nil, err
	}
	return cfg, confmap.Validate(cfg)
}

func TestDefaults(t *testing.T) {
	cfg, err := load(t, "trace_query")
	require.NoError(t, err)
	require.Equal(t, createDefaultConfig(), cfg)
	require.Equal(t, "localhost:3200", cfg.NetAddr.Endpoint)
	require.Equal(t, component.MustNewID("trace_store"), cfg.Store)
	require.Equal(t, int64(50<<20), cfg.Limits.MaxTraceBytes)
	require.Equal(t, 10*time.Second, cfg.ReadHeaderTimeout)
	require.False(t, cfg.PprofEnabled)
	require.Equal(t, 168*time.Hour, cfg.Limits.MaxSearchRange)
	require.Positive(t, cfg.Limits.memory())
	require.LessOrEqual(t, cfg.Limits.memory(), int64(512<<20))
	require.False(t, cfg.Auth.HasValue())
}

func TestAllFields(t *testing.T) {
	cfg, err := load(t, "trace_query/all")
	require.NoError(t, err)
	require.Equal(t, "0.0.0.0:3201", cfg.NetAddr.Endpoint)
	require.Equal(t, "clients.crt", cfg.TLS.Get().ClientCAFile)
	require.Equal(t, "basicauth/users", cfg.Auth.Get().AuthenticatorID.String())
	require.Equal(t, []string{"https://grafana.example.com"}, cfg.CORS.Get().AllowedOrigins)
	require.True(t, cfg.IncludeMetadata)
	require.Equal(t, 10*time.Second, cfg.WriteTimeout)
	require.Equal(t, component.MustNewIDWithName("trace_store", "second"), cfg.Store)
	require.Equal(t, "/tempo", cfg.HTTPAPIPrefix)
	require.Equal(t, LimitsConfig{
		MaxTraceBytes: 1e6, MaxTagBytes: 1000, Timeout: 5 * time.Second, Concurrency: 3, Queue: 7, MemoryMiB: 64,
		MaxSearchRange: 24 * time.Hour, MaxMetricsRange: time.Hour, StreamInterval: 100 * time.Millisecond, SlowQuery: time.Second,
	}, cfg.Limits)
	require.Equal(t, int64(64<<20), cfg.Limits.memory())
	require.True(t, cfg.PprofEnabled)
	require.True(t, cfg.DeleteEnabled)
	require.Equal(t, "http://localhost:8888/metrics", cfg.TelemetryEndpoint)
	require.Equal(t, 2*time.Second, cfg.ShutdownTimeout)
}

func TestInvalid(t *testing.T) {
	for name, says := range map[string]string{
		"no_endpoint":            "endpoint: must not be empty",
		"prefix_without_slash":   "http_api_prefix: must begin with a slash",
		"prefix_ends_with_slash": "http_api_prefix: must begin with a slash",
		"negative_trace":         "limits::max_trace_bytes",
		"no_timeout":             "limits::timeout",
		"negative_concurrency":   "limits::concurrency",
		"no_queue":               "limits::queue",
		"no_shutdown":            "shutdown_timeout",
		"no_tags":                "limits::max_tag_bytes",
		"bad_telemetry":          "telemetry_endpoint: must be a URL",
		"negative_memory":        "limits::memory_mib",
		"negative_ranges":        "limits::max_metrics_range",
		"negative_slow":          "limits::slow_query",
		"no_interval":            "limits::stream_interval",
		"delete_without_auth":    "delete_enabled: needs auth",
		"misspelt":               "endpiont",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, "trace_query/"+name)
			require.ErrorContains(t, err, says)
		})
	}
}

package doctor

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/bramble-tracing/bramble/internal/kubecheck"
)

func tree(t testing.TB, text string) map[string]any {
	t.Helper()
	var out map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(text), &out))
	return out
}

// TestDefaultTargets: they are what config/local.yaml says.
func TestDefaultTargets(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "config", "local.yaml"))
	require.NoError(t, err)
	want, err := FromConfig(tree(t, string(b)), nil, kubecheck.Pod{})
	require.NoError(t, err)
	got := DefaultTargets("./data")
	plain := func(t Targets) (out []string) {
		for _, e := range t.all() {
			out = append(out, e.Name+" "+e.Protocol+" "+e.URL(e.Path))
		}
		return out
	}
	assert.Equal(t, plain(want), plain(got))
	assert.Equal(t, want.Directories[0].MaxMiB, got.Directories[0].MaxMiB)
	assert.Equal(t, want.Directories[0].MinFree, got.Directories[0].MinFree)
}

const full = `
receivers:
  otlp/peer: {protocols: {grpc: {endpoint: "0.0.0.0:4319"}}}
  otlp: {protocols: {grpc: {endpoint: "0.0.0.0:14317", tls: {cert_file: c}}, http: {endpoint: "[::]:14318", traces_url_path: /x}}}
exporters:
  otlp_grpc/tempo: {endpoint: "tempo:4317", tls: {insecure: true}}
  otlp_grpc/tls: {endpoint: "dns:///tempo:4317"}
  otlp_http: {endpoint: "https://tempo.example.com/base"}
  otlp_http/full: {traces_endpoint: "http://tempo:4318/v1/traces"}
  prometheus: {endpoint: "0.0.0.0:8889"}
  prometheus_remote_write: {endpoint: "http://mimir/api/v1/push"}
  not_used: {endpoint: "nonsense"}
extensions:
  trace_store: {directory: /data, retention: {max_size_mib: 100, min_free_percentage: 5}}
  file_storage/queue: {directory: /queue}
  trace_query:
    endpoint: localhost:3200
    http_api_prefix: /tempo
    peers: {static: ["a:3201", "b:3201"], client: {tls: {insecure: true}}, dns: {hostname: bramble-peers, port: 3201}}
service:
  extensions: [trace_store, trace_query, file_storage/queue, zpages]
  pipelines:
    traces: {receivers: [otlp/peer, otlp], exporters: [otlp_grpc/tempo, otlp_grpc/tls, otlp_http, otlp_http/full]}
    metrics: {exporters: [prometheus, prometheus_remote_write]}
  telemetry: {metrics: {readers: [{pull: {exporter: {prometheus: {host: 0.0.0.0, port: 8888}}}}, {periodic: {}}]}}
`

func TestFromConfig(t *testing.T) {
	got, err := FromConfig(tree(t, full), nil, kubecheck.Pod{})
	require.NoError(t, err)
	var urls []string
	for _, e := range got.all() {
		urls = append(urls, e.Name+" "+e.Protocol+" "+e.URL(e.Path))
	}
	assert.Equal(t, []string{
		" grpc https://localhost:14317", " http http://localhost:14318/x", " http http://localhost:3200",
		"forward/otlp_grpc/tempo grpc http://tempo:4317", "forward/otlp_grpc/tls grpc https://tempo:4317",
		"forward/otlp_http http https://tempo.example.com:443/base/v1/traces", "forward/otlp_http/full http http://tempo:4318/v1/traces",
		"prometheus/prometheus_remote_write http http://mimir:80/api/v1/push",
		"metrics/telemetry http http://localhost:8888/metrics", "metrics/prometheus http http://localhost:8889/metrics",
		"peers/a:3201 grpc http://a:3201", "peers/b:3201 grpc http://b:3201", "peers/bramble-peers:3201 grpc http://bramble-peers:3201",
	}, urls)
	assert.Equal(t, "/tempo", got.Query.Prefix)
	assert.Equal(t, []Directory{
		{Path: "/data", From: "extensions::trace_store::directory", MaxMiB: 100, MinFree: 5}, {Path: "/queue", From: "extensions::file_storage/queue::directory"},
	}, got.Directories)
	_, err = FromConfig(tree(t, `
receivers: {otlp: {protocols: {grpc: {endpoint: "nonsense"}, http: {endpoint: "localhost:99999"}}}}
exporters: {otlp_grpc: {endpoint: ""}, otlp_http: {endpoint: "tempo:4318"}, prometheus: {endpoint: x}}
service: {pipelines: {traces: {receivers: [otlp], exporters: [otlp_grpc, otlp_http, prometheus]}}}`), nil, kubecheck.Pod{})
	for _, want := range []string{
		`receivers::otlp::protocols::grpc: must be host:port, is "nonsense"`, `receivers::otlp::protocols::http: the port must be from 1 to 65535, is "99999"`,
		"exporters::otlp_grpc: must be host:port", `exporters::otlp_http: must be a URL such as http://HOST:PORT, is "tempo:4318"`, "exporters::prometheus: must be host:port",
	} {
		require.ErrorContains(t, err, want)
	}
}

func TestOverride(t *testing.T) {
	for name, tc := range map[string]struct {
		env               map[string]string
		flags             Overrides
		grpc, http, query string
		sdk, err          string
		remote            bool
	}{
		"nothing": {grpc: "http://localhost:4317", http: "http://localhost:4318/v1/traces", query: "http://localhost:3200"},
		"the usual port": {
			env:  map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://bramble.tracing:4318", "TEMPO_URL": "http://bramble-query.tracing:3200/"},
			grpc: "http://bramble.tracing:4317", http: "http://bramble.tracing:4318/v1/traces", query: "http://bramble-query.tracing:3200", sdk: "http://bramble.tracing:4318", remote: true,
		},
		"the other usual port": {
			env:  map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://[::1]:4317"},
			grpc: "http://[::1]:4317", http: "http://[::1]:4318/v1/traces", query: "http://localhost:3200", sdk: "http://[::1]:4317",
		},
		"of traces, with its path": {
			env:  map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://alloy.observability:4318/v1/traces", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:1"},
			grpc: "https://alloy.observability:4317", http: "https://alloy.observability:4318/v1/traces", query: "http://localhost:3200", sdk: "https://alloy.observability:4318", remote: true,
		},
		"another port": {
			env:  map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "https://otlp.example.com/base"},
			http: "https://otlp.example.com:443/base/v1/traces", query: "http://localhost:3200", sdk: "https://otlp.example.com:443", remote: true,
		},
		"another port for gRPC": {
			env:  map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:14317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
			grpc: "http://localhost:14317", query: "http://localhost:3200", sdk: "http://localhost:14317",
		},
		"flags win": {
			env: map[string]string{"TEMPO_URL": "http://x:1", "PROMETHEUS_URL": "http://p:1"}, flags: Overrides{Query: "http://localhost:3100/tempo", Prometheus: "http://localhost:9090"},
			grpc: "http://localhost:4317", http: "http://localhost:4318/v1/traces", query: "http://localhost:3100",
		},
		"no URL": {
			env:  map[string]string{"TEMPO_URL": "bramble-query:3200", "OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:4317", "PROMETHEUS_URL": "http://p:x"},
			grpc: "http://localhost:4317", http: "http://localhost:4318/v1/traces", query: "http://localhost:3200",
			err: "OTEL_EXPORTER_OTLP_ENDPOINT: must be a URL such as http://HOST:PORT, is \"localhost:4317\"\nTEMPO_URL: must be a URL",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := DefaultTargets("./data")
			err := got.Override(tc.flags, func(n string) string { return tc.env[n] })
			if tc.err != "" {
				require.ErrorContains(t, err, tc.err)
			} else {
				require.NoError(t, err)
			}
			url := func(e *Endpoint) string {
				if e == nil {
					return ""
				}
				return e.URL(e.Path)
			}
			assert.Equal(t, []string{tc.grpc, tc.http, tc.query}, []string{url(got.GRPC), url(got.HTTP), url(got.Query)})
			if tc.sdk == "" {
				assert.Nil(t, got.SDK)
			} else {
				assert.Equal(t, tc.sdk, got.SDK.URL(""))
			}
			assert.Equal(t, tc.remote, got.Remote != "", got.Remote)
		})
	}
}

// TestNoSecrets: a password in a URL is not printed.
func TestNoSecrets(t *testing.T) {
	got := DefaultTargets("./data")
	err := got.Override(Overrides{Endpoint: "http://u:secret@otlp.example.com:4318", Query: "ftp://u:secret@h", Prometheus: "http://u:secret@h:x"}, func(string) string { return "" })
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "secret")
	for _, e := range got.all() {
		assert.NotContains(t, e.From+e.URL(e.Path), "secret")
	}
	assert.Equal(t, "--endpoint, whose user and password are not used: see --header", got.SDK.From)
	assert.NotContains(t, got.Remote, "secret")
}

func FuzzTargets(f *testing.F) {
	f.Add(full, "http://a:4317", "https://[::1]:3200/x")
	f.Add("receivers: {otlp: 3}\nservice: {pipelines: {a: {receivers: [otlp], exporters: [otlp_grpc]}}, extensions: [trace_query]}", ":", "http://%zz")
	f.Fuzz(func(t *testing.T, conf, endpoint, query string) {
		var m map[string]any
		if yaml.Unmarshal([]byte(conf), &m) != nil {
			return
		}
		got, _ := FromConfig(m, nil, kubecheck.Pod{})
		_ = got.Override(Overrides{Endpoint: endpoint, Query: query, Prometheus: query}, func(string) string { return "" })
		for _, e := range got.all() {
			if e.Port < 0 || e.Port > maxPort {
				t.Fatalf("port %d", e.Port)
			}
		}
	})
}

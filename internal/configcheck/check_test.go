package configcheck

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/envprovider"
	"go.opentelemetry.io/collector/confmap/provider/yamlprovider"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/nopexporter"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/service/telemetry/otelconftelemetry"

	"github.com/bramble-tracing/bramble/components/watchprovider"
	"github.com/bramble-tracing/bramble/internal/liveconfig"
)

// probeConfig is an extension's configuration that can tell more about itself.
type probeConfig struct {
	Check_ string `mapstructure:"check"` //nolint:revive // The method has the better name.
	Create string `mapstructure:"create"`
}

func (c *probeConfig) Check(context.Context) error {
	if c.Check_ != "" {
		return errors.New(c.Check_)
	}
	return nil
}

func factories() (otelcol.Factories, error) {
	probe := extension.NewFactory(component.MustNewType("probe"), func() component.Config { return &probeConfig{} },
		func(_ context.Context, _ extension.Settings, cfg component.Config) (extension.Extension, error) {
			if c := cfg.(*probeConfig).Create; c != "" { //nolint:errcheck // It is ours.
				return nil, errors.New(c)
			}
			return extensiontest.NewNopFactory().Create(context.Background(), extensiontest.NewNopSettings(extensiontest.NopType), nil)
		}, component.StabilityLevelDevelopment)
	var f otelcol.Factories
	var err error
	f.Telemetry = otelconftelemetry.NewFactory()
	if f.Receivers, err = otelcol.MakeFactoryMap[receiver.Factory](otlpreceiver.NewFactory()); err != nil {
		return f, err
	}
	if f.Exporters, err = otelcol.MakeFactoryMap[exporter.Factory](nopexporter.NewFactory()); err != nil {
		return f, err
	}
	f.Extensions, err = otelcol.MakeFactoryMap[extension.Factory](probe)
	return f, err
}

func run(t *testing.T, s Settings, uris ...string) liveconfig.Verdict {
	t.Helper()
	s.Factories, s.URIs = factories, uris
	s.Providers = func(read func(string, []byte)) []confmap.ProviderFactory {
		return []confmap.ProviderFactory{watchprovider.NewRecordingFactory(read), envprovider.NewFactory(), yamlprovider.NewFactory()}
	}
	return Run(t.Context(), s)
}

// base is a good configuration; %s takes more settings of the receiver and the extension, and the level of the metrics.
const base = `
receivers: {otlp: {protocols: {grpc: {endpoint: 127.0.0.1:0%s}}}}
exporters: {nop: }
extensions: {probe: {%s}}
service: {extensions: [probe], pipelines: {traces: {receivers: [otlp], exporters: [nop]}}, telemetry: {metrics: {level: %s}}}
`

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func TestGood(t *testing.T) {
	path := file(t, fmt.Sprintf(base, "", "", "none"))
	v := run(t, Settings{}, path, "yaml:extensions::probe::create: ''")
	require.True(t, v.OK, v.Reason)
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, map[string]string{path: liveconfig.HashBytes(b)}, v.Sources)
	assert.Contains(t, v.Effective, "receivers")
}

func TestBad(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	notAKey := file(t, "not a key")
	for name, tc := range map[string]struct{ content, want string }{
		"empty":                    {"", "empty configuration file"},
		"no mapping":               {"[1, 2]", "c.yaml: "},
		"bad YAML":                 {"receivers:\n  otlp: {\n", "c.yaml: "},
		"duplicate key":            {"receivers: {}\nreceivers: {}\n", `mapping key "receivers" already defined at line 1`},
		"binary":                   {"\x00\x01\xff", "c.yaml: "},
		"unknown component":        {strings.Replace(fmt.Sprintf(base, "", "", "none"), "nop: }", "nope: }", 1), `"nope"`},
		"unknown field":            {fmt.Sprintf(base, ", endpont: x", "", "none"), "endpont"},
		"undefined in pipeline":    {strings.Replace(fmt.Sprintf(base, "", "", "none"), "exporters: [nop]", "exporters: [nop/2]", 1), `"nop/2"`},
		"type of a field":          {fmt.Sprintf(base, ", max_recv_msg_size_mib: much", "", "none"), "max_recv_msg_size_mib"},
		"missing variable":         {fmt.Sprintf(base, "", "", `"${env:BRAMBLE_NOT_SET}x"`), "BRAMBLE_NOT_SET is not set"},
		"unfinished reference":     {fmt.Sprintf(base, ", endpont: ${env:", "", "none"), "c.yaml: "},
		"missing include":          {fmt.Sprintf(base, `, auth: "${file:/does/not/exist.yaml}"`, "", "none"), "/does/not/exist.yaml"},
		"TLS file missing":         {fmt.Sprintf(base, ", tls: {cert_file: /no/cert.pem, key_file: /no/key.pem}", "", "none"), "/no/cert.pem"},
		"TLS file bad":             {fmt.Sprintf(base, ", tls: {cert_file: "+notAKey+", key_file: "+notAKey+"}", "", "none"), "receivers::otlp::protocols::grpc::tls"},
		"port in use":              {strings.Replace(fmt.Sprintf(base, "", "", "none"), "127.0.0.1:0", "127.0.0.1:"+port, 1), "receivers::otlp::protocols::grpc: cannot listen"},
		"host that is not ours":    {strings.Replace(fmt.Sprintf(base, "", "", "none"), "127.0.0.1:0", "192.0.2.1:4317", 1), "cannot listen"},
		"telemetry's port in use":  {fmt.Sprintf(base, "", "", "basic, readers: [{pull: {exporter: {prometheus: {host: 127.0.0.1, port: "+port+"}}}}]"), "service::telemetry::metrics::readers::0: cannot listen"},
		"extension cannot be made": {fmt.Sprintf(base, "", "create: no such rule", "none"), "extensions::probe: create: no such rule"},
		"checker":                  {fmt.Sprintf(base, "", "check: directory cannot be written", "none"), "extensions::probe: directory cannot be written"},
		"twice the same port": {strings.Replace(fmt.Sprintf(base, "", "", "none"), "{protocols: {grpc: {endpoint: 127.0.0.1:0}}}",
			"{protocols: {grpc: {endpoint: 127.0.0.1:19991}, http: {endpoint: 127.0.0.1:19991}}}", 1), "127.0.0.1:19991 is used by receivers::otlp::protocols::"},
	} {
		t.Run(name, func(t *testing.T) {
			v := run(t, Settings{}, file(t, tc.content))
			assert.False(t, v.OK)
			assert.Contains(t, v.Reason, tc.want)
		})
	}
	if runtime.GOOS == "linux" {
		t.Run("port of the running process", func(t *testing.T) {
			v := run(t, Settings{RunningPID: os.Getpid()}, file(t, strings.Replace(fmt.Sprintf(base, "", "", "none"), "127.0.0.1:0", "127.0.0.1:"+port, 1)))
			assert.True(t, v.OK, v.Reason)
		})
	}
}

// TestLight: the light check ends before anything is created.
func TestLight(t *testing.T) {
	v := run(t, Settings{Light: true}, file(t, fmt.Sprintf(base, "", "create: no", "none")))
	assert.True(t, v.OK, v.Reason)
	assert.NotEmpty(t, v.Effective)
	v = run(t, Settings{Light: true}, file(t, fmt.Sprintf(base, ", endpont: x", "", "none")))
	assert.False(t, v.OK)
}

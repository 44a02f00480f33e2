package configcheck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/service"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	nooptrace "go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"

	"github.com/bramble-tracing/bramble/internal/liveconfig"
)

// Checker is implemented by a component's configuration that can tell more about itself than Validate may: whether a
// directory can be written, whether a file that it names is good. It must not change anything and not ask the network.
type Checker interface {
	Check(ctx context.Context) error
}

// Settings say what to check.
type Settings struct {
	Factories func() (otelcol.Factories, error)
	Build     component.BuildInfo
	// URIs name the configuration as --config and --set do.
	URIs []string
	// Providers read it. A provider for files is given the function that is told what is read.
	Providers func(read func(key string, content []byte)) []confmap.ProviderFactory
	// RunningPID is the process whose listeners are not in the way; 0 if there is none.
	RunningPID int
	// Light leaves out everything after the second step.
	Light bool
}

// Run judges the configuration.
func Run(ctx context.Context, s Settings) liveconfig.Verdict {
	v := liveconfig.Verdict{Sources: map[string]string{}}
	contents := map[string][]byte{}
	cfg, factories, err := s.load(ctx, func(key string, b []byte) {
		v.Sources[key] = liveconfig.HashBytes(b)
		contents[key] = b
	}, func(name string) {
		v.Warnings = append(v.Warnings, fmt.Sprintf("the environment variable %s is not set and counts as empty", name))
	})
	if err == nil {
		v.Effective, err = effective(cfg)
	}
	if err == nil && !s.Light {
		err = s.create(ctx, cfg, factories)
	}
	if err == nil && !s.Light {
		err = s.inspect(ctx, cfg)
	}
	if err != nil {
		v.Reason = strings.Join(append([]string{reason(err, contents)}, v.Warnings...), "\n")
		return v
	}
	v.OK = true
	return v
}

// load reads, unmarshals and validates.
func (s *Settings) load(ctx context.Context, read func(string, []byte), missing func(string)) (*otelcol.Config, otelcol.Factories, error) {
	factories, err := s.Factories()
	if err != nil {
		return nil, factories, fmt.Errorf("list the components: %w", err)
	}
	var providers []confmap.ProviderFactory
	for _, f := range s.Providers(read) {
		providers = append(providers, watchEnv(f, missing))
	}
	provider, err := otelcol.NewConfigProvider(otelcol.ConfigProviderSettings{ResolverSettings: confmap.ResolverSettings{
		URIs: s.URIs, ProviderFactories: providers, DefaultScheme: "env",
	}})
	if err != nil {
		return nil, factories, fmt.Errorf("read the configuration: %w", err)
	}
	cfg, err := provider.Get(ctx, factories)
	err = errors.Join(err, provider.Shutdown(ctx))
	if err == nil {
		err = confmap.Validate(cfg)
	}
	return cfg, factories, err
}

// effective is the configuration as a map, secrets hidden.
func effective(cfg *otelcol.Config) (map[string]any, error) {
	conf := confmap.New()
	if err := conf.Marshal(cfg); err != nil {
		return nil, fmt.Errorf("write the effective configuration: %w", err)
	}
	return liveconfig.Redact(conf.ToStringMap()), nil
}

// create builds all components without starting them.
func (s *Settings) create(ctx context.Context, cfg *otelcol.Config, f otelcol.Factories) error {
	pipelines := cfg.Service
	pipelines.Telemetry = nil
	if err := service.Validate(ctx, service.Settings{
		BuildInfo:        s.Build,
		ReceiversConfigs: cfg.Receivers, ReceiversFactories: f.Receivers,
		ProcessorsConfigs: cfg.Processors, ProcessorsFactories: f.Processors,
		ExportersConfigs: cfg.Exporters, ExportersFactories: f.Exporters,
		ConnectorsConfigs: cfg.Connectors, ConnectorsFactories: f.Connectors,
		TelemetryFactory: f.Telemetry,
	}, pipelines); err != nil {
		return err
	}
	for _, id := range cfg.Service.Extensions {
		factory, ok := f.Extensions[id.Type()]
		if !ok {
			return fmt.Errorf("service::extensions: %q is not a known extension", id)
		}
		if _, err := factory.Create(ctx, extension.Settings{ID: id, TelemetrySettings: silent(), BuildInfo: s.Build}, cfg.Extensions[id]); err != nil {
			return fmt.Errorf("extensions::%s: create: %w", id, err)
		}
	}
	return nil
}

func silent() component.TelemetrySettings {
	return component.TelemetrySettings{
		Logger: zap.NewNop(), TracerProvider: nooptrace.NewTracerProvider(), MeterProvider: noopmetric.NewMeterProvider(),
		Resource: pcommon.NewResource(),
	}
}

// reason makes one text of an error. A YAML error does not say which file it is in; the files that cannot be parsed are
// named in front.
func reason(err error, contents map[string][]byte) string {
	text := err.Error()
	for _, key := range slices.Sorted(maps.Keys(contents)) {
		if yamlErr := parse(contents[key]); yamlErr != nil && !strings.Contains(text, key) {
			text = key + ": " + yamlErr.Error() + "\n" + text
		}
	}
	return text
}

// parse reports why bytes are no YAML mapping.
func parse(b []byte) error {
	if len(bytes.TrimSpace(b)) == 0 {
		return errors.New("the file is empty")
	}
	r, err := confmap.NewRetrievedFromYAML(b)
	if err != nil {
		return err
	}
	_, err = r.AsConf()
	return err
}

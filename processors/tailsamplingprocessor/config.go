package tailsamplingprocessor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/tailsamplingprocessor"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"

	"github.com/bramble-tracing/bramble/internal/sampling"
)

// Config is the configuration of the processor. Without Store it is contrib's alone.
type Config struct {
	// Store is the id of the trace store whose spans the policies decide about. Empty (the default): contrib's processor
	// does the work, with the settings of Contrib.
	Store *component.ID `mapstructure:"store"`
	// Query is the id of the extension on whose port /api/bramble/sampling/preview is answered. Default trace_query; if
	// there is no such extension the preview is not served.
	Query component.ID `mapstructure:"query"`
	// Config holds policies and sample_on_first_match; see the README.
	sampling.Config `mapstructure:",squash"`
	// PoliciesFile is the path of a YAML file with the same. It is read again when its content changes, and takes the
	// place of those fields here.
	PoliciesFile string `mapstructure:"policies_file"`

	// Contrib is the configuration without a store.
	Contrib *tailsamplingprocessor.Config `mapstructure:"-"`
	// ignored lists the settings that were given and have no effect with a store.
	ignored []string
}

// withoutEffect are settings of contrib about what is held in memory. With a store nothing is.
var withoutEffect = []string{
	"decision_wait", "decision_wait_after_root_received", "num_traces", "block_on_overflow", "expected_new_traces_per_sec",
	"decision_cache", "sampling_strategy", "drop_pending_traces_on_shutdown", "maximum_trace_size_bytes", "tail_storage",
}

// ownSettings need a store.
var ownSettings = []string{"query", "policies_file"}

// Unmarshal implements confmap.Unmarshaler: which settings there are depends on store.
func (c *Config) Unmarshal(conf *confmap.Conf) error {
	if !conf.IsSet("store") {
		for _, key := range ownSettings {
			if conf.IsSet(key) {
				return fmt.Errorf("%s: needs store, the id of a trace store", key)
			}
		}
		if err := conf.Unmarshal(c.Contrib); err != nil {
			return fmt.Errorf("without store, as contrib's tail_sampling: %w", err)
		}
		return nil
	}
	if conf.Get("store") == nil {
		return errors.New("store: is empty; name a trace store, such as trace_store, or leave it out")
	}
	settings := maps.Clone(conf.ToStringMap())
	c.ignored = nil
	for _, key := range withoutEffect {
		if _, ok := settings[key]; ok {
			c.ignored = append(c.ignored, key)
			delete(settings, key)
		}
	}
	type plain Config
	return confmap.NewFromStringMap(settings).Unmarshal((*plain)(c)) //nolint:wrapcheck // the path is in it
}

// Validate checks the policies; those of a file are checked when the processor starts.
func (c *Config) Validate() error {
	if c.Store == nil {
		return c.Contrib.Validate() //nolint:wrapcheck // contrib's own
	}
	if c.PoliciesFile != "" {
		if len(c.Policies) > 0 || c.SampleOnFirstMatch {
			return errors.New("policies_file: takes the place of policies and sample_on_first_match; move them into the file")
		}
		return nil
	}
	if len(c.Policies) == 0 {
		return errors.New("policies: there are none, so nothing would be kept beyond the recent window; give some, or policies_file")
	}
	_, err := sampling.Compile(c.Config)
	return err //nolint:wrapcheck // the path is in it
}

// Check reads policies_file, for `bramble config check`.
func (c *Config) Check(context.Context) error {
	if c.PoliciesFile == "" {
		return nil
	}
	content, err := (&policiesFile{path: c.PoliciesFile}).read()
	if err != nil {
		return err
	}
	_, err = compileFile(content)
	return err
}

// Ignored lists the settings that were given and have no effect with a store.
func (c *Config) Ignored() []string { return slices.Clone(c.ignored) }

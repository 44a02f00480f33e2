package tracestoreexporter

import (
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/config/configretry"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
)

// Config is the configuration of the exporter.
type Config struct {
	// Store is the id of the trace_store extension that takes the spans.
	Store component.ID `mapstructure:"store"`
	// Timeout is how long a request may wait for memory or for the disk before it is refused as retryable.
	Timeout time.Duration `mapstructure:"timeout"`
	// QueueConfig is the exporter helper's queue. It is off by default: a queue acknowledges spans before they are
	// stored.
	QueueConfig configoptional.Optional[exporterhelper.QueueBatchConfig] `mapstructure:"sending_queue"`
	// BackOffConfig is the exporter helper's retry. It is off by default: the client is told and resends.
	BackOffConfig configretry.BackOffConfig `mapstructure:"retry_on_failure"`

	// prevent unkeyed literal initialization
	_ struct{}
}

func createDefaultConfig() component.Config {
	retry := configretry.NewDefaultBackOffConfig()
	retry.Enabled = false
	return &Config{
		Store:         component.MustNewID("trace_store"),
		Timeout:       5 * time.Second,
		QueueConfig:   configoptional.Default(exporterhelper.NewDefaultQueueConfig()),
		BackOffConfig: retry,
	}
}

// Validate names the path of each field that is out of range.
func (c *Config) Validate() error {
	var errs []error
	if c.Store.Type().String() == "" {
		errs = append(errs, errors.New("store: must name a trace_store extension"))
	}
	if c.Timeout <= 0 {
		errs = append(errs, fmt.Errorf("timeout: must be above 0, is %s", c.Timeout))
	}
	return errors.Join(errs...)
}

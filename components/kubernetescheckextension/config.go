package kubernetescheckextension

import (
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"
)

// Config is the configuration of the extension. What is checked follows from the rest of the configuration.
type Config struct {
	// Interval is the time between two checks when nothing is missing, give or take a fifth.
	Interval time.Duration `mapstructure:"interval"`
	// RetryInterval is the time to the next check when something is missing or the API server does not answer. It doubles
	// with each check in a row that finds so, up to Interval.
	RetryInterval time.Duration `mapstructure:"retry_interval"`
	// Timeout is how long one request to the API server may take.
	Timeout time.Duration `mapstructure:"timeout"`

	// prevent unkeyed literal initialization
	_ struct{}
}

const (
	defaultInterval = 10 * time.Minute
	defaultRetry    = 5 * time.Second
	defaultTimeout  = 10 * time.Second
)

func createDefaultConfig() component.Config {
	return &Config{Interval: defaultInterval, RetryInterval: defaultRetry, Timeout: defaultTimeout}
}

// Validate names the path of each field that is out of range.
func (c *Config) Validate() error {
	var errs []error
	if c.RetryInterval <= 0 {
		errs = append(errs, fmt.Errorf("retry_interval: must be above 0, is %s", c.RetryInterval))
	}
	if c.Interval < c.RetryInterval {
		errs = append(errs, fmt.Errorf("interval: must not be below retry_interval (%s), is %s", c.RetryInterval, c.Interval))
	}
	if c.Timeout <= 0 {
		errs = append(errs, fmt.Errorf("timeout: must be above 0, is %s", c.Timeout))
	}
	return errors.Join(errs...)
}

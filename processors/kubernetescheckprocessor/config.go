package kubernetescheckprocessor

import (
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"
)

// Config is the configuration of the processor.
type Config struct {
	// Attributes are the resource attributes that spans with metadata have, all of them.
	Attributes []string `mapstructure:"attributes"`
	// LogInterval is the least time between two log lines about the same reason.
	LogInterval time.Duration `mapstructure:"log_interval"`

	// prevent unkeyed literal initialization
	_ struct{}
}

const defaultLogInterval = 10 * time.Minute

func createDefaultConfig() component.Config {
	return &Config{Attributes: []string{"k8s.pod.name", "k8s.namespace.name"}, LogInterval: defaultLogInterval}
}

// Validate names the path of each field that is out of range.
func (c *Config) Validate() error {
	var errs []error
	if len(c.Attributes) == 0 {
		errs = append(errs, errors.New("attributes: must name what spans with metadata have, such as k8s.pod.name"))
	}
	for i, a := range c.Attributes {
		if a == "" {
			errs = append(errs, fmt.Errorf("attributes::%d: must not be empty", i))
		}
	}
	if c.LogInterval <= 0 {
		errs = append(errs, fmt.Errorf("log_interval: must be above 0, is %s", c.LogInterval))
	}
	return errors.Join(errs...)
}

package traceownerconnector

import (
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configgrpc"
)

// Config is the configuration of the connector.
type Config struct {
	// Peers is the id of the trace_query extension whose peers are the owners. It must have a section peers.
	Peers component.ID `mapstructure:"peers"`
	// Port is where every agent takes spans that it owns over OTLP/gRPC: the port of a receiver in the pipeline behind
	// this connector. The host is that of the peer.
	Port int `mapstructure:"port"`
	// Timeout is how long an owner may take before its spans stay here.
	Timeout time.Duration `mapstructure:"timeout"`
	// Client has the Collector's settings of a gRPC client. endpoint must be left out.
	Client configgrpc.ClientConfig `mapstructure:"client"`

	_ struct{}
}

const (
	defaultPort    = 4319
	defaultTimeout = 3 * time.Second
)

func createDefaultConfig() component.Config {
	return &Config{
		Peers: component.MustNewID("trace_query"), Port: defaultPort, Timeout: defaultTimeout, Client: configgrpc.NewDefaultClientConfig(),
	}
}

// Validate names the path of each field that is wrong.
func (c *Config) Validate() error {
	var errs []error
	add := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	add(c.Peers.Type().String() == "", "peers: must name a trace_query extension")
	add(c.Port < 1 || c.Port > 65535, "port: must be from 1 to 65535, is %d", c.Port)
	add(c.Timeout <= 0, "timeout: must be above 0, is %s", c.Timeout)
	add(c.Client.Endpoint != "", "client::endpoint: must not be set, the owners are the peers of the extension")
	return errors.Join(errs...)
}

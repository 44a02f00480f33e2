package jaegerreceiver

import (
	"errors"
	"fmt"

	contrib "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/jaegerreceiver"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configoptional"
)

// Config is the configuration of contrib's jaeger receiver.
type Config struct {
	contrib.Config `mapstructure:",squash"`
}

// maxDatagram is what UDP over IPv4 can carry in one packet, in bytes (RFC 768, RFC 791).
const maxDatagram = 65507

// Validate checks what contrib's receiver would only notice, if at all, when it starts.
func (c *Config) Validate() error {
	return errors.Join(
		c.Config.Validate(),
		validateUDP("protocols::thrift_binary", &c.Protocols.ThriftBinaryUDP),
		validateUDP("protocols::thrift_compact", &c.Protocols.ThriftCompactUDP),
	)
}

func validateUDP(path string, o *configoptional.Optional[contrib.ProtocolUDP]) error {
	if !o.HasValue() {
		return nil
	}
	c := o.Get().ServerConfigUDP
	var errs []error
	if c.QueueSize < 1 {
		errs = append(errs, fmt.Errorf("%s::queue_size: must be at least 1, is %d", path, c.QueueSize))
	}
	if c.MaxPacketSize < 1 || c.MaxPacketSize > maxDatagram {
		errs = append(errs, fmt.Errorf("%s::max_packet_size: must be between 1 and %d, is %d", path, maxDatagram, c.MaxPacketSize))
	}
	if c.Workers < 1 {
		errs = append(errs, fmt.Errorf("%s::workers: must be at least 1, is %d", path, c.Workers))
	}
	if c.SocketBufferSize < 0 {
		errs = append(errs, fmt.Errorf("%s::socket_buffer_size: must not be negative, is %d", path, c.SocketBufferSize))
	}
	return errors.Join(errs...)
}

func createDefaultConfig() component.Config {
	return &Config{Config: *contrib.NewFactory().CreateDefaultConfig().(*contrib.Config)}
}

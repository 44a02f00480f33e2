package configcheck

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"

	"go.opentelemetry.io/collector/otelcol"

	"go.opentelemetry.io/collector/confmap"
)

// bind listens on each address for a moment. Two components with one address are an error too; port 0 is any port.
func bind(ctx context.Context, addrs []address, pid int) []error {
	var errs []error
	taken := map[string]string{}
	for _, a := range addrs {
		if a.network == "" {
			a.network = "tcp"
		}
		if _, port, err := net.SplitHostPort(a.endpoint); err == nil && port != "0" {
			key := transport(a.network) + " " + a.endpoint
			if other, ok := taken[key]; ok {
				errs = append(errs, fmt.Errorf("%s: %s is used by %s too: give one of them another port", a.path, a.endpoint, other))
				continue
			}
			taken[key] = a.path
		}
		if err := bindOne(ctx, a); err != nil && (!errors.Is(err, syscall.EADDRINUSE) || !heldBy(pid, a)) {
			errs = append(errs, fmt.Errorf("%s: cannot listen: %w", a.path, err))
		}
	}
	return errs
}

func transport(network string) string {
	if strings.HasPrefix(network, "udp") {
		return "udp"
	}
	return "tcp"
}

func bindOne(ctx context.Context, a address) error {
	var lc net.ListenConfig
	switch {
	case strings.HasPrefix(a.network, "udp"):
		c, err := lc.ListenPacket(ctx, a.network, a.endpoint)
		if err != nil {
			return err
		}
		return c.Close()
	case strings.HasPrefix(a.network, "tcp"):
		l, err := lc.Listen(ctx, a.network, a.endpoint)
		if err != nil {
			return err
		}
		return l.Close()
	}
	return nil // Sockets in the file system: binding would make the file.
}

// telemetryAddresses are the addresses of the Collector's own Prometheus readers.
func telemetryAddresses(cfg *otelcol.Config) []address {
	conf := confmap.New()
	if err := conf.Marshal(cfg); err != nil {
		return nil // It was marshalled before.
	}
	readers, _ := conf.Get("service::telemetry::metrics::readers").([]any)
	var out []address
	for i, r := range readers {
		p := fields(r, "pull", "exporter", "prometheus")
		port, ok := p["port"]
		if !ok || port == nil {
			continue
		}
		host, _ := p["host"].(string)
		n, err := strconv.Atoi(fmt.Sprint(port))
		if err != nil {
			continue
		}
		out = append(out, address{
			path: fmt.Sprintf("service::telemetry::metrics::readers::%d", i), network: "tcp",
			endpoint: net.JoinHostPort(host, strconv.Itoa(n)),
		})
	}
	return out
}

// fields goes down a path of maps.
func fields(v any, path ...string) map[string]any {
	m, _ := v.(map[string]any)
	for _, k := range path {
		m, _ = m[k].(map[string]any)
	}
	return m
}

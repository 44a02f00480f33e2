package tracequeryextension

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/confignet"

	"github.com/bramble-tracing/bramble/internal/keptport"
)

// listen opens the port, or takes it over from the extension before a reload. release gives it back after the listener
// was closed and everybody has left Accept.
func listen(ctx context.Context, id component.ID, sc *confighttp.ServerConfig) (net.Listener, func() error, error) {
	var conf *tls.Config
	if sc.TLS.HasValue() {
		c, err := sc.TLS.Get().LoadTLSConfig(ctx)
		if err != nil {
			return nil, nil, err
		}
		c.NextProtos = []string{"h2", "http/1.1"} // C-02
		conf = c
	}
	l, release, err := keptport.Listen(ctx, &sc.NetAddr, "extension "+id.String())
	if err != nil {
		return nil, nil, err
	}
	if conf != nil {
		return tls.NewListener(l, conf), release, nil
	}
	return l, release, nil
}

// checkEndpoint names the field whose address cannot be listened on.
func checkEndpoint(field string, addr *confignet.AddrConfig, example string) error {
	if addr.Endpoint == "" {
		return fmt.Errorf("%s: must not be empty, for example %s", field, example)
	}
	if !strings.HasPrefix(string(addr.Transport), "tcp") {
		return nil
	}
	_, port, err := net.SplitHostPort(addr.Endpoint)
	if err != nil {
		return fmt.Errorf("%s: must be host:port, for example %s, is %q: %w", field, example, addr.Endpoint, err)
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return fmt.Errorf("%s: the port must be from 0 to 65535, is %q", field, port)
	}
	return nil
}

package tracequeryextension

import (
	"context"
	"crypto/tls"
	"net"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/confighttp"

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

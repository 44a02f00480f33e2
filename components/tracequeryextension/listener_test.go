package tracequeryextension

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/config/configtls"
	"go.opentelemetry.io/collector/extension/extensiontest"

	"github.com/bramble-tracing/bramble/components/tracequeryextension/internal/metadata"
	"github.com/bramble-tracing/bramble/internal/procstate"
)

// freePort returns an address that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "localhost:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	return l.Addr().String()
}

// reloading keeps what outlives a reload until the test ends, as the main package does.
func reloading(t *testing.T) {
	t.Helper()
	procstate.Default.SetGrace(time.Minute)
	t.Cleanup(func() {
		procstate.Default.SetGrace(0)
		require.NoError(t, procstate.Default.CloseAll())
	})
}

// TestReloadRefusesNobody: a client that connects while there is no extension is answered by the next one.
func TestReloadRefusesNobody(t *testing.T) {
	reloading(t)
	addr := freePort(t)
	s := someTrace(t)
	at := func(c *Config) { c.NetAddr.Endpoint = addr }
	first := start(t, s, at)
	require.NoError(t, ask(dial(t, first.addr), "/api/echo"))
	require.NoError(t, first.Shutdown(context.Background()))

	early := dial(t, first.addr)
	answered := make(chan error, 1)
	go func() { answered <- ask(early, "/api/v2/traces/"+testID.String()) }()
	second := start(t, s, at)
	require.NoError(t, <-answered)
	require.NoError(t, ask(dial(t, second.addr), "/api/echo"))
}

// TestReloadUnderLoad reloads again and again while clients open connections; none is refused.
func TestReloadUnderLoad(t *testing.T) {
	reloading(t)
	addr := freePort(t)
	s := someTrace(t)
	at := func(c *Config) { c.NetAddr.Endpoint = addr }
	e := start(t, s, at)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	refused := make(chan error, 4)
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				c, err := (&net.Dialer{}).Dial("tcp", addr)
				if err != nil {
					refused <- err
					return
				}
				_ = ask(c, "/api/echo") // Cut off by a shutdown it may be.
				_ = c.Close()
			}
		})
	}
	for range 20 {
		require.NoError(t, e.Shutdown(context.Background()))
		e = start(t, s, at)
	}
	stop()
	wg.Wait()
	close(refused)
	for err := range refused {
		require.NoError(t, err)
	}
}

// TestReloadToTLS: the new configuration holds for the socket that was kept.
func TestReloadToTLS(t *testing.T) {
	reloading(t)
	addr := freePort(t)
	s := someTrace(t)
	first := start(t, s, func(c *Config) { c.NetAddr.Endpoint = addr })
	require.NoError(t, first.Shutdown(context.Background()))
	cert, key, pool := certificate(t)
	second := start(t, s, func(c *Config) {
		c.NetAddr.Endpoint = addr
		c.TLS = configoptional.Some(configtls.ServerConfig{Config: configtls.Config{CertFile: cert, KeyFile: key}})
	})
	c := client(t, http2, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12, ServerName: "localhost"})
	require.Equal(t, http.StatusOK, get(t, c, "https://"+second.addr.String()+"/api/echo").code)
}

// TestTwoOnOnePort: a second extension with the same endpoint is an error, not a partner.
func TestTwoOnOnePort(t *testing.T) {
	addr := freePort(t)
	start(t, someTrace(t), func(c *Config) { c.NetAddr.Endpoint = addr })
	cfg := createDefaultConfig().(*Config)
	cfg.NetAddr.Endpoint = addr
	set := extensiontest.NewNopSettings(metadata.Type)
	set.ID = component.MustNewIDWithName("trace_query", "other")
	e := newQueryExtension(set, cfg)
	require.ErrorContains(t, e.Start(t.Context(), host{storeID: storeExt{Store: someTrace(t)}}), "listen on "+addr)
	require.NoError(t, e.Shutdown(t.Context()))
}

// TestPortIsFreeAfterTheEnd: without a successor the port is closed.
func TestPortIsFreeAfterTheEnd(t *testing.T) {
	addr := freePort(t)
	e := start(t, someTrace(t), func(c *Config) { c.NetAddr.Endpoint = addr })
	require.NoError(t, e.Shutdown(context.Background()))
	_, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	require.Error(t, err)
}

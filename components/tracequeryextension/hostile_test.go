package tracequeryextension

import (
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/config/configtls"

	"github.com/bramble-tracing/bramble/internal/webmount"
)

// TestHostileConnections: a client that stalls or sends too much loses its connection and disturbs nobody.
func TestHostileConnections(t *testing.T) {
	e := start(t, someTrace(t), func(c *Config) {
		c.ReadHeaderTimeout = 100 * time.Millisecond
		c.WriteTimeout = 100 * time.Millisecond
		c.IdleTimeout = 200 * time.Millisecond
	})
	c := client(t, http1, nil)
	t.Run("clients", func(t *testing.T) {
		t.Run("headers never end", func(t *testing.T) {
			t.Parallel()
			conn := dial(t, e.addr)
			_, err := io.WriteString(conn, "GET /api/echo HTTP/1.1\r\nHost: x\r\nX-Slow: ")
			require.NoError(t, err)
			require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
			answer, err := io.ReadAll(conn)
			require.NoError(t, err, "the server must hang up")
			require.NotContains(t, string(answer), "200 OK")
		})
		t.Run("body never comes", func(t *testing.T) {
			t.Parallel()
			conn := dial(t, e.addr)
			_, err := io.WriteString(conn, "POST /api/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
			require.NoError(t, err)
			require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
			answer, err := io.ReadAll(conn)
			require.NoError(t, err, "the server must hang up")
			require.Contains(t, string(answer), "200 OK")
		})
		t.Run("not a word", func(t *testing.T) {
			t.Parallel()
			requireHangUp(t, dial(t, e.addr))
		})
		t.Run("HTTP/2 without settings", func(t *testing.T) {
			t.Parallel()
			conn := dial(t, e.addr)
			_, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
			require.NoError(t, err)
			requireHangUp(t, conn)
		})
		t.Run("HTTP/2 without requests", func(t *testing.T) {
			t.Parallel()
			conn := dial(t, e.addr)
			_, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
			require.NoError(t, err)
			requireHangUp(t, conn)
		})
		t.Run("path tricks", func(t *testing.T) {
			t.Parallel()
			for _, p := range []string{"/api/../api/echo", "//api/echo", "/api/traces/../echo", "/api/traces/%2e%2e/echo", "/api/echo/", "/api/traces/", "/%2fapi/echo", "/api/v2/search/tag//values"} {
				conn := dial(t, e.addr)
				_, err := io.WriteString(conn, "GET "+p+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
				require.NoError(t, err)
				answer, err := io.ReadAll(conn)
				require.NoError(t, err)
				require.Contains(t, string(answer), "404 Not Found", p)
			}
		})
	})
	require.Equal(t, 200, get(t, c, e.url("/api/echo")).code)
}

// TestLongParameters: what is too long is refused by the API or, beyond its headers' limit, by the server.
func TestLongParameters(t *testing.T) {
	e := start(t, someTrace(t), nil)
	for n, want := range map[int]int{450_000: http.StatusRequestEntityTooLarge, 600_000: http.StatusRequestHeaderFieldsTooLarge} {
		a := get(t, client(t, http1, nil), e.url("/api/traces/1?x="+strings.Repeat("a", n)))
		require.Equal(t, want, a.code)
	}
}

// TestStalledReader: a client that asks for much and reads nothing is cut off, and the handler with it.
func TestStalledReader(t *testing.T) {
	e := start(t, someTrace(t), func(c *Config) { c.WriteTimeout = 50 * time.Millisecond })
	ended := make(chan error, 1)
	_, err := e.Mount(webmount.Mount{Prefix: "/flood", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		chunk := make([]byte, 1<<20)
		for {
			if _, err := w.Write(chunk); err != nil {
				ended <- err
				return
			}
		}
	})})
	require.NoError(t, err)
	requireEnd := func(t *testing.T) {
		t.Helper()
		select {
		case err := <-ended:
			require.Error(t, err)
		case <-time.After(10 * time.Second):
			t.Fatal("the handler still writes to a client that does not read")
		}
	}
	t.Run("HTTP/1.1", func(t *testing.T) {
		_, err = io.WriteString(dial(t, e.addr), "GET /flood HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
		requireEnd(t)
	})
	t.Run("h2c", func(t *testing.T) {
		resp, err := client(t, h2c, nil).Get(e.url("/flood")) //nolint:noctx // Ends with the server.
		require.NoError(t, err)
		defer resp.Body.Close()
		requireEnd(t)
	})
}

// requireHangUp waits until the server closes a connection.
func requireHangUp(t *testing.T, conn net.Conn) {
	t.Helper()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	_, err := io.Copy(io.Discard, conn)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the server must hang up")
}

// TestSilentTLS: also a handshake that never comes ends.
func TestSilentTLS(t *testing.T) {
	cert, key, _ := certificate(t)
	e := start(t, someTrace(t), func(c *Config) {
		c.ReadHeaderTimeout = 100 * time.Millisecond
		c.TLS = configoptional.Some(configtls.ServerConfig{Config: configtls.Config{CertFile: cert, KeyFile: key}})
	})
	requireHangUp(t, dial(t, e.addr))
}

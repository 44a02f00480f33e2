package tracequeryextension

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configauth"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/config/configtls"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/bramble-tracing/bramble/components/tracequeryextension/internal/metadata"
	"github.com/bramble-tracing/bramble/internal/exthost"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/webmount"
)

func TestReadyFollowsThePipelines(t *testing.T) { // H-01
	e := start(t, someTrace(t), nil)
	c := client(t, http1, nil)
	a := get(t, c, e.url("/ready"))
	require.Equal(t, http.StatusServiceUnavailable, a.code)
	require.Contains(t, a.body, "starting")
	require.NoError(t, e.Ready())
	a = get(t, c, e.url("/ready"))
	require.Equal(t, http.StatusOK, a.code)
	require.Equal(t, "ready\n", a.body)
	require.NoError(t, e.NotReady())
	a = get(t, c, e.url("/ready"))
	require.Equal(t, http.StatusServiceUnavailable, a.code)
	require.Contains(t, a.body, "shutting down")
}

// TestOnePort asks the same over every protocol that the port has to speak (C-01).
func TestOnePort(t *testing.T) {
	e := start(t, someTrace(t), nil)
	path := e.url("/api/v2/traces/" + testID.String())
	for name, c := range map[string]*http.Client{"HTTP/1.1": client(t, http1, nil), "h2c": client(t, h2c, nil)} {
		t.Run(name, func(t *testing.T) {
			a := get(t, c, path)
			require.Equal(t, http.StatusOK, a.code)
			require.Contains(t, a.body, `"name":"GET /cart"`)
			require.Equal(t, map[string]int{"HTTP/1.1": 1, "h2c": 2}[name], a.proto)
			require.Equal(t, http.StatusOK, get(t, c, e.url("/api/echo")).code)
		})
	}
	t.Run("gRPC", func(t *testing.T) { requireServing(t.Context(), t, e, insecure.NewCredentials()) })
}

func requireServing(ctx context.Context, t *testing.T, e *queryExtension, creds credentials.TransportCredentials) {
	t.Helper()
	conn, err := grpc.NewClient(e.addr.String(), grpc.WithTransportCredentials(creds), grpc.WithDefaultCallOptions(grpc.UseCompressor(gzip.Name)))
	require.NoError(t, err)
	defer conn.Close()
	answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	require.NoError(t, err)
	require.Equal(t, grpc_health_v1.HealthCheckResponse_NOT_SERVING, answer.GetStatus(), "the pipelines have not started")
	require.NoError(t, e.Ready())
	answer, err = grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}) // H-08
	require.NoError(t, err)
	require.Equal(t, grpc_health_v1.HealthCheckResponse_SERVING, answer.GetStatus())
}

// TestOnePortTLS is the same with ALPN choosing the protocol (C-02).
func TestOnePortTLS(t *testing.T) {
	cert, key, pool := certificate(t)
	e := start(t, someTrace(t), func(c *Config) {
		c.TLS = configoptional.Some(configtls.ServerConfig{Config: configtls.Config{CertFile: cert, KeyFile: key}})
	})
	conf := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12, ServerName: "localhost"}
	url := "https://" + e.addr.String() + "/api/v2/traces/" + testID.String()
	for name, c := range map[string]*http.Client{"HTTP/1.1": client(t, http1, conf.Clone()), "HTTP/2": client(t, http2, conf.Clone())} {
		t.Run(name, func(t *testing.T) {
			a := get(t, c, url)
			require.Equal(t, http.StatusOK, a.code)
			require.Equal(t, map[string]int{"HTTP/1.1": 1, "HTTP/2": 2}[name], a.proto)
		})
	}
	t.Run("gRPC", func(t *testing.T) { requireServing(t.Context(), t, e, credentials.NewTLS(conf.Clone())) })
}

// TestAuth shows that the authenticator guards HTTP and gRPC, and that probes need no credentials.
func TestAuth(t *testing.T) {
	e := start(t, someTrace(t), func(c *Config) {
		c.Auth = configoptional.Some(confighttp.AuthConfig{Config: configauth.Config{AuthenticatorID: authID}})
	})
	c := client(t, http1, nil)
	for _, path := range []string{"/api/echo", "/metrics", "/status", "/api/traces/2a", "/nowhere"} {
		require.Equal(t, http.StatusUnauthorized, get(t, c, e.url(path)).code, path)
	}
	require.Equal(t, http.StatusServiceUnavailable, get(t, c, e.url("/ready")).code)
	require.Equal(t, http.StatusOK, get(t, c, e.url("/api/echo"), "Authorization", "Bearer letmein").code)

	conn, err := grpc.NewClient(e.addr.String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer conn.Close()
	_, err = grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	require.Equal(t, codes.Unauthenticated, status.Code(err))
	requireServing(bearer(t.Context(), "letmein"), t, e, insecure.NewCredentials())
	require.Equal(t, http.StatusOK, get(t, c, e.url("/ready")).code)
}

func TestPages(t *testing.T) {
	e := start(t, someTrace(t), func(c *Config) { c.HTTPAPIPrefix = "/tempo" })
	c := client(t, http1, nil)
	get(t, c, e.url("/tempo/api/traces/"+testID.String())) // So that there is something to count.
	tests := []struct {
		path string
		code int
		has  []string
	}{
		{"/metrics", 200, []string{"go_goroutines", "bramble_build_info{", `bramble_request_duration_seconds_count{method="GET",route="/api/traces/{traceID}",status_code="200"} 1`, `bramble_queries_running{kind="scan"} 0`}},
		{"/status", 200, []string{"query-lookups", "/tempo/api/v2/traces/{traceID}", "version"}},
		{"/status/version", 200, []string{"version"}},
		{"/status/services", 200, []string{"SERVICE", "query-scans"}},
		{"/status/endpoints", 200, []string{"/tempo/api/search", "/tempopb.StreamingQuerier", "/metrics"}},
		{"/status/config", 200, []string{"store: trace_store", "max_trace_bytes: 52428800"}},
		{"/status/runtime_config", 200, nil},
		{"/status/overrides", 200, nil},
		{"/status/usage-stats", 200, []string{"disabled"}},
		{"/status/elsewhere", 404, nil},
		{"/debug/pprof/", 404, nil}, // Off by default.
		{"/nowhere", 404, []string{"404 page not found"}},
		{"/", 404, []string{"/status/endpoints"}},
		{"/tempo/api/echo", 200, []string{"echo"}}, // C-04
		{"/api/echo", 404, nil},
		{"/memberlist", 404, nil}, // H-07
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			a := get(t, c, e.url(tt.path))
			require.Equal(t, tt.code, a.code)
			require.Contains(t, a.header.Get("Content-Type"), "text/plain")
			for _, s := range tt.has {
				require.Contains(t, a.body, s)
			}
		})
	}
}

func TestPprofWhenEnabled(t *testing.T) { // H-06
	e := start(t, someTrace(t), func(c *Config) { c.PprofEnabled = true })
	require.Equal(t, 200, get(t, client(t, http1, nil), e.url("/debug/pprof/goroutine?debug=1")).code)
}

func TestMount(t *testing.T) {
	e := start(t, someTrace(t), nil)
	c := client(t, http1, nil)
	page := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s %s", text, r.URL.Path) })
	}
	unmountRoot, err := e.Mount(webmount.Mount{Prefix: "/", Handler: page("root"), Title: "Home"})
	require.NoError(t, err)
	unmount, err := e.Mount(webmount.Mount{Prefix: "/pii", Handler: page("pii"), Title: "PII", Description: "What was scrubbed."})
	require.NoError(t, err)
	defer unmountRoot()

	require.Equal(t, "pii /pii/rules", get(t, c, e.url("/pii/rules")).body)
	require.Equal(t, "pii /pii", get(t, c, e.url("/pii")).body)
	require.Equal(t, "root /piiother", get(t, c, e.url("/piiother")).body)
	require.Equal(t, "root /", get(t, c, e.url("/")).body)
	require.Equal(t, 404, get(t, c, e.url("/api/unknown")).code, "a mount at / does not get what is below /api")
	require.Contains(t, get(t, c, e.url("/status/endpoints")).body, "What was scrubbed.")
	unmountAPI, err := e.Mount(webmount.Mount{Prefix: "/api/bramble/sampling", Handler: page("sampling")})
	require.NoError(t, err)
	require.Equal(t, "sampling /api/bramble/sampling/preview", get(t, c, e.url("/api/bramble/sampling/preview")).body)
	require.Equal(t, 404, get(t, c, e.url("/api/bramble/other")).code)
	unmountAPI()
	require.Equal(t, 404, get(t, c, e.url("/api/bramble/sampling")).code)
	for prefix, says := range map[string]string{
		"/api/x": "reserved", "/api/bramble": "reserved", "/api/bramblex": "reserved", "/status": "reserved", "/status/config": "reserved", "/status/version/x": "reserved", "/ready": "reserved", "/pii": "taken", "pii": "begins with a slash", "/x/": "does not end", "": "begins",
	} {
		_, err := e.Mount(webmount.Mount{Prefix: prefix, Handler: page("")})
		require.ErrorContains(t, err, says, prefix)
	}
	require.Equal(t, 404, get(t, c, e.url("/status/pii")).code, "a mount at / does not get what is below /status")
	below, err := e.Mount(webmount.Mount{Prefix: "/status/pii", Handler: page("state"), Description: "What was found."})
	require.NoError(t, err)
	require.Equal(t, "state /status/pii", get(t, c, e.url("/status/pii")).body)
	require.Equal(t, 404, get(t, c, e.url("/status/piii")).code)
	require.Contains(t, get(t, c, e.url("/status/version")).body, "version")
	require.Contains(t, get(t, c, e.url("/status/endpoints")).body, "What was found.")
	below()
	require.Equal(t, 404, get(t, c, e.url("/status/pii")).code)
	_, err = e.Mount(webmount.Mount{Prefix: "/none"})
	require.ErrorContains(t, err, "no handler")
	unmount()
	unmount()
	require.Equal(t, "root /pii", get(t, c, e.url("/pii")).body)
	require.Len(t, e.Mounts(), 1)
}

func TestPanicIsAnAnswer(t *testing.T) {
	e := start(t, someTrace(t), nil)
	_, err := e.Mount(webmount.Mount{Prefix: "/bad", Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("oops") })})
	require.NoError(t, err)
	a := get(t, client(t, http1, nil), e.url("/bad"))
	require.Equal(t, 500, a.code)
	require.Contains(t, a.body, "internal error")
}

func TestStartErrors(t *testing.T) {
	t.Run("no store", func(t *testing.T) {
		e := newQueryExtension(extensiontest.NewNopSettings(metadata.Type), createDefaultConfig().(*Config))
		require.ErrorIs(t, e.Start(t.Context(), host{}), exthost.ErrNotFound)
		require.NoError(t, e.Shutdown(t.Context()))
	})
	t.Run("port in use", func(t *testing.T) {
		busy := start(t, someTrace(t), nil)
		cfg := createDefaultConfig().(*Config)
		cfg.NetAddr.Endpoint = busy.addr.String()
		e := newQueryExtension(extensiontest.NewNopSettings(metadata.Type), cfg)
		require.ErrorContains(t, e.Start(t.Context(), host{storeID: storeExt{Store: someTrace(t)}}), "listen on "+busy.addr.String())
		require.NoError(t, e.Shutdown(t.Context()))
	})
	t.Run("port for peers in use", func(t *testing.T) { // It leaves no goroutine, as TestMain sees.
		busy := start(t, someTrace(t), nil)
		cfg := createDefaultConfig().(*Config)
		p := defaultPeers()
		p.Node, p.Static = "a", []string{busy.addr.String()}
		p.Server.NetAddr.Endpoint = busy.addr.String()
		cfg.Peers = configoptional.Some(p)
		e := newQueryExtension(extensiontest.NewNopSettings(metadata.Type), cfg)
		require.ErrorContains(t, e.Start(t.Context(), host{storeID: storeExt{Store: someTrace(t)}}), "peers::server: listen on "+busy.addr.String())
		require.NoError(t, e.Shutdown(t.Context()))
	})
	t.Run("depends on the store", func(t *testing.T) {
		e := newQueryExtension(extensiontest.NewNopSettings(metadata.Type), createDefaultConfig().(*Config))
		require.Equal(t, []component.ID{storeID}, e.Dependencies())
	})
}

// slowStore answers a lookup when the test lets it, or when the query is cancelled.
type slowStore struct {
	store.Store
	entered chan struct{}
	release chan struct{}
}

func (s *slowStore) View() (store.View, error) {
	v, err := s.Store.View()
	return &slowView{View: v, s: s}, err
}

type slowView struct {
	store.View
	s *slowStore
}

func (v *slowView) Trace(ctx context.Context, id spanid.TraceID, most int64) (*store.Trace, error) {
	v.s.entered <- struct{}{}
	select {
	case <-v.s.release:
		return v.View.Trace(ctx, id, most)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TestShutdown: requests in progress finish if they can, and are cancelled if they take too long.
func TestShutdown(t *testing.T) {
	for name, finish := range map[string]bool{"in time": true, "too late": false} {
		t.Run(name, func(t *testing.T) {
			slow := &slowStore{Store: someTrace(t), entered: make(chan struct{}), release: make(chan struct{})}
			e := start(t, slow, func(c *Config) { c.ShutdownTimeout = 50 * time.Millisecond })
			if finish {
				e.cfg.ShutdownTimeout = 10 * time.Second
			}
			c := client(t, http1, nil)
			codes := make(chan int, 1)
			go func() {
				resp, err := c.Get(e.url("/api/v2/traces/" + testID.String())) //nolint:noctx // Ends with the server.
				if err != nil {
					codes <- 0
					return
				}
				resp.Body.Close()
				codes <- resp.StatusCode
			}()
			<-slow.entered
			down := make(chan error, 1)
			go func() { down <- e.Shutdown(context.Background()) }()
			if finish {
				close(slow.release)
				require.Equal(t, http.StatusOK, <-codes)
			} else {
				require.NotEqual(t, http.StatusOK, <-codes)
			}
			require.NoError(t, <-down)
			require.Zero(t, e.service.Load())
		})
	}
}

// TestLongStream holds a gRPC stream open for longer than the Collector's usual write timeout of 30 s.
func TestLongStream(t *testing.T) {
	hold := 300 * time.Millisecond
	stall := 50 * time.Millisecond
	if os.Getenv("BRAMBLE_FULL") != "" {
		hold, stall = 45*time.Second, 30*time.Second
	}
	cert, key, pool := certificate(t)
	for name, secure := range map[string]bool{"h2c": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			creds := insecure.NewCredentials()
			e := start(t, someTrace(t), func(c *Config) {
				c.WriteTimeout = stall
				if secure {
					c.TLS = configoptional.Some(configtls.ServerConfig{Config: configtls.Config{CertFile: cert, KeyFile: key}})
					creds = credentials.NewTLS(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12, ServerName: "localhost"})
				}
			})
			conn, err := grpc.NewClient(e.addr.String(), grpc.WithTransportCredentials(creds))
			require.NoError(t, err)
			defer conn.Close()
			// The health service's Watch sends one message and then waits for changes.
			ctx, cancel := context.WithCancel(t.Context())
			defer time.AfterFunc(hold, cancel).Stop()
			stream, err := grpc_health_v1.NewHealthClient(conn).Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
			require.NoError(t, err)
			_, err = stream.Recv()
			require.NoError(t, err)
			_, err = stream.Recv()
			require.Equal(t, codes.Canceled, status.Code(err))
			require.Error(t, ctx.Err(), "the stream must live until the client ends it: %v", err)
		})
	}
}

// certificate makes a certificate for localhost that signs itself.
func certificate(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	require.NoError(t, os.WriteFile(certFile, certPEM, 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), 0o600))
	pool = x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(certPEM))
	return certFile, keyFile, pool
}

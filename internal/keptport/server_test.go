package keptport

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/confignet"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/config/configtls"

	"github.com/bramble-tracing/bramble/internal/procstate"
)

func httpConfig(endpoint string) *confighttp.ServerConfig {
	c := confighttp.NewDefaultServerConfig()
	c.NetAddr.Endpoint = endpoint
	return &c
}

// serve begins a turn whose answers are text.
func serve(t *testing.T, cfg *confighttp.ServerConfig, handler http.Handler) *Serving {
	t.Helper()
	s, err := ServeHTTP(t.Context(), HTTP{
		Owner: "test", Config: cfg,
		Server: &http.Server{Handler: handler, ReadHeaderTimeout: cfg.ReadHeaderTimeout, IdleTimeout: cfg.IdleTimeout, WriteTimeout: cfg.WriteTimeout},
		Refuse: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "nobody came", http.StatusServiceUnavailable)
		}),
		Failed: func(err error) { t.Errorf("failed: %v", err) },
	})
	require.NoError(t, err)
	return s
}

func text(s string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = io.WriteString(w, s)
	})
}

// client is an HTTP client that, as OTLP exporters do, sends by POST, which net/http never sends a second time.
type client struct {
	http.Client
	base string
}

func newClient(t *testing.T, s *Serving, conf *tls.Config) *client {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: conf != nil && slices.Contains(conf.NextProtos, "h2")}
	t.Cleanup(tr.CloseIdleConnections)
	base := "http://" + s.Addr().String()
	if conf != nil {
		base = "https://" + s.Addr().String()
	}
	return &client{Client: http.Client{Transport: tr, Timeout: time.Minute}, base: base}
}

type reply struct {
	code   int
	body   string
	reused bool // the connection
	proto  string
}

func (c *client) post(body io.Reader) (r reply, err error) {
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { r.reused = i.Reused }})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base, body)
	if err != nil {
		return r, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return r, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	r.code, r.body, r.proto = resp.StatusCode, strings.TrimSpace(string(b)), resp.Proto
	return r, err
}

func (c *client) must(t *testing.T) reply {
	t.Helper()
	r, err := c.post(strings.NewReader("hello"))
	require.NoError(t, err)
	return r
}

// inside waits until n requests are in progress.
func (s *Serving) inside(t *testing.T, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		s.port.gate.mu.Lock()
		defer s.port.gate.mu.Unlock()
		return len(s.gen.requests) == n
	}, time.Minute, time.Millisecond)
}

// waits returns when a request waits for a handler.
func (s *Serving) waits(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		s.port.gate.mu.Lock()
		defer s.port.gate.mu.Unlock()
		return len(s.port.gate.waiting) > 0
	}, time.Minute, time.Millisecond)
}

// TestConnectionsOutliveHandlers: one connection is used before, during and after a reload. Also on a socket in the file
// system.
func TestConnectionsOutliveHandlers(t *testing.T) {
	reloading(t)
	addr := freePort(t)
	first := serve(t, httpConfig(addr), text("first"))
	c := newClient(t, first, nil)
	require.Equal(t, "first", c.must(t).body)
	require.NoError(t, first.Stop(t.Context()))
	during := make(chan reply, 1)
	go func() {
		r, err := c.post(strings.NewReader("hello"))
		assert.NoError(t, err)
		during <- r
	}()
	first.waits(t)
	second := serve(t, httpConfig(addr), text("second"))
	for _, r := range []reply{<-during, c.must(t)} {
		assert.Equal(t, http.StatusOK, r.code)
		assert.Equal(t, "second", r.body)
		assert.True(t, r.reused, "the connection is the same")
	}
	require.NoError(t, second.Stop(t.Context()))
}

func TestInTheFileSystem(t *testing.T) {
	reloading(t)
	cfg := httpConfig(filepath.Join(t.TempDir(), "s"))
	cfg.NetAddr.Transport = confignet.TransportTypeUnix
	first := serve(t, cfg, text("first"))
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", cfg.NetAddr.Endpoint)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	c := &client{Client: http.Client{Transport: tr}, base: "http://localhost"}
	require.Equal(t, "first", c.must(t).body)
	require.NoError(t, first.Stop(t.Context()))
	second := serve(t, cfg, text("second"))
	r := c.must(t)
	require.Equal(t, "second", r.body)
	require.True(t, r.reused)
	require.NoError(t, second.Stop(t.Context()))
}

// TestReloadsUnderLoad: no request fails, however it meets a reload. With http.Server.Shutdown many do.
func TestReloadsUnderLoad(t *testing.T) {
	reloading(t)
	addr := freePort(t)
	s := serve(t, httpConfig(addr), text("ok"))
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	var answers atomic.Int64
	for i := range 4 {
		c := newClient(t, s, nil)
		c.Transport.(*http.Transport).DisableKeepAlives = i == 0
		clients.Go(func() {
			for ctx.Err() == nil {
				r, err := c.post(strings.NewReader("hello"))
				if assert.NoError(t, err) {
					assert.Equal(t, http.StatusOK, r.code)
				}
				answers.Add(1)
			}
		})
	}
	for range 50 {
		before := answers.Load()
		require.Eventually(t, func() bool { return answers.Load() >= before+10 }, time.Minute, 10*time.Microsecond)
		require.NoError(t, s.Stop(t.Context()))
		s = serve(t, httpConfig(addr), text("ok"))
	}
	stop()
	clients.Wait()
	require.NoError(t, s.Stop(t.Context()))
}

// TestInProgress: Stop waits for what the handler does, and cuts off what does not arrive.
func TestInProgress(t *testing.T) {
	reloading(t)
	addr := freePort(t)
	finish := make(chan struct{})
	s := serve(t, httpConfig(addr), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		if errors.Is(context.Cause(r.Context()), ErrReloading) {
			http.Error(w, "again", http.StatusServiceUnavailable)
			return
		}
		if !assert.NoError(t, err) {
			return
		}
		<-finish
		assert.NoError(t, r.Context().Err(), "what has arrived is not cut off")
		_, _ = io.WriteString(w, "done")
	}))
	s.port.gate.patience = time.Millisecond
	whole, slow := make(chan reply, 1), make(chan reply, 1)
	c := newClient(t, s, nil)
	go func() {
		r, err := c.post(strings.NewReader("hello"))
		assert.NoError(t, err)
		whole <- r
	}()
	// A client that sends half of what it announces.
	conn := dial(t, s.Addr())
	_, err := conn.Write([]byte("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello"))
	require.NoError(t, err)
	go func() {
		b, err := io.ReadAll(conn)
		assert.NoError(t, err)
		slow <- reply{body: string(b)}
	}()
	s.inside(t, 2)
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(t.Context()) }()
	r := <-slow
	assert.Contains(t, r.body, "503")
	assert.Contains(t, r.body, "again")
	select {
	case err := <-stopped:
		t.Fatalf("stopped while a request is in progress: %v", err)
	default:
	}
	close(finish)
	require.NoError(t, <-stopped)
	assert.Equal(t, "done", (<-whole).body)
}

// TestStopIsBounded by its context.
func TestStopIsBounded(t *testing.T) {
	finish := make(chan struct{})
	s := serve(t, httpConfig("127.0.0.1:0"), http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-finish }))
	c := newClient(t, s, nil)
	done := make(chan struct{})
	go func() { defer close(done); _, _ = c.post(nil) }()
	s.inside(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Stop(ctx), context.Canceled)
	close(finish)
	<-done
}

// TestNobodyComes: requests that wait are refused when the port is closed, and after some time; the port is free then.
func TestNobodyComes(t *testing.T) {
	for name, end := range map[string]func(s *Serving) error{
		"closed": func(*Serving) error { return procstate.Default.CloseAll() },
		"waited": func(s *Serving) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			reloading(t)
			s := serve(t, httpConfig(freePort(t)), text("ok"))
			if name == "waited" {
				s.port.gate.wait = time.Millisecond
			}
			c := newClient(t, s, nil)
			require.Equal(t, "ok", c.must(t).body)
			require.NoError(t, s.Stop(t.Context()))
			got := make(chan reply, 1)
			conn := dial(t, s.Addr())
			_, err := conn.Write([]byte("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello"))
			require.NoError(t, err)
			if name == "closed" { // net/http drops what it has not read when it is shut down.
				s.waits(t)
			}
			go func() {
				b, err := io.ReadAll(conn)
				assert.NoError(t, err)
				got <- reply{body: string(b)}
			}()
			require.NoError(t, end(s))
			r := <-got
			assert.Contains(t, r.body, "HTTP/1.1 503")
			assert.Contains(t, r.body, "Connection: close")
			assert.Contains(t, r.body, "nobody came")
			require.NoError(t, procstate.Default.CloseAll())
			_, err = new(net.Dialer).DialContext(t.Context(), "tcp", s.Addr().String())
			require.Error(t, err)
		})
	}
}

// TestOtherTimeouts: with other timeouts there is another server; old connections make one more request.
func TestOtherTimeouts(t *testing.T) {
	reloading(t)
	addr := freePort(t)
	first := serve(t, httpConfig(addr), text("first"))
	c := newClient(t, first, nil)
	require.Equal(t, "first", c.must(t).body)
	require.NoError(t, first.Stop(t.Context()))
	cfg := httpConfig(addr)
	cfg.IdleTimeout = 7 * time.Second
	second := serve(t, cfg, text("second"))
	last, next := c.must(t), c.must(t)
	assert.Equal(t, "second", last.body)
	assert.True(t, last.reused)
	assert.Equal(t, "second", next.body)
	assert.False(t, next.reused, "it was told that the last one was the last one")
	require.NoError(t, second.Stop(t.Context()))
}

// TestTLS: connections outlive a reload while the settings and the contents of the files are the same; with another
// certificate, or without TLS, they do not. Over HTTP/1.1 and HTTP/2.
func TestTLS(t *testing.T) {
	for _, proto := range []string{"http/1.1", "h2"} {
		t.Run(proto, func(t *testing.T) {
			reloading(t)
			addr, dir := freePort(t), t.TempDir()
			cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
			secure := func() *confighttp.ServerConfig {
				cfg := httpConfig(addr)
				cfg.TLS = configoptional.Some(configtls.ServerConfig{Config: configtls.Config{CertFile: cert, KeyFile: key}})
				return cfg
			}
			plain := serve(t, httpConfig(addr), text("plain"))
			require.Equal(t, "plain", newClient(t, plain, nil).must(t).body)
			require.NoError(t, plain.Stop(t.Context()))

			pool := writeCertificate(t, cert, key)
			s := serve(t, secure(), text("first"))
			c := newClient(t, s, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12, NextProtos: []string{proto}})
			r := c.must(t)
			require.Equal(t, "first", r.body)
			require.Equal(t, map[string]string{"http/1.1": "HTTP/1.1", "h2": "HTTP/2.0"}[proto], r.proto)
			require.NoError(t, s.Stop(t.Context()))

			s = serve(t, secure(), text("second"))
			r = c.must(t)
			require.Equal(t, "second", r.body)
			require.True(t, r.reused)
			require.NoError(t, s.Stop(t.Context()))

			pool = writeCertificate(t, cert, key)
			s = serve(t, secure(), text("third"))
			require.Eventually(t, func() bool { _, err := c.post(nil); return err != nil }, time.Minute, time.Millisecond, "the old connections are closed, and the client does not trust the new certificate")
			c = newClient(t, s, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12, NextProtos: []string{proto}})
			require.Equal(t, "third", c.must(t).body)
			require.NoError(t, s.Stop(t.Context()))
		})
	}
}

// TestFromHTTPToListener: the socket changes hands between kinds of servers.
func TestFromHTTPToListener(t *testing.T) {
	reloading(t)
	addr := freePort(t)
	for range 2 {
		s := serve(t, httpConfig(addr), text("ok"))
		require.Equal(t, "ok", newClient(t, s, nil).must(t).body)
		_, _, err := Listen(t.Context(), tcp(addr), "b")
		require.ErrorContains(t, err, "used by test")
		require.NoError(t, s.Stop(t.Context()))
		l, release, err := Listen(t.Context(), tcp(addr), "b")
		require.NoError(t, err)
		meet(t, l, dial(t, l.Addr()))
		require.NoError(t, l.Close())
		require.NoError(t, release())
	}
}

// TestBadCertificate leaves the port to others.
func TestBadCertificate(t *testing.T) {
	cfg := httpConfig(freePort(t))
	cfg.TLS = configoptional.Some(configtls.ServerConfig{Config: configtls.Config{CertFile: "/no/cert.pem", KeyFile: "/no/key.pem"}})
	_, err := ServeHTTP(t.Context(), HTTP{Config: cfg, Server: &http.Server{}}) //nolint:gosec // It is not served.
	require.ErrorContains(t, err, "/no/cert.pem")
	s := serve(t, httpConfig(cfg.NetAddr.Endpoint), text("ok"))
	require.NoError(t, s.Stop(t.Context()))
}

// BenchmarkGate is what the gate costs a request.
func BenchmarkGate(b *testing.B) {
	g := newGate()
	g.open(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = r.Body.Read(nil) }), nil)
	body := io.NopCloser(bytes.NewReader(nil))
	r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "/", body)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		r.Body = body
		g.ServeHTTP(nil, r)
	}
}

// writeCertificate makes a certificate for 127.0.0.1 and returns the pool that trusts it.
func writeCertificate(t *testing.T, certFile, keyFile string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<60))
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: fmt.Sprint(serial)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	require.NoError(t, os.WriteFile(certFile, certPEM, 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(certPEM))
	return pool
}

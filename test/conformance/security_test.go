package conformance

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/bramble-tracing/bramble/internal/tempopb"
	"github.com/bramble-tracing/bramble/test/harness"
)

// securityCases are TLS, credentials and what changes data, on the one port, over HTTP and gRPC.
var securityCases = []testCase{{"C-02", encrypted}, {"C-02", mutual}, {"C-13", basic}, {"C-13", bearer}, {"C-03", crossOrigin}, {"C-03", deletion}}

// authority is a certificate authority with its files.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir(), pool: x509.NewCertPool()}
	a.cert, a.key = a.issue(t, "ca", nil)
	a.pool.AddCert(a.cert)
	return a
}

// issue makes a certificate and writes NAME.crt and NAME.key.
func (a *authority) issue(t *testing.T, name string, parent *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true, IsCA: parent == nil,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	by, signer := template, key
	if parent != nil {
		by, signer = parent.cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by, &key.PublicKey, signer)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(a.file(name+".crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(a.file(name+".key"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), 0o600))
	return cert, key
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// secured starts a binary whose query port has a certificate. Its probes speak TLS, so that readiness is what the log
// says.
func secured(t *testing.T, a *authority, more ...any) *harness.Bramble {
	t.Helper()
	a.issue(t, "server", a)
	pairs := append([]any{"tls::cert_file", a.file("server.crt"), "tls::key_file", a.file("server.key")}, more...)
	return harness.Start(t, harness.Config{Files: []string{config}, Overlay: set(pairs...), ReadyByLog: true})
}

// ask sends a request over exactly one protocol.
func ask(t *testing.T, conf *tls.Config, version, method, url string, header ...string) (*http.Response, error) {
	t.Helper()
	tr := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: conf}
	tr.Protocols.SetHTTP1(version == "HTTP/1.1")
	tr.Protocols.SetHTTP2(version == "HTTP/2.0")
	t.Cleanup(tr.CloseIdleConnections)
	req, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := (&http.Client{Transport: tr, Timeout: time.Minute}).Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res, err
}

// stream asks the streaming service and returns its error.
func stream(t *testing.T, addr string, creds credentials.TransportCredentials, md ...string) error {
	t.Helper()
	var conn *grpc.ClientConn
	if creds == nil {
		conn = harness.Dial(t, addr)
	} else {
		c, err := grpc.NewClient(addr, grpc.WithTransportCredentials(creds))
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		conn = c
	}
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), md...), 30*time.Second)
	defer cancel()
	s, err := tempopb.NewStreamingQuerierClient(conn).Search(ctx, &tempopb.SearchRequest{Query: "{}", Limit: 1})
	if err != nil {
		return err
	}
	_, err = s.Recv()
	return err
}

func encrypted(t *testing.T, _ *world) {
	a := newAuthority(t)
	b := secured(t, a)
	conf := &tls.Config{RootCAs: a.pool, ServerName: "localhost"}
	for _, v := range []string{"HTTP/1.1", "HTTP/2.0"} {
		res, err := ask(t, conf.Clone(), v, http.MethodGet, "https://"+b.QueryAddr()+"/api/echo")
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, res.StatusCode)
		require.Equal(t, v, res.Proto)
	}
	require.NoError(t, stream(t, b.QueryAddr(), credentials.NewTLS(conf.Clone())))
	// Strangers and plain text.
	_, err := ask(t, &tls.Config{}, "HTTP/1.1", http.MethodGet, "https://"+b.QueryAddr()+"/api/echo")
	require.ErrorContains(t, err, "certificate")
	res, err := ask(t, nil, "HTTP/1.1", http.MethodGet, "http://"+b.QueryAddr()+"/api/echo")
	require.NoError(t, err)
	require.Equal(t, http.StatusBadRequest, res.StatusCode)
	require.Equal(t, codes.Unavailable, status.Code(stream(t, b.QueryAddr(), nil)))
}

func mutual(t *testing.T, _ *world) {
	a, other := newAuthority(t), newAuthority(t)
	b := secured(t, a, "tls::client_ca_file", a.file("ca.crt"))
	conf := func(by *authority) *tls.Config {
		c := &tls.Config{RootCAs: a.pool, ServerName: "localhost"}
		if by != nil {
			by.issue(t, "client", by)
			pair, err := tls.LoadX509KeyPair(by.file("client.crt"), by.file("client.key"))
			require.NoError(t, err)
			c.Certificates = []tls.Certificate{pair}
		}
		return c
	}
	for _, v := range []string{"HTTP/1.1", "HTTP/2.0"} {
		res, err := ask(t, conf(a), v, http.MethodGet, "https://"+b.QueryAddr()+"/api/echo")
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, res.StatusCode)
		_, err = ask(t, conf(nil), v, http.MethodGet, "https://"+b.QueryAddr()+"/api/echo")
		require.Error(t, err, "no certificate")
		_, err = ask(t, conf(other), v, http.MethodGet, "https://"+b.QueryAddr()+"/api/echo")
		require.Error(t, err, "somebody else's certificate")
	}
	require.NoError(t, stream(t, b.QueryAddr(), credentials.NewTLS(conf(a))))
	require.Error(t, stream(t, b.QueryAddr(), credentials.NewTLS(conf(nil))))
}

// guarded starts a binary whose query port asks for credentials.
func guarded(t *testing.T, extension string, settings map[string]any, more ...any) *harness.Bramble {
	t.Helper()
	overlay := set(append([]any{"auth::authenticator", extension}, more...)...)
	overlay["extensions"].(map[string]any)[extension] = settings
	overlay["service"] = map[string]any{"extensions": []any{extension, "trace_store", "trace_query"}}
	return start(t, overlay)
}

// requireGuarded: only the right credentials get an answer; /ready answers everybody.
func requireGuarded(t *testing.T, b *harness.Bramble, right string, wrong ...string) {
	t.Helper()
	require.Equal(t, http.StatusOK, b.Get("/ready").Status)
	paths := []string{"/api/echo", "/api/search", "/api/traces/" + cart, "/metrics", "/status", "/status/config", "/debug/pprof/", "/"}
	for _, path := range paths {
		require.Equal(t, http.StatusUnauthorized, b.Get(path).Status, path)
		for _, w := range wrong {
			require.Equal(t, http.StatusUnauthorized, b.Get(path, "Authorization", w).Status, "%s with %s", path, w)
		}
		require.NotEqual(t, http.StatusUnauthorized, b.Get(path, "Authorization", right).Status, path)
	}
	require.Equal(t, http.StatusOK, b.Get("/api/search", "Authorization", right).Status)
	require.NoError(t, stream(t, b.QueryAddr(), nil, "authorization", right))
	require.Equal(t, codes.Unauthenticated, status.Code(stream(t, b.QueryAddr(), nil)))
	for _, w := range wrong {
		require.Equal(t, codes.Unauthenticated, status.Code(stream(t, b.QueryAddr(), nil, "authorization", w)))
	}
}

func basicHeader(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

var htpasswd = map[string]any{"htpasswd": map[string]any{"inline": "ada:secret"}}

func basic(t *testing.T, _ *world) {
	b := guarded(t, "basicauth", htpasswd)
	requireGuarded(t, b, basicHeader("ada", "secret"), basicHeader("ada", "guess"), basicHeader("eve", "secret"), "Bearer secret", "Basic x")
}

func bearer(t *testing.T, _ *world) {
	b := guarded(t, "bearertokenauth", map[string]any{"token": "letmein"})
	requireGuarded(t, b, "Bearer letmein", "Bearer letmeout", "letmein", basicHeader("ada", "letmein"))
}

func crossOrigin(t *testing.T, _ *world) {
	b := start(t, set("cors::allowed_origins", []any{"https://grafana.example.com"}, "cors::allowed_headers", []any{"X-Scope-OrgID"}))
	preflight := func(origin string) http.Header {
		return b.Do(http.MethodOptions, "http://"+b.QueryAddr()+"/api/search", http.NoBody,
			"Origin", origin, "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "x-scope-orgid").Header
	}
	require.Equal(t, "https://grafana.example.com", preflight("https://grafana.example.com").Get("Access-Control-Allow-Origin"))
	require.Empty(t, preflight("https://evil.example.com").Get("Access-Control-Allow-Origin"))
	r := b.Get("/api/search", "Origin", "https://grafana.example.com")
	require.Equal(t, "https://grafana.example.com", r.Header.Get("Access-Control-Allow-Origin"))
	require.Empty(t, start(t, nil).Get("/api/search", "Origin", "https://grafana.example.com").Header.Get("Access-Control-Allow-Origin"), "off by default")
}

// deletion is the one call that changes data: off by default, impossible without credentials, durable when answered.
func deletion(t *testing.T, _ *world) {
	del := func(b *harness.Bramble, id string, header ...string) int {
		return b.Do(http.MethodDelete, "http://"+b.QueryAddr()+"/api/traces/"+id, http.NoBody, header...).Status
	}
	w := configured(t)
	require.Equal(t, http.StatusMethodNotAllowed, del(w.Bramble, cart))
	require.Equal(t, http.StatusOK, w.Get("/api/traces/"+cart).Status)

	code, out := harness.Run(t, harness.Config{Files: []string{config}, Overlay: set("delete_enabled", true)})
	require.NotZero(t, code)
	require.Contains(t, out, "delete_enabled: needs auth")

	b := guarded(t, "basicauth", htpasswd, "delete_enabled", true)
	me := []string{"Authorization", basicHeader("ada", "secret")}
	at := time.Now().Add(-time.Minute)
	send(t, b, fixture(at)...)
	require.Equal(t, http.StatusUnauthorized, del(b, cart))
	require.Equal(t, http.StatusUnauthorized, del(b, cart, "Authorization", basicHeader("ada", "guess")))
	require.Equal(t, http.StatusBadRequest, del(b, cart+"?start=1", me...))
	require.Equal(t, http.StatusOK, b.Get("/api/traces/"+cart, me...).Status)
	told := func(yes bool) { // what only that trace has, by each way to ask for it
		t.Helper()
		for _, ask := range [][2]string{
			{"/api/traces/" + cart, "no bread"},
			{"/api/v2/traces/" + cart, "no bread"},
			{"/api/search?q=" + url.QueryEscape(`{ span.http.target = "/cart/1" }`), "GET /cart"},
			{"/api/search?tags=" + url.QueryEscape("http.target=/cart/1"), "GET /cart"},
			{"/api/search/tags", "labels"},
			{"/api/v2/search/tags", "labels"},
			{"/api/search/tag/http.target/values", "/cart/1"},
			{"/api/v2/search/tag/event.exception.message/values", "no bread"},
			{"/api/v2/search/tag/name/values", "GET /cart"},
			{"/api/metrics/query_range?q=" + url.QueryEscape(`{} | rate() by (span.http.target)`), "/cart/1"},
			{"/api/metrics/query?q=" + url.QueryEscape(`{} | count_over_time() by (name)`), "GET /cart"},
		} {
			r := b.Get(ask[0], me...)
			require.Equal(t, yes, strings.Contains(string(r.Body), ask[1]), "%s: %s", ask[0], r.Body)
		}
	}
	told(true)
	require.Equal(t, http.StatusNoContent, del(b, cart, me...))
	told(false)
	require.Equal(t, http.StatusNotFound, del(b, cart, me...))
	gone := func() {
		t.Helper()
		require.Equal(t, http.StatusNotFound, b.Get("/api/traces/"+cart, me...).Status)
		require.Equal(t, http.StatusOK, b.Get("/api/traces/"+quick, me...).Status, "others stay")
		require.Contains(t, string(b.Get("/api/search?q=%7Bstatus%3Derror%7D", me...).Body), `"traces":[]`)
	}
	gone()
	require.Len(t, b.Log.Lines("trace deleted", cart), 1)
	b.Kill()
	b.Restart()
	gone()
	told(false)
}

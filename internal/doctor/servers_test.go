package doctor

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/bramble-tracing/bramble/internal/selfcheck"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// installation is a small one: OTLP over gRPC and HTTP, and a query API over what was received.
type installation struct {
	ptraceotlp.UnimplementedGRPCServer
	mu     sync.Mutex
	spans  map[string]ptrace.Traces // by trace id
	refuse error                    // of spans over gRPC
	hide   int                      // questions that find nothing
	status int                      // of queries, if not 0
	agent  string                   // what it says of itself
	header http.Header

	grpc, http, query Endpoint
}

func endpoint(t *testing.T, address, protocol, path string) Endpoint {
	t.Helper()
	e, err := parseAddress(address, "test")
	require.NoError(t, err)
	e.Protocol, e.Path = protocol, path
	return e
}

// install starts one; conf is for TLS on all ports, or nil.
func install(t *testing.T, conf *tls.Config) *installation {
	t.Helper()
	i := &installation{spans: map[string]ptrace.Traces{}, header: http.Header{}}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var options []grpc.ServerOption
	if conf != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(conf)))
	}
	server := grpc.NewServer(options...)
	ptraceotlp.RegisterGRPCServer(server, i)
	var done sync.WaitGroup
	done.Go(func() { _ = server.Serve(listener) }) // It ends with the test.
	t.Cleanup(func() { server.Stop(); done.Wait() })
	i.grpc = endpoint(t, listener.Addr().String(), protocolGRPC, "")
	start := func(h http.HandlerFunc, path string) Endpoint {
		s := httptest.NewUnstartedServer(h)
		if conf != nil {
			s.TLS = conf
			s.StartTLS()
		} else {
			s.Start()
		}
		t.Cleanup(s.Close)
		e := endpoint(t, s.Listener.Addr().String(), protocolHTTP, path)
		e.TLS = conf != nil
		return e
	}
	i.http, i.query = start(i.receive, tracesPath), start(i.answer, "")
	i.grpc.TLS = conf != nil
	return i
}

func (i *installation) targets() Targets {
	return Targets{GRPC: &i.grpc, HTTP: &i.http, Query: &i.query}
}

// Export implements ptraceotlp.GRPCServer.
func (i *installation) Export(_ context.Context, r ptraceotlp.ExportRequest) (ptraceotlp.ExportResponse, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.refuse != nil {
		return ptraceotlp.NewExportResponse(), i.refuse
	}
	i.keep(r.Traces())
	return ptraceotlp.NewExportResponse(), nil
}

func (i *installation) keep(td ptrace.Traces) {
	if td.SpanCount() == 0 {
		return
	}
	id := td.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).TraceID()
	all, ok := i.spans[hex.EncodeToString(id[:])]
	if !ok {
		all = ptrace.NewTraces()
		i.spans[hex.EncodeToString(id[:])] = all
	}
	td.ResourceSpans().MoveAndAppendTo(all.ResourceSpans())
}

func (i *installation) receive(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	req := ptraceotlp.NewExportRequest()
	if err != nil || r.URL.Path != tracesPath || req.UnmarshalProto(body) != nil {
		http.NotFound(w, r)
		return
	}
	i.keep(req.Traces())
}

func (i *installation) answer(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	maps.Copy(w.Header(), i.header)
	if i.status != 0 {
		http.Error(w, "told to", i.status)
		return
	}
	id, isTrace := strings.CutPrefix(r.URL.Path, "/api/traces/")
	td, found := i.spans[id]
	switch {
	case r.URL.Path == "/api/echo":
		_, _ = io.WriteString(w, "echo")
	case r.URL.Path == "/ready" && i.agent != "" && r.URL.Query().Has("verbose"):
		_, _ = io.WriteString(w, i.agent)
	case r.URL.Path == "/ready":
		_, _ = io.WriteString(w, "ready\n")
	case isTrace && found && i.hide <= 0:
		body, _ := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
		_, _ = w.Write(body)
	case isTrace:
		i.hide--
		http.NotFound(w, r)
	default:
		http.NotFound(w, r)
	}
}

// diagnose runs the doctor and returns its checks by name.
func diagnose(t *testing.T, o Options) map[string]selfcheck.Check {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Wait == 0 {
		o.Wait = 30 * time.Second
	}
	checks, err := Run(t.Context(), o)
	require.NoError(t, err)
	out := map[string]selfcheck.Check{}
	for _, c := range checks {
		require.NotContains(t, out, c.Name, "a name is of one check")
		require.NotEmpty(t, c.Detail, c.Name)
		if c.State == selfcheck.Fail {
			require.NotEmpty(t, c.Fix, "%s fails and does not say what to do", c.Name)
		}
		out[c.Name] = c
	}
	return out
}

// closedPort is a port on which nobody listens.
func closedPort(t *testing.T) Endpoint {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return endpoint(t, l.Addr().String(), protocolHTTP, "")
}

// silent accepts connections and never says a word, or says one thing and closes.
func silent(t *testing.T, says string) Endpoint {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var done sync.WaitGroup
	done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			done.Go(func() {
				defer func() { _ = c.Close() }()
				if says != "" {
					_, _ = io.WriteString(c, says)
					return
				}
				_, _ = io.Copy(io.Discard, c)
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); done.Wait() })
	return endpoint(t, l.Addr().String(), protocolHTTP, "")
}

// nameserver answers every name with NXDOMAIN but for those it knows, which are 127.0.0.1.
func nameserver(t *testing.T, known ...string) string {
	t.Helper()
	c, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	require.NoError(t, err)
	var done sync.WaitGroup
	done.Go(func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			m.Response, m.RCode, m.Additionals = true, dnsmessage.RCodeNameError, nil
			for _, k := range known {
				if q.Name.String() == k+"." {
					m.RCode = dnsmessage.RCodeSuccess
					if q.Type == dnsmessage.TypeA {
						m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}}}
					}
				}
			}
			if b, err := m.Pack(); err == nil {
				_, _ = c.WriteTo(b, from)
			}
		}
	})
	t.Cleanup(func() { _ = c.Close(); done.Wait() })
	return c.LocalAddr().String()
}

// certificates makes a certificate for a name, valid until a time, and the file of its authority, which is itself.
func certificates(t *testing.T, name string, until time.Time) (conf *tls.Config, caFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: until.Add(-48 * time.Hour), NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		template.DNSNames, template.IPAddresses = nil, []net.IP{ip}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}, caFile
}

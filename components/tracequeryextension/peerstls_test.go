package tracequeryextension

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/config/configtls"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/bramble-tracing/bramble/internal/federation/peerpb"
	"github.com/bramble-tracing/bramble/internal/query"
)

// authority signs certificates.
type authority struct {
	dir  string
	file string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "agents"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	require.NoError(t, err)
	a.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	a.file = a.write(t, "ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) write(t *testing.T, name, kind string, der []byte) string {
	t.Helper()
	file := filepath.Join(a.dir, name)
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	return file
}

// issue makes a certificate for 127.0.0.1 that serves and asks.
func (a *authority) issue(t *testing.T) configtls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "agent"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	return configtls.Config{CAFile: a.file, CertFile: a.write(t, "cert.pem", "CERTIFICATE", der), KeyFile: a.write(t, "key.pem", "EC PRIVATE KEY", keyDER)}
}

// TestPeersMutualTLS: agents with certificates of one authority ask each other; who has none, or one of somebody else,
// gets nothing.
func TestPeersMutualTLS(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	var lc net.ListenConfig
	var addrs []string
	var free []net.Listener
	for range 2 {
		l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		free, addrs = append(free, l), append(addrs, l.Addr().String())
	}
	for _, l := range free {
		require.NoError(t, l.Close())
	}
	own := ours.issue(t)
	agent := func(i int) *queryExtension {
		return start(t, someTrace(t), func(c *Config) {
			p := defaultPeers()
			p.Node, p.Static, p.HealthInterval = []string{"node-1", "node-2"}[i], addrs, 50*time.Millisecond
			p.Server.NetAddr.Endpoint = addrs[i]
			p.Server.TLS = configoptional.Some(configtls.ServerConfig{Config: own, ClientCAFile: ours.file})
			p.Client.TLS = configtls.ClientConfig{Config: own}
			c.Peers = configoptional.Some(p)
		})
	}
	first := agent(0)
	agent(1)
	require.Eventually(t, func() bool {
		r, err := first.service.Search(t.Context(), query.SearchRequest{Query: "{}"})
		return err == nil && r.Nodes == 2 && len(r.Missing) == 0 && len(r.Traces) == 1
	}, 30*time.Second, 20*time.Millisecond, "agents with certificates answer each other")

	pair := func(c configtls.Config) tls.Certificate {
		cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		require.NoError(t, err)
		return cert
	}
	roots := x509.NewCertPool()
	roots.AddCert(ours.cert)
	with := func(certs ...tls.Certificate) credentials.TransportCredentials {
		return credentials.NewTLS(&tls.Config{RootCAs: roots, Certificates: certs, MinVersion: tls.VersionTLS12})
	}
	for name, tc := range map[string]struct {
		creds credentials.TransportCredentials
		want  codes.Code
	}{
		"a certificate of the agents":         {with(pair(own)), codes.OK},
		"no certificate":                      {with(), codes.Unavailable},
		"a certificate of somebody else":      {with(pair(theirs.issue(t))), codes.Unavailable},
		"plain text":                          {insecure.NewCredentials(), codes.Unavailable},
		"a server that somebody else vouches": {credentials.NewTLS(&tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}), codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := grpc.NewClient(addrs[1], grpc.WithTransportCredentials(tc.creds))
			require.NoError(t, err)
			defer func() { require.NoError(t, conn.Close()) }()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			_, err = peerpb.NewPeerClient(conn).Hello(ctx, &peerpb.HelloRequest{})
			require.Equal(t, tc.want, status.Code(err), "%v", err)
		})
	}
}

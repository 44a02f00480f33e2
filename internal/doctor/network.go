package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/bramble-tracing/bramble/internal/selfcheck"
)

// TLS is how targets are reached by TLS. The zero value trusts what the system trusts.
type TLS struct {
	CAFile, CertFile, KeyFile string
	Insecure                  bool
}

// network connects. It keeps no connections.
type network struct {
	timeout  time.Duration
	resolver *net.Resolver
	dialer   *net.Dialer
	tls      *tls.Config
}

func newNetwork(dnsServer string, files TLS, timeout time.Duration) (*network, error) {
	n := &network{timeout: timeout, resolver: net.DefaultResolver, tls: &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: files.Insecure}} //nolint:gosec // If one asks for it.
	if dnsServer != "" {
		if _, _, err := net.SplitHostPort(dnsServer); err != nil {
			return nil, fmt.Errorf("--dns-server: must be host:port: %w", err)
		}
		n.resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, dnsServer)
		}}
	}
	n.dialer = &net.Dialer{Timeout: timeout, Resolver: n.resolver}
	if files.CAFile != "" {
		pem, err := os.ReadFile(files.CAFile)
		if err != nil {
			return nil, fmt.Errorf("--ca-file: %w", err)
		}
		n.tls.RootCAs = x509.NewCertPool()
		if !n.tls.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca-file: %s has no certificate in PEM form", files.CAFile)
		}
	}
	if files.CertFile != "" || files.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("--cert-file, --key-file: %w", err)
		}
		n.tls.Certificates = []tls.Certificate{pair}
	}
	return n, nil
}

// client makes requests that each have a connection of their own, so that behind a Service they go to different agents. It
// follows no redirects: an address that redirects is the wrong one.
func (n *network) client() *http.Client {
	return &http.Client{
		Timeout:       n.timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DisableKeepAlives: true, DialContext: n.dialer.DialContext, TLSClientConfig: n.tls.Clone()},
	}
}

// names looks up the host names of all targets.
func (d *doctor) names() []job {
	var hosts []string
	for _, e := range d.Targets.all() {
		if _, err := netip.ParseAddr(e.Host); err != nil && e.Host != "" && e.Host != "localhost" {
			hosts = append(hosts, e.Host)
		}
	}
	slices.Sort(hosts)
	var jobs []job
	for _, host := range slices.Compact(hosts) {
		jobs = append(jobs, one("dns/"+host, func(ctx context.Context, c *selfcheck.Check) {
			ctx, cancel := context.WithTimeout(ctx, d.Timeout)
			defer cancel()
			addresses, err := d.net.resolver.LookupHost(ctx, host)
			if err == nil {
				c.Detail = strings.Join(addresses, ", ")
				return
			}
			d.mu.Lock()
			d.gone[host] = true
			d.mu.Unlock()
			c.State, c.Detail = selfcheck.Fail, err.Error()
			c.Fix = "the DNS server does not answer: look at the pods of CoreDNS (kubectl -n kube-system get pods -l k8s-app=kube-dns) and for a NetworkPolicy that keeps this pod from port 53"
			if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
				c.Fix = "there is no such name: compare it with kubectl get services -A; from another namespace it is SERVICE.NAMESPACE, such as bramble.tracing"
			}
		}))
	}
	return jobs
}

// unresolved skips a check of a host whose name does not resolve.
func (d *doctor) unresolved(e *Endpoint, c *selfcheck.Check) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone[e.Host] {
		c.State, c.Detail = selfcheck.Skipped, "the name does not resolve: see dns/"+e.Host
		return true
	}
	return false
}

// spoken is what a port speaks.
type spoken struct {
	http1, http2, tls bool
	err               error // of connecting
}

// sniff finds out what a port speaks, by trying it.
func (n *network) sniff(ctx context.Context, address string) (s spoken) {
	ctx, cancel := context.WithTimeout(ctx, n.timeout)
	defer cancel()
	first, err := n.greet(ctx, address, "GET / HTTP/1.1\r\nHost: "+address+"\r\nConnection: close\r\n\r\n")
	if err != nil {
		return spoken{err: err}
	}
	s.http1 = strings.HasPrefix(first, "HTTP/1.")
	if strings.Contains(first, speaksTLS) || first != "" && first[0] == recordAlert {
		return spoken{tls: true}
	}
	// The preface of HTTP/2 and an empty SETTINGS frame (RFC 9113, 3.4 and 6.5): whoever speaks it answers with SETTINGS.
	const settings = 4
	first, _ = n.greet(ctx, address, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	s.http2 = len(first) > 3 && first[3] == settings && !strings.HasPrefix(first, "HTTP/")
	if s.http1 || s.http2 {
		return s
	}
	conn, err := n.dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return s
	}
	defer func() { _ = conn.Close() }() // What was to be known is known.
	insecure := n.tls.Clone()
	insecure.InsecureSkipVerify = true // Only whether it is TLS is asked.
	err = tls.Client(conn, insecure).HandshakeContext(ctx)
	s.tls = err == nil || strings.Contains(err.Error(), "remote error: tls") // An alert is TLS, too: it may want a certificate.
	return s
}

// recordAlert is the type of a TLS record with which a server refuses what is no TLS (RFC 8446, 5.1).
const recordAlert = 0x15

// greet sends a text and returns the beginning of the answer; the error is that of connecting.
func (n *network) greet(ctx context.Context, address, text string) (string, error) {
	conn, err := n.dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }() // What was to be known is known.
	if deadline, ok := ctx.Deadline(); ok {
		// What does not answer at once speaks something else; some time must be left for the other questions.
		_ = conn.SetDeadline(time.Now().Add(time.Until(deadline) / 3)) // A connection without deadlines is none of the network's.
	}
	if _, err := conn.Write([]byte(text)); err != nil {
		return "", nil //nolint:nilerr // It was reached, and speaks something else.
	}
	const enough = 512
	buf := make([]byte, enough)
	got := 0
	for got < len(buf) {
		k, err := conn.Read(buf[got:])
		got += k
		if err != nil || got > 3 && !strings.HasPrefix(string(buf[:got]), "HTTP/") {
			break
		}
	}
	return string(buf[:got]), nil
}

package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/bramble-tracing/bramble/internal/selfcheck"
)

// Protocols of a target.
const (
	protocolGRPC = "grpc"
	protocolHTTP = "http"
)

// explain says why a target could not be used by a protocol and what to do. err is the client's.
func (n *network) explain(ctx context.Context, e *Endpoint, protocol string, err error, c *selfcheck.Check) {
	c.State = selfcheck.Fail
	c.Detail = fmt.Sprintf("%s (%s): %v", e.Address(), e.From, err)
	if e.TLS && certificate(err, e, c) {
		return
	}
	s := n.sniff(ctx, e.Address())
	switch {
	case s.err != nil:
		c.Detail = fmt.Sprintf("%s (%s): %v", e.Address(), e.From, s.err)
		c.Fix = unreachable(s.err)
	case s.tls && !e.TLS:
		c.Detail = fmt.Sprintf("%s (%s) speaks TLS, and is spoken to in plain text", e.Address(), e.From)
		c.Fix = "write https:// instead of http://, and give the certificate of its authority (--ca-file, OTEL_EXPORTER_OTLP_CERTIFICATE)"
	case !s.tls && e.TLS && (s.http1 || s.http2):
		c.Detail = fmt.Sprintf("%s (%s) speaks plain text, and is spoken to by TLS", e.Address(), e.From)
		c.Fix = "write http:// instead of https:// (for gRPC: OTEL_EXPORTER_OTLP_INSECURE=true), or configure tls at the receiver"
	case protocol == protocolGRPC && s.http1 && !s.http2:
		c.Detail = fmt.Sprintf("%s (%s) speaks HTTP/1.1 and not gRPC: it is a port for OTLP over HTTP", e.Address(), e.From)
		c.Fix = "the ports are swapped: gRPC is on 4317, HTTP on 4318. Change the port, or the protocol (OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf)"
	case protocol == protocolHTTP && s.http2 && !s.http1:
		c.Detail = fmt.Sprintf("%s (%s) speaks gRPC and not HTTP/1.1: it is a port for OTLP over gRPC", e.Address(), e.From)
		c.Fix = "the ports are swapped: HTTP is on 4318, gRPC on 4317. Change the port, or the protocol (OTEL_EXPORTER_OTLP_PROTOCOL=grpc)"
	case !s.http1 && !s.http2 && !s.tls:
		c.Fix = "something else listens there: look at what the port is mapped to (kubectl describe service), and for a proxy or a service mesh in between"
	default:
		c.Fix = "look at the log of the other side"
	}
}

// certificate explains errors of TLS that say themselves what is wrong.
func certificate(err error, e *Endpoint, c *selfcheck.Check) bool {
	text := err.Error()
	switch {
	case isA[x509.UnknownAuthorityError](err), strings.Contains(text, "certificate signed by unknown authority"):
		c.Fix = "the certificate is signed by an authority that is not trusted here: give its certificate by --ca-file or OTEL_EXPORTER_OTLP_CERTIFICATE"
	case isA[x509.HostnameError](err), strings.Contains(text, "certificate is valid for"), strings.Contains(text, "doesn't contain any IP SANs"):
		c.Fix = fmt.Sprintf("the certificate is for other names than %s: use one of them, or issue it for this one", e.Host)
	case isA[x509.CertificateInvalidError](err), strings.Contains(text, "certificate has expired"):
		c.Fix = "the certificate is not valid now: renew it, or compare the clocks"
	case strings.Contains(text, "certificate required"), strings.Contains(text, "bad certificate"), strings.Contains(text, "unknown certificate authority"):
		c.Fix = "the server wants a certificate of the client: give one by --cert-file and --key-file (OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE, OTEL_EXPORTER_OTLP_CLIENT_KEY)"
	default:
		return false
	}
	return true
}

func isA[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok || isVerification[E](err)
}

// isVerification looks into what crypto/tls wraps.
func isVerification[E error](err error) bool {
	v, ok := errors.AsType[*tls.CertificateVerificationError](err)
	if !ok {
		return false
	}
	_, ok = errors.AsType[E](v.Err)
	return ok
}

// unreachable says what to do when no connection is made.
func unreachable(err error) string {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nobody listens there: is the agent running (kubectl -n tracing get pods -l app.kubernetes.io/name=bramble), on this node too, and is the port right (4317 gRPC, 4318 HTTP, 3200 queries)? A receiver on localhost is not reached from other pods"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT), isTimeout(err):
		return "packets are dropped on the way: look for a NetworkPolicy or firewall, and whether the Service has an endpoint on this node (internalTrafficPolicy: Local needs an agent on every node)"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "there is no route: is the address one of this cluster or machine?"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return "the other side closes the connection: look at its log, and for a proxy or a service mesh in between"
	}
	return "look at the address and the port"
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/bramble-tracing/bramble/internal/selfcheck"
)

// otlp sends an empty request by a protocol.
func (d *doctor) otlp(protocol string, e *Endpoint) job {
	return one("otlp/"+protocol, func(ctx context.Context, c *selfcheck.Check) {
		if e == nil {
			c.State, c.Detail = selfcheck.Skipped, "no endpoint of this protocol is configured"
			return
		}
		if d.unresolved(e, c) {
			return
		}
		if err := d.send(ctx, protocol, e, ptrace.NewTraces()); err != nil {
			d.refused(ctx, protocol, e, err, c)
			return
		}
		d.mu.Lock()
		d.sends[protocol] = true
		d.mu.Unlock()
		c.Detail = fmt.Sprintf("%s (%s) takes OTLP", e.Address(), e.From)
	})
}

// forward looks at where an exporter sends to.
func (d *doctor) forward(e Endpoint) job {
	return one(e.Name, func(ctx context.Context, c *selfcheck.Check) {
		if d.unresolved(&e, c) {
			return
		}
		if err := d.send(ctx, e.Protocol, &e, ptrace.NewTraces()); err != nil {
			d.refused(ctx, e.Protocol, &e, err, c)
			return
		}
		c.Detail = fmt.Sprintf("%s (%s) takes OTLP", e.Address(), e.From)
	})
}

// refused explains why a request was not taken: because of who asks, or of what is there.
func (d *doctor) refused(ctx context.Context, protocol string, e *Endpoint, err error, c *selfcheck.Check) {
	answer, answered := errors.AsType[*answerError](err)
	code := status.Code(err)
	switch {
	case answered && (answer.status == http.StatusUnauthorized || answer.status == http.StatusForbidden), code == codes.Unauthenticated, code == codes.PermissionDenied:
		c.State, c.Detail = selfcheck.Fail, fmt.Sprintf("%s (%s) wants credentials: %v", e.Address(), e.From, err)
		c.Fix = "give them by --header or OTEL_EXPORTER_OTLP_HEADERS, such as Authorization=Bearer TOKEN"
	case answered && answer.status == http.StatusNotFound:
		c.State, c.Detail = selfcheck.Fail, fmt.Sprintf("%s has no %s (%s)", e.Address(), e.Path, e.From)
		c.Fix = "it speaks HTTP and is no receiver of OTLP at this path: OTEL_EXPORTER_OTLP_ENDPOINT is without /v1/traces, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT with it"
	case answered && answer.status >= http.StatusInternalServerError, code == codes.ResourceExhausted:
		c.State, c.Detail = selfcheck.Fail, fmt.Sprintf("%s (%s) is there and takes nothing now: %v", e.Address(), e.From, err)
		c.Fix = "look at the log of the agent, at its memory limit and at the space on its disk"
	default:
		d.net.explain(ctx, e, protocol, err, c)
	}
}

// answerError is an answer over HTTP that is no success.
type answerError struct {
	status int
	text   string
}

func (e *answerError) Error() string {
	return fmt.Sprintf("status %d: %s", e.status, selfcheck.OneLine(e.text))
}

// send sends spans by a protocol. What was not taken is an error.
func (d *doctor) send(ctx context.Context, protocol string, e *Endpoint, td ptrace.Traces) error {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	req := ptraceotlp.NewExportRequestFromTraces(td)
	if protocol == protocolGRPC {
		return d.sendGRPC(ctx, e, req)
	}
	return d.sendHTTP(ctx, e, req)
}

func (d *doctor) sendGRPC(ctx context.Context, e *Endpoint, req ptraceotlp.ExportRequest) error {
	creds := insecure.NewCredentials()
	if e.TLS {
		creds = credentials.NewTLS(d.net.tls.Clone())
	}
	conn, err := grpc.NewClient("passthrough:///"+e.Address(), grpc.WithTransportCredentials(creds), grpc.WithAuthority(e.Address()),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return d.net.dialer.DialContext(ctx, "tcp", address)
		}))
	if err != nil {
		return err
	}
	defer conn.Close()
	res, err := ptraceotlp.NewGRPCClient(conn).Export(metadata.NewOutgoingContext(ctx, metadata.New(d.headers(e))), req)
	if err != nil {
		return err
	}
	return partial(res)
}

func (d *doctor) sendHTTP(ctx context.Context, e *Endpoint, spans ptraceotlp.ExportRequest) error {
	body, err := spans.MarshalProto()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.URL(e.Path), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	answer, err := d.do(e, req)
	if err != nil {
		return err
	}
	res := ptraceotlp.NewExportResponse()
	if err := res.UnmarshalProto(answer); err != nil {
		return fmt.Errorf("the answer is none of OTLP: %.60q", answer)
	}
	return partial(res)
}

func partial(res ptraceotlp.ExportResponse) error {
	if n := res.PartialSuccess().RejectedSpans(); n > 0 {
		return fmt.Errorf("%d spans are refused: %s", n, res.PartialSuccess().ErrorMessage())
	}
	return nil
}

// speaksTLS is in the plain text with which servers of Go refuse plain text.
const speaksTLS = "HTTP request to an HTTPS server"

// maxAnswer bounds what is read of an answer.
const maxAnswer = 4 << 20

// headers are what is sent with requests to an endpoint: those of spans and queries, which may be secrets, are nobody
// else's business.
func (d *doctor) headers(e *Endpoint) map[string]string {
	if t := &d.Targets; e == t.GRPC || e == t.HTTP || e == t.Query {
		return d.Headers
	}
	return nil
}

// do makes a request and notes the time in the answer. Another status than 2xx is an *answerError.
func (d *doctor) do(e *Endpoint, req *http.Request) ([]byte, error) {
	for k, v := range d.headers(e) {
		req.Header.Set(k, v)
	}
	sent := d.Now()
	res, err := d.net.client().Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	d.note(req.URL.Hostname(), res.Header, sent, d.Now())
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if res.StatusCode == http.StatusBadRequest && bytes.Contains(body, []byte(speaksTLS)) {
		return nil, errors.New("the server speaks TLS")
	}
	if res.StatusCode/100 != 2 {
		const shown = 200
		return nil, &answerError{status: res.StatusCode, text: string(body[:min(len(body), shown)])}
	}
	return body, nil
}

// sdk compares what applications are told to speak with what the port in OTEL_EXPORTER_OTLP_ENDPOINT speaks.
func (d *doctor) sdk(s SDK) job {
	return one("otlp/sdk", func(ctx context.Context, c *selfcheck.Check) {
		e := &s.Endpoint
		if d.unresolved(e, c) {
			return
		}
		got := d.net.sniff(ctx, e.Address())
		if got.err != nil || !got.http1 && !got.http2 {
			c.State, c.Detail = selfcheck.Skipped, "what the port speaks is not known: see otlp/grpc and otlp/http"
			return
		}
		grpcOnly, httpOnly := got.http2 && !got.http1, got.http1 && !got.http2
		protocol := s.Protocol
		switch {
		case protocol != "" && protocol != "grpc" && protocol != "http/protobuf" && protocol != "http/json":
			c.State, c.Detail = selfcheck.Fail, fmt.Sprintf("OTEL_EXPORTER_OTLP_PROTOCOL is %q", protocol)
			c.Fix = "it must be grpc, http/protobuf or http/json"
		case protocol == "grpc" && httpOnly:
			c.State, c.Detail = selfcheck.Fail, fmt.Sprintf("OTEL_EXPORTER_OTLP_PROTOCOL is grpc, and %s (%s) speaks HTTP/1.1 only", e.Address(), e.From)
			c.Fix = "the ports are swapped: gRPC is on 4317, HTTP on 4318"
		case strings.HasPrefix(protocol, "http/") && grpcOnly:
			c.State, c.Detail = selfcheck.Fail, fmt.Sprintf("OTEL_EXPORTER_OTLP_PROTOCOL is %s, and %s (%s) speaks gRPC only", protocol, e.Address(), e.From)
			c.Fix = "the ports are swapped: HTTP is on 4318, gRPC on 4317"
		case protocol == "" && grpcOnly:
			c.State, c.Detail = selfcheck.Warn, fmt.Sprintf("%s (%s) speaks gRPC, and OTEL_EXPORTER_OTLP_PROTOCOL is not set: SDKs that take the default, http/protobuf, do not reach it", e.Address(), e.From)
			c.Fix = "use the port for HTTP, 4318, or set OTEL_EXPORTER_OTLP_PROTOCOL=grpc"
		default:
			c.Detail = fmt.Sprintf("%s (%s) speaks what applications are told to speak", e.Address(), e.From)
		}
	})
}

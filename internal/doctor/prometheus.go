package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/bramble-tracing/bramble/internal/selfcheck"
)

// scrape reads a page of metrics as Prometheus does.
func (d *doctor) scrape(e Endpoint) job {
	return one(e.Name, func(ctx context.Context, c *selfcheck.Check) {
		if d.unresolved(&e, c) {
			return
		}
		body, err := d.get(ctx, &e, e.Path)
		answer, answered := errors.AsType[*answerError](err)
		switch {
		case answered:
			c.State, c.Detail = selfcheck.Fail, fmt.Sprintf("%s (%s): %v", e.URL(e.Path), e.From, answer)
			c.Fix = "something else listens on this port"
		case err != nil:
			d.net.explain(ctx, &e, protocolHTTP, err, c)
		default:
			c.Detail = fmt.Sprintf("%s (%s) has %d lines", e.URL(e.Path), e.From, strings.Count(string(body), "\n"))
		}
	})
}

// emptyWrite is an empty remote write request: no series, in Snappy's block format.
const emptyWrite = "\x00"

// prometheus asks Prometheus, or whatever takes remote write, whether it would.
func (d *doctor) prometheus(e Endpoint) job {
	return one(e.Name, func(ctx context.Context, c *selfcheck.Check) {
		if d.unresolved(&e, c) {
			return
		}
		ctx, cancel := context.WithTimeout(ctx, d.Timeout)
		defer cancel()
		method, body := http.MethodGet, ""
		if e.Write {
			method, body = http.MethodPost, emptyWrite
		}
		req, err := http.NewRequestWithContext(ctx, method, e.URL(e.Path), strings.NewReader(body))
		if err != nil {
			c.State, c.Detail = selfcheck.Fail, err.Error()
			return
		}
		if e.Write {
			req.Header.Set("Content-Type", "application/x-protobuf")
			req.Header.Set("Content-Encoding", "snappy")
			req.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
		}
		_, err = d.do(&e, req)
		answer, answered := errors.AsType[*answerError](err)
		switch {
		case err == nil:
			c.Detail = fmt.Sprintf("%s (%s) answers", e.URL(e.Path), e.From)
		case answered && (answer.status == http.StatusUnauthorized || answer.status == http.StatusForbidden):
			c.State, c.Detail = selfcheck.Warn, fmt.Sprintf("%s (%s) is there and wants credentials or a tenant, which the doctor does not know", e.URL(e.Path), e.From)
			c.Fix = "look at otelcol_exporter_send_failed_metric_points of the agent"
		case answered && e.Write && answer.status == http.StatusNotFound:
			c.State, c.Detail = selfcheck.Fail, fmt.Sprintf("%s (%s) takes no remote write: %v", e.URL(e.Path), e.From, answer)
			c.Fix = "start Prometheus with --web.enable-remote-write-receiver; the path is /api/v1/write for Prometheus and /api/v1/push for Mimir"
		case answered && e.Write && answer.status == http.StatusBadRequest:
			c.Detail = fmt.Sprintf("%s (%s) takes remote write; a request without series it calls bad", e.URL(e.Path), e.From)
		case answered:
			c.State, c.Detail = selfcheck.Fail, fmt.Sprintf("%s (%s): %v", e.URL(e.Path), e.From, answer)
			c.Fix = "is it Prometheus, and ready? Its URL is without a path, or with that of --web.external-url"
		default:
			d.net.explain(ctx, &e, protocolHTTP, err, c)
		}
	})
}

// peer connects to another agent's port.
func (d *doctor) peer(e Endpoint) job {
	return one(e.Name, func(ctx context.Context, c *selfcheck.Check) {
		if d.unresolved(&e, c) {
			return
		}
		s := d.net.sniff(ctx, e.Address())
		switch {
		case s.err != nil:
			c.State, c.Detail, c.Fix = selfcheck.Fail, fmt.Sprintf("%s (%s): %v", e.Address(), e.From, s.err), unreachable(s.err)
		case s.http2 && !s.http1, s.tls && e.TLS:
			c.Detail = fmt.Sprintf("%s (%s) is there", e.Address(), e.From)
		case s.tls:
			c.State, c.Detail = selfcheck.Fail, fmt.Sprintf("%s (%s) speaks TLS, and trace_query::peers::client::tls says insecure", e.Address(), e.From)
			c.Fix = "give all agents the same tls in peers::server and peers::client"
		default:
			c.State, c.Detail = selfcheck.Fail, fmt.Sprintf("%s (%s) speaks no gRPC", e.Address(), e.From)
			c.Fix = "the port is that of trace_query::peers::server, 3201, not the query port"
		}
	})
}

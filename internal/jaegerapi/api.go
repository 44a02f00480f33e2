package jaegerapi

import (
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/bramble-tracing/bramble/internal/jaegerpb"
	"github.com/bramble-tracing/bramble/internal/query"
)

// Observer is told about each request that was answered. It is called concurrently.
type Observer interface {
	// Observe gets the endpoint's pattern (not the path, which is unbounded), "GET" or "gRPC" and the like, the HTTP
	// status or gRPC code as text, and how long it took.
	Observe(route, method, status string, d time.Duration)
}

// Options are what an API is made of besides the service.
type Options struct {
	// Observer may be nil.
	Observer Observer
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// API answers Jaeger's query APIs.
type API struct {
	jaegerpb.UnimplementedQueryServiceServer
	service *query.Service
	opts    Options
	mux     *http.ServeMux
}

// New returns an API over the service.
func New(s *query.Service, o Options) *API {
	if o.Now == nil {
		o.Now = time.Now
	}
	a := &API{service: s, opts: o, mux: http.NewServeMux()}
	for route, f := range legacyEndpoints {
		a.handle(route, f, legacyError)
	}
	for route, f := range v3Endpoints {
		a.handle(route, f, v3Error)
	}
	a.handle("/", notFound, legacyError)
	a.handle("/api/v3/", notFound, v3Error)
	return a
}

// RegisterGRPC makes version 3 part of s.
func (a *API) RegisterGRPC(s grpc.ServiceRegistrar) { jaegerpb.RegisterQueryServiceServer(s, a) }

// ServeHTTP answers both APIs; what is in neither is 404.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// serveFunc answers a request with a body in JSON, or with an error.
type serveFunc func(a *API, r *http.Request) (body []byte, err error)

// handle adds an endpoint whose errors have the shape that failed writes.
func (a *API) handle(route string, f serveFunc, failed func(code int, text string) []byte) {
	a.mux.HandleFunc(route, func(w http.ResponseWriter, r *http.Request) {
		begin := a.opts.Now()
		report := &query.CoverageReport{}
		body, err := f(a, r.WithContext(query.WithCoverage(r.Context(), report)))
		code := http.StatusOK
		if err != nil {
			code = statusOf(err)
			body = failed(code, err.Error())
		}
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Content-Length", strconv.Itoa(len(body)))
		if code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable {
			h.Set("Retry-After", "1")
		}
		a.notes(h.Set, report)
		w.WriteHeader(code)
		_, _ = w.Write(body) // The client that does not read its answer has gone.
		if a.opts.Observer != nil {
			a.opts.Observer.Observe("jaeger "+route, knownMethod(r.Method), strconv.Itoa(code), a.opts.Now().Sub(begin))
		}
	})
}

// Headers of answers, and trailers over gRPC, when other agents are asked too. They are those of the Tempo API.
const (
	missingNodesHeader = "Bramble-Missing-Nodes"
	noticeHeader       = "Bramble-Notice"
)

// notes says which nodes' spans an answer is without, and what is wrong with all answers.
func (a *API) notes(set func(key, value string), report *query.CoverageReport) {
	if c := report.Last(); c != nil && len(c.Missing) > 0 {
		set(missingNodesHeader, oneLine(strings.Join(c.MissingNames(), ",")))
	}
	if n := a.service.Notice(); n != "" {
		set(noticeHeader, oneLine(n))
	}
}

// oneLine makes a text fit for a header.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, s)
}

// statusError is an error with the HTTP status it is answered with.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return e.text }

func notFound(*API, *http.Request) ([]byte, error) {
	return nil, &statusError{http.StatusNotFound, "there is no such endpoint in Jaeger's query API, or not with this method"}
}

// statusClientClosed is nginx's code for a client that went away before the answer.
const statusClientClosed = 499

// statusOf returns the HTTP status of an error.
func statusOf(err error) int {
	if s, ok := errors.AsType[*statusError](err); ok {
		return s.code
	}
	switch query.KindOf(err) {
	case query.KindInvalid:
		return http.StatusBadRequest
	case query.KindNotFound:
		return http.StatusNotFound
	case query.KindUnsupported:
		return http.StatusNotImplemented
	case query.KindOverloaded:
		return http.StatusTooManyRequests
	case query.KindUnavailable:
		return http.StatusServiceUnavailable
	case query.KindTimeout:
		return http.StatusGatewayTimeout
	case query.KindCanceled:
		return statusClientClosed
	case query.KindInternal:
	}
	return http.StatusInternalServerError
}

// knownMethod bounds the number of label values that a client can make.
func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodOptions:
		return m
	}
	return "other"
}

// clientOf names who asks, so that clients take turns: the address and the user that Grafana forwards. What a client can
// forge only splits his own share of the queue, which is bounded as a whole.
func clientOf(r *http.Request) string {
	return clientKey(r.RemoteAddr, r.Header.Get("X-Grafana-User"))
}

func clientKey(addr, user string) string {
	const most = 150
	if host, _, err := net.SplitHostPort(addr); err == nil {
		addr = host
	}
	return addr + "\x00" + user[:min(len(user), most)]
}

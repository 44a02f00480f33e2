package tempoapi

import (
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/tempopb"
)

// Observer is told about each request that was answered. It is called concurrently.
type Observer interface {
	// Observe gets the endpoint's pattern (not the path, which is unbounded), "GET" or "gRPC" and the like, the HTTP
	// status or gRPC code as text, and how long it took.
	Observe(route, method, status string, d time.Duration)
}

// Options are what an API is made of besides the service.
type Options struct {
	// Build is what /api/status/buildinfo answers.
	Build BuildInfo
	// Observer may be nil.
	Observer Observer
	// Delete lets DELETE delete traces; otherwise nothing here changes data. Who may call is decided before.
	Delete bool
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// API answers Tempo's query API.
type API struct {
	service *query.Service
	opts    Options
	exact   map[string]*endpoint
	gzips   sync.Pool
	tempopb.UnimplementedStreamingQuerierServer
}

// endpoint is one row of the API.
type endpoint struct {
	// route is its pattern, for metrics and /status/endpoints.
	route string
	serve serveFunc
}

// New returns an API over the service.
func New(s *query.Service, o Options) *API {
	if o.Now == nil {
		o.Now = time.Now
	}
	a := &API{service: s, opts: o, exact: make(map[string]*endpoint)}
	for i := range exactEndpoints {
		a.exact[exactEndpoints[i].route] = &exactEndpoints[i]
	}
	return a
}

// RegisterGRPC makes the streaming service part of s.
func (a *API) RegisterGRPC(s grpc.ServiceRegistrar) { tempopb.RegisterStreamingQuerierServer(s, a) }

// Routes lists the patterns of the HTTP endpoints.
func (a *API) Routes() []string {
	out := make([]string, 0, len(exactEndpoints)+len(patternEndpoints))
	for i := range exactEndpoints {
		out = append(out, exactEndpoints[i].route)
	}
	for i := range patternEndpoints {
		out = append(out, patternEndpoints[i].route)
	}
	return out
}

// ServeHTTP answers the paths below /api; others are 404. Any method is taken, as in Tempo (C-03).
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := a.opts.Now()
	e, arg := a.find(r.URL)
	if e == nil {
		NotFound(w, r)
		a.observe("other", r.Method, http.StatusNotFound, start)
		return
	}
	report := &query.CoverageReport{}
	r = r.WithContext(query.WithCoverage(r.Context(), report))
	sw := &statusWriter{ResponseWriter: w, code: http.StatusOK, before: func() { a.notes(w.Header(), report) }}
	if err := e.serve(a, sw, r, arg); err != nil && !sw.wrote {
		writeError(sw, err)
	}
	a.observe(e.route, r.Method, sw.code, start)
}

// NotFound answers requests of paths that are no endpoint (C-11) and says where those are listed.
func NotFound(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "404 page not found: /status/endpoints lists what is served on this port", http.StatusNotFound)
}

func (a *API) observe(route, method string, code int, start time.Time) {
	if a.opts.Observer != nil {
		a.opts.Observer.Observe(route, knownMethod(method), threeDigits(code), a.opts.Now().Sub(start))
	}
}

// threeDigits is the status as three digits.
func threeDigits(code int) string {
	return string([]byte{'0' + byte(code/100%10), '0' + byte(code/10%10), '0' + byte(code%10)})
}

// knownMethod bounds the number of label values that a client can make.
func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "other"
}

// statusWriter remembers the status and whether anything was sent.
type statusWriter struct {
	http.ResponseWriter
	code  int
	wrote bool
	// before is called once, before anything is sent.
	before func()
}

func (w *statusWriter) WriteHeader(code int) {
	if !w.wrote {
		w.code = code
		w.begin()
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	w.begin()
	return w.ResponseWriter.Write(p)
}

func (w *statusWriter) begin() {
	if !w.wrote && w.before != nil {
		w.before()
	}
	w.wrote = true
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// clientOf names who asks, so that clients take turns: the address, and behind a NUL the user that Grafana forwards and
// the tenant, if any. Addresses take turns first (query's admission), so who invents names splits his own share only.
func clientOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	return clientKey(host, r.Header.Get("X-Scope-OrgID"), r.Header.Get("X-Grafana-User"))
}

func clientKey(host, tenant, user string) string {
	const most = 150
	return host + "\x00" + tenant[:min(len(tenant), most)] + "\x00" + user[:min(len(user), most)]
}

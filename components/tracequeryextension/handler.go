package tracequeryextension

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/bramble-tracing/bramble/internal/tempoapi"
)

// outerHandler is what every request meets first, before authentication.
type outerHandler struct {
	ext   *queryExtension
	next  http.Handler
	stall time.Duration
}

// ServeHTTP answers /ready, which probes ask without credentials and which tells nothing but that, and bounds how
// long the client may stall.
func (h *outerHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sw := newStallWriter(w, h.stall)
	rest := time.Duration(0)
	if r.Body != nil && r.Body != http.NoBody && r.ProtoMajor == 1 {
		// No endpoint of Tempo's reads a body (C-03); the server discards it, and must not wait for one that never comes.
		rest = bodyGrace
	}
	defer func() { sw.finish(rest) }()
	if r.URL.Path == "/ready" && !verbose(r) {
		h.ext.ready(sw, r)
		return
	}
	h.next.ServeHTTP(sw, r)
}

// bodyGrace is how long the rest of an unread body may take to arrive.
const bodyGrace = time.Second

// portHandler dispatches what has passed authentication and the other settings of the server.
type portHandler struct {
	ext     *queryExtension
	api     *tempoapi.API
	metrics http.Handler
	pprof   http.Handler // nil if it is off.
	mcp     http.Handler // nil if it is off.
	log     *zap.Logger
}

func (h *portHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if isGRPC(r) {
		h.ext.grpc.ServeHTTP(w, r)
		return
	}
	defer h.recover(w, r)
	path := r.URL.Path
	switch {
	case verbose(r):
		h.readyVerbose(w, r)
	case path == "/metrics":
		h.metrics.ServeHTTP(w, r)
	case below(path, "/status"):
		h.status(w, r)
	case below(path, "/debug"):
		if h.pprof == nil {
			tempoapi.NotFound(w, r)
			return
		}
		h.pprof.ServeHTTP(w, r)
	default:
		h.apiOrMount(w, r)
	}
}

func (h *portHandler) apiOrMount(w http.ResponseWriter, r *http.Request) {
	prefix := h.ext.cfg.HTTPAPIPrefix
	if rest, ok := strings.CutPrefix(r.URL.Path, prefix); ok && below(rest, extensionsPrefix) {
		if m := h.ext.find(rest); m != nil && below(m.Prefix, extensionsPrefix) {
			http.StripPrefix(prefix, m).ServeHTTP(w, r)
			return
		}
	}
	if h.mcp != nil && r.URL.Path == prefix+mcpPath {
		h.mcp.ServeHTTP(w, r)
		return
	}
	if below(r.URL.Path, prefix+"/api") {
		http.StripPrefix(prefix, h.api).ServeHTTP(w, r)
		return
	}
	h.mount(w, r)
}

// mount answers from a page of another component, if there is one for the path. The page that is mounted at "/" does
// not stand in for pages of reserved prefixes.
func (h *portHandler) mount(w http.ResponseWriter, r *http.Request) {
	m := h.ext.find(r.URL.Path)
	if m == nil || below(r.URL.Path, statusPrefix) && !below(m.Prefix, statusPrefix) {
		tempoapi.NotFound(w, r)
		return
	}
	m.ServeHTTP(w, r)
}

// recover turns a panic, which would be our mistake, into an answer and a log line.
func (h *portHandler) recover(w http.ResponseWriter, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler { //nolint:errorlint // As net/http compares it.
		panic(p)
	}
	h.log.Error("a request made the query API panic", zap.String("path", r.URL.Path), zap.String("panic", fmt.Sprint(p)), zap.ByteString("stack", debug.Stack()))
	http.Error(w, "internal error, see the log of the server", http.StatusInternalServerError)
}

// isGRPC tells gRPC requests by protocol and content type (C-01). gRPC-Web and others have other types.
func isGRPC(r *http.Request) bool {
	if r.ProtoMajor != 2 {
		return false
	}
	rest, ok := strings.CutPrefix(r.Header.Get("Content-Type"), "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

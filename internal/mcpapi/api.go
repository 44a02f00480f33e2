package mcpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/bramble-tracing/bramble/internal/query"
)

const (
	// maxBody is how many bytes a message may have. It has room for a TraceQL query of 128 KiB (S-01).
	maxBody = 256 << 10
	// bodyTimeout is how long a message may take to arrive.
	bodyTimeout = 10 * time.Second
)

// Observer is told about each message that was answered. It is called concurrently.
type Observer interface {
	// Observe gets the method, with the name of the tool if it is one, "POST", a status and how long it took.
	Observe(route, method, status string, d time.Duration)
}

// Options are what an API is made of besides the service.
type Options struct {
	// Name and Version are what clients are told about the server.
	Name, Version string
	// Observer may be nil.
	Observer Observer
	// Panicked is told of a panic of ours with its stack; the client gets an error. It may be nil.
	Panicked func(method string, panicked any, stack []byte)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// API answers the Model Context Protocol.
type API struct {
	service *query.Service
	opts    Options
	handler http.Handler
}

// New returns an API over the service, which it does not own.
func New(s *query.Service, o Options) *API {
	if o.Now == nil {
		o.Now = time.Now
	}
	a := &API{service: s, opts: o}
	server := mcp.NewServer(&mcp.Implementation{Name: o.Name, Title: "Bramble traces", Version: o.Version}, &mcp.ServerOptions{
		Instructions: instructions,
		Capabilities: &mcp.ServerCapabilities{Tools: &mcp.ToolCapabilities{}, Resources: &mcp.ResourceCapabilities{}}, // Neither changes.
	})
	a.addTools(server)
	addDocuments(server)
	server.AddReceivingMiddleware(a.observed)
	a.handler = mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, &mcp.StreamableHTTPOptions{
		Stateless: true, JSONResponse: true, MaxRequestBodyBytes: maxBody,
	})
	return a
}

// asker is who asks, in the context of the tools. The SDK lets a call outlive its request; here it must not.
type asker struct {
	request context.Context //nolint:containedctx // It ends the context of the call.
	client  string
}

type askerKey struct{}

// ServeHTTP answers one message. The body is read before anything is done with it, so that a slow client holds nothing.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		body, err := readBody(w, r)
		if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
			http.Error(w, fmt.Sprintf("the message is too long: at most %d bytes are read", large.Limit), http.StatusRequestEntityTooLarge)
			return
		}
		if err != nil {
			http.Error(w, "the message could not be read: "+err.Error(), http.StatusBadRequest)
			return
		}
		if b := bytes.TrimLeft(body, " \t\r\n"); len(b) > 0 && b[0] == '[' {
			// One request of some KiB would otherwise be thousands of queries.
			http.Error(w, "batches are not supported: send one JSON-RPC message per request", http.StatusBadRequest)
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), askerKey{}, &asker{request: r.Context(), client: clientOf(r)}))
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	a.handler.ServeHTTP(w, r)
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	control := http.NewResponseController(w)
	// Writers that know no deadlines (in tests) go without.
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout))
	defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	return io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
}

// observed surrounds each message: it ends with its HTTP request, is counted, and a panic is an error of it alone.
func (a *API) observed(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (res mcp.Result, err error) {
		begin := a.opts.Now()
		who, _ := ctx.Value(askerKey{}).(*asker)
		if who != nil {
			var cancel context.CancelFunc
			ctx, cancel = context.WithCancel(ctx)
			defer cancel()
			defer context.AfterFunc(who.request, cancel)() //nolint:contextcheck // The request's context is the one to follow.
		}
		defer func() {
			if p := recover(); p != nil {
				if a.opts.Panicked != nil {
					a.opts.Panicked(method, p, debug.Stack())
				}
				res, err = nil, &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: "internal error, see the log of the server"}
			}
			if a.opts.Observer != nil {
				a.opts.Observer.Observe(routeOf(method, req), http.MethodPost, statusOf(res, err), a.opts.Now().Sub(begin))
			}
		}()
		return next(ctx, method, req)
	}
}

// routeOf names a message for metrics. The SDK refuses unknown methods before; the names of tools are the client's.
func routeOf(method string, req mcp.Request) string {
	if p, ok := req.GetParams().(*mcp.CallToolParamsRaw); ok {
		if _, known := toolNames[p.Name]; known {
			return "mcp " + method + " " + p.Name
		}
	}
	return "mcp " + method
}

// statusOf is an HTTP status for metrics, though the transport answers 200.
func statusOf(res mcp.Result, err error) string {
	if err != nil {
		return strconv.Itoa(http.StatusInternalServerError)
	}
	if r, ok := res.(*mcp.CallToolResult); ok && r != nil && r.IsError {
		return strconv.Itoa(http.StatusBadRequest)
	}
	return strconv.Itoa(http.StatusOK)
}

// clientOf names who asks, so that clients take turns: the address, and behind a NUL the tenant and the user that
// Grafana forwards, as for the other APIs of the port.
func clientOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	const most = 150
	tenant, user := r.Header.Get("X-Scope-OrgID"), r.Header.Get("X-Grafana-User")
	return host + "\x00" + tenant[:min(len(tenant), most)] + "\x00" + user[:min(len(user), most)]
}

// clientIn is clientOf in the context of a tool.
func clientIn(ctx context.Context) string {
	if who, ok := ctx.Value(askerKey{}).(*asker); ok {
		return who.client
	}
	return ""
}

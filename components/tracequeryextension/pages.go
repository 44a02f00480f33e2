package tracequeryextension

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/pprof"
	"text/tabwriter"

	"github.com/bramble-tracing/bramble/internal/selfcheck"
)

// ready answers H-01.
func (e *queryExtension) ready(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	status, text := e.readiness()
	w.WriteHeader(status)
	// A probe that does not read its answer needs none.
	_, _ = io.WriteString(w, text+"\n") //nolint:gosec // One of three texts of ours.
}

// readiness is the answer to /ready.
func (e *queryExtension) readiness() (status int, text string) {
	switch e.state.Load() {
	case stateReady:
		return http.StatusOK, "ready"
	case stateStopping:
		return http.StatusServiceUnavailable, "not ready: shutting down"
	}
	return http.StatusServiceUnavailable, "not ready: the pipelines are starting"
}

// status answers H-04. Pages about parts of Tempo that do not exist here say so instead of being missing.
func (h *portHandler) status(w http.ResponseWriter, r *http.Request) {
	var b bytes.Buffer
	switch r.URL.Path {
	case "/status":
		h.version(&b)
		h.services(&b)
		h.peers(&b)
		fmt.Fprintln(&b, "CHECKS")
		selfcheck.Write(&b, h.ext.checks.Board().Checks())
		h.endpoints(&b)
	case "/status/version":
		h.version(&b)
	case "/status/services":
		h.services(&b)
	case "/status/peers":
		h.peers(&b)
	case "/status/endpoints":
		h.endpoints(&b)
	case "/status/checks":
		h.checksPage(w, r)
		return
	case "/status/config":
		h.configPage(w, r)
		return
	case "/status/runtime_config", "/status/overrides":
		fmt.Fprintln(&b, "# none: settings change with the Collector's configuration only")
	case "/status/usage-stats":
		fmt.Fprintln(&b, "disabled: Bramble sends no usage reports")
	default:
		h.mount(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	// The client that does not read has gone.
	_, _ = w.Write(b.Bytes())
}

func (h *portHandler) version(w io.Writer) {
	i := h.ext.set.BuildInfo
	fmt.Fprintf(w, "%s, version %s (%s)\n", i.Command, i.Version, i.Description)
}

func (h *portHandler) services(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	state := map[uint32]string{stateStarting: "Starting", stateReady: "Running", stateStopping: "Stopping"}[h.ext.state.Load()]
	l := h.ext.service.Load()
	fmt.Fprintf(t, "SERVICE\tSTATE\tRUNNING\tWAITING\n")
	fmt.Fprintf(t, "query-lookups\t%s\t%d\t%d\n", state, l.Lookups, l.WaitingLookups)
	fmt.Fprintf(t, "query-scans\t%s\t%d\t%d\n", state, l.Scans, l.WaitingScans)
	_ = t.Flush() // To memory.
}

func (h *portHandler) endpoints(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "PATH\tABOUT\n")
	for _, p := range h.api.Routes() {
		fmt.Fprintf(t, "%s%s\tTempo API\n", h.ext.cfg.HTTPAPIPrefix, p)
	}
	if h.mcp != nil {
		fmt.Fprintf(t, "%s%s\tModel Context Protocol\n", h.ext.cfg.HTTPAPIPrefix, mcpPath)
	}
	for _, p := range reserved[1:4] {
		fmt.Fprintf(t, "%s\tstate of this process\n", p)
	}
	if h.pprof != nil {
		fmt.Fprintf(t, "/debug/pprof/\tGo profiles\n")
	}
	for _, m := range h.ext.Mounts() {
		fmt.Fprintf(t, "%s\t%s\n", m.Prefix, m.Description)
	}
	for name := range h.ext.grpc.GetServiceInfo() {
		fmt.Fprintf(t, "/%s\tgRPC service\n", name)
	}
	_ = t.Flush() // To memory.
}

// pprofHandler serves H-06 without touching http.DefaultServeMux.
func pprofHandler() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("/debug/pprof/", pprof.Index)
	m.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	m.HandleFunc("/debug/pprof/profile", pprof.Profile)
	m.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	m.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return m
}
